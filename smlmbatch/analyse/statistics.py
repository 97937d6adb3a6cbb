"""Compares conditions, descriptor by descriptor, with replicates as the unit of inference.

ROIs of one cell and cells of one dish are alike, so a test that takes each for independent finds differences where there are
none (Lord et al., J Cell Biol 219:e202001064, 2020; Lazic, BMC Neurosci 11:5, 2010). The verdict rests on the means of
replicates: Welch's t, or a paired t, Bonferroni over all descriptors and pairs of conditions of a channel (of all, where channels
are part of the condition). Beside it stand a rank test on the same means and the rank test on ROIs that is often
published instead. Descriptors are correlated, so the true family-wise error lies below `alpha`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.compare import described, natural_key, replicate_means
from smlmbatch.analyse.effects import difference, hedges_g, ratio
from smlmbatch.analyse.grouping import EMPTY, JOINT, group_rois
from smlmbatch.analyse.hypotheses import p_of_means, p_of_ranks, p_of_rois
from smlmbatch.analyse.results import Comparison
from smlmbatch.config import CompareConfig

if TYPE_CHECKING:
    import pyarrow as pa

COMPARED: Final = tuple(name for name in DESCRIPTORS if name != "ripley_n")  # how many locs K was computed of describes no sample
MOST_CONDITIONS: Final = 24  # compared pair by pair: 276 pairs. Folders taken for conditions can be hundreds, and 10^5 tests show nothing
DIFFERS, NOT_SHOWN, TOO_FEW, NOT_TESTABLE = "differs", "no difference shown", "too few replicates", "not testable"
TESTED: Final = (DIFFERS, NOT_SHOWN)

Values = NDArray[np.float64]


def compare(
    rois: "pa.Table", fields: "pa.Table", *, config: CompareConfig, min_locs: int, descriptors: Sequence[str] = COMPARED
) -> list[Comparison]:
    """Every descriptor of every pair of conditions, by channel, pair and descriptor.

    Parameters
    ----------
    rois, fields : as `tables.read_tables` gives them
    min_locs : fewest locs of a channel for the descriptors of its pattern, as in `compare.described`
    descriptors : columns of `rois`; those of one channel and all its pairs of conditions are one family

    Returns
    -------
    list of Comparison
        of each condition against the reference, or of all pairs in natural order, the earlier one as reference; none of a channel
        with more than `MOST_CONDITIONS` conditions and no reference, or none of whose ROIs that were kept is of the reference

    Raises
    ------
    ConfigError
        a column that there is not
    """
    grouped = group_rois(rois, fields, config=config)
    groups = _groups(grouped, min_locs=min_locs, paired=bool(config.paired), descriptors=descriptors)
    found = []
    for channel in sorted({channel for channel, _ in groups}, key=lambda channel: -1 if channel is None else channel):
        conditions = [condition for own, condition in groups if own == channel]
        tests = [
            _compare(channel, descriptor, pair, groups, config=config)
            for pair in condition_pairs(conditions, reference=config.reference)
            for descriptor in descriptors
        ]
        found += _judged(tests, alpha=config.alpha)
    return found


def condition_pairs(conditions: Iterable[str], *, reference: str = "") -> list[tuple[str, str]]:
    """(reference, condition) of every comparison; none where there are too many. What has no value of a compared column is in none:
    a cell left empty, or a column of the sheet misspelt, must not become a condition that differs.

    >>> condition_pairs(["10 nM", "2 nM", "ctrl"])
    [('2 nM', '10 nM'), ('2 nM', 'ctrl'), ('10 nM', 'ctrl')]
    >>> condition_pairs(["10 nM", "2 nM", "ctrl"], reference="ctrl")
    [('ctrl', '2 nM'), ('ctrl', '10 nM')]
    >>> condition_pairs(["647", "568", EMPTY])
    [('568', '647')]
    """
    ordered = sorted((c for c in set(conditions) if EMPTY not in c.split(JOINT)), key=natural_key)
    if reference:
        return [(reference, other) for other in ordered if other != reference] if reference in ordered else []
    return [] if too_many(ordered, reference="") else list(combinations(ordered, 2))


def too_many(conditions: Iterable[str], *, reference: str) -> bool:
    """Whether conditions are too many to compare pair by pair, and none is the reference of all."""
    return not reference and len(set(conditions)) > MOST_CONDITIONS


class _Group(NamedTuple):
    """One condition in one channel: descriptor → block → replicates' means (one block where not paired), descriptor → ROIs."""

    blocks: Mapping[str, Mapping[str, list[float]]]
    rois: Mapping[str, Values]


