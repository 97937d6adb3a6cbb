"""Pins everything outside our code that could change a number: instruction set, threads, hash seeds.

A SIMD path with another rounding, or a sum over another number of threads, breaks "same digest" between two
nodes of one cluster. So the command line fixes AVX2 (every x86 node since 2015) and one compute thread, before
the first heavy import. Parallelism comes from units, never from threads inside one.
"""

import os
import platform
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
    "ZARR_THREADING__MAX_WORKERS": "1",  # also fixes the order in which a unit's file is written
    "ZARR_ASYNC__CONCURRENCY": "1",
}
_AVX2 = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy's names of what lies above AVX2
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",  # the named CPU's own; unset would add the host's
}


def pin_numerics(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Set the pins; call before numpy is imported. False where the processor has no AVX2 to pin to.

    Results of such a machine are reproducible on its own kind only; `doctor` says so.
    """
    environ.update(_ONE_THREAD)
    pinned = has_avx2()
    if pinned:
        environ.update(_AVX2)
    return pinned


def pin_caches(folder: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Keep libraries from writing into HOME: what they cache goes under `folder` unless the user said where.

    numba's compiled kernels lie beside our own bytecode where that folder can be written, as Python's do.
    """
    environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    if not os.access(Path(__file__).parent, os.W_OK):
        environ.setdefault("NUMBA_CACHE_DIR", str(folder / "numba"))


def instructions(environ: Mapping[str, str] = os.environ) -> str:
    """What this process's numbers rest on: AVX2 where that was pinned, else whatever its machine has."""
    pinned = has_avx2() and all(environ.get(name) == value for name, value in _AVX2.items())
    return "AVX2" if pinned else f"{platform.machine()}, not pinned"


def has_avx2() -> bool:
    """Whether this is an x86 processor with AVX2 and FMA, as Linux tells."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return "avx2" in flags and "fma" in flags
