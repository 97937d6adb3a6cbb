"""A real SLURM on this machine for the tests: one controller, several nodes, fake GPUs, all files in one folder.

Every node is a slurmd of its own (`slurmd -N node1`, ...) that declares more cores and memory than the machine may have. Daemons run in the
foreground as children of this process, with a munge key, a socket and ports of their own, so that two test runs on one machine don't meet.
Nothing stays behind, however the tests end: see `guard`.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.slurm import guard

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
FINISHED = frozenset({"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"})
TAKES_JOBS = ("idle", "mix", "alloc")
COLUMNS = ("JobID", "ArrayJobID", "ArrayTaskID", "Name", "State", "exit_code", "RestartCnt", "Reason", "NodeList", "Dependency")
# Each has this width: squeue cuts a column without one at 20 letters; dependencies on a whole chain are long.
COLUMN_LETTERS = 640
# Below Linux's range for outgoing connections (32768 ...), whose ports come and go.
PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Job:
    """One job or one array task as squeue tells it; `task` is None for a job that is no array."""

    job_id: int
    array_id: int
    task: int | None
    name: str
    state: str
    exit_code: int
    signal: int
    restarts: int
    reason: str
    node: str
    dependency: str

    @property
    def live(self) -> bool:
        """Whether it is queued, running or on its way out."""
        return self.state not in FINISHED


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "starting SLURM's daemons takes root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    return f"not installed: {', '.join(absent)} (tests/slurm/install.sh)" if absent else None


class Cluster:
    """SLURM with `nodes` nodes named node1, node2, ...; a context manager, or `up` and `down`."""

    def __init__(
        self, folder: Path, *, nodes: int = 3, cpus: int = 2, memory_mib: int = 4000, gpus: int = 2, max_array_size: int = 1001
    ) -> None:
        self.folder = folder
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.cpus, self.memory_mib, self.gpus, self.max_array_size = cpus, memory_mib, gpus, max_array_size
        self.config = folder / "etc" / "slurm.conf"
        self.log = folder / "log"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN", "SQUEUE"))}
        self.environ |= {"SLURM_CONF": str(self.config), "PATH": SEARCH}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    # ---- start and stop

    def up(self) -> None:
        """Write the configuration, start all daemons, wait until every node is idle (1-2 s)."""
        for name in ("etc", "run", "log", "state", "gpu"):
            (self.folder / name).mkdir(parents=True)
        self._guard = subprocess.Popen([sys.executable, guard.__file__, self.folder], stdin=subprocess.PIPE, start_new_session=True)
        guard.edit_hosts(self.folder, self.nodes)
        self._write_config()
        self._start_munge()
        self._start("slurmctld", "-D")
        for node in self.nodes:
            self._start(node, "-D", "-N", node, program="slurmd")
        self._wait_for_nodes(self.nodes)

    def down(self) -> None:
        """Cancel all jobs, stop all daemons; the guard clears what is left. The folder with its logs stays."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            self.cancel_all(timeout_s=10)
        for name in (*self.nodes, "slurmctld", "munged"):
            if name in self._daemons:
                stop(self._daemons[name])
        if self._guard:
            self._guard.communicate(timeout=60)
            assert self._guard.returncode == 0, f"{self.folder}: processes were left that could not be killed"

    def _start_munge(self) -> None:
        key, munge_socket = self.folder / "etc" / "munge.key", self.folder / "run" / "munge"
        key.write_bytes(random.randbytes(128))
        key.chmod(0o400)
        # --force: the socket lies in a folder that only root can enter, which munged else refuses.
        files = (f"--key-file={key}", f"--socket={munge_socket}", f"--pid-file={munge_socket}.pid", f"--seed-file={munge_socket}.seed")
        self._start("munged", "--force", "--foreground", *files)
        wait_until(munge_socket.exists, timeout_s=10, what=lambda: f"munged did not start; see {self.log}")

    def _start(self, name: str, *arguments: str, program: str | None = None) -> None:
        """A session of its own, so that a Ctrl-C at the terminal reaches the tests alone and they stop the daemons in order."""
        command = [shutil.which(program or name, path=SEARCH) or name, *arguments]
        with (self.log / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=self.folder
            )

    def _write_config(self) -> None:
        host = socket.gethostname().split(".")[0]
        controller, *ports = free_ports(1 + len(self.nodes))
        for number in range(self.gpus):
            os.mknod(self.folder / "gpu" / f"nvidia{number}", 0o020666, os.makedev(1, 3))  # /dev/null under another name
        lines = [
            *settings(self.folder, max_array_size=self.max_array_size),
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            *(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self.cpus} RealMemory={self.memory_mib}"
                + (f" Gres=gpu:fake:{self.gpus}" if self.gpus else "")
                for node, port in zip(self.nodes, ports, strict=True)
            ),
            "PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP",
        ]
        self.config.write_text("\n".join(lines) + "\n")
        gpu = f"Name=gpu Type=fake File={self.folder}/gpu/nvidia[0-{self.gpus - 1}]\n" if self.gpus else ""
        self.config.with_name("gres.conf").write_text(gpu)
        self.config.with_name("cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # else slurmd looks for a systemd

    # ---- what a user does

    def run(self, *command: str | os.PathLike[str], timeout: float = 30, expect: int | None = 0, **options: Any) -> str:
        """Run a client command (or submit.sh) against this cluster; its stdout. Another exit code than `expect` fails (None = any)."""
        arguments = [os.fspath(part) for part in command]
        environ = self.environ | options.pop("env", {})
        done = subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=timeout, check=False, **options)
        assert expect in (done.returncode, None), f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sbatch(self, *arguments: str | os.PathLike[str], **options: Any) -> int:
        """Submit; the job's id."""
        return int(self.run("sbatch", "--parsable", *arguments, **options).strip())

    def jobs(self) -> list[Job]:
        """All jobs of this cluster's life, one row per array task; finished ones too (MinJobAge)."""
        columns = ",".join(f"{column}:{COLUMN_LETTERS}" for column in COLUMNS)
        rows = self.run("squeue", "--array", "--states=all", "--noheader", "-O", columns).splitlines()
        starts = range(0, len(COLUMNS) * COLUMN_LETTERS, COLUMN_LETTERS)
        return [parse_job([row[start : start + COLUMN_LETTERS].strip() for start in starts]) for row in rows if row.strip()]

    def tasks(self, array_id: int) -> list[Job]:
        """The tasks of one array in order (or the one job of that id)."""
        return sorted((job for job in self.jobs() if job.array_id == array_id), key=lambda job: job.task or 0)

    def wait_for(self, predicate: Callable[[list[Job]], Any], *, timeout_s: float) -> Any:
        """Poll until `predicate(jobs)` is true and return what it returned; fails with the queue and the controller's last words."""
        return wait_until(lambda: predicate(self.jobs()), timeout_s=timeout_s, what=self.describe)

    def wait_end(self, *array_ids: int, timeout_s: float) -> list[Job]:
        """Wait until all tasks of these arrays or jobs have ended; they."""

        def ended(jobs: list[Job]) -> list[Job] | None:
            wanted = [job for job in jobs if job.array_id in array_ids]
            assert {job.array_id for job in wanted} == set(array_ids), f"unknown to SLURM: {array_ids}"
            return None if any(job.live for job in wanted) else wanted

        return self.wait_for(ended, timeout_s=timeout_s)

    def wait_empty(self, *, timeout_s: float) -> None:
        """Wait until nothing is queued or running."""
        self.wait_for(lambda jobs: not any(job.live for job in jobs), timeout_s=timeout_s)

    def cancel_all(self, *, timeout_s: float = 30) -> None:
        """Cancel what is queued or running and wait until it is gone."""
        live = [str(job.job_id) for job in self.jobs() if job.live]
        if live:
            self.run("scancel", *live, expect=None)
            self.wait_empty(timeout_s=timeout_s)

    def describe(self) -> str:
        """The queue, the nodes and the controller's last words, for a failed test."""
        said = []
        for command in (["squeue", "--states=all", "--array"], ["sinfo", "-N", "-l"]):
            with suppress(subprocess.TimeoutExpired):
                said.append(self.run(*command, timeout=3, expect=None))
        return "\n".join([*said, *self.log_tail("slurmctld.log")])

    def log_tail(self, name: str, *, lines: int = 40) -> list[str]:
        """The last lines of a daemon's log."""
        return (self.log / name).read_text(errors="replace").splitlines()[-lines:]

    # ---- what happens to clusters

    def kill_slurmd_only(self, node: str) -> None:
        """The controller loses sight of the node, whose jobs go on (zombies that write beside their own requeued copies)."""
        self._daemons[node].kill()
        self._daemons[node].wait()

    def power_cut(self, node: str) -> None:
        """SIGKILL the node's slurmd, then its step daemons, then their processes: parents first, so that none lives to report."""
        below = guard.descendants([self._daemons[node].pid, *self.step_daemons(node)])
        self.kill_slurmd_only(node)

        def all_gone() -> bool:
            """A killed process keeps its files open until it has wound itself up, and a step daemon just forked opens its log late."""
            nonlocal below
            left = self.step_daemons(node)
            guard.kill([*left, *below])
            below = guard.descendants(left)
            return not left

        wait_until(all_gone, timeout_s=10, what=self.describe)

    def step_daemons(self, node: str) -> list[int]:
        """Process ids of the node's slurmstepds: nothing names their node but its log file, which they keep open."""
        log = self.log / f"{node}.log"
        return [pid for pid in guard.all_pids() if pid != self._daemons[node].pid and guard.has_open(pid, log)]

    def declare_down(self, *nodes: str) -> None:
        """What the controller finds out by itself after SlurmdTimeout, at once: jobs of these nodes are requeued or fail."""
        self.run("scontrol", "update", f"NodeName={','.join(nodes)}", "State=DOWN", "Reason=test")

    def restart(self, *nodes: str) -> None:
        """Bring dead or downed nodes back and wait until they take jobs."""
        for node in nodes:
            if self._daemons[node].poll() is not None:
                self._start(node, "-D", "-N", node, program="slurmd")
            if self._state(node).startswith("down"):
                self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", expect=None)
        self._wait_for_nodes(nodes)

    def heal(self) -> None:
        """All jobs cancelled, all nodes up: what the next test wants to find."""
        self.cancel_all()
        self.restart(*self.nodes)

    def _state(self, node: str) -> str:
        """SLURM's word for the node; `*` at its end = does not answer."""
        return self.run("sinfo", "--noheader", "-n", node, "-o", "%t", expect=None).strip()

    def _wait_for_nodes(self, nodes: Iterable[str]) -> None:
        def ready() -> bool:
            dead = [name for name in ("munged", "slurmctld", *nodes) if self._daemons[name].poll() is not None]
            assert not dead, "\n".join([f"{dead[0]} ended at once", *self.log_tail(f"{dead[0]}.out")])
            return all(self._state(node) in TAKES_JOBS for node in nodes)

        wait_until(ready, timeout_s=60, what=self.describe)


