"""Pins everything outside our code that could change a number: instruction set, threads, hash seeds.

A SIMD path with another rounding, or a sum over another number of threads, breaks "same digest" between two
nodes of one cluster. So the command line fixes AVX2 (every x86 node since 2015) and one compute thread, before
the first heavy import. Parallelism comes from units, never from threads inside one.
"""

import os
import platform
import secrets
import shutil
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
# Libraries that else write below HOME: torch for downloads and compiled models, CUDA for kernels it compiles when a GPU is newer.
_CACHES = {
    "MPLCONFIGDIR": "matplotlib",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
}
_WARM = Path(__file__).parents[2] / "numba"  # of our image; made by jobs/image/program.sh


def pin_numerics(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Set the pins; call before numpy is imported. False where the processor has no AVX2 to pin to.

    Results of such a machine are reproducible on its own kind only; `doctor` says so.
    """
    environ.update(_ONE_THREAD)
    pinned = has_avx2()
    if pinned:
        environ.update(_AVX2)
    return pinned


def pin_caches(folder: Path, environ: MutableMapping[str, str] = os.environ, warm: Path = _WARM) -> None:
    """Keep libraries from writing into HOME: what they cache goes under `folder` unless the user said where.

    numba's compiled kernels lie beside our own bytecode where that folder can be written, as Python's do. Elsewhere (an image) those
    that the image brings are copied: numba takes none from a folder it can't write to.
    """
    for name, library in _CACHES.items():
        environ.setdefault(name, str(folder / library))
    if not os.access(Path(__file__).parent, os.W_OK) and "NUMBA_CACHE_DIR" not in environ:
        environ["NUMBA_CACHE_DIR"] = str(folder / "numba")
        _bring(warm, folder / "numba")


def _bring(warm: Path, folder: Path) -> None:
    """Copy kernels where there are none yet; under a name of our own first, for other processes may be at the same."""
    if folder.exists() or not warm.is_dir():
        return
    made = folder.with_name(f".numba-{secrets.token_hex(4)}")
    try:
        for file in warm.glob("*/*"):
            target = made / file.relative_to(warm)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        made.rename(folder)
    except OSError:  # another one was quicker; or there is no room, which who writes results will say
        shutil.rmtree(made, ignore_errors=True)


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
