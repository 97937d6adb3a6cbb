"""What the scripts of a submission do, with a SLURM whose commands are played by small scripts that log how they are called."""

import csv
import hashlib
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from smlmbatch.hpc.site import STAGES, Site, site_from_dict
from smlmbatch.hpc.submit import plan_submission, write_submission
from tests.hpc.submissions import CONTAINER, HOSTILE, PLAIN, ROOT, loads

GOLDEN = Path(__file__).parent / "golden"
SCRIPTS = sorted([*(ROOT / "jobs").glob("*.sh"), *(ROOT / "jobs").glob("*.sbatch")])


@pytest.mark.parametrize("path", [*SCRIPTS, *sorted(GOLDEN.glob("*.sh"))], ids=lambda path: path.name)
def test_bash_can_parse(path):
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    files = [*SCRIPTS, *sorted(GOLDEN.glob("*.sh"))]
    # SC1091, SC2154: what is sourced is found, and sets its variables, only where it has been written
    done = subprocess.run(["shellcheck", "--shell=bash", "--exclude=SC1091,SC2154", *files], capture_output=True, text=True, check=False)
    assert done.stdout == ""


# ---- submit.sh and pipeline.sh


PLAYED = """#!/usr/bin/env bash
printf '%s\\0' "$(basename "$0")" "$@" >> "$FAKE/calls"; printf '\\n' >> "$FAKE/calls"
"""
SBATCH = """if [ -f "$FAKE/refuse" ] && [[ "$*" == *"$(cat "$FAKE/refuse")"* ]]; then
  echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; fi
env > "$FAKE/environ"
n=$(( $(cat "$FAKE/id" 2> /dev/null || echo 100) + 1 )); echo $n > "$FAKE/id"; echo "$n;cluster1"
"""
SQUEUE = """[ ! -f "$FAKE/down" ] || { echo "squeue: error: Unable to contact slurm controller" >&2; exit 1; }
case "$*" in *%T*) cat "$FAKE/state" ;; *) cat "$FAKE/queue" 2> /dev/null || true ;; esac
"""
SCONTROL = """[ "$1" != show ] || echo "MaxArraySize            = ${FAKE_MAX:-1001}"
"""
SRUN = """exit "$(cat "$FAKE/code")"
"""


