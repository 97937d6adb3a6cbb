"""Units through the pool: in this process and on Dask, errors and dead workers included."""

import os
import signal

import pytest

from smlmbatch.errors import ConfigError, ResourceError
from smlmbatch.hpc import pool
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


def test_in_this_process(tmp_path):
    assert list(map_units(square, [1, 2, 3], workers=1, scheduler="", scratch=tmp_path)) == [(1, 1), (2, 4), (3, 9)]


def test_on_local_workers(tmp_path):
    found = dict(map_units(square, range(20), workers=2, scheduler="", scratch=tmp_path))
    assert found == {x: x * x for x in range(20)}


def test_workers_are_pinned(tmp_path):
    for _, threads in map_units(pinned_threads, [1, 2], workers=2, scheduler="", scratch=tmp_path):
        assert set(threads) == {1}


def test_a_killed_worker_costs_its_own_item_only(tmp_path):
    found = dict(map_units(die, range(6), workers=2, scheduler="", scratch=tmp_path))
    assert isinstance(found.pop(3), ResourceError)
    assert found == {x: x for x in range(6) if x != 3}


def test_no_scheduler(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "CONNECT_S", 1)
    with pytest.raises(ConfigError, match="can't reach"):
        list(map_units(square, [1], workers=1, scheduler=str(tmp_path / "none.json"), scratch=tmp_path))
