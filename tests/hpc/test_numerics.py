"""Numerics are pinned before numpy is there, and the pins arrive where they should."""

import json
import os
import subprocess
import sys

from smlmbatch.hpc.numerics import has_avx2, pin_caches, pin_numerics

PROBE = """
import json, sys
from smlmbatch.hpc.numerics import pin_numerics
assert "numpy" not in sys.modules
pin_numerics()
import numpy, scipy.linalg, threadpoolctl, numba
features = numpy._core._multiarray_umath.__cpu_features__
pools = [(p["num_threads"], p.get("architecture")) for p in threadpoolctl.threadpool_info()]
print(json.dumps({"pools": pools, "numba": [numba.config.CPU_NAME, numba.config.NUMBA_NUM_THREADS], "avx2": features["AVX2"]}))
"""


def test_pins_arrive():
    found = json.loads(subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout)
    assert all(threads == 1 for threads, _ in found["pools"])
    if has_avx2():
        assert {kind for _, kind in found["pools"] if kind} == {"Haswell"}
        assert found["numba"] == ["haswell", 1]


def test_pins_win_over_the_environment():
    environ = {"OMP_NUM_THREADS": "64", "MPLCONFIGDIR": "mine"}
    pin_numerics(environ)
    assert environ["OMP_NUM_THREADS"] == "1"


def test_caches_go_where_they_may(tmp_path):
    environ = {"MPLCONFIGDIR": "mine"}
    pin_caches(tmp_path, environ)
    assert environ["MPLCONFIGDIR"] == "mine"
    environ = {}
    pin_caches(tmp_path, environ)
    assert environ["MPLCONFIGDIR"].startswith(str(tmp_path))


def test_an_image_that_can_t_be_written_brings_its_kernels(tmp_path, monkeypatch):
    """Once: what a run has compiled since stays."""
    warm, cache = tmp_path / "image" / "numba", tmp_path / "out" / ".cache"
    (warm / "measure_1").mkdir(parents=True)
    (warm / "measure_1" / "ripley.nbc").write_text("kernel")
    monkeypatch.setattr(os, "access", lambda *_: False)
    environ = {}
    pin_caches(cache, environ, warm)
    assert environ["NUMBA_CACHE_DIR"] == str(cache / "numba")
    kernel = cache / "numba" / "measure_1" / "ripley.nbc"
    assert kernel.read_text() == "kernel"
    assert [path.name for path in cache.iterdir()] == ["numba"]
    kernel.write_text("newer")
    pin_caches(cache, {}, warm)
    assert kernel.read_text() == "newer"
    environ = {"NUMBA_CACHE_DIR": str(tmp_path / "mine")}
    pin_caches(tmp_path / "other", environ, warm)
    assert environ["NUMBA_CACHE_DIR"] == str(tmp_path / "mine")
    assert not (tmp_path / "other").exists()