class Host:
    """A login node: fake commands of SLURM on PATH, and what was called."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir(parents=True)
        for name, body in {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL, "srun": SRUN}.items():
            self.program(name, body)
        self.environ = {"PATH": f"{self.bin}:/usr/bin:/bin", "FAKE": str(folder), "HOME": str(folder)}

    def program(self, name, body):
        (self.bin / name).write_text(PLAYED + body)
        (self.bin / name).chmod(0o755)

    def say(self, name, text):
        (self.folder / name).write_text(text)

    def run(self, *command, expect=0, **environ):
        done = subprocess.run(command, cwd="/", env=self.environ | environ, capture_output=True, text=True, check=False)
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    def calls(self, name):
        """The arguments of each call of one program, in order; forgets them."""
        path = self.folder / "calls"
        lines = path.read_text().split("\0\n") if path.exists() else []
        return [line.split("\0")[1:] for line in lines if line.split("\0")[0] == name]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "host")


@pytest.fixture
def output(tmp_path):
    return tmp_path / HOSTILE


def name_of(output, stage):
    return f"smlm-{stage}-{hashlib.sha256(bytes(output.resolve())).hexdigest()[:8]}"


def test_chain_of_arrays(host, output):
    folder = write_submission(output, plan_submission(site_from_dict(CONTAINER), loads(fields=300, seconds=600.0)))
    done = host.run(folder / "submit.sh")
    log = str(output).replace("%", "%%") + "/logs/slurm/0001-{}-%a.log"
    wanted = []
    waits = [[], *([f"--dependency=afterany:{n}"] for n in range(101, 110))]
    for number, (stage, before) in enumerate(zip(STAGES, waits, strict=True)):
        line = next(line for line in (folder / "submit.sh").read_text().splitlines() if line.startswith(f"array {stage} "))
        _, _, spec, *options = shlex.split(line)
        start = ["--parsable", f"--job-name={name_of(output, stage)}", f"--array={spec}", f"--output={log.format(stage)}"]
        wanted.append([*start, *before, *options, str(folder / f"{stage}.sbatch"), str(folder)])
        assert done.stdout.splitlines()[number] == f"{stage} {101 + number}"
    assert host.calls("sbatch") == wanted
    assert "--gres=gpu:a100:1" in wanted[STAGES.index("measure")]
    assert "--comment=night's work" in wanted[STAGES.index("report")]
    assert wanted[0][2] == "--array=1-40%8"
    assert (output / "logs" / "slurm").is_dir()
    jobs = ["ingest 101", "tile 102", "quality 103", "measure 104", "embed 105", "cluster 106", "pick 107"]
    jobs += ["order 108", "register 109", "report 110"]
    assert (folder / "jobs.txt").read_text().splitlines() == jobs
    assert "squeue -j 101,102,103,104,105,106,107,108,109,110" in done.stderr
    assert "scancel 101 102 103 104 105 106 107 108 109 110" in done.stderr


def test_told_commands_can_be_pasted(host, output):
    folder = write_submission(output, plan_submission(Site(), loads()))
    line = next(line for line in host.run(folder / "submit.sh").stderr.splitlines() if "smlmbatch status" in line)
    shown = subprocess.run(["bash", "-c", line.replace("smlmbatch status", "printf %s")], capture_output=True, text=True, check=True)
    assert shown.stdout == str(output)


def test_submit_works_through_a_link(host, output, tmp_path):
    folder = write_submission(output, plan_submission(Site(), loads()))
    (tmp_path / "go").symlink_to(folder / "submit.sh")
    host.run(tmp_path / "go")
    assert host.calls("sbatch")[0][-1] == str(folder)


def test_array_larger_than_the_cluster_allows(host, output):
    folder = write_submission(output, plan_submission(site_from_dict({"slurm": {"task_minutes": 2}}), loads()))
    largest = len((folder / "tasks-tile.csv").read_text().splitlines()) - 1
    done = host.run(folder / "submit.sh", expect=1, FAKE_MAX=str(largest))
    assert f"MaxArraySize is {largest}: set slurm.max_array_size = {largest} in the site profile" in done.stderr
    assert host.calls("sbatch") == []
    host.run(folder / "submit.sh", FAKE_MAX=str(largest + 1))


def test_waits_for_jobs_of_an_earlier_submission(host, output):
    host.say("queue", "55\n7\n7\n")
    folder = write_submission(output, plan_submission(Site(), loads()))
    assert "(7 55); these will wait" in host.run(folder / "submit.sh").stderr
    first, second, *_ = host.calls("sbatch")
    assert "--dependency=afterany:7:55" in first
    assert "--dependency=afterany:101" in second
    (query,) = host.calls("squeue")
    assert "--name=" + ",".join(name_of(output, stage) for stage in (*STAGES, "dask")) in query


def test_same_submission_twice(host, output):
    """Refused while one of its jobs is queued or running; afterwards it may be repeated, which does only what is missing."""
    folder = write_submission(output, plan_submission(Site(), loads()))
    host.run(folder / "submit.sh")
    host.say("queue", "103\n")
    again = host.run(folder / "submit.sh", expect=1)
    jobs = " ".join(map(str, range(101, 111)))
    assert f"already submitted, and job 103 of it is still in the queue. To cancel it: scancel {jobs}" in again.stderr
    host.say("queue", "")
    host.run(folder / "submit.sh")
    assert [line.split()[1] for line in (folder / "jobs.txt").read_text().splitlines()] == [str(n) for n in range(101, 121)]


def test_refusal_in_the_middle_names_what_is_queued(host, output):
    host.say("refuse", "measure.sbatch")
    folder = write_submission(output, plan_submission(Site(), loads()))
    done = host.run(folder / "submit.sh", expect=1)
    assert "QOSMaxSubmitJobPerUserLimit" in done.stderr
    assert "sbatch refused the array of measure" in done.stderr
    assert "scancel 101 102 103" in done.stderr
    assert len(host.calls("sbatch")) == 4


def test_nothing_is_submitted_where_slurm_is_silent_or_absent(host, output):
    folder = write_submission(output, plan_submission(Site(), loads()))
    host.say("down", "")
    assert "squeue can't reach SLURM; nothing was submitted" in host.run(folder / "submit.sh", expect=1).stderr
    assert host.calls("sbatch") == []
    bare = host.folder / "bare"
    bare.mkdir()
    for name in ("bash", "dirname", "readlink"):
        (bare / name).symlink_to(shutil.which(name))
    assert "no sbatch here: run this where jobs are submitted" in host.run(folder / "submit.sh", expect=1, PATH=str(bare)).stderr


def test_a_job_around_it_leaves_no_trace(host, output):
    """Submitted from within a job (scrontab, salloc), whose memory variables would make srun of the new job fail."""
    folder = write_submission(output, plan_submission(Site(), loads()))
    host.run(folder / "submit.sh", SLURM_MEM_PER_CPU="100", SLURM_JOB_ID="9", SLURM_CONF="/etc/slurm.conf")
    seen = dict(line.split("=", 1) for line in (host.folder / "environ").read_text().splitlines() if line.startswith("SLURM"))
    assert seen == {"SLURM_CONF": "/etc/slurm.conf"}


def test_output_that_slurm_can_not_log_to(host, tmp_path):
    folder = write_submission(tmp_path / "back\\slash", plan_submission(Site(), loads()))
    assert "backslash" in host.run(folder / "submit.sh", expect=1).stderr
    assert host.calls("sbatch") == []


# ---- the templates on a node


ON_NODE = {"SLURM_JOB_ID": "33", "SLURM_ARRAY_JOB_ID": "30", "SLURM_ARRAY_TASK_ID": "4", "SLURM_CPUS_PER_TASK": "2"}


def run_task(host, output, *, stage="ingest", profile=PLAIN, code=0, state="RUNNING", expect=None, **environ):
    """Run a template as SLURM does: a copy in a spool folder, the submission's folder as its argument."""
    folder = write_submission(output, plan_submission(site_from_dict(profile), loads()))
    spooled = host.folder / "slurm_script"
    spooled.write_bytes((folder / f"{stage}.sbatch").read_bytes())
    host.say("code", str(code))
    host.say("state", state + "\n")
    done = host.run("bash", spooled, folder, expect=code if expect is None else expect, **ON_NODE | environ)
    return folder, done


