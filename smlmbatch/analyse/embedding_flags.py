"""What to know before an embedding is believed: density, replicates and batches that stand apart, designs that can't tell.

Shirgill et al. look at clusters for replicates or localisation programs that keep to themselves (their Fig S4: entropies of 0.27 and 0.59
where others are above 0.9). Here replicates, batches, programs, channels and the sheet's own columns are held against chance, replicates
or fields as the units (`apart`): in a campaign with nothing of the kind, at most 1 in 20 gets such a flag for a replicate, and at most
1 in 20 for all columns together (Bonferroni). What a design confounds is said, not tested.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.agreement import contingency, entropies
from smlmbatch.analyse.apart import Difference, farthest_replicate, group_means, groups_differ
from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.embedding_classify import NEAREST
from smlmbatch.analyse.embedding_clusters import k_means, not_clustered
from smlmbatch.analyse.embedding_draw import SAMPLE, draw_evenly, generator
from smlmbatch.analyse.embedding_order import p_text
from smlmbatch.analyse.grouping import ColumnName, channels_joined, column_values, labels_of, resolved_columns, sheet_columns
from smlmbatch.analyse.neighbours import Vectors
from smlmbatch.analyse.results import EmbeddingFlag, EmbeddingScore, Light
from smlmbatch.config import CompareConfig

if TYPE_CHECKING:
    import pyarrow as pa

ALPHA: Final = 0.05
FEW_ROIS: Final = 20  # of a condition: below, clusters and centroids are of single ROIs
_LABEL_VALUES: Final = (2, 20)  # a column with more is a name or a number, not a group
_PAIR: Final = ("embedding", "log N")
_MEASURES: Final[Mapping[str, str]] = {
    "ARI k-means": "adjusted Rand index",
    NEAREST: "accuracy by nearest neighbours, replicates left out,",
}
_TOLD_APART: Final = 0.1  # of the way from chance to perfect, below which conditions are not told apart
_AS_WELL: Final = 0.9  # of what the embedding reaches: log N alone is called as good
_CLUSTERED_ROIS: Final = 2000  # of the condition of the farthest replicate
_BEYOND_AMBER: Final = 0.1  # share of ROIs beyond the densities the model learned from
_NAMES: Final[Mapping[str, str]] = {"batch": "batch", "format": "localisation program (format)", "channel": "channel"}
_CONFOUNDABLE: Final = ("batch", "format", "channel")  # a label that goes with the condition describes it

Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Embedded ROIs that are compared with each other, row by row: of one channel, or of all where channels are part of the condition.

    Attributes
    ----------
    vectors : (n, f)
    condition, replicate, key : (n,) names, as `grouping.group_rois` gives them
    columns : name → (n,) values, of what else may set ROIs apart (`columns_to_check`)
    n_skipped, n_beyond : kept ROIs too empty to embed, embedded ones beyond the densities the model learned from
    """

    vectors: Vectors
    condition: Names
    replicate: Names
    key: Names
    columns: Mapping[str, Names]
    n_skipped: int = 0
    n_beyond: int = 0

    @property
    def conditions(self) -> list[str]:
        return sorted(set(self.condition.tolist()), key=natural_key)


def embedding_flags(rois: Embedded, *, channel: int | None, scores: Sequence[EmbeddingScore], seed: int = 0) -> list[EmbeddingFlag]:
    """All flags of a channel, in the order of `EmbeddingFlag.kind`; nothing is raised however odd the campaign.

    Parameters
    ----------
    scores : of the same channel; those of label "condition" and measures "ARI k-means" and "accuracy nearest" are looked at
    seed : of the permutations
    """
    if not len(rois.condition):
        text = f"No ROI was embedded: all {rois.n_skipped} that were kept hold too few locs of the channel (embed.min_locs)."
        return [EmbeddingFlag(channel=channel, kind="few", light="grey", text=text if rois.n_skipped else "No ROI was embedded.")]
    found: list[tuple[str, Light, str]] = [*_of_density(scores), *_of_replicates(rois, seed=seed), *_of_columns(rois, seed=seed)]
    found += [*_of_numbers(rois), *_of_range(rois)]
    return [EmbeddingFlag(channel=channel, kind=kind, light=light, text=text) for kind, light, text in found]


