"""How well conditions can be told from embeddings of replicates that were left out whole.

ROIs of one cell and cells of one dish are alike, so a ROI is never judged by others of its own replicate: a fold leaves out one replicate
of every condition at once (all of a name, where conditions share replicates' names: the same cells, the same day), so that what is learned
from lacks no condition more than another. Accuracy is balanced: the mean over conditions of the share told right, first within each
replicate; chance is 1 over the number of conditions. Its interval is that of t over the replicates left out, and undefined where these
don't vary. Two ways to tell: the 5 nearest neighbours, by distances as they are (votes weighted so that all conditions count alike), and
logistic regression (features z-scored on what is learned from, L2, C = 1).

The same for cells: mean embeddings of a cell's ROIs, and these of all channels side by side (the outlook of Shirgill et al.).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.apart import group_means
from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.embedding_draw import ACCURACY, draw_evenly, generator
from smlmbatch.analyse.neighbours import Vectors, nearest
from smlmbatch.analyse.results import EmbeddingScore

NEAREST: Final = "accuracy nearest"
LOGISTIC: Final = "accuracy logistic"
CELLS: Final = "cell means"
CELLS_OF_ALL_CHANNELS: Final = "cell means of all channels"
NEIGHBOURS: Final = 5
_MOST_ROIS: Final = 10_000  # drawn evenly over replicates: 10^5 ROIs would take minutes a fold, and tell no more

Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Balanced accuracy over the replicates left out, with its 95 % interval; NaN and a note where it can't be had."""

    value: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""


def roi_scores(
    vectors: Vectors,
    *,
    condition: Names,
    replicate: Names,
    channel: int | None,
    representation: str = "embedding",
    n_locs: int = 0,
    n_lost: int = 0,
    seed: int = 0,
) -> list[EmbeddingScore]:
    """Both accuracies of ROIs in one representation.

    Parameters
    ----------
    vectors : (n, f); one column where the representation is a number
    condition, replicate : (n,) names, the latter as `grouping.group_rois` gives them
    channel, representation, n_locs, n_lost : as in `EmbeddingScore`
    seed : of the draw where there are more than 10,000 ROIs

    Returns
    -------
    list of EmbeddingScore
        "accuracy nearest", "accuracy logistic"; label "condition"
    """
    _, code = np.unique([f"{a}\0{b}" for a, b in zip(condition.tolist(), replicate.tolist(), strict=True)], return_inverse=True)
    chosen = draw_evenly(code, _MOST_ROIS, generator(seed, ACCURACY, channel))
    vectors, condition, replicate = np.asarray(vectors[chosen], dtype=np.float64), condition[chosen], replicate[chosen]
    groups = len(set(condition.tolist()))
    scores = []
    for measure, tell in _WAYS.items():
        found = accuracy(vectors, condition, replicate, tell=tell)
        scores.append(
            EmbeddingScore(
                channel=channel,
                label="condition",
                representation=representation,
                n_locs=n_locs,
                measure=measure,
                value=found.value,
                low=found.low,
                high=found.high,
                repeats=1,
                repeat_sd=np.nan,
                groups=groups,
                k=NEIGHBOURS if measure == NEAREST else 0,
                n_rois=len(vectors),
                n_lost=n_lost,
                chance=1.0 / groups if groups else np.nan,
                note=found.note,
            )
        )
    return scores


def cell_scores(
    vectors: Vectors, *, cell: Names, condition: Names, replicate: Names, channel: int | None, n_locs: int = 0, seed: int = 0
) -> list[EmbeddingScore]:
    """Both accuracies of cells, each the mean of its ROIs' vectors; `n_rois` counts cells.

    Parameters
    ----------
    cell : (n,) names that no two cells share (field's key and cell)
    """
    cells = _cells(vectors, cell=cell, condition=condition, replicate=replicate)
    return roi_scores(
        cells.means,
        condition=cells.condition,
        replicate=cells.replicate,
        channel=channel,
        representation=CELLS,
        n_locs=n_locs,
        seed=seed,
    )


