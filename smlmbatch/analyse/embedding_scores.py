"""Adjusted Rand indices of clusters and conditions, of any representation of ROIs: the embedding and what it is held against.

K-means has as many clusters as there are groups, on the vectors as they are; Ward, whose memory grows with the square of ROIs, is
given those alone that were drawn for it. Density-normalised representations are several draws of the same ROIs: the value is their
mean, and the interval holds the bootstraps of all of them together, so it is as wide as ROIs and draws make it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.agreement import adjusted_rand, contingency, interval, resampled_rand, without_excess
from smlmbatch.analyse.embedding_clusters import Vectors, elbow, k_means, not_clustered, ward
from smlmbatch.analyse.embedding_draw import BOOTSTRAP, KMEANS, generator, seed_of
from smlmbatch.analyse.results import EmbeddingScore
from smlmbatch.analyse.statistics import MOST_CONDITIONS
from smlmbatch.config import EmbeddingsConfig

EMBEDDING, LOG_N, DESCRIPTORS, RANDOM = "embedding", "log N", "descriptors", "random encoder"
ARI_KMEANS, ARI_WARD = "ARI k-means", "ARI Ward"
CONDITION: Final = "condition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """ROIs as vectors.

    Attributes
    ----------
    draws : one (m, f) array, or one of each density normalisation
    rows : (m,) which rows of the family these are
    code : (m,) condition of each, index into `names`
    n_locs : locs each was thinned to (0 = all)
    lost : ROIs of each condition that had fewer and are not in it; () = none
    note : what to know of it
    """

    name: str
    draws: Sequence[Vectors]
    rows: NDArray[np.intp]
    code: NDArray[np.intp]
    names: tuple[str, ...]
    n_locs: int = 0
    lost: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A grouping to hold clusters against: all conditions, or all but one."""

    text: str
    without: int = -1  # index of the condition left out


def labels_of_scores(names: Sequence[str], *, reference: str) -> list[Label]:
    """With all conditions; and without the reference where two or more others are left (Shirgill et al., Fig 4).

    >>> [label.text for label in labels_of_scores(["a", "b", "ctrl"], reference="ctrl")]
    ['condition', 'condition without ctrl']
    """
    labels = [Label(CONDITION)]
    if reference in names and len(names) > 2:
        labels.append(Label(f"{CONDITION} without {reference}", list(names).index(reference)))
    return labels


def number_of_clusters(n_groups: int, *, config: EmbeddingsConfig) -> int:
    """As many as there are groups unless the settings say; 0 where folders that were taken for conditions are too many.

    >>> [number_of_clusters(n, config=EmbeddingsConfig()) for n in (3, 300)], number_of_clusters(300, config=EmbeddingsConfig(clusters=4))
    ([3, 0], 4)
    """
    return config.clusters or (n_groups if n_groups <= MOST_CONDITIONS else 0)


def agreement_scores(
    representation: Representation,
    labels: Sequence[Label],
    *,
    channel: int | None,
    config: EmbeddingsConfig,
    measures: Sequence[str] = (ARI_KMEANS, ARI_WARD),
) -> list[EmbeddingScore]:
    """One score per label and measure; where it can't be had the value is NaN and the note says why."""
    return [_score(representation, label, measure, channel=channel, config=config) for label in labels for measure in measures]


def _score(rois: Representation, label: Label, measure: str, *, channel: int | None, config: EmbeddingsConfig) -> EmbeddingScore:
    kept = rois.code != label.without
    groups, code = np.unique(rois.code[kept], return_inverse=True)
    k = number_of_clusters(len(groups), config=config)
    found: list[float] = []
    resampled: list[NDArray[np.float64]] = []
    whys: list[str] = []
    for number, table in enumerate(_tables(rois, kept, code.reshape(-1), k, measure, (channel, label.text), config, whys)):
        rng = generator(config.seed, BOOTSTRAP, channel, label.text, rois.name, rois.n_locs, measure, number)
        found.append(float(adjusted_rand(table)))
        resampled.append(without_excess(resampled_rand(table, draws=config.bootstrap, rng=rng), found[-1]))
    values = np.array(found, dtype=np.float64)
    low, high = interval(np.concatenate(resampled)) if found else (np.nan, np.nan)
    return EmbeddingScore(
        channel=channel,
        label=label.text,
        representation=rois.name,
        n_locs=rois.n_locs,
        measure=measure,
        value=float(values.mean()) if len(values) else np.nan,
        low=low,
        high=high,
        repeats=len(rois.draws),
        repeat_sd=float(values.std(ddof=1)) if len(values) > 1 else np.nan,
        groups=len(groups),
        k=k,
        n_rois=int(kept.sum()),
        n_lost=sum(lost for lost, _, _ in _lost(rois, label)),
        chance=0.0,
        note=note_of(*dict.fromkeys(whys), _gone(rois, groups, label), rois.note, _lost_text(rois, label)),
    )