def requeues(host):
    return [call for call in host.calls("scontrol") if call[0] == "requeue"]


def test_command_of_an_environment(host, output):
    folder, _ = run_task(host, output)
    step = ["--ntasks=1", "--cpus-per-task=2", "--export=ALL"]
    command = ["/opt/smlmbatch/bin/smlmbatch", "ingest", str(output), "--tasks", str(folder / "tasks-ingest.csv"), "--workers", "2"]
    assert host.calls("srun") == [[*step, *command]]


def test_command_on_path(host, output):
    host.program("smlmbatch", "")
    run_task(host, output, stage="report", profile={})
    ((*_, command, verb, out, _, tasks),) = host.calls("srun")
    assert (command, verb, out, Path(tasks).name) == ("smlmbatch", "report", str(output), "tasks-report.csv")


def test_a_profile_that_says_nothing_of_software_is_told_on_a_node_without(host, output):
    _, done = run_task(host, output, profile={}, expect=1)
    assert "set software.sif or software.environment in the site profile" in done.stderr
    assert host.calls("srun") == []


@pytest.mark.parametrize(("stage", "nv"), [("tile", []), ("measure", ["--nv"])])
def test_command_of_a_container(host, output, stage, nv):
    host.program("apptainer", "")
    profile = CONTAINER | {"software": CONTAINER["software"] | {"modules": [], "scratch": "$NODE_TMP/s"}}
    scratch = host.folder / "tmp of node"
    folder, _ = run_task(host, output, stage=stage, profile=profile, NODE_TMP=str(scratch))
    (call,) = host.calls("srun")
    quoted = str(output).replace('"', '""')
    mounts = [f'type=bind,"src={quoted}","dst={quoted}"', f'type=bind,"src={scratch}/s","dst={scratch}/s"']
    assert [next(csv.reader([mount])) for mount in mounts] == [["type=bind", f"src={f}", f"dst={f}"] for f in (output, scratch / "s")]
    image = ["--bind", "/gpfs", "--bind", "/data:/data:ro", "/opt/images/smlm batch.sif"]
    work = ["--tasks", str(folder / f"tasks-{stage}.csv"), "--workers", "2", "--scratch", f"{scratch}/s"]
    assert call[3:] == [
        str(host.bin / "apptainer"),
        "run",
        *nv,
        "--mount",
        mounts[0],
        "--mount",
        mounts[1],
        *image,
        stage,
        str(output),
        *work,
    ]
    assert (scratch / "s").is_dir()


