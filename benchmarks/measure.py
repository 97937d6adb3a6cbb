"""How fast a region is described, against the same with scikit-learn and scipy; and what the kernels cost to compile.

Every function measures and returns a dict; nothing is printed. CPU seconds of one thread, median of alternating repeats.
Run it with one thread for BLAS and OpenMP (`OMP_NUM_THREADS=1`), as the command line does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SIDE_NM, EPS_NM, MIN_LOCS = 3000.0, 25.0, 5
RADII_NM = 10.0 * np.arange(1, 76)

# A fresh interpreter: import, then the first call, with kernels compiled (empty cache) or loaded (filled cache).
_START = """
import json, time
start = time.perf_counter()
from smlmbatch.config import MeasureConfig
from smlmbatch.measure.descriptors import describe
imported = time.perf_counter()
import numpy as np
xy = np.random.default_rng(0).uniform(0, 3000, (2, 1000)).astype("f4")
describe(*xy, config=MeasureConfig(), side_nm=3000.0, coverage=1.0, radii_nm=10.0 * np.arange(1, 76), field_key="f", roi=0, channel=0)
print(json.dumps([imported - start, time.perf_counter() - imported]))
"""


def measure_roi_descriptors(repeats: int = 200) -> dict[str, float]:
    """One region of 1,000 locs (10 clusters of 50, 500 at random): labels, clusters' counts and hull areas, K at 75 radii.

    Ours also corrects K for edges and gives radii of gyration and nearest neighbours, which the other does not.

    Returns
    -------
    ours_ms, theirs_ms : median CPU time of one region
    speedup : theirs / ours
    """
    from smlmbatch.config import MeasureConfig
    from smlmbatch.measure.descriptors import describe

    xy_nm = half_clusters_half_random(1000)
    config = MeasureConfig(dbscan_eps_nm=EPS_NM, dbscan_min_locs=MIN_LOCS)

    def ours() -> tuple[int, float]:
        found = describe(*xy_nm.T, config=config, side_nm=SIDE_NM, coverage=1.0, radii_nm=RADII_NM, field_key="field", roi=0, channel=0)
        return found.n_clusters, found.cluster_area_nm2

    def theirs() -> tuple[int, float]:
        return describe_with_sklearn_and_scipy(xy_nm)

    if not np.allclose(ours(), theirs(), rtol=1e-3):  # a border loc may differ; also the first, compiling call
        raise AssertionError(f"the two disagree: {ours()} and {theirs()}")
    ours_ms, theirs_ms = _alternating_medians_ms(ours, theirs, repeats=repeats)
    return {"ours_ms": ours_ms, "theirs_ms": theirs_ms, "speedup": theirs_ms / ours_ms}


def measure_start() -> dict[str, float]:
    """Seconds until the first region is described in a new process: with an empty and with a filled cache of kernels."""
    with tempfile.TemporaryDirectory() as cache:
        (_, cold_s), (import_s, warm_s) = (_start(cache) for _ in range(2))
    return {"import_s": import_s, "first_region_cold_s": cold_s, "first_region_warm_s": warm_s}


def measure_dbscan_field(n: int = 1_000_000) -> dict[str, float]:
    """DBSCAN of a whole field at 1,000 locs per region's area, half in clusters of 50; seconds and locs per second."""
    from smlmbatch.clustering.dbscan import dbscan_labels

    xy_nm = half_clusters_half_random(n, side_nm=SIDE_NM * np.sqrt(n / 1000))
    dbscan_labels(*xy_nm[:100].T, eps_nm=EPS_NM, min_locs=MIN_LOCS)
    start = time.process_time()
    dbscan_labels(*xy_nm.T, eps_nm=EPS_NM, min_locs=MIN_LOCS)
    seconds = time.process_time() - start
    return {"n": n, "seconds": seconds, "locs_per_s": n / seconds}


def half_clusters_half_random(n: int, *, side_nm: float = SIDE_NM) -> NDArray[np.float32]:
    """`n` locs, half of them in Gaussian clusters of 50 (sigma 20 nm), in random order; (n, 2) f4, nm."""
    rng = np.random.default_rng(1)
    clustered = rng.uniform(100, side_nm - 100, (n // 100, 1, 2)) + rng.normal(0, 20, (n // 100, 50, 2))
    spread = rng.uniform(0, side_nm, (n - 50 * (n // 100), 2))
    return rng.permutation(np.concatenate([clustered.reshape(-1, 2), spread])).astype(np.float32)


def describe_with_sklearn_and_scipy(xy_nm: NDArray[np.float32]) -> tuple[int, float]:
    """The usual way: scikit-learn's DBSCAN, a hull per cluster, all distances, a histogram of them. K uncorrected."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist
    from sklearn.cluster import DBSCAN

    labels = DBSCAN(eps=EPS_NM, min_samples=MIN_LOCS).fit(xy_nm).labels_
    counts = np.bincount(labels[labels >= 0])
    areas = [ConvexHull(xy_nm[labels == label]).volume for label in range(len(counts))]
    rings = np.ceil(pdist(xy_nm) / RADII_NM[0]).astype(np.intp)
    pairs = np.cumsum(np.bincount(rings, minlength=len(RADII_NM) + 1)[: len(RADII_NM) + 1])[1:]
    k_nm2 = 2 * SIDE_NM**2 / (len(xy_nm) * (len(xy_nm) - 1)) * pairs
    np.argmax(np.sqrt(k_nm2 / np.pi) - RADII_NM)
    return len(counts), float(np.mean(areas))


def _alternating_medians_ms(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Median CPU time of each, taken in turns so that a busy machine slows all alike."""
    taken = np.empty((repeats, len(functions)))
    for repeat in range(repeats):
        for number, function in enumerate(functions):
            start = time.thread_time()
            function()
            taken[repeat, number] = time.thread_time() - start
    return (1e3 * np.median(taken, axis=0)).tolist()


def _start(cache: str) -> tuple[float, float]:
    """Seconds for the import and for the first region."""
    done = subprocess.run(
        [sys.executable, "-c", _START], env=os.environ | {"NUMBA_CACHE_DIR": cache}, capture_output=True, text=True, check=True
    )
    import_s, first_s = json.loads(done.stdout)
    return import_s, first_s