_Groups = Mapping[tuple[int | None, str], _Group]


def _groups(grouped: "pa.Table", *, min_locs: int, paired: bool, descriptors: Sequence[str]) -> _Groups:
    """All that is compared, by channel and condition."""
    kept = described(grouped, min_locs=min_locs)
    blocks: dict[tuple[int | None, str], dict[str, dict[str, list[float]]]] = {}
    for mean in replicate_means(grouped, min_locs=min_locs, descriptors=descriptors):
        own = blocks.setdefault((mean.channel, mean.condition), {}).setdefault(mean.descriptor, {})
        if mean.n_rois and (mean.block is not None or not paired):
            own.setdefault(mean.block or "", []).append(mean.mean)
    rows = _rows(kept)
    columns = {name: kept[name].to_numpy().astype(np.float64) for name in descriptors}  # null becomes NaN
    return {
        group: _Group(own, {name: values[rows[group]][np.isfinite(values[rows[group]])] for name, values in columns.items()})
        for group, own in blocks.items()
    }


def _rows(kept: "pa.Table") -> dict[tuple[int | None, str], NDArray[np.intp]]:
    """Rows of each channel and condition."""
    import pyarrow.compute as pc

    condition = pc.dictionary_encode(kept["condition"].combine_chunks())
    channel = pc.fill_null(kept["channel"].combine_chunks().cast("int16"), -1).to_numpy(zero_copy_only=False)
    code, names = condition.indices.to_numpy(zero_copy_only=False), condition.dictionary.to_pylist()
    return {
        (None if c < 0 else int(c), name): np.flatnonzero((channel == c) & (code == i))
        for c in np.unique(channel)
        for i, name in enumerate(names)
    }


def _compare(channel: int | None, descriptor: str, pair: tuple[str, str], groups: _Groups, *, config: CompareConfig) -> Comparison:
    """One test, not yet corrected for its family."""
    sides = [groups[channel, condition] for condition in pair]
    blocks = [side.blocks[descriptor] for side in sides]
    shared = sorted(set.intersection(*map(set, blocks)), key=natural_key)
    paired = bool(config.paired)
    if paired:
        a, b = (np.array([np.mean(own[block]) for block in shared], dtype=np.float64) for own in blocks)
    else:
        a, b = (np.array(own.get("", []), dtype=np.float64) for own in blocks)
    sizes = [sum(len(own[block]) for block in shared) if paired else len(own.get("", [])) for own in blocks]
    rng = _generator(config.seed, channel, descriptor, pair)
    by_difference = difference(a, b, paired=paired, draws=config.draws, rng=rng)
    by_ratio = ratio(a, b, paired=paired, draws=config.draws, rng=rng)
    g, p, ranks = hedges_g(a, b, paired=paired), p_of_means(a, b, paired=paired), p_of_ranks(a, b, paired=paired)
    roi_a, roi_b = (side.rois[descriptor] for side in sides)
    return Comparison(
        channel=channel,
        descriptor=descriptor,
        reference=pair[0],
        condition=pair[1],
        paired=config.paired,
        n_replicates_reference=sizes[0],
        n_replicates=sizes[1],
        n_pairs=len(shared) if paired else 0,
        n_rois_reference=len(roi_a),
        n_rois=len(roi_b),
        mean_reference=float(a.mean()) if len(a) else np.nan,
        mean=float(b.mean()) if len(b) else np.nan,
        difference=by_difference.value,
        difference_low=by_difference.low,
        difference_high=by_difference.high,
        ratio=by_ratio.value,
        ratio_low=by_ratio.low,
        ratio_high=by_ratio.high,
        hedges_g=g.value,
        hedges_g_low=g.low,
        hedges_g_high=g.high,
        p=p,
        p_family=np.nan,
        p_rank=ranks.p,
        p_rank_family=np.nan,
        p_rank_smallest=ranks.smallest,
        p_roi=p_of_rois(roi_a, roi_b),
        p_roi_family=np.nan,
        n_family=0,
        verdict=TOO_FEW if min(len(a), len(b)) < 2 else NOT_SHOWN if np.isfinite(p) else NOT_TESTABLE,
    )


