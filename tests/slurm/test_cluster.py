"""The cluster that other tests stand on does what real ones do: arrays, dependencies, requeueing, memory limits, lost nodes."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm import guard
from tests.slurm.cluster import Cluster, free_ports, missing, parse_job, wait_until

pytestmark = pytest.mark.slow

# Writes a line per 0.2 s into a file of its own until told by USR1: then it "saves" and ends with 75.
WORKER = """\
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
with open(sys.argv[1], "a", buffering=1) as file:
    while True:
        print(os.environ.get("SLURM_RESTART_COUNT", 0), os.environ["SLURMD_NODENAME"], file=file)
        time.sleep(0.2)
"""
HOG = "import time; hold = bytearray(b'x') * (400 << 20); time.sleep(60)"


def write_script(folder, text):
    path = folder / "job.sh"
    path.write_text(f"#!/bin/bash\n{text}\n")
    return path


def write_worker(folder):
    """The shell command of a step that works into the file named by the shell's $1."""
    (folder / "worker.py").write_text(WORKER)
    return f'srun --ntasks=1 {sys.executable} {folder}/worker.py "$1"'


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_array_keeps_its_throttle_and_afterany_follows_a_failed_task(slurm, tmp_path):
    script = write_script(
        tmp_path,
        'id=$SLURM_ARRAY_TASK_ID; echo "start $id $SLURM_ARRAY_TASK_COUNT" >> $1/log; sleep 1; echo "end $id -" >> $1/log\n'
        "[ $id != 3 ] || exit 9",
    )
    array = slurm.sbatch("--array=1-5%2", "--mem=50", "--output=/dev/null", script, tmp_path)
    after = slurm.sbatch(f"--dependency=afterany:{array}", "--output=/dev/null", "--wrap", f"echo after - - >> {tmp_path}/log")
    slurm.wait_end(array, after, timeout_s=60)

    assert {job.task: (job.state, job.exit_code) for job in slurm.tasks(array)} == {
        task: ("FAILED", 9) if task == 3 else ("COMPLETED", 0) for task in range(1, 6)
    }
    events = [line.split() for line in lines(tmp_path / "log")]
    assert sorted(task for event, task, _ in events if event == "start") == list("12345")
    assert {count for event, _, count in events if event == "start"} == {"5"}
    running = [0]
    for event, _, _ in events:
        running.append(running[-1] + {"start": 1, "end": -1, "after": 0}[event])
    assert max(running) == 2
    assert [event for event, _, _ in events][-1] == "after"


def test_task_told_by_usr1_requeues_itself_and_afterany_waits_for_it(slurm, tmp_path):
    """The last task has the array's own id as SLURM_JOB_ID: `scontrol requeue $SLURM_JOB_ID` would there requeue the whole array."""
    work = write_worker(tmp_path)
    script = write_script(
        tmp_path,
        f'echo "task $SLURM_ARRAY_TASK_ID restart ${{SLURM_RESTART_COUNT:-none}}" >> $2\n'
        f"[ $SLURM_ARRAY_TASK_ID = 2 ] || exit 0\n[ -z $SLURM_RESTART_COUNT ] || {{ sleep 1; exit 0; }}\n"
        f'{work}\necho "step $?" >> $2\nscontrol requeue ${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID\nexit 75',
    )
    array = slurm.sbatch("--array=1-2", "--requeue", "--output=/dev/null", script, tmp_path / "work", tmp_path / "log")
    after = slurm.sbatch(f"--dependency=afterany:{array}", "--output=/dev/null", "--wrap", f"echo after >> {tmp_path}/log")
    wait_until(lambda: lines(tmp_path / "work"), timeout_s=30, what=slurm.describe)
    slurm.run("scancel", "--signal=USR1", f"{array}_2")
    slurm.wait_end(array, after, timeout_s=60)

    told = lines(tmp_path / "log")
    assert sorted(told[:2]) == ["task 1 restart none", "task 2 restart none"]
    assert told[2:] == ["step 75", "task 2 restart 1", "after"]
    assert [(job.task, job.state, job.restarts) for job in slurm.tasks(array)] == [(1, "COMPLETED", 0), (2, "COMPLETED", 1)]


