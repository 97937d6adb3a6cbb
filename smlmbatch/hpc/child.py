"""Works through items in child processes, and goes on in a new one when one dies.

A unit that is killed for memory, or that crashes a C library, must cost that unit and not the task: the kernel kills
the largest process, which is a child; the parent stays small, takes note and goes on. Children are forked before
anything heavy is imported, so they cost milliseconds, and they drop their unit in order when a signal asks to stop.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from smlmbatch.errors import Interrupted, ResourceError, SmlmbatchError
from smlmbatch.hpc.limits import oom_kills

Item = TypeVar("Item")
Result = TypeVar("Result")
GRACE_S = 60.0  # for dropping a unit in order: a call into C ends first, and cluster file systems remove files slowly
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_PARENT_DIES = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class WorkerDied(ResourceError):
    """The process that worked on an item ended without an answer.

    Parameters
    ----------
    manner : how it ended, to be read after "its process": "was killed by SIGKILL"
    for_memory : the kernel counted a kill for memory meanwhile
    pid : of the process, 0 if not known
    """

    def __init__(self, manner: str, for_memory: bool = False, pid: int = 0) -> None:
        super().__init__(manner, for_memory, pid)
        self.manner, self.for_memory, self.pid = manner, for_memory, pid

    def __str__(self) -> str:
        return f"its process {self.manner}"


def map_in_children(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int = 1
) -> Iterator[tuple[Item, Result | BaseException]]:
    """Apply `function` to every item, taken in order, in child processes; yields (item, result or WorkerDied) as they end.

    Raises
    ------
    Interrupted
        the function raised it, or it was raised here: the children have then dropped their items in order
    Exception
        anything else the function raised
    """
    waiting = iter(items)
    children: list[_Child] = []
    try:
        while True:
            for item in waiting:  # hands out one item per idle child, starting children while there are fewer than wanted
                child = next((one for one in children if not one.busy), None)
                if child is None:
                    child = _Child(function)
                    children.append(child)
                child.send(item)
                if sum(one.busy for one in children) == workers:
                    break
            at_work = {one.pipe: one for one in children if one.busy}
            if not at_work:
                return
            for pipe in wait(list(at_work)):
                child = at_work[pipe]  # type: ignore[index]  # only our own pipes are waited for
                item = child.item
                try:
                    outcome = child.receive()
                except WorkerDied as death:
                    children.remove(child)
                    outcome = death
                yield item, outcome
    finally:
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.stop()


class _Child:
    """A forked process that answers calls one at a time."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.item: Any = None
        self.busy = False
        self._kills = oom_kills()
        self._process = context.Process(target=_serve, args=(function, theirs, self.pipe, os.getpid()))
        self._process.start()
        theirs.close()

    def send(self, item: Any) -> None:
        """Begin a call. A dead process is noticed when its answer is asked for."""
        self.item, self.busy = item, True
        with contextlib.suppress(ConnectionError):
            self.pipe.send((item,))

    def receive(self) -> Any:
        """The result of the call; waits for it.

        Raises
        ------
        WorkerDied
            the process ended before it answered
        Exception
            what the function raised
        """
        try:
            raised, value = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            pid = self._process.pid or 0
            raise WorkerDied(manner_of(self._process.exitcode or 0), oom_kills() > self._kills, pid) from None
        self.busy = False
        if raised:
            raise value
        return value

    def ask_to_stop(self) -> None:
        """An idle process ends, a busy one drops its item."""
        if self.busy:
            self._process.terminate()
        else:
            with contextlib.suppress(ConnectionError):
                self.pipe.send(())  # not by closing the pipe: children forked later hold copies of this end

    def stop(self) -> None:
        """Wait for the end; by force after `GRACE_S`."""
        self._process.join(GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def manner_of(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in {int(s) for s in signal.Signals} else f"signal {-exit_code}"
    return f"was killed by {name}" if -exit_code in (signal.SIGKILL, *STOP_SIGNALS) else f"crashed ({name})"


def _serve(function: Callable[[Any], Any], pipe: Connection, parents: Connection, parent: int) -> None:
    """The child: calls in, outcomes out, until the pipe closes or a signal asks to stop."""
    parents.close()  # or the end of the parent would never be seen here
    _die_with(parent)
    for number in STOP_SIGNALS:
        signal.signal(number, stop_once)
    with contextlib.suppress(EOFError, ConnectionError, Interrupted):
        while call := pipe.recv():
            try:
                pipe.send((False, function(*call)))
            except Interrupted as error:
                pipe.send((True, error))
                break
            except Exception as error:  # noqa: BLE001 - handed to the parent, who raises it
                pipe.send((True, portable(error)))
    ignore_signals()


def portable(error: Exception) -> Exception:
    """The error itself if it survives the way to the parent, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a library's exception does there
        return SmlmbatchError(f"{type(error).__name__}: {error}")
    return error


def _die_with(parent: int) -> None:
    """A killed run must not leave a child behind that goes on working."""
    ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(1)


def stop_once(number: int, frame: object) -> None:
    """Raise in the middle of the work, once: a second signal must not disturb the tidying up."""
    ignore_signals()
    raise Interrupted(f"stopped by {signal.Signals(number).name}; run the same command again to go on")


def ignore_signals() -> None:
    """By a handler of our own: Python complains aloud about a pending signal whose handler became SIG_IGN."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, frame: None)