def columns_to_check(rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig) -> dict[str, Names]:
    """Batch, format, channel and the sheet's own columns, row by row, of those with 2 to 20 values that are not compared themselves.

    Parameters
    ----------
    rois : rows with `key` and the channel's own number, before `grouping.group_rois`
    fields : the table of fields
    """
    labels = labels_of(fields)
    compared = resolved_columns(labels, config=config)
    names = [ColumnName("batch"), ColumnName("format"), *([ColumnName("channel")] if channels_joined(labels, config=config) else [])]
    names += [ColumnName(name, label=True) for name in sheet_columns(labels)]
    found: dict[str, Names] = {}
    for column in (column for column in names if column not in compared):
        values = np.array([value or "" for value in column_values(column, rois, fields, config=config).to_pylist()], dtype=object)
        if _LABEL_VALUES[0] <= len(set(values.tolist()) - {""}) <= _LABEL_VALUES[1]:
            found[f"label_{column.name}" if column.label else column.name] = values
    return found


Found = Iterator[tuple[str, Light, str]]


# ---- density


def _of_density(scores: Sequence[EmbeddingScore]) -> Found:
    """Whether the number of locs alone tells the conditions apart as well, by clusters or, where these don't follow them, by accuracy."""
    views = [view for measure in _MEASURES if (view := _view(scores, measure)) is not None]
    view = next((view for view in views if view.tells), views[0] if views else None)
    if view is None:
        return
    told = f"{view.name} {view.embedding.value:.2f} of the embedding, {view.log_n.value:.2f} of the number of locs alone"
    equal = "; ".join(f"{s.value:.2f} with {s.n_locs} locs each, {s.n_rois} ROIs" for s in view.equal) or "not possible here"
    if not view.tells:
        yield (
            "density",
            "grey",
            f"The embedding doesn't tell the conditions apart ({told}), so there is nothing that density could explain.",
        )
    elif view.above_chance(view.log_n) >= _AS_WELL * view.above_chance(view.embedding):
        light: Light = "red" if view.equal and not any(view.tells_apart(s) for s in view.equal) else "amber"
        yield (
            "density",
            light,
            f"The number of locs alone tells the conditions apart as well ({told}): the difference may be one of density, not of "
            f"architecture. Believe what remains at equal numbers of locs: {equal}.",
        )
    else:
        yield "density", "green", f"Conditions are told apart better than by density ({told}; at equal numbers of locs: {equal})."


@dataclass(frozen=True, slots=True)
class _View:
    """One measure of how well conditions are told apart: of the embedding, of log N, of the embedding at equal numbers of locs."""

    name: str
    embedding: EmbeddingScore
    log_n: EmbeddingScore
    equal: Sequence[EmbeddingScore]

    @property
    def tells(self) -> bool:
        return self.tells_apart(self.embedding)

    @staticmethod
    def tells_apart(score: EmbeddingScore) -> bool:
        """By more than next to nothing, and beyond what chance does as far as there is an interval."""
        return _View.above_chance(score) >= _TOLD_APART and not score.low <= score.chance

    @staticmethod
    def above_chance(score: EmbeddingScore) -> float:
        """0 = chance, 1 = perfect."""
        return (score.value - score.chance) / (1.0 - score.chance)


def _view(scores: Sequence[EmbeddingScore], measure: str) -> _View | None:
    own = {(s.representation, s.n_locs): s for s in scores if (s.label, s.measure) == ("condition", measure) and np.isfinite(s.value)}
    # embedded at equal numbers from the start, both scores have that number
    embedding, log_n = (min((s for (kind, _), s in own.items() if kind == name), key=lambda s: s.n_locs, default=None) for name in _PAIR)
    if embedding is None or log_n is None or embedding.n_locs != log_n.n_locs:
        return None
    return _View(_MEASURES[measure], embedding, log_n, [s for (name, n), s in sorted(own.items()) if name == _PAIR[0] and n])