def settings(folder: Path, *, max_array_size: int) -> list[str]:
    """slurm.conf without nodes. Timings are as short as they are robust on a machine under load."""
    scheduler = "sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,requeue_delay=1"
    return [
        "ClusterName=smlmtest",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        # A requeued job waits until its old credential has expired: 120 s by default.
        f"AuthInfo=socket={folder}/run/munge,cred_expire=5",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool.%n",
        f"SlurmctldPidFile={folder}/run/slurmctld.pid",
        f"SlurmdPidFile={folder}/run/%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/%n.log",
        "JobCompType=jobcomp/filetxt",
        f"JobCompLoc={folder}/log/jobcomp.log",
        # No cgroups: they need a host that hands them out. Memory is watched by polling instead.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=1",
        "JobAcctGatherParams=OverMemoryKill",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "DefMemPerCPU=500",
        "SlurmdParameters=config_overrides",
        "GresTypes=gpu",
        f"MaxArraySize={max_array_size}",
        "ReturnToService=2",
        "JobRequeue=1",
        "SlurmdTimeout=10",
        "KillWait=3",
        "BatchStartTimeout=10",
        "MessageTimeout=10",
        "MinJobAge=3600",
        "CompleteWait=0",
        "SchedulerType=sched/backfill",
        f"SchedulerParameters={scheduler}",
        "SwitchType=switch/none",
        "MpiDefault=none",
        "PropagateResourceLimits=NONE",
        "AccountingStorageType=accounting_storage/none",
    ]


def parse_job(cells: list[str]) -> Job:
    """One row of squeue in the order of COLUMNS. It gives the exit code as wait status: the code times 256, or the signal."""
    job_id, array_id, task, name, state, status, restarts, reason, node, dependency = cells
    code, number = divmod(int(status), 256)
    return Job(
        job_id=int(job_id),
        array_id=int(array_id),
        task=int(task) if task.isdigit() else None,
        name=name,
        state=state,
        exit_code=code,
        signal=number & 127,
        restarts=int(restarts),
        reason=reason,
        node=node,
        dependency=dependency,
    )


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now. Drawn at random, so that two clusters that start at once rarely try the same."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports in {PORTS}")


def wait_until(condition: Callable[[], Any], *, timeout_s: float, what: Callable[[], str]) -> Any:
    """Poll until true and return the value; AssertionError with `what()` after the time."""
    end_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end_s, f"not reached within {timeout_s} s\n{what()}"
        time.sleep(0.2)


def stop(daemon: subprocess.Popen[bytes]) -> None:
    """End in order, or by force after some seconds."""
    daemon.terminate()
    try:
        daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
