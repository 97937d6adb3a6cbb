"""A thread of each rank that hears when another has given up, and ends a rank that can't hear it.

Deep in work of its own, or inside a collective of NCCL with a rank that is gone, a rank looks at nothing else; srun would kill it after a
while, and a job that fails for the same reason every time would go back into the queue again and again. Asking costs one question to the
store every two seconds.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from smlmbatch.errors import ResourceError
from smlmbatch.methods.meeting import LOOK_S, Roll

_GRACE_S = 10.0  # for the rank to end by itself: gloo breaks off as soon as the other's process is gone


@contextmanager
def watched(roll: Roll) -> Iterator[None]:
    """While the block runs, others' last words are heard."""
    done = threading.Event()
    # a connection of its own: one question at a time goes through each
    thread = threading.Thread(target=_watch, args=(roll, roll.again(), done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(roll: Roll, own: Roll, done: threading.Event) -> None:
    while not done.wait(LOOK_S):
        error = _trouble(own)
        if error is None:
            continue
        roll.heard = error
        if not done.wait(_GRACE_S):
            # No exception reaches a thread that is inside C++, and the interpreter doesn't end without it.
            os.write(2, f"smlmbatch: {error}\n".encode())
            os._exit(error.exit_code)
        return


def _trouble(roll: Roll) -> ResourceError | None:
    try:
        said = roll.words()
        if said:
            roll.answer()
            return roll.given_up(said)
    except (RuntimeError, dist.DistError) as error:
        return roll.deserted(str(error).partition("\n")[0])
    return None