# ---- replicates and columns


def _of_replicates(rois: Embedded, *, seed: int) -> Found:
    found = farthest_replicate(rois.vectors, condition=rois.condition, replicate=rois.replicate)
    if found is None:
        yield (
            "replicate",
            "grey",
            "Too few replicates to say whether one stands apart: 3 of a condition are the least, and in all 3 more than conditions.",
        )
        return
    name = f"Replicate {found.replicate} of {found.condition}"
    size = (
        f"{found.distance:.2g} from the rest of its condition, where {found.usual:.2g} is usual for the other replicates; {p_text(found.p)}"
    )
    purest = _purest(rois, found.condition, seed=seed)
    if found.p < ALPHA:
        light: Light = "red" if found.distance > _between_conditions(rois) else "amber"
        yield (
            "replicate",
            light,
            f"{name} stands apart ({size}). Look at its fields and their quality before it decides a comparison.{purest}",
        )
    else:
        yield "replicate", "green", f"No replicate stands apart. The farthest: {name} ({size}).{purest}"


def _purest(rois: Embedded, condition: str, *, seed: int) -> str:
    """How Shirgill et al. judge replicates: the lowest entropy among clusters of a condition, as many as it has replicates."""
    own = np.flatnonzero(rois.condition == condition)
    names, code = np.unique(rois.replicate[own], return_inverse=True)
    rows = draw_evenly(code, _CLUSTERED_ROIS, generator(seed, SAMPLE, condition))
    vectors, code = rois.vectors[own[rows]], code[rows]
    if not_clustered(vectors, len(names)):
        return ""
    lowest = float(np.nanmin(entropies(contingency(code, k_means(vectors, len(names), seed=seed).cluster))))
    return f" Of {len(names)} clusters of that condition's ROIs the purest has an entropy over replicates of {lowest:.2f} (1 = all alike)."


def _of_columns(rois: Embedded, *, seed: int) -> Found:
    """Columns whose values stand apart within conditions, those that go with the condition, and those that can't be tested."""
    columns = {name: _named(values) for name, values in rois.columns.items()}
    confounded: dict[str, list[tuple[str, str]]] = {
        name: _confounded(rois.condition, columns[name]) for name in _CONFOUNDABLE if name in columns
    }
    for name, pairs in confounded.items():
        if pairs:
            yield _kind(name), "amber", _confounded_text(name, pairs)
    tests = {name: groups_differ(rois.vectors, **_of_rows(rois), group=values, seed=seed) for name, values in columns.items()}
    possible = {name: one for name, one in tests.items() if one is not None and one.smallest * len(tests) < ALPHA}
    for name, one in possible.items():
        yield _kind(name), *_column_text(name, one, min(1.0, one.p * len(possible)), _between_conditions(rois))
    described = {name for name in columns if name not in _CONFOUNDABLE and _of_condition(rois.condition, columns[name])}
    if silent := [_shown(name) for name in columns if name not in possible and not confounded.get(name) and name not in described]:
        yield "few", "grey", f"Too few replicates with different values to test: {', '.join(silent)}."


def _of_rows(rois: Embedded) -> dict[str, Names]:
    return {"condition": rois.condition, "replicate": rois.replicate, "key": rois.key}


def _named(values: Names) -> Names:
    """An empty cell is a value of its own."""
    return np.array([value or "(empty)" for value in values.tolist()], dtype=object)


