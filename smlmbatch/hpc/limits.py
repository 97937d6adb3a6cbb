"""How much memory and how many cores this process may use, who says so, and what it has used.

A machine's own numbers are too large on a cluster: cgroups and SLURM give less, and a process that believes the
machine is killed. So every limit that can be seen is looked up, and the smallest counts. cgroups are found as the
kernel says (/proc/self/mountinfo), v1, v2 and both at once, and read from our own up to the topmost visible: in a
container the path of /proc/self/cgroup may lie outside it, and then what can be seen is what is mounted.
"""

import math
import os
import re
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import in_step

_ROOT = Path("/")
_FACTORS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}  # SLURM's plain numbers are MiB
_MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")  # v2, v2's throttle (as slow as dead), v1
_FORGET_PEAK = "5"  # proc(5), clear_refs: resets VmHWM


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper bound (bytes, cores) and who sets it."""

    value: int
    source: str


def memory_limit_bytes(environ: Mapping[str, str] = os.environ, root: Path = _ROOT) -> int:
    """Memory that this process and those beside it in its job may use on this node; see `memory_limit`."""
    return memory_limit(environ, root).value


def memory_limit(environ: Mapping[str, str] = os.environ, root: Path = _ROOT) -> Limit:
    """The smallest of the machine's memory, all cgroups we are in, and what SLURM has given this job on this node.

    Raises
    ------
    ConfigError
        a variable of SLURM's that is no amount of memory
    """
    machine = Limit(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "the machine")
    return min((machine, *_cgroup_memory(root), *_slurm_memory(environ)), key=lambda limit: limit.value)


def usable_cores(environ: Mapping[str, str] = os.environ, root: Path = _ROOT) -> int:
    """Cores this process may use, at least 1; see `core_limit`."""
    return core_limit(environ, root).value


def core_limit(environ: Mapping[str, str] = os.environ, root: Path = _ROOT) -> Limit:
    """The smallest of affinity, the cgroups' quotas (rounded up), and what SLURM has given this task; at least 1.

    Raises
    ------
    ConfigError
        a variable of SLURM's that is no number of cores
    """
    affinity = Limit(len(os.sched_getaffinity(0)), "affinity")
    smallest = min((affinity, *_cgroup_cores(root), *_slurm_cores(environ)), key=lambda limit: limit.value)
    return Limit(max(1, smallest.value), smallest.source)


# ---- SLURM


def _slurm_memory(environ: Mapping[str, str]) -> Iterator[Limit]:
    """Inside a job only: a login shell may hold such variables as wishes for srun. 0 means the whole node."""
    if not environ.get("SLURM_JOB_ID"):
        return
    of_node = _amount_bytes(environ, "SLURM_MEM_PER_NODE")
    if of_node:
        yield Limit(of_node, "SLURM_MEM_PER_NODE")
    of_core, cores = _amount_bytes(environ, "SLURM_MEM_PER_CPU"), _count(environ, "SLURM_CPUS_ON_NODE")
    if of_core and cores:
        yield Limit(of_core * cores, "SLURM_MEM_PER_CPU x SLURM_CPUS_ON_NODE")


def _slurm_cores(environ: Mapping[str, str]) -> Iterator[Limit]:
    """Binding is a site's choice: without it every process sees the whole node."""
    if not environ.get("SLURM_JOB_ID"):
        return
    for name in ("SLURM_CPUS_ON_NODE", *(("SLURM_CPUS_PER_TASK",) if in_step(environ) else ())):
        cores = _count(environ, name)
        if cores:
            yield Limit(cores, name)


