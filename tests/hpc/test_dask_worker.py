"""The worker's own ways out, as its command line tells them."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from smlmbatch.hpc.dask_pool import _readable
from tests.conftest import ROOT, smlmbatch


def test_no_file(tmp_path):
    done = smlmbatch("worker", tmp_path / "none.json", "--wait-s", "0", expect=2)
    assert "can't reach a Dask scheduler there (no such file after 0 s)" in done.stderr


def test_nobody_answers(tmp_path):
    code = (
        "from smlmbatch.hpc import dask_worker; dask_worker.START_S = 3; from pathlib import Path; "
        f"dask_worker.work_for('tcp://127.0.0.1:1', scratch=Path({str(tmp_path / 'scratch')!r}), talk=print)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 1
    assert "ResourceError: tcp://127.0.0.1:1: the Dask scheduler doesn't answer" in done.stderr
    assert list((tmp_path / "scratch").iterdir()) == []


def test_unknown_interface(tmp_path):
    done = smlmbatch("worker", "tcp://127.0.0.1:1", "--interface", "ib9", "--scratch", tmp_path, expect=2)
    assert "interface ib9: not here" in done.stderr


@pytest.mark.parametrize("option", ["--scheduler", "--serve"])
def test_serve_and_scheduler_exclude_each_other(tmp_path, option):
    beside = {"--scheduler": [], "--serve": ["--scheduler", "tcp://127.0.0.1:1"]}[option]
    done = smlmbatch("run", tmp_path, tmp_path / "out", option, tmp_path / "m.json", *beside, expect=2)
    assert ("exclude each other" in done.stderr) == (option == "--serve")
    assert not (tmp_path / "m.json").exists()


def test_a_field_that_took_several_workers_along_says_so():
    """After that Dask gives up on it."""
    died = _readable(KilledWorker("call_unit-1", SimpleNamespace(address="tls://10.0.0.7:4242"), 3))
    assert str(died) == "its process was lost with its worker 4 times, the last on tls://10.0.0.7:4242"
    other = ValueError("x")
    assert _readable(other) is other
