"""A Dask worker as `smlmbatch worker` runs it: one thread, a nanny that starts it again if it is killed, no files but in scratch.

It leaves in order when the scheduler ends, when its lifetime is over, or when TERM or INT asks: its unit is dropped and the
scheduler gives it to another. SLURM's warning (USR1) is passed over: it reaches every process of a job, Dask's would die
of it, and two that react to it at once get in each other's way. Whoever deals out reacts, and tells the workers to leave.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smlmbatch.errors import Interrupted, ResourceError
from smlmbatch.hpc.child import GRACE_S
from smlmbatch.hpc.dask_meeting import LOGGING, NO_PAGES, Meeting, files_of, own_address, wait_for_meeting

START_S = 300  # to reach the scheduler and start the worker's process, on a machine under load


def work_for(
    scheduler: str,
    *,
    scratch: Path | None = None,
    interface: str = "",
    lifetime_s: float = 0,
    stagger_s: float = 0,
    wait_s: float = 600,
    talk: Callable[[str], None],
) -> None:
    """Be a worker of a scheduler until it ends or this one has to leave.

    Parameters
    ----------
    scheduler : its file or address; the file is waited for
    scratch : folder for Dask's files; None = beside the scheduler's file, or for an address in a temporary one
    interface : network interface to be reached at; "" = the one that leads to the scheduler
    lifetime_s : leave after this time, 0 = never; stagger_s : at random so much sooner or later, so that not all leave at once
    wait_s : how long to wait for the file

    Raises
    ------
    ConfigError
        no scheduler
    ResourceError
        it doesn't answer
    Interrupted
        a signal asked to leave
    """
    import dask

    meeting = wait_for_meeting(scheduler, wait_s=wait_s)
    with _blocked(signal.SIGUSR1), _local_directory(scheduler, scratch) as folder:
        options: dict[str, Any] = {
            "nthreads": 1,
            "memory_limit": 0,  # units keep to their own limit; Dask would pause, or kill, a worker for what it can't know
            "local_directory": str(folder),
            "death_timeout": START_S,
            "host": own_address(interface) if interface else None,  # Dask itself takes the one that leads to the scheduler
        } | NO_PAGES
        if lifetime_s:
            options |= {"lifetime": lifetime_s, "lifetime_stagger": stagger_s, "lifetime_restart": False}
        talk(f"worker on {socket.gethostname()} for {meeting.address}")
        with dask.config.set(_quiet()):
            asyncio.run(_attend(meeting, options))
    talk(f"worker on {socket.gethostname()} has left")


def _quiet() -> dict[str, str]:
    """Settings of Dask: warnings here; nothing below the nanny, where Dask cries at every leaving. Unless the user wants to hear it."""
    if LOGGING in os.environ:
        return {}
    return {"logging.distributed": "warning", f"distributed.nanny.pre-spawn-environ.{LOGGING}": "critical"}


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Threads and processes started meanwhile inherit it, other than a handler. What came is forgotten."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.sigtimedwait({number}, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


@contextmanager
def _local_directory(scheduler: str, scratch: Path | None) -> Iterator[Path]:
    parent = scratch or (None if "://" in scheduler else files_of(Path(scheduler)))
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"smlmbatch-dask-{socket.gethostname()}-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
    if scratch is None and parent is not None:
        with contextlib.suppress(OSError):  # others are still in it
            parent.rmdir()


async def _attend(meeting: Meeting, options: dict[str, Any]) -> None:
    from distributed import Nanny

    asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    _listen(asked)
    nanny = Nanny(meeting.address, security=meeting.security(), **options)
    life: asyncio.Future[Any] = asyncio.ensure_future(_live(nanny, meeting))
    await asyncio.wait({life, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not asked.done():
        await life
        return
    await nanny.close(timeout=GRACE_S, reason="signal")
    life.cancel()
    raise Interrupted(f"worker stopped by {signal.Signals(asked.result()).name}")


async def _live(nanny: Any, meeting: Meeting) -> None:
    try:
        await nanny
    except (OSError, TimeoutError, RuntimeError) as error:
        raise ResourceError(f"{meeting.address}: the Dask scheduler doesn't answer ({error}): is it reached from this machine?") from error
    await nanny.finished()


def _listen(asked: "asyncio.Future[Any]") -> None:
    """Set the future when a signal asks to stop."""
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        if not asked.done():
            asked.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, int(number))