def _column_text(name: str, one: Difference, p: float, conditions: float) -> tuple[Light, str]:
    size = f"its distance from the rest is {one.distance:.2g}, that between conditions {conditions:.2g}; {p_text(p)}"
    if p >= ALPHA:
        return "green", f"{_shown(name)}: no difference within conditions that chance would not make ({p_text(p)}, {one.units} units)."
    light: Light = "red" if one.distance > conditions else "amber"
    advice = (
        "compare conditions within it, or leave it out" if light == "amber" else "it is as large as what you compare: don't pool over it"
    )
    return light, f"{_shown(name)}: {one.farthest} stands apart from the others of the same conditions ({size}); {advice}."


def _of_condition(condition: Names, values: Names) -> bool:
    """Whether a column has one value in each condition: it describes the condition, there is nothing to test."""
    return len(set(zip(condition.tolist(), values.tolist(), strict=True))) == len(set(condition.tolist()))


def _confounded(condition: Names, values: Names) -> list[tuple[str, str]]:
    """Pairs of conditions that share no value."""
    own = {name: set(values[condition == name].tolist()) for name in sorted(set(condition.tolist()), key=natural_key)}
    return [(a, b) for a, b in combinations(own, 2) if not own[a] & own[b]]


def _confounded_text(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{a} and {b}" for a, b in pairs[:3]) + (f" and {len(pairs) - 3} more" if len(pairs) > 3 else "")
    return (
        f"{_shown(name)}: {shown} share none, so a difference between them may be one of the {_NAMES[name]}. No analysis can tell; "
        "measure each condition in several."
    )


def _kind(name: str) -> str:
    return "label" if name.startswith("label_") else name


def _shown(name: str) -> str:
    return f"Column {name.removeprefix('label_')}" if name.startswith("label_") else _NAMES[name].capitalize()


def _between_conditions(rois: Embedded) -> float:
    """Mean distance of conditions' centroids (means over replicates' means); 0 with one."""
    groups, means, _ = group_means(rois.vectors, list(zip(rois.condition.tolist(), rois.replicate.tolist(), strict=True)))
    own = np.array([group[0] for group in groups], dtype=object)
    centres = [means[own == name].mean(axis=0) for name in rois.conditions]
    return float(np.mean([np.linalg.norm(a - b) for a, b in combinations(centres, 2)])) if len(centres) > 1 else 0.0


# ---- numbers


def _of_numbers(rois: Embedded) -> Found:
    """What is too few to be analysed or believed."""
    conditions = rois.conditions
    sizes = {name: int((rois.condition == name).sum()) for name in conditions}
    replicates = {name: len(set(rois.replicate[rois.condition == name].tolist())) for name in conditions}
    if len(conditions) < 2:
        yield "few", "grey", f"There is one condition ({conditions[0]}): nothing is compared."
    if alone := [name for name in conditions if replicates[name] < 2]:
        text = f"Only one replicate of {', '.join(alone)}: whether a difference would come again is not known. Two are the least."
        yield "few", "amber", text
    if small := [f"{name} ({sizes[name]})" for name in conditions if sizes[name] < FEW_ROIS]:
        yield "few", "amber", f"Few ROIs in {', '.join(small)}: clusters and centroids hang on single ROIs below {FEW_ROIS}."
    kept = rois.n_skipped + len(rois.condition)
    if rois.n_skipped:
        light: Light = "amber" if rois.n_skipped > 0.5 * kept else "grey"
        yield "few", light, f"{rois.n_skipped} of {kept} kept ROIs hold too few locs of the channel to be embedded (embed.min_locs)."


def _of_range(rois: Embedded) -> Found:
    """ROIs unlike anything the model has seen."""
    n = len(rois.condition)
    if rois.n_beyond and n:
        light: Light = "amber" if rois.n_beyond > _BEYOND_AMBER * n else "grey"
        yield (
            "range",
            light,
            f"{rois.n_beyond} of {n} ROIs are denser or emptier than what the model learned from; their embedding is an extrapolation. "
            "If denser: merge blinks, or embed fewer locs of each (embed.n_locs). If emptier: embed none so empty (embed.min_locs).",
        )
