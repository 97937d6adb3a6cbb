"""Clears up after a cluster of `cluster.py`, however its test process ended: in order, by an error, Ctrl-C or SIGKILL.

Runs beside the tests as `guard.py FOLDER` with a pipe as stdin whose other end only the test process holds: the pipe ends when that process
does. It then kills what belongs to the folder and takes the nodes' names out of /etc/hosts again.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

HOSTS = Path("/etc/hosts")


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(pids: Iterable[int]) -> list[int]:
    """Children, grandchildren ... of these processes, parents first."""
    parent = {pid: parent_of(pid) for pid in all_pids()}
    found = list(pids)
    for pid in found:
        found += [child for child, above in parent.items() if above == pid and child not in found]
    return [pid for pid in found if pid not in set(pids)]


def parent_of(pid: int) -> int:
    """0 where the process is gone."""
    with suppress(OSError):
        # After the name, which is in brackets and may hold anything: state, parent.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def has_open(pid: int, path: Path) -> bool:
    """Whether the process keeps this file, or one in this folder, open."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = Path(os.readlink(link))
                if path == target or path in target.parents:
                    return True
    return False


def belongs_to(pid: int, folder: Path) -> bool:
    """Whether a process is one of the cluster's: by its SLURM_CONF, or (slurmstepd writes over its own environment) by an open log."""
    with suppress(OSError):
        if f"SLURM_CONF={folder}/".encode() in Path(f"/proc/{pid}/environ").read_bytes():
            return True
    return has_open(pid, folder / "log")


def sweep(folder: Path) -> bool:
    """Kill what still runs of the cluster in `folder` and take its names out of /etc/hosts; whether all is gone."""
    keep = {os.getpid(), os.getppid()}
    for _ in range(50):
        found = [pid for pid in all_pids() if pid not in keep and belongs_to(pid, folder)]
        if not found:
            break
        kill([*found, *descendants(found)])
        time.sleep(0.1)
    edit_hosts(folder, [])
    return not found


def edit_hosts(folder: Path, nodes: list[str], *, hosts: Path = HOSTS) -> None:
    """Make /etc/hosts know these nodes of the cluster in `folder`, and no others of it.

    Written in place (in a container it is a mount that can't be renamed), under a lock, at the file's head: taking the lines away again
    leaves the file as it was, to the byte.
    """
    tag = f"# SLURM under test in {folder}\n"
    with hosts.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        others = [line for line in file if not line.endswith(tag)]
        text = "".join([*(f"127.0.0.1 {node} {tag}" for node in nodes), *others])
        file.seek(0)
        file.write(text)
        file.truncate()


def watch(folder: Path) -> int:
    """Wait until the test process closes our stdin or is gone, then sweep."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    return 0 if sweep(folder) else 1


if __name__ == "__main__":
    sys.exit(watch(Path(sys.argv[1])))