def test_ranks_are_one_step_and_find_their_scratch_folder(host, output):
    """On several nodes it is made on each: the batch script runs on the first alone."""
    profile = PLAIN | {"software": {"environment": "/opt/smlmbatch", "scratch": "$NODE_TMP/s"}, "stage": {"embed": {"ranks": 4}}}
    scratch = host.folder / "tmp of node"
    folder, _ = run_task(host, output, stage="embed", profile=profile, NODE_TMP=str(scratch), SLURM_NTASKS="4", SLURM_JOB_NUM_NODES="2")
    first, step = host.calls("srun")
    assert first == ["--ntasks=2", "--ntasks-per-node=1", "--export=ALL", "mkdir", "-p", "--", f"{scratch}/s"]
    work = ["--tasks", str(folder / "tasks-embed.csv"), "--workers", "2", "--scratch", f"{scratch}/s"]
    command = ["/opt/smlmbatch/bin/smlmbatch", "embed", str(output), *work]
    assert step == ["--kill-on-bad-exit=1", "--cpus-per-task=2", "--export=ALL", *command]


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_step_code_is_the_tasks(host, output, code):
    run_task(host, output, code=code)
    assert requeues(host) == []


@pytest.mark.parametrize("code", [75, 125, 137, 143])
@pytest.mark.parametrize("before", ["", "2"])
def test_stopped_and_killed_tasks_are_requeued(host, output, code, before):
    """By array and task: one task's own job id is that of the whole array."""
    run_task(host, output, code=code, SLURM_RESTART_COUNT=before)
    assert requeues(host) == [["requeue", "30_4"]]


def test_requeues_are_bounded(host, output):
    _, done = run_task(host, output, code=75, SLURM_RESTART_COUNT="3")
    assert requeues(host) == []
    assert "not requeued again after 3 times" in done.stderr


def test_a_cancelled_task_is_not_brought_back(host, output):
    _, done = run_task(host, output, code=75, state="COMPLETING")
    assert requeues(host) == []
    assert "not requeued, for the job is COMPLETING" in done.stderr


def test_node_is_set_up_before_the_command(host, output):
    host.program("smlmbatch", "")
    module = host.folder / "module.sh"
    module.write_text('module() { echo "module $*"; [ "$2" != absent ]; }\nexport -f module\n')
    profile = {"software": {"modules": ["one", "two/2"], "setup": ["echo \"set up 'x'\"", "NOTE=1"]}}
    _, done = run_task(host, output, profile=profile, BASH_ENV=str(module))
    assert done.stdout.splitlines() == ["module load one", "module load two/2", "set up 'x'"]
    _, done = run_task(host, output, profile={"software": {"modules": ["absent"]}}, expect=1, BASH_ENV=str(module))
    assert "can't load module absent" in done.stderr
    _, done = run_task(host, output, profile={"software": {"setup": ["false"]}}, expect=1)
    assert "failed: false" in done.stderr
    assert len(host.calls("srun")) == 1


