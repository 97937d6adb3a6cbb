"""How far conditions lie apart in the embedding: distances of centroids with intervals, and the dendrogram they make.

A condition's centroid is the mean of its replicates' means, so that a replicate with many ROIs counts no more than another. Scatter of
replicates alone moves two centroids apart: in many dimensions a distance is never 0. The interval is therefore of the true distance:
resampled replicates give squared distances, from which what scatter adds (twice: in the sample and again in the resample) is taken
off, and the deviations from the middle are stretched for few replicates as in `effects`. It begins at 0 where scatter alone explains
the distance; coverage by simulation in `tests/analyse/test_embedding_distances.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.embedding_draw import DISTANCE, generator
from smlmbatch.analyse.results import EmbeddingDistance

_TAILS: Final = (0.025, 0.975)

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Centre:
    """One condition: its centroid (f,), its replicates' means (r, f), mean square distance of its ROIs from the centroid."""

    centroid: Values
    replicates: Values
    mean_square: float


def centre_of(vectors: NDArray[np.floating], replicate: NDArray[np.integer]) -> Centre:
    """The centre of one condition's ROIs.

    Parameters
    ----------
    vectors : (n, f), n above 0
    replicate : (n,) codes
    """
    order = np.argsort(replicate, kind="stable")
    bounds = np.flatnonzero(np.diff(replicate[order])) + 1
    means = np.array([vectors[rows].mean(axis=0, dtype=np.float64) for rows in np.split(order, bounds)])  # piece by piece: memory
    centroid = means.mean(axis=0)
    squares = sum(float(np.square(vectors[rows] - centroid).sum()) for rows in np.split(order, bounds))
    return Centre(centroid, means, squares / len(vectors))


def distances(centres: Mapping[str, Centre], *, channel: int | None, draws: int, seed: int) -> list[EmbeddingDistance]:
    """One row per pair of conditions, the earlier one first."""
    return [
        _distance(channel, pair, *(centres[name] for name in pair), draws=draws, rng=generator(seed, DISTANCE, channel, *pair))
        for pair in combinations(centres, 2)
    ]


def _distance(
    channel: int | None, pair: tuple[str, str], a: Centre, b: Centre, *, draws: int, rng: np.random.Generator
) -> EmbeddingDistance:
    value = float(np.linalg.norm(a.centroid - b.centroid))
    low, high = true_distance(a.replicates, b.replicates, draws=draws, rng=rng)
    spreads = [float(np.linalg.norm(c.replicates - c.centroid, axis=1).mean()) for c in (a, b) if len(c.replicates) > 1]
    return EmbeddingDistance(
        channel=channel,
        condition=pair[0],
        other=pair[1],
        distance=value,
        low=low,
        high=max(high, value),
        spread=float(np.mean(spreads)) if spreads else np.nan,
        within=float(np.sqrt((a.mean_square + b.mean_square) / 2.0)),
    )


def true_distance(a: Values, b: Values, *, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the distance of the means that (n, f) and (m, f) replicates are samples of; NaN below two of either."""
    if min(len(a), len(b)) < 2:
        return np.nan, np.nan
    n, m = len(a), len(b)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    gap = mean_a - mean_b
    scatter = a.var(axis=0, ddof=1).sum() / n + b.var(axis=0, ddof=1).sum() / m  # what it adds to the squared distance
    shift = _resampled(a - mean_a, draws, rng) - _resampled(b - mean_b, draws, rng)
    along, across = 2.0 * shift @ gap, (shift**2).sum(axis=1)
    error = along + across * scatter / max(float(across.mean()), np.finfo(np.float64).tiny) - scatter
    ends = gap @ gap - scatter + _stretch(a, b) * np.quantile(error, _TAILS)
    low, high = np.sqrt(np.maximum(ends, 0.0))
    return float(low), float(high)


def _resampled(deviations: Values, draws: int, rng: np.random.Generator) -> Values:
    """Means of resamples of rows, (draws, f)."""
    shares = rng.multinomial(len(deviations), np.full(len(deviations), 1.0 / len(deviations)), size=draws) / len(deviations)
    return np.asarray(shares @ deviations)


def _stretch(a: Values, b: Values) -> float:
    """Width of a t interval over that of resampled means: these vary by (n - 1) / n too little, with normal tails."""
    from scipy import special

    n, m = len(a), len(b)
    return float(special.stdtrit(n + m - 2, _TAILS[1]) / special.ndtri(_TAILS[1]) / np.sqrt(1.0 - 1.0 / min(n, m)))


@dataclass(frozen=True, slots=True)
class Dendrogram:
    """Average linkage of conditions: names as given, scipy's linkage matrix (n - 1, 4), and the order of leaves."""

    names: tuple[str, ...]
    linkage: Values
    leaves: tuple[int, ...]


def dendrogram(rows: Sequence[EmbeddingDistance]) -> Dendrogram | None:
    """The tree that average linkage makes of one channel's distances; None below two conditions."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    names = tuple(dict.fromkeys(name for row in rows for name in (row.condition, row.other)))
    if len(names) < 2 or len(rows) != len(names) * (len(names) - 1) // 2:
        return None
    square = {frozenset((row.condition, row.other)): row.distance for row in rows}
    condensed = np.array([square[frozenset(pair)] for pair in combinations(names, 2)])
    tree = optimal_leaf_ordering(linkage(condensed, method="average"), condensed)
    return Dendrogram(names, tree, tuple(leaves_list(tree).tolist()))