def test_step_over_its_memory_is_killed_and_the_batch_script_lives(slurm, tmp_path):
    (tmp_path / "hog.py").write_text(HOG)
    script = write_script(tmp_path, f'srun --ntasks=1 {sys.executable} {tmp_path}/hog.py\necho "step $?" > $1\nexit 4')
    job = slurm.sbatch("--mem=200", "--output", tmp_path / "out", script, tmp_path / "log")
    (ended,) = slurm.wait_end(job, timeout_s=60)
    assert lines(tmp_path / "log") == ["step 137"]
    assert "exceeded memory limit" in (tmp_path / "out").read_text()
    assert (ended.state, ended.exit_code) == ("FAILED", 4)


def test_power_cut_ends_the_work_and_a_lost_slurmd_leaves_a_zombie(healed_slurm, tmp_path):
    slurm = healed_slurm
    script = write_script(tmp_path, write_worker(tmp_path))
    files = {node: tmp_path / node for node in ("node1", "node2")}
    options = ("--requeue", "--mem=50", "--output=/dev/null")
    jobs = [slurm.sbatch(*options, f"--nodelist={node}", script, file) for node, file in files.items()]
    wait_until(lambda: all(lines(file) for file in files.values()), timeout_s=90, what=slurm.describe)

    slurm.power_cut("node1")
    assert slurm.step_daemons("node1") == []
    slurm.kill_slurmd_only("node2")
    assert slurm.step_daemons("node2")
    slurm.declare_down("node1", "node2")
    before = {node: len(lines(file)) for node, file in files.items()}
    slurm.wait_for(lambda found: all(job.state == "PENDING" for job in found if job.array_id in jobs), timeout_s=90)
    for job in jobs:
        slurm.run("scontrol", "update", f"JobId={job}", "ReqNodeList=node3")

    def both_restarted():
        return all("1 node3" in lines(file) for file in files.values())

    wait_until(both_restarted, timeout_s=60, what=slurm.describe)
    time.sleep(1)
    assert lines(files["node1"])[before["node1"] :].count("0 node1") == 0
    zombie = lines(files["node2"])
    assert "0 node2" in zombie[zombie.index("1 node3") :], "the first copy should go on beside the second"

    slurm.heal()
    assert all(slurm.run("sinfo", "-h", "-n", node, "-o", "%t").strip() == "idle" for node in slurm.nodes)
    wait_until(lambda: slurm.step_daemons("node2") == [], timeout_s=90, what=slurm.describe)


def test_site_facts_that_submissions_ask_for(slurm):
    assert "MaxArraySize            = 1001" in slurm.run("scontrol", "show", "config")
    assert "Invalid job array" in slurm_error(slurm, "sbatch", "--array=1-2000", "--wrap", "true")
    hosts = slurm.run("scontrol", "show", "hostnames", "node[1-3]").split()
    assert hosts == slurm.nodes
    assert {socket.gethostbyname(host) for host in hosts} == {"127.0.0.1"}


def test_fake_gpus_are_handed_out(slurm):
    told = slurm.run("srun", "--ntasks=2", "--gres=gpu:2", "bash", "-c", "echo $SLURM_PROCID/$SLURM_NTASKS $CUDA_VISIBLE_DEVICES")
    assert sorted(told.splitlines()) == ["0/2 0,1", "1/2 0,1"]