def test_missing_container_runtime_is_told(host, output):
    if shutil.which("apptainer") or shutil.which("singularity"):
        pytest.skip("a container runtime is installed")
    _, done = run_task(host, output, profile={"software": {"sif": "/a.sif"}}, expect=1)
    assert "neither apptainer nor singularity" in done.stderr
    assert host.calls("srun") == []


# ---- nightly.sh


def test_nightly_submits_what_is_new_and_nothing_else(host, output, tmp_path):
    host.program("smlmbatch", "")
    nightly = [ROOT / "jobs" / "nightly.sh", tmp_path / "archive", output, tmp_path / "site.toml"]
    assert host.run(*nightly).stderr == ""
    assert host.calls("sbatch") == []
    write_submission(output, plan_submission(Site(), loads()))  # as tonight's `submit` would have
    host.run(*nightly)
    assert len(host.calls("sbatch")) == len(STAGES)
    host.run(*nightly)
    assert len(host.calls("sbatch")) == len(STAGES)
    wanted = [
        "submit",
        "--new-in",
        str(tmp_path / "archive"),
        str(output),
        "--profile",
        str(tmp_path / "site.toml"),
        "--settled-minutes",
        "30",
    ]
    assert host.calls("smlmbatch") == [wanted] * 3
    assert not [path for path in output.iterdir() if path.name not in ("jobs", "logs", ".nightly.lock")]


def test_the_next_night_submits_what_this_one_could_not(host, output, tmp_path):
    """SLURM was down, or refused in the middle of a chain: the folders are planned, and must not be forgotten."""
    host.program("smlmbatch", "")
    nightly = [ROOT / "jobs" / "nightly.sh", tmp_path / "archive", output, tmp_path / "site.toml"]
    write_submission(output, plan_submission(Site(), loads()))
    host.say("refuse", "smlm-measure")
    host.run(*nightly, expect=1)
    refused = len(host.calls("sbatch"))
    (host.folder / "refuse").unlink()
    host.run(*nightly)
    assert len(host.calls("sbatch")) == refused + len(STAGES)


def test_two_nights_do_not_overlap(host, output, tmp_path):
    host.program("smlmbatch", ': > "$FAKE/began"; while [ ! -f "$FAKE/go" ]; do sleep 0.05; done\n')
    nightly = [ROOT / "jobs" / "nightly.sh", tmp_path, output, tmp_path / "site.toml"]
    with subprocess.Popen(nightly, env=host.environ, cwd="/") as first:
        while not (host.folder / "began").exists():
            assert first.poll() is None
            time.sleep(0.02)
        assert "an earlier one is still at it" in host.run(*nightly).stderr
        host.say("go", "")
        assert first.wait(timeout=60) == 0
    assert len(host.calls("smlmbatch")) == 1


def test_nightly_fails_where_submit_fails(host, output, tmp_path):
    host.program("smlmbatch", "echo broken profile >&2; exit 2\n")
    done = host.run(ROOT / "jobs" / "nightly.sh", tmp_path, output, tmp_path / "site.toml", expect=2)
    assert "broken profile" in done.stderr
    assert "usage" in host.run(ROOT / "jobs" / "nightly.sh", tmp_path, expect=2).stderr


def test_nightly_takes_an_image(host, output, tmp_path):
    host.program("apptainer", "")
    host.run(ROOT / "jobs" / "nightly.sh", tmp_path, output, tmp_path / "site.toml", SMLMBATCH="apptainer run --bind /data /a.sif")
    assert host.calls("apptainer")[0][:6] == ["run", "--bind", "/data", "/a.sif", "submit", "--new-in"]
