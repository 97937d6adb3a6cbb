"""What DBSCAN of a whole field costs, beside scikit-learn's: seconds and memory, each measured in a process of its own.

Locs lie as in SMLM of a cell: half in Gaussian clusters of 50 (sigma 20 nm), half at random, 111 per um2; a second pattern ten times as
dense. One thread. Memory is the peak of the process less what it holds with the locs alone. scikit-learn keeps every loc's list
of neighbours, so it is measured up to 10^6 locs only.

python -m benchmarks.dbscan        writes benchmarks/DBSCAN.md
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

TABLE = Path(__file__).parent / "DBSCAN.md"
EPS_NM, MIN_LOCS = 25.0, 5
_CROWDED = 10.0  # times the density

# Fresh interpreters: one writes the locs, so that making them is in no peak; the other measures, after a first call that compiles.
_MAKE = """
import sys
import numpy as np
from benchmarks.measure import SIDE_NM, half_clusters_half_random
n, crowded, depth_nm = int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
axes = [*half_clusters_half_random(n, side_nm=SIDE_NM * np.sqrt(n / 1000 / crowded)).T]
if depth_nm:
    axes.append(np.random.default_rng(2).uniform(0, depth_nm, n).astype(np.float32))
np.save(sys.argv[1], np.stack(axes))
"""
_RUN = """
import json, sys, time
import numpy as np
def memory(what):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(what))
who, eps_nm, min_locs = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
if who == "ours":
    from smlmbatch.clustering.dbscan import dbscan_labels
    run = lambda axes: dbscan_labels(*axes, eps_nm=eps_nm, min_locs=min_locs)
else:
    from sklearn.cluster import DBSCAN
    run = lambda axes: DBSCAN(eps=eps_nm, min_samples=min_locs, n_jobs=1).fit(axes.T).labels_
axes = np.load(sys.argv[1])
run(axes[:, :1000])
held, start = memory("VmRSS"), time.process_time()
labels = run(axes)
seconds = time.process_time() - start
found = {"seconds": seconds, "bytes_per_loc": (memory("VmHWM") - held) / axes.shape[1], "clusters": int(labels.max()) + 1}
print(json.dumps(found))
"""


def measure(who: str, n: int, *, crowded: float = 1.0, depth_nm: float = 0.0) -> dict[str, float]:
    """CPU seconds, memory per loc beyond the locs themselves, and clusters found.

    Parameters
    ----------
    who : "ours" or "scikit-learn"
    crowded : times the density
    depth_nm : locs spread over this in z; 0 = in the plane
    """
    with tempfile.TemporaryDirectory() as folder:
        locs = f"{folder}/locs.npy"
        _python(_MAKE, locs, n, crowded, depth_nm)
        return dict(json.loads(_python(_RUN, locs, who, EPS_NM, MIN_LOCS)))


def _python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True).stdout


def rows() -> list[str]:
    """Measure all and write a line each."""
    lines = []
    for n, crowded, depth_nm, others in (
        (100_000, 1.0, 0.0, True),
        (1_000_000, 1.0, 0.0, True),
        (10_000_000, 1.0, 0.0, False),
        (1_000_000, _CROWDED, 0.0, True),
        (1_000_000, _CROWDED, 800.0, True),
        (10_000_000, _CROWDED, 0.0, False),
    ):
        ours = measure("ours", n, crowded=crowded, depth_nm=depth_nm)
        theirs = measure("scikit-learn", n, crowded=crowded, depth_nm=depth_nm) if others else None
        if theirs and theirs["clusters"] != ours["clusters"]:
            raise AssertionError(f"{n} locs: {ours['clusters']} clusters, scikit-learn finds {theirs['clusters']}")
        where = f"{111 * crowded:,.0f} per um2" + (f", {depth_nm:g} nm deep" if depth_nm else "")
        lines.append(f"| {n:,} | {where} | {ours['clusters']:,} | {_said(ours)} | {_said(theirs)} |")
    return lines


def _said(found: dict[str, float] | None) -> str:
    if found is None:
        return "- | -"
    return f"{found['seconds']:.2f} s | {found['bytes_per_loc']:,.0f} B"


def main() -> None:
    head = [
        "# DBSCAN of a whole field",
        "",
        f"Written by `python -m benchmarks.dbscan`; eps {EPS_NM:g} nm, {MIN_LOCS} locs. CPU seconds of one thread, and peak memory per loc",
        f"beyond the positions. Python {platform.python_version()}, {platform.machine()}.",
        "",
        "| locs | pattern | clusters | ours | memory | scikit-learn | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    TABLE.write_text("\n".join([*head, *rows(), ""]))


if __name__ == "__main__":
    main()