def all_channel_scores(
    vectors: Vectors,
    *,
    cell: Names,
    condition: Names,
    replicate: Names,
    channel: NDArray[np.integer],
    n_locs: int = 0,
    seed: int = 0,
) -> list[EmbeddingScore]:
    """Both accuracies of cells, the means of all channels side by side; none with one channel.

    Cells lacking a channel, or whose channels are of different conditions, are left out and counted as lost.
    """
    channels = np.unique(channel).tolist()
    if len(channels) < 2:
        return []
    own = [_cells(*(a[channel == c] for a in (vectors, cell, condition, replicate))) for c in channels]
    places = [{group: i for i, group in enumerate(one.groups)} for one in own]
    shared = [group for group in own[0].groups if all(group in place for place in places)]
    every = {group[0] for one in own for group in one.groups}
    joined = np.hstack([one.means[[place[group] for group in shared]] for one, place in zip(own, places, strict=True)])
    names = np.array(shared, dtype=object).reshape(-1, 3)
    return roi_scores(
        joined,
        condition=names[:, 1],
        replicate=names[:, 2],
        channel=None,
        representation=CELLS_OF_ALL_CHANNELS,
        n_locs=n_locs,
        seed=seed,
        n_lost=len(every) - len({group[0] for group in shared}),
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    groups: tuple[tuple[str, ...], ...]  # cell, condition, replicate
    means: NDArray[np.float64]

    @property
    def condition(self) -> Names:
        return np.array([group[1] for group in self.groups], dtype=object)

    @property
    def replicate(self) -> Names:
        return np.array([group[2] for group in self.groups], dtype=object)


def _cells(vectors: Vectors, cell: Names, condition: Names, replicate: Names) -> _Cells:
    """Means over each cell, condition (a cell's regions may be conditions) and replicate."""
    groups, means, _ = group_means(vectors, list(zip(cell.tolist(), condition.tolist(), replicate.tolist(), strict=True)))
    return _Cells(tuple(groups), means)


# ---- accuracy

Tell = Callable[[Vectors, NDArray[np.intp], Vectors], NDArray[np.intp]]  # (learned from, their classes, asked) → classes


def accuracy(vectors: Vectors, condition: Names, replicate: Names, *, tell: Tell) -> Accuracy:
    """Balanced accuracy of one way to tell, with whole replicates left out."""
    names = sorted(set(condition.tolist()), key=natural_key)
    replicates = {name: sorted(set(replicate[condition == name].tolist()), key=natural_key) for name in names}
    if len(names) < 2:
        return Accuracy(value=np.nan, note="one condition: nothing to tell apart" if names else "no ROI is left")
    if alone := [name for name in names if len(replicates[name]) < 2]:
        return Accuracy(value=np.nan, note=f"only one replicate of {', '.join(alone)}: none can be left out")
    classes = np.array([names.index(name) for name in condition.tolist()], dtype=np.intp)
    right: dict[tuple[str, str], list[float]] = {}
    for fold in _folds(replicates):
        out = np.array([pair in fold for pair in zip(condition.tolist(), replicate.tolist(), strict=True)])
        told = tell(vectors[~out], classes[~out], vectors[out]) == classes[out]
        for name, one in sorted(fold):
            own = (condition[out] == name) & (replicate[out] == one)
            right.setdefault((name, one), []).append(float(told[own].mean()))
    shares = {name: {one: float(np.mean(right[name, one])) for one in replicates[name]} for name in names}
    return _with_interval(shares)


def _folds(replicates: dict[str, list[str]]) -> list[set[tuple[str, str]]]:
    """Which (condition, replicate) are left out together; each of them at least once, never all of a condition.

    >>> [sorted(fold) for fold in _folds({"a": ["1", "2"], "b": ["3", "4", "5"]})]
    [[('a', '1'), ('b', '3')], [('a', '2'), ('b', '4')], [('a', '1'), ('b', '5')]]
    >>> [sorted(fold) for fold in _folds({"a": ["1", "2"], "b": ["1", "2"]})]
    [[('a', '1'), ('b', '1')], [('a', '2'), ('b', '2')]]
    """
    every = sorted({one for own in replicates.values() for one in own}, key=natural_key)
    if len(every) < sum(map(len, replicates.values())):  # names that conditions share: the same cells or days, which must not stay behind
        return [{(name, one) for name, own in replicates.items() if one in own} for one in every]
    return [{(name, own[i % len(own)]) for name, own in replicates.items()} for i in range(max(map(len, replicates.values())))]


def _with_interval(shares: dict[str, dict[str, float]]) -> Accuracy:
    """Mean over conditions of the mean over replicates, with an interval of t (degrees of freedom of Welch and Satterthwaite)."""
    from scipy import special

    own = [np.array(list(one.values())) for one in shares.values()]
    value = float(np.mean([one.mean() for one in own]))
    blocks = _blocks(shares)
    terms = [blocks] if blocks is not None else [one / len(own) for one in own]
    of_mean = np.array([term.var(ddof=1) / len(term) for term in terms])
    if of_mean.sum() <= 1e-20:
        return Accuracy(value=value, note="replicates don't vary: no interval")
    freedom = of_mean.sum() ** 2 / sum(v**2 / (len(term) - 1) for v, term in zip(of_mean, terms, strict=True))
    half = float(special.stdtrit(freedom, 0.975) * np.sqrt(of_mean.sum()))
    return Accuracy(value=value, low=max(0.0, value - half), high=min(1.0, value + half))


def _blocks(shares: dict[str, dict[str, float]]) -> NDArray[np.float64] | None:
    """Balanced accuracy of each replicate, where every one holds all conditions."""
    first = set(next(iter(shares.values())))
    if any(set(own) != first for own in shares.values()):
        return None
    return np.array([np.mean([own[one] for own in shares.values()]) for one in sorted(first)])


def _by_neighbours(known: Vectors, classes: NDArray[np.intp], asked: Vectors) -> NDArray[np.intp]:
    """Class with the most votes among the nearest, each class's weighted by 1 over its number; of equal ones the nearest's."""
    weight = 1.0 / np.maximum(1, np.bincount(classes))
    near = classes[nearest(asked, known, k=NEIGHBOURS)]
    votes = np.zeros((len(asked), len(weight)))
    for rank, column in enumerate(near.T):
        votes[np.arange(len(asked)), column] += weight[column] * (1.0 - 1e-6 * rank)
    return np.asarray(votes.argmax(axis=1), dtype=np.intp)


def _by_logistic(known: Vectors, classes: NDArray[np.intp], asked: Vectors) -> NDArray[np.intp]:
    from sklearn.linear_model import LogisticRegression

    mean, sd = known.mean(axis=0), known.std(axis=0)
    scale = np.where(sd > 1e-9 * np.abs(known).max(initial=0.0), sd, np.inf)  # a feature that never varies tells nothing
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # conditions of one or two ROIs
        model = LogisticRegression(C=1.0, class_weight="balanced", solver="lbfgs", max_iter=2000).fit((known - mean) / scale, classes)
    told: Any = model.predict((asked - mean) / scale)
    return np.asarray(told, dtype=np.intp)


_WAYS: Final[dict[str, Tell]] = {NEAREST: _by_neighbours, LOGISTIC: _by_logistic}