def _amount_bytes(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    found = re.fullmatch(r"([0-9]{1,18})([KMGT]?)B?", text.upper())
    if text and not found:
        raise ConfigError(f"{name}={text!r} is no amount of memory; wanted MiB, or a number with K, M, G or T")
    return int(found[1]) * _FACTORS[found[2]] if found else 0


def _count(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if text and not re.fullmatch(r"[0-9]{1,9}", text):
        raise ConfigError(f"{name}={text!r} is no number of cores")
    return int(text or 0)


# ---- cgroups


def _cgroup_memory(root: Path) -> Iterator[Limit]:
    for folder in _cgroups("memory", root):
        for name in _MEMORY_FILES:
            text = _read(folder / name)
            if text.isdecimal():  # v2 says "max" for none, v1 a number beyond any machine's memory
                yield Limit(int(text), f"cgroup {name} of {_seen(folder, root)}")


def _cgroup_cores(root: Path) -> Iterator[Limit]:
    for folder in _cgroups("cpu", root):
        for name, text in (
            ("cpu.max", _read(folder / "cpu.max")),  # v2: "quota period" in us, "max" for none
            ("cpu.cfs_quota_us", f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"),  # v1: -1 for none
        ):
            quota, _, period = text.partition(" ")
            if quota.isdecimal() and period.isdecimal() and int(period):
                yield Limit(math.ceil(int(quota) / int(period)), f"cgroup {name} of {_seen(folder, root)}")


def _cgroups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of this process's cgroups that may limit `controller`: ours, its parent, … up to what is mounted."""
    paths = _own_paths(root)
    for mount, inside, names in _mounts(root):
        ours = paths.get("" if names is None else controller)
        if ours is None or (names is not None and controller not in names):
            continue
        steps = _below(ours, inside)
        for depth in range(len(steps), -1, -1):
            yield mount.joinpath(*steps[:depth])


def _own_paths(root: Path) -> dict[str, str]:
    """/proc/self/cgroup: path by controller; "" is v2's one hierarchy. Lines are `id:controllers:path`."""
    found: dict[str, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        found |= dict.fromkeys(names.split(","), path)
    return found


def _mounts(root: Path) -> Iterator[tuple[Path, str, frozenset[str] | None]]:
    """(mount point, cgroup mounted there, controllers or None for v2), from /proc/self/mountinfo (proc(5))."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind[:1] in (["cgroup"], ["cgroup2"]) and len(fields) > 4 and len(kind) > 2:
            names = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else None
            yield root / fields[4].lstrip("/"), fields[3], names


def _below(path: str, inside: str) -> tuple[str, ...]:
    """Steps from the mounted cgroup down to ours; none where we are outside of it (`/../x`)."""
    steps, top = _steps(path), _steps(inside)
    if ".." in steps:
        return ()
    return steps[len(top) :] if steps[: len(top)] == top else steps


def _steps(path: str) -> tuple[str, ...]:
    return tuple(step for step in path.split("/") if step not in ("", "."))


def _seen(folder: Path, root: Path) -> str:
    return "/" + str(folder.relative_to(root))


def _read(file: Path) -> str:
    """Content without the last line end; "" where there is no such file, or we may not read it."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


# ---- what was used


def oom_kills(root: Path = _ROOT) -> int:
    """Processes of our own cgroup that the kernel has killed for memory so far; 0 where it doesn't say.

    A supervisor compares it before and after: a rise means that a killed child died of memory. Neighbours in the
    same cgroup count too.
    """
    for folder in _cgroups("memory", root):
        for name in ("memory.events", "memory.oom_control"):  # v2, v1
            found = re.search(r"^oom_kill ([0-9]+)$", _read(folder / name), re.MULTILINE)
            if found:
                return int(found[1])
    return 0


def resident_bytes(pid: int | None = None) -> int:
    """Memory a process holds now (VmRSS); 0 for one that has ended. None is this process."""
    return _status_bytes("VmRSS", "self" if pid is None else str(pid))


def peak_bytes() -> int:
    """The most memory this process has held since its start or `reset_peak` (kept by the kernel to some 100 KiB)."""
    return _status_bytes("VmHWM", "self") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def reset_peak() -> bool:
    """Let `peak_bytes` start anew from what is held now; False where the system doesn't let us."""
    try:
        Path("/proc/self/clear_refs").write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True


def _status_bytes(name: str, pid: str) -> int:
    found = re.search(rf"^{name}:\s+([0-9]+) kB$", _read(Path("/proc", pid, "status")), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def process_begun() -> float:
    """When this process was started, seconds since 1970."""
    try:
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return time.time() - uptime + int(stat[19]) / os.sysconf("SC_CLK_TCK")