def slurm_error(slurm, *command):
    done = subprocess.run(command, env=slurm.environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind_when_the_tests_are_stopped(slurm, tmp_path, number):
    """Beside the session's own cluster, so that this also shows that two don't meet."""
    root = Path(__file__).parents[2]
    program = (
        "import signal, time\nfrom pathlib import Path\nfrom tests.slurm.cluster import Cluster\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests started in the background ignore it, and hand that on
        f"with Cluster(Path({str(tmp_path / 'c')!r}), nodes=1) as cluster:\n"
        f"    cluster.sbatch('--output=/dev/null', '--wrap', 'srun env -i sleep 300')\n"
        "    cluster.wait_for(lambda jobs: jobs[0].state == 'RUNNING', timeout_s=30)\n"
        "    time.sleep(1)\n    print('up', flush=True)\n    time.sleep(300)\n"
    )
    tests = subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert tests.stdout.readline() == "up\n"
    found = [pid for pid in guard.all_pids() if guard.belongs_to(pid, tmp_path / "c")]
    sleeper = guard.descendants(found)
    assert str(tmp_path / "c") in guard.HOSTS.read_text()
    assert len(found) >= 5, "munged, slurmctld, slurmd, two step daemons and their processes"

    tests.send_signal(number)
    tests.communicate(timeout=180)
    wait_until(lambda: str(tmp_path / "c") not in guard.HOSTS.read_text(), timeout_s=30, what=lambda: "names stay in /etc/hosts")
    assert not [pid for pid in guard.all_pids() if guard.belongs_to(pid, tmp_path / "c")]
    wait_until(lambda: not [pid for pid in sleeper if is_alive(pid)], timeout_s=10, what=lambda: f"{sleeper} live on")
    assert slurm.run("squeue", "-h") == ""


def is_alive(pid):
    """Not gone, and not a dead process that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("text", ["", "127.0.0.1 localhost\n", "# no newline at the end\n::1 localhost"])
def test_names_are_added_and_taken_away_to_the_byte(tmp_path, text):
    hosts = tmp_path / "hosts"
    hosts.write_text(text)
    guard.edit_hosts(tmp_path / "a", ["node1", "node2"], hosts=hosts)
    guard.edit_hosts(tmp_path / "ab", ["node1"], hosts=hosts)
    assert [line.split()[:2] for line in hosts.read_text().splitlines()][:3] == [["127.0.0.1", f"node{i}"] for i in (1, 1, 2)]
    guard.edit_hosts(tmp_path / "a", [], hosts=hosts)
    guard.edit_hosts(tmp_path / "ab", [], hosts=hosts)
    assert hosts.read_text() == text


def test_ports_in_use_are_not_given_out(monkeypatch):
    with socket.socket() as taken:
        (port,) = free_ports(1)
        taken.bind(("", port))
        monkeypatch.setattr("tests.slurm.cluster.PORTS", range(port, port + 1))
        with pytest.raises(AssertionError, match="no 1 free ports"):
            free_ports(1)


def test_wait_status_is_read_as_code_or_signal():
    cells = ["8", "3", "2", "x", "FAILED", str(9 * 256), "1", "NonZeroExitCode", "node1", "(null)"]
    assert (parse_job(cells).exit_code, parse_job(cells).signal) == (9, 0)
    assert (parse_job([*cells[:5], "15", *cells[6:]]).exit_code, parse_job([*cells[:5], "15", *cells[6:]]).signal) == (0, 15)
    assert parse_job([*cells[:2], "N/A", *cells[3:]]).task is None


def test_a_cluster_that_cannot_start_says_why(tmp_path, monkeypatch):
    """A port taken between the look and the start, for instance."""
    if reason := missing():
        pytest.skip(reason)
    monkeypatch.setattr("tests.slurm.cluster.settings", lambda *_, **__: ["NoSuchSetting=1"])
    with pytest.raises(AssertionError, match=r"(slurmctld|node1) ended at once"), Cluster(tmp_path / "c", nodes=1):
        pass
    assert not [pid for pid in guard.all_pids() if guard.belongs_to(pid, tmp_path / "c")]
