"""Runs one call in a process whose numerics are pinned from its start.

For Dask workers that somebody else started: there numpy may be imported, and have chosen its instruction set,
before we come. (Plain subprocess: Dask's workers are daemons, which may have no multiprocessing children.)
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smlmbatch.errors import ResourceError
from smlmbatch.hpc.numerics import pin_numerics


def is_pinned() -> bool:
    """Whether this process had the pins when it was started."""
    wanted: dict[str, str] = {}
    pin_numerics(wanted)
    try:
        start = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return all(f"{name}={value}".encode() in start for name, value in wanted.items())


def call_pinned(function: Callable[[Any], Any], item: Any) -> Any:
    """`function(item)`, here if this process is pinned, else in a child that is.

    Raises
    ------
    ResourceError
        the child was killed
    Exception
        whatever the function raised
    """
    if is_pinned():
        return function(item)
    environ = dict(os.environ)
    pin_numerics(environ)
    child = subprocess.run(
        [sys.executable, "-m", __name__], input=pickle.dumps((function, item)), stdout=subprocess.PIPE, env=environ, check=False
    )
    if child.returncode:
        raise ResourceError(f"the process of one field ended with {child.returncode}, probably killed for memory")
    raised, value = pickle.loads(child.stdout)
    if raised:
        raise value
    return value


def _serve() -> None:
    """The child: a pickled call on stdin, the pickled outcome on stdout."""
    out = os.dup(1)
    os.dup2(2, 1)  # nothing a library prints may get between
    function, item = pickle.load(sys.stdin.buffer)
    try:
        outcome = (False, function(item))
    except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
        outcome = (True, error)
    with os.fdopen(out, "wb") as pipe:
        pickle.dump(outcome, pipe)


if __name__ == "__main__":
    _serve()
