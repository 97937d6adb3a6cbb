"""A child process whose numerics are pinned from its start, and which answers calls one after another.

For Dask workers: in theirs numpy may be imported, and have chosen its instruction set, before we come. It also keeps a
killed unit from taking the worker along, and lets a unit be dropped in order: a signal reaches a main thread only, and
Dask works in others. (Plain subprocess: Dask's workers are daemons, which may have no multiprocessing children.)
"""

import contextlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from smlmbatch.errors import Interrupted
from smlmbatch.hpc.child import GRACE_S, STOP_SIGNALS, WorkerDied, ignore_signals, manner_of, portable, stop_once
from smlmbatch.hpc.limits import oom_kills
from smlmbatch.hpc.numerics import instructions, pin_numerics

_LENGTH = struct.Struct("<Q")


def pinned_instructions() -> str:
    """What numbers rest on that are made on this machine in a pinned process, whether this one is pinned or not."""
    environ: dict[str, str] = {}
    pin_numerics(environ)
    return instructions(environ)


class PinnedChild:
    """A process for calls; not for two threads at once, but `stop` may come from another."""

    def __init__(self) -> None:
        environ = dict(os.environ)
        pin_numerics(environ)
        self._kills = oom_kills()
        self._process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        """`function(item)`, worked out there.

        Raises
        ------
        WorkerDied
            the process ended before it answered
        Interrupted
            it was told to stop, and has dropped the item in order
        Exception
            whatever the function raised
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _write(self._process.stdin, (function, item))
            raised, value = pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            if isinstance(error, ValueError) and self._process.poll() is None:  # not of a pipe that `stop` has closed
                raise
            code = self._process.wait()
            if code in (0, -signal.SIGTERM):  # told to stop between two calls or in the middle of its answer; or before it listened
                raise Interrupted("the process of a Dask worker was told to stop") from None
            raise WorkerDied(manner_of(code), oom_kills() > self._kills, self._process.pid) from None
        if raised:
            raise value
        return value

    def stop(self) -> None:
        """End it, and let it drop in order what it is at; by force after a while."""
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # half a call that nobody reads any more
                if pipe is not None:
                    pipe.close()


def _write(pipe: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _serve() -> None:
    """The child: calls on stdin, pickled outcomes on stdout, until stdin closes or a signal asks to stop.

    USR1 is passed over: at a time limit SLURM sends it to every process of a step, and the one that deals out decides.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # nothing a library prints may get between
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN if number == signal.SIGUSR1 else stop_once)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_calls, args=(calls,), daemon=True).start()
    with os.fdopen(out, "wb") as pipe, contextlib.suppress(Interrupted, BrokenPipeError):
        while True:
            outcome = _answer(calls.get())
            pickle.dump(outcome, pipe)
            pipe.flush()
            if isinstance(outcome[1], Interrupted):
                break
    ignore_signals()


def _answer(call: bytes) -> tuple[bool, Any]:
    try:
        function, item = pickle.loads(call)
        return False, function(item)
    except Interrupted as error:
        return True, error
    except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
        return True, portable(error)


def _read_calls(calls: "queue.SimpleQueue[bytes]") -> None:
    """Aside from the work, so that the end of whoever calls is seen in the middle of it and the unit is dropped in order."""
    while len(head := _read(_LENGTH.size)) == _LENGTH.size:
        calls.put(_read(*_LENGTH.unpack(head)))
    os.kill(os.getpid(), signal.SIGTERM)


def _read(n: int) -> bytes:
    """From stdin, less only at its end. Not by sys.stdin: Python ends badly if a thread still holds that one's lock."""
    pieces, left = [], n
    while left and (piece := os.read(0, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


if __name__ == "__main__":
    _serve()
