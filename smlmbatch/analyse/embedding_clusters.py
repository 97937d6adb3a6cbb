"""K-means and Ward clusters of embeddings, numbered by size; the bend of K-means' inertia.

K-means with 10 starts of a fixed seed, on the vectors as they are (Shirgill et al., Methods). Above 20,000 ROIs it is fitted on 20,000
drawn evenly over conditions, and all are assigned to the nearest centre: more change a centre by next to nothing and cost minutes.
One thread: sums over another number of threads round otherwise.
"""

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.embedding_draw import draw_evenly

STARTS: Final = 10
FITTED_ROIS: Final = 20_000
LEAST_ROIS: Final = 3  # a cluster: below, clusters are single ROIs
MOST_CLUSTERS: Final = 10  # that the bend is sought among
_ASSIGNED = 1 << 16  # rows whose distances are held at once

Vectors = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class KMeansFit:
    """Clusters of all ROIs, (n,) i4 with 0 the largest, and the sum of squares that is left within them."""

    cluster: NDArray[np.int32]
    inertia: float


def not_clustered(vectors: Vectors, k: int) -> str:
    """Why these can't be put into `k` clusters; "" = they can."""
    n = len(vectors)
    if k < 2:
        return "one group: nothing to tell apart"
    if n < LEAST_ROIS * k:
        return f"{n} ROIs are too few for {k} clusters (fewer than {LEAST_ROIS} each)"
    if _distinct_below(vectors, k):
        return f"fewer than {k} of the {n} ROIs differ"
    return ""


def _distinct_below(vectors: Vectors, k: int) -> bool:
    """Whether fewer than k rows differ; looks at the first rows only where these tell."""
    if not vectors.shape[1]:
        return k > 1
    return all(len(np.unique(vectors[:n], axis=0)) < k for n in (min(len(vectors), 16 * k), len(vectors)))


def k_means(vectors: Vectors, k: int, *, seed: int, code: NDArray[np.integer] | None = None) -> KMeansFit:
    """K-means of (n, f) vectors.

    Parameters
    ----------
    seed : of the starts, and of the draw of the rows fitted
    code : (n,) condition of each row, over which the rows fitted are drawn evenly
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    code = np.zeros(len(vectors), dtype=np.intp) if code is None else code
    rows = draw_evenly(code, FITTED_ROIS, np.random.default_rng(seed))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters than asked for: the number found is what is told
        model = KMeans(k, n_init=STARTS, random_state=seed).fit(vectors[rows].astype(np.float64))
        cluster = _nearest(vectors, model.cluster_centers_) if len(rows) < len(vectors) else model.labels_
    return KMeansFit(by_size(cluster), float(model.inertia_))


def _nearest(vectors: Vectors, centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Nearest centre of each row, a piece at a time."""
    found = np.empty(len(vectors), dtype=np.intp)
    half_square = (centres**2).sum(axis=1) / 2.0
    for start in range(0, len(vectors), _ASSIGNED):
        piece = vectors[start : start + _ASSIGNED].astype(np.float64)
        found[start : start + len(piece)] = np.argmin(half_square - piece @ centres.T, axis=1)
    return found


def ward(vectors: Vectors, k: int) -> NDArray[np.int32]:
    """At most `k` clusters by Ward's method, (n,) i4; memory grows with n squared (2,000 ROIs: 32 MiB)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        tree = linkage(vectors.astype(np.float64), method="ward")
    return by_size(fcluster(tree, k, criterion="maxclust"))


def by_size(cluster: NDArray[np.integer]) -> NDArray[np.int32]:
    """The same clusters numbered from 0 by size, the largest first; of equal ones that of the first row first.

    >>> by_size(np.array([7, 2, 2, 7, 2, 5])).tolist()
    [1, 0, 0, 1, 0, 2]
    """
    _, first, code, size = np.unique(cluster, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(size), dtype=np.int32)
    number[np.lexsort((first, -size))] = np.arange(len(size), dtype=np.int32)
    return np.asarray(number[code.reshape(-1)])


@dataclass(frozen=True, slots=True)
class Elbow:
    """Inertia of k = 1, 2 ... clusters over that of one, and the k at its bend (0 = there is none)."""

    inertia: tuple[float, ...]
    k: int


def elbow(vectors: Vectors, *, seed: int, code: NDArray[np.integer] | None = None) -> Elbow:
    """Where more clusters stop to pay: k of the largest distance to the chord from k = 1 to 10, both axes scaled to 1."""
    most = min(MOST_CLUSTERS, len(vectors) // LEAST_ROIS)
    if most < 3 or _distinct_below(vectors, most):
        return Elbow((), 0)
    code = np.zeros(len(vectors), dtype=np.intp) if code is None else code
    rows = draw_evenly(code, FITTED_ROIS, np.random.default_rng(seed))
    fitted = vectors[rows].astype(np.float64)
    whole = float(((fitted - fitted.mean(axis=0)) ** 2).sum())
    inertia = np.array([1.0, *(k_means(fitted, k, seed=seed).inertia / whole for k in range(2, most + 1))])
    return Elbow(tuple(inertia.tolist()), _bend(inertia))


def _bend(inertia: NDArray[np.float64]) -> int:
    """k of the point furthest below the chord of inertia over k = 1, 2 ...

    >>> _bend(np.array([1.0, 0.6, 0.1, 0.08, 0.06]))
    3
    """
    along = np.linspace(0.0, 1.0, len(inertia))
    height = (inertia - inertia[-1]) / (inertia[0] - inertia[-1])
    return int(np.argmax(1.0 - along - height)) + 1