def _generator(seed: int, channel: int | None, descriptor: str, pair: tuple[str, str]) -> np.random.Generator:
    """Keyed by names, so that another condition or descriptor does not change this one's interval."""
    name = "\0".join([str(channel), descriptor, *pair])
    key = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(key.tolist())))


def _judged(tests: Sequence[Comparison], *, alpha: float) -> list[Comparison]:
    """The tests of one family, each kind corrected for how many of its own were possible, with their verdicts."""
    n, n_rank, n_roi = (int(np.isfinite([getattr(test, kind) for test in tests]).sum()) for kind in ("p", "p_rank", "p_roi"))
    return [
        replace(
            test,
            n_family=n,
            p_family=_corrected(test.p, n),
            p_rank_family=_corrected(test.p_rank, n_rank),
            p_roi_family=_corrected(test.p_roi, n_roi),
            verdict=DIFFERS if _corrected(test.p, n) < alpha else test.verdict,
        )
        for test in tests
    ]


def _corrected(p: float, n: int) -> float:
    """Bonferroni's p; NaN where there is none."""
    return min(1.0, p * n) if n and np.isfinite(p) else np.nan


# ---- in short


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The outcome of one family of tests.

    Attributes
    ----------
    channel : None where channels are part of the condition
    pairs : (reference, condition), in the order compared
    differing, unclear, untested, untestable : comparisons by verdict ("differs", "no difference shown", "too few replicates",
        "not testable"), the largest |Hedges' g| first, undefined ones last
    n_family : tests that were possible
    fewest_replicates, most_replicates : in a condition (or pairs, where paired) over all comparisons
    """

    channel: int | None
    pairs: tuple[tuple[str, str], ...]
    differing: tuple[Comparison, ...]
    unclear: tuple[Comparison, ...]
    untested: tuple[Comparison, ...]
    untestable: tuple[Comparison, ...]
    n_family: int
    fewest_replicates: int
    most_replicates: int


def summarise(comparisons: Iterable[Comparison]) -> list[Summary]:
    """One summary per channel, in the order in which channels come."""
    families: dict[int | None, list[Comparison]] = {}
    for one in comparisons:
        families.setdefault(one.channel, []).append(one)
    return [_summary(channel, family) for channel, family in families.items()]


def _summary(channel: int | None, family: Sequence[Comparison]) -> Summary:
    by_size = sorted(family, key=lambda one: -abs(one.hedges_g) if np.isfinite(one.hedges_g) else np.inf)
    by_verdict = (tuple(one for one in by_size if one.verdict == verdict) for verdict in (DIFFERS, NOT_SHOWN, TOO_FEW, NOT_TESTABLE))
    differing, unclear, untested, untestable = by_verdict
    sizes = [n for one in family for n in ([one.n_pairs] if one.paired else [one.n_replicates_reference, one.n_replicates])]
    return Summary(
        channel=channel,
        pairs=tuple(dict.fromkeys((one.reference, one.condition) for one in family)),
        differing=differing,
        unclear=unclear,
        untested=untested,
        untestable=untestable,
        n_family=family[0].n_family,
        fewest_replicates=min(sizes),
        most_replicates=max(sizes),
    )
