"""Works through items in one child process, and goes on in a new one when it dies.

A unit that is killed for memory, or that crashes a C library, must cost that unit and not the task: the kernel kills
the largest process, which is the child; the parent stays small, takes note and goes on. The child is forked before
anything heavy is imported, so it costs milliseconds.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from smlmbatch.errors import Interrupted, ResourceError
from smlmbatch.hpc.limits import oom_kills

Item = TypeVar("Item")
Result = TypeVar("Result")
GRACE_S = 10.0  # for dropping a unit in order
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_PARENT_DIES = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class WorkerDied(ResourceError):
    """The process that worked on an item ended without an answer.

    Parameters
    ----------
    manner : how it ended, to be read after "its process": "was killed by SIGKILL"
    for_memory : the kernel counted a kill for memory meanwhile
    """

    def __init__(self, manner: str, for_memory: bool = False) -> None:
        super().__init__(manner, for_memory)
        self.manner, self.for_memory = manner, for_memory

    def __str__(self) -> str:
        return f"its process {self.manner}"


def map_in_child(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[Item, Result | BaseException]]:
    """Apply `function` to every item in order, in a child process; yields (item, result or WorkerDied).

    Raises
    ------
    Interrupted
        the function raised it, or it was raised here: the child has then dropped its item in order
    Exception
        anything else the function raised
    """
    child: _Child | None = None
    try:
        for item in items:
            child = child or _Child(function)
            try:
                outcome = child.call(item)
            except WorkerDied as death:
                child, outcome = None, death
            yield item, outcome
    finally:
        if child is not None:
            child.stop()


class _Child:
    """A forked process that answers calls one at a time."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._kills, self._busy = oom_kills(), False
        self._process = context.Process(target=_serve, args=(function, theirs, self._pipe, os.getpid()))
        self._process.start()
        theirs.close()

    def call(self, item: Any) -> Any:
        """The function's result.

        Raises
        ------
        WorkerDied
            the process ended before it answered
        Exception
            what the function raised
        """
        self._busy = True
        try:
            self._pipe.send(item)
            raised, value = self._pipe.recv()
            self._busy = False
        except (EOFError, ConnectionError):
            self._process.join()
            raise WorkerDied(_manner(self._process.exitcode or 0), oom_kills() > self._kills) from None
        if raised:
            raise value
        return value

    def stop(self) -> None:
        """End the process; what it is doing is dropped in order, or by force after `GRACE_S`."""
        self._pipe.close()
        if self._busy:
            self._process.terminate()
        self._process.join(GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _manner(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in {int(s) for s in signal.Signals} else f"signal {-exit_code}"
    return f"was killed by {name}" if -exit_code in (signal.SIGKILL, *STOP_SIGNALS) else f"crashed ({name})"


def _serve(function: Callable[[Any], Any], pipe: Connection, parents: Connection, parent: int) -> None:
    """The child: calls in, outcomes out, until the pipe closes or a signal asks to stop."""
    parents.close()  # or the end of the parent would never be seen here
    _die_with(parent)
    for number in STOP_SIGNALS:
        signal.signal(number, _stop_once)
    with contextlib.suppress(EOFError, ConnectionError, Interrupted):
        while True:
            item = pipe.recv()
            try:
                outcome = (False, function(item))
            except Exception as error:  # noqa: BLE001 - handed to the parent, who raises it
                outcome = (True, error)
            pipe.send(outcome)
    _ignore_signals()


def _die_with(parent: int) -> None:
    """A killed run must not leave a child behind that goes on working."""
    ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(1)


def _stop_once(number: int, frame: object) -> None:
    """Raise in the middle of the work, once: a second signal must not disturb the tidying up."""
    _ignore_signals()
    raise Interrupted(f"stopped by {signal.Signals(number).name}; run the same command again to go on")


def _ignore_signals() -> None:
    """By a handler of our own: Python complains aloud about a pending signal whose handler became SIG_IGN."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, frame: None)
