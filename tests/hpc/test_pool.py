"""Units through the pool in child processes; on Dask: see test_dask_pool."""

import os
import signal
import subprocess
import sys

from smlmbatch.errors import ResourceError
from smlmbatch.hpc.pool import map_units


def square(x):
    return x * x


def pinned_threads(_):
    import numpy  # noqa: F401
    import threadpoolctl

    return [one["num_threads"] for one in threadpoolctl.threadpool_info()]


def die(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_one_worker(tmp_path):
    assert list(map_units(square, [1, 2, 3], workers=1, scheduler="", scratch=tmp_path)) == [(1, 1), (2, 4), (3, 9)]


def test_several_workers(tmp_path):
    found = dict(map_units(square, range(20), workers=2, scheduler="", scratch=tmp_path))
    assert found == {x: x * x for x in range(20)}


def test_workers_are_pinned(tmp_path):
    """As the command line starts them: pins first, then everything else."""
    code = (
        "from smlmbatch.hpc.numerics import pin_numerics; pin_numerics(); from pathlib import Path; "
        "from smlmbatch.hpc.pool import map_units; from tests.hpc.test_pool import pinned_threads; "
        "print({n for _, found in map_units(pinned_threads, [1, 2], workers=2, scheduler='', scratch=Path('.')) for n in found})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "{1}\n"


def test_a_killed_worker_costs_its_own_item_only(tmp_path):
    found = dict(map_units(die, range(6), workers=2, scheduler="", scratch=tmp_path))
    assert isinstance(found.pop(3), ResourceError)
    assert found == {x: x for x in range(6) if x != 3}
