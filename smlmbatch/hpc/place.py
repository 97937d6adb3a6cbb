"""Where this process stands: its rank among those started together, its share of an array, its job.

Made once, by the command line, from what srun, torchrun and SLURM left in the environment; handed down as an
argument. Decisions: torchrun's word wins over srun's (it is the inner launcher); a batch script or an salloc shell
has SLURM's variables but is no rank of anything; what can't be read is an error, never "then I am alone".
Variables as SLURM 22.05.8 sets them. Inside a step the STEP ones count: the others may be the job's (`--ntasks-per-node`
stays what sbatch was told when srun asks for less).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.hosts import expand_hosts

_SPECIAL_STEPS = 0xFFFFFFF0  # ids from here on are no steps of srun's: batch script, interactive shell … (slurm.h)
_ENDED_KINDS = ("afterany", "afterok", "afternotok")
_TASKS = re.compile(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?")
# where node lists and their lengths stand: the first that is set counts
_JOB_NODES = (("SLURM_JOB_NODELIST", "SLURM_NODELIST"), ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"))
_STEP_NODES = (("SLURM_STEP_NODELIST", *_JOB_NODES[0]), ("SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"))
_STEP_TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_NO_ARRAY = "this is no task of a SLURM array (SLURM_ARRAY_TASK_ID isn't set)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one process stands.

    Attributes
    ----------
    rank, world : number of this process among those launched together, and how many they are
    local_rank, local_world : the same on this node
    node : index of this node among `hosts`
    host : this node's name, as SLURM has it where SLURM started us
    hosts : names of all nodes of the step (outside one: of the job); empty outside SLURM
    part, parts : share of an array of one run of ids; 1 of 1 where there is none, see `array_part`
    job : id of the job; every task of an array has one of its own
    step : number of the step within the job; 0 outside one
    array_job : id of the whole array, "" outside one
    task : array task id; 0 outside an array (and in a task 0: `array_job` tells)
    restart : how often SLURM has requeued this job
    ended_jobs : ids this job waited for, ended by now; an array's task as "12_3", a whole array as "12"
    launcher : "alone", "srun" or "torchrun"
    master : host:port where torchrun lets its ranks meet; "" under any other launcher
    agent : whether torchrun itself listens there, and not rank 0
    attempt : how often torchrun has started its ranks anew
    no_part : why the array gives no share, "" where it does
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    node: int = 0
    host: str = ""
    hosts: tuple[str, ...] = ()
    part: int = 1
    parts: int = 1
    job: str = ""
    step: int = 0
    array_job: str = ""
    task: int = 0
    restart: int = 0
    ended_jobs: tuple[str, ...] = ()
    launcher: str = "alone"
    master: str = ""
    agent: bool = False
    attempt: int = 0
    no_part: str = _NO_ARRAY

    @property
    def queue_id(self) -> str:
        """The id that dependencies name: the array's, else the job's; "" outside SLURM."""
        return self.array_job or self.job

    def array_part(self) -> tuple[int, int]:
        """(I, N): which share of the fields this array task takes.

        Raises
        ------
        ConfigError
            no array, or one whose ids are no single run with a constant step
        """
        if self.no_part:
            raise ConfigError(f"no share of the array: {self.no_part}. Submit with --array=1-N, or give --part I/N")
        return self.part, self.parts

    def head(self) -> str:
        """The host where ranks meet: the first of the nodes.

        Raises
        ------
        ConfigError
            several nodes and no list of them
        """
        if not self.hosts and self.world > self.local_world:
            raise ConfigError(f"{self.world} ranks, {self.local_world} of them here, and no list of nodes: nobody knows where to meet")
        return self.hosts[0] if self.hosts else self.host


def read_place(environ: Mapping[str, str] = os.environ) -> Place:
    """The place of this process.

    Raises
    ------
    ConfigError
        a variable that is no number or contradicts another (named, with its value); several nodes and no list of them
    """
    launch = _torchrun(environ) if _by_torchrun(environ) else _srun(environ) if in_step(environ) else _alone(environ)
    return Place(**launch, **_array(environ), **_job(environ))


def in_step(environ: Mapping[str, str]) -> bool:
    """Whether srun started this process; a batch script or an interactive step (salloc's shell) is none of srun's."""
    text = environ.get("SLURM_STEP_ID", "")
    return text.isascii() and text.isdecimal() and int(text) < _SPECIAL_STEPS


# ---- who launched it


def _alone(environ: Mapping[str, str]) -> dict[str, Any]:
    return {"launcher": "alone", **_nodes(environ)}


def _srun(environ: Mapping[str, str]) -> dict[str, Any]:
    nodes = _nodes(environ)
    node = _integer(environ, "SLURM_NODEID", 0, below=max(1, len(nodes["hosts"])))
    world = _first_integer(environ, _STEP_TASKS, least=1)
    local_world = _tasks_here(environ, world, node)
    return {
        "launcher": "srun",
        "rank": _integer(environ, "SLURM_PROCID", below=world),
        "world": world,
        "local_rank": _integer(environ, "SLURM_LOCALID", below=local_world),
        "local_world": local_world,
        "node": node,
        **nodes,
    }


def _by_torchrun(environ: Mapping[str, str]) -> bool:
    return "TORCHELASTIC_RUN_ID" in environ or all(name in environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))


def _torchrun(environ: Mapping[str, str]) -> dict[str, Any]:
    _refuse_one_torchrun_per_task(environ)
    nodes = _nodes(environ)
    world = _integer(environ, "WORLD_SIZE", least=1)
    local_world = _integer(environ, "LOCAL_WORLD_SIZE", least=1, below=world + 1)
    rank = _integer(environ, "RANK", below=world)
    return {
        "launcher": "torchrun",
        "master": f"{environ['MASTER_ADDR']}:{environ['MASTER_PORT']}" if environ.get("MASTER_ADDR") and environ.get("MASTER_PORT") else "",
        "agent": environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        "attempt": _integer(environ, "TORCHELASTIC_RESTART_COUNT", 0),
        "rank": rank,
        "world": world,
        "local_rank": _integer(environ, "LOCAL_RANK", below=local_world),
        "local_world": local_world,
        "node": _integer(environ, "GROUP_RANK", rank // local_world),
        **nodes,
    }


def _refuse_one_torchrun_per_task(environ: Mapping[str, str]) -> None:
    """srun with several tasks a node, each a torchrun: the surplus ones wait for ever or train copies of their own."""
    if not in_step(environ) or not environ.get("GROUP_WORLD_SIZE"):
        return
    tasks = _first_integer(environ, _STEP_TASKS, least=1)
    here = _tasks_here(environ, tasks, _integer(environ, "SLURM_NODEID", 0))
    agents = _integer(environ, "GROUP_WORLD_SIZE", least=1)
    if here > 1 and agents != tasks:
        raise ConfigError(
            f"srun started torchrun {tasks} times, {here} of them on this node, and {agents} found each other (GROUP_WORLD_SIZE): "
            "start torchrun once a node (--ntasks-per-node=1), or leave it away and let srun start the ranks"
        )


# ---- nodes, array, job


def _nodes(environ: Mapping[str, str]) -> dict[str, Any]:
    """Hosts of the step, else of the job; their number is held against the count SLURM gives."""
    lists, counts = _STEP_NODES if in_step(environ) else _JOB_NODES
    listed = next((name for name in lists if environ.get(name)), lists[0])
    count = _first_integer(environ, counts, 0)
    text = environ.get(listed, "")
    if not text and count > 1:
        raise ConfigError(f"SLURM says {count} nodes, and {listed} is missing: pass SLURM's variables into the container")
    hosts = expand_hosts(text) if text else ()
    if count and hosts and len(hosts) != count:
        raise ConfigError(f"{listed}={text!r} names {len(hosts)} nodes, and SLURM says {count} ({' or '.join(counts)})")
    return {"hosts": hosts}


def _tasks_here(environ: Mapping[str, str], world: int, node: int) -> int:
    """Tasks of the step on this node; `2(x3),1` is 2 on each of three nodes and 1 on the fourth."""
    text = environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    if not text:
        return _integer(environ, "SLURM_NTASKS_PER_NODE", 1 if world == 1 else None, least=1)
    counts: list[int] = []
    for part in text.split(","):
        found = _TASKS.fullmatch(part)
        if not found or len(counts) > world:
            raise ConfigError(f"SLURM_STEP_TASKS_PER_NODE={text!r} can't be read; wanted counts such as 2(x3),1")
        counts += [int(found[1])] * min(int(found[2] or 1), world)
    if node >= len(counts):
        raise ConfigError(f"SLURM_STEP_TASKS_PER_NODE={text!r} has no node {node} (SLURM_NODEID)")
    return counts[node]


def _array(environ: Mapping[str, str]) -> dict[str, Any]:
    if not environ.get("SLURM_ARRAY_TASK_ID"):
        return {}
    task = _integer(environ, "SLURM_ARRAY_TASK_ID")
    found = {"array_job": environ.get("SLURM_ARRAY_JOB_ID", ""), "task": task}
    names = ("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    missing = [name for name in names if not environ.get(name)]
    if missing:
        return {**found, "no_part": f"{', '.join(missing)} is missing"}
    low, high, count = (_integer(environ, name) for name in names)
    step = _integer(environ, "SLURM_ARRAY_TASK_STEP", 1, least=1)
    if count < 1 or high - low != step * (count - 1):
        return {**found, "no_part": f"its {count} ids between {low} and {high} are no single run with a step of {step}"}
    if not low <= task <= high or (task - low) % step:
        raise ConfigError(f"SLURM_ARRAY_TASK_ID={task} is none of the array's ids, {low} to {high} by {step}")
    return {**found, "part": (task - low) // step + 1, "parts": count, "no_part": ""}


def _job(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        "host": environ.get("SLURMD_NODENAME") or os.uname().nodename,
        "job": environ.get("SLURM_JOB_ID", ""),
        "step": int(environ["SLURM_STEP_ID"]) if in_step(environ) else 0,
        "restart": _integer(environ, "SLURM_RESTART_COUNT", 0),
        "ended_jobs": _ended_jobs(environ.get("SLURM_JOB_DEPENDENCY", "")),
    }


def _ended_jobs(dependency: str) -> tuple[str, ...]:
    """Jobs that must have ended for us to run: `afterany:12_*:13,singleton` → 12, 13.

    Not those of `after` (only started), of `aftercorr` (one task ended) and of alternatives (`a?b`: either may go on).
    """
    if "?" in dependency:
        return ()
    found: dict[str, None] = {}
    for term in re.sub(r"\([^)]*\)", "", dependency).split(","):
        kind, *jobs = term.strip().split(":")
        if kind in _ENDED_KINDS:
            found |= dict.fromkeys(re.sub(r"(_\*|\+[0-9]+)+$", "", job) for job in jobs)
    return tuple(job for job in found if job)


# ---- numbers


def _integer(environ: Mapping[str, str], name: str, default: int | None = None, *, least: int = 0, below: int | None = None) -> int:
    """The variable as a whole number; unset and empty are the same, and an error unless there is a default."""
    text = environ.get(name, "").strip()
    if not text:
        if default is None:
            raise ConfigError(f"{name} is missing: pass the launcher's variables into the container")
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ConfigError(f"{name}={text!r} is no whole number")
    value = int(text)
    if value < least or (below is not None and value >= below):
        raise ConfigError(f"{name}={text} can't be: wanted at least {least}" + (f" and below {below}" if below is not None else ""))
    return value


def _first_integer(environ: Mapping[str, str], names: tuple[str, ...], default: int | None = None, *, least: int = 0) -> int:
    name = next((name for name in names if environ.get(name)), names[-1])
    return _integer(environ, name, default, least=least)