def _tables(
    rois: Representation,
    kept: NDArray[np.bool_],
    code: NDArray[np.intp],
    k: int,
    measure: str,
    key: tuple[object, ...],
    config: EmbeddingsConfig,
    whys: list[str],
) -> Iterator[NDArray[np.int64]]:
    """Contingency table of each draw that could be clustered; why others could not goes to `whys`."""
    seed = seed_of(config.seed, KMEANS, *key)
    if not len(code):
        whys.append("no ROI is left")
    elif len(np.unique(code)) < 2:
        whys.append("one condition: nothing to tell apart")
    elif not k:
        whys.append(f"more than {MOST_CONDITIONS} conditions: set embeddings.clusters")
    for vectors in rois.draws if not whys else ():
        own = vectors if kept.all() else vectors[kept]
        why = not_clustered(own, k)
        if why:
            whys.append(why)
        else:
            yield contingency(code, _WAYS[measure](own, k, seed, code))


def _gone(rois: Representation, groups: NDArray[np.intp], label: Label) -> str:
    """Conditions none of whose ROIs is left."""
    gone = [name for i, name in enumerate(rois.names) if i not in groups and i != label.without]
    return f"no ROI left of {', '.join(gone)}" if gone else ""


def _lost(rois: Representation, label: Label) -> list[tuple[int, int, str]]:
    """(ROIs lost, ROIs there were, condition)."""
    there = np.bincount(rois.code, minlength=len(rois.names)).tolist()
    each = zip(rois.lost, there, rois.names, strict=False)
    return [(lost, lost + kept, name) for i, (lost, kept, name) in enumerate(each) if i != label.without]


def _lost_text(rois: Representation, label: Label) -> str:
    """ROIs lost of each condition; "" where none is.

    >>> rois = Representation(name="", draws=[], rows=np.arange(2), code=np.array([0, 1]), names=("a", "b"), lost=(1, 0))
    >>> _lost_text(rois, Label("condition"))
    'lost: 1 of 2 of a, 0 of 1 of b'
    """
    lost = _lost(rois, label)
    return "lost: " + ", ".join(f"{n} of {size} of {name}" for n, size, name in lost) if any(n for n, _, _ in lost) else ""


def note_of(*texts: str) -> str:
    """Notes side by side, empty ones left out."""
    return "; ".join(text for text in texts if text)


_Way = Callable[[Vectors, int, int, NDArray[np.intp]], NDArray[np.int32]]
_WAYS: Final[dict[str, _Way]] = {
    ARI_KMEANS: lambda vectors, k, seed, code: k_means(vectors, k, seed=seed, code=code).cluster,
    ARI_WARD: lambda vectors, k, seed, code: ward(vectors, k),
}


def elbow_scores(vectors: Vectors, *, channel: int | None, n_locs: int, seed: int) -> tuple[list[EmbeddingScore], int]:
    """Inertia of 1, 2 ... 10 clusters over that of one, the bend marked in its note; and the k of the bend, 0 = none."""
    found = elbow(vectors, seed=seed)
    scores = [
        EmbeddingScore(
            channel=channel,
            label="",
            representation=EMBEDDING,
            n_locs=n_locs,
            measure="inertia",
            value=value,
            low=np.nan,
            high=np.nan,
            repeats=1,
            repeat_sd=np.nan,
            groups=0,
            k=k,
            n_rois=len(vectors),
            n_lost=0,
            chance=np.nan,
            note="elbow" if k == found.k else "",
        )
        for k, value in enumerate(found.inertia, start=1)
    ]
    return scores, found.k
