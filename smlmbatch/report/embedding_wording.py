"""What the embedding says of the conditions, in sentences: for its own page, its part of the campaign's page and the verdict.

Replicates that were left out decide whether conditions are told apart; agreement of clusters with conditions is over ROIs, which are
no replicates, and only describes. What the number of locs alone, plain descriptors or an untrained network tell stands beside it: only
what goes beyond these is the embedding's own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smlmbatch.analyse.results import EmbeddingDistance, EmbeddingFlag, EmbeddingScore
from smlmbatch.config import Config
from smlmbatch.report.embedding_data import DESCRIPTORS, EMBEDDING, K_MEANS, LOG_N, LOGISTIC, NEAREST, RANDOM, Embedded, Embeddings
from smlmbatch.report.lights import MARKS
from smlmbatch.report.page import Markup, breakable, element, escape, join
from smlmbatch.report.wording import NONE, count, counted, length, number, rounded

_LEAST_ARI = 0.1  # below, clusters and conditions have next to nothing to do with each other, however sure that is
# Share of the way from chance to all right, and what it is called: sure as it may be, 4 of 10 right where 1 in 4 is chance is little.
_LEVELS = ((0.6, "Yes"), (0.25, "In part"), (-math.inf, "Weakly"))
_KEPT = 0.5  # of it, left at equal density
_APART, _NEAR = 2.0, 1.0  # distance of conditions over that of replicates: replicates agree; replicates scatter as far
WORDS = {
    EMBEDDING: "the embedding",
    LOG_N: "the number of locs alone",
    DESCRIPTORS: "the plain descriptors",
    RANDOM: "the same network untrained",
}
_OTHERS = (LOG_N, DESCRIPTORS, RANDOM)


@dataclass(frozen=True, slots=True)
class Said:
    """Of one channel: answer, its evidence in sentences, and one sentence for the verdict."""

    answer: str
    sentences: Sequence[Markup]
    short: str


def told_apart(score: EmbeddingScore | None) -> bool:
    """Whether a score lies above what chance gives, its interval with it; without an interval (nothing varies) the value alone."""
    if score is None or not math.isfinite(score.value):
        return False
    least = max(score.chance if math.isfinite(score.chance) else 0.0, _LEAST_ARI if score.measure == K_MEANS else 0.0)
    return (score.low if math.isfinite(score.low) else score.value) > least


def say(part: Embedded) -> Said:
    """What one channel's embedding says."""
    names = {name for name in part.rows["condition"].unique().to_pylist() if name is not None}
    if len(names) < 2:
        one = join(["All embedded ROIs are of one condition", *([", ", element("b", breakable(next(iter(names))))] if names else []), "."])
        return Said("Nothing to compare.", [one], "all embedded ROIs are of one condition.")
    sentences = [*_accuracy(part), *_agreement(part), *_thinned(part), *_replicates(part.distances)]
    return Said(_answer(part), sentences, _short(part))


def _answer(part: Embedded) -> str:
    held_out, clusters = part.score(EMBEDDING, NEAREST), part.score(EMBEDDING, K_MEANS)
    if held_out is None or not math.isfinite(held_out.value):
        few = "These ROIs differ; too few replicates to say more."
        return few if told_apart(clusters) else "Not shown, and too few replicates to tell."
    if not told_apart(held_out):
        return "Not shown."
    plain = " Plain descriptors tell as much." if _tells_as_much(part, DESCRIPTORS) else ""
    level = next(word for least, word in _LEVELS if _skill(held_out) >= least)
    return f"{level}{_beyond_density(part, held_out)}.{plain}"


def _beyond_density(part: Embedded, held_out: EmbeddingScore) -> str:
    """What is left of it at equal density."""
    if part.n_locs:
        return ", at equal density"  # all that was embedded
    equal = _equal_density(part)
    if told_apart(equal):
        return ", at equal density too" if equal and _skill(equal) >= _KEPT * _skill(held_out) else ", less at equal density"
    if _tells_as_much(part, LOG_N):
        return ", but the number of locs alone tells as much"
    return ", but hardly at equal density" if equal is not None else ""


def _skill(score: EmbeddingScore) -> float:
    """From 0, as by chance, to 1, all right."""
    chance = score.chance if math.isfinite(score.chance) else 0.0
    return (score.value - chance) / (1 - chance) if chance < 1 else 0.0


def _equal_density(part: Embedded) -> EmbeddingScore | None:
    """The embedding's score with equally many locs in every ROI: of replicates left out if there is one."""
    found = (part.score(EMBEDDING, measure, n_locs=n) for measure in (NEAREST, K_MEANS) for n in part.thinned)
    return next((score for score in found if score is not None and math.isfinite(score.value)), None)


def _tells_as_much(part: Embedded, representation: str) -> bool:
    """Whether another representation tells about as much as the embedding, or more; of replicates left out if it can be."""
    for measure in (NEAREST, K_MEANS):
        other = part.score(representation, measure)
        if other is not None and math.isfinite(other.value):
            return not _clearly_above(part.score(EMBEDDING, measure), other)
    return False


def _clearly_above(score: EmbeddingScore | None, other: EmbeddingScore) -> bool:
    """Whether each value lies beyond the other's interval; that intervals lie apart would be too much to ask of three replicates."""
    if score is None or not math.isfinite(score.value) or not math.isfinite(other.value):
        return False
    low, high = (s.value if math.isnan(end) else end for s, end in ((score, score.low), (other, other.high)))
    return low > other.value and high < score.value


# ---- the evidence


def _accuracy(part: Embedded) -> Iterator[Markup]:
    """How well ROIs of replicates left out are told."""
    score = part.score(EMBEDDING, NEAREST)
    if score is None or not math.isfinite(score.value):
        why = f": {score.note}" if score is not None and score.note else ""
        yield escape(f"Whether it holds beyond these replicates could not be tested{why}.")
        return
    other = part.score(EMBEDDING, LOGISTIC)
    also = f" (a linear classifier: {share(other.value)})" if other is not None and math.isfinite(other.value) else ""
    yield join(
        [
            "Of ROIs in replicates that were left out, ",
            element("b", share(score.value)),
            f"{interval(score, as_share=True)} are assigned to the right condition by their nearest neighbours in the embedding{also}; "
            f"by chance it would be {share(score.chance)}.",
            *_beside(part, NEAREST, as_share=True),
        ]
    )


def _agreement(part: Embedded) -> Iterator[Markup]:
    """How well clusters found without knowing the conditions agree with them."""
    score = part.score(EMBEDDING, K_MEANS)
    if score is None or not math.isfinite(score.value):
        return
    yield join(
        [
            "Clusters found without knowing the conditions agree with them to ",
            element("b", index(score.value)),
            f"{interval(score)} on the adjusted Rand index (0: as by chance, 1: the same).",
            *_beside(part, K_MEANS),
        ]
    )


def _beside(part: Embedded, measure: str, *, as_share: bool = False) -> Iterator[str]:
    """What else tells the conditions, by the same measure, and whether the embedding tells more."""
    own, show = part.score(EMBEDDING, measure), share if as_share else index
    others = [s for name in _OTHERS if (s := part.score(name, measure)) is not None and math.isfinite(s.value)]
    if own is None or not others:
        return
    told = [f"{WORDS[s.representation]} {show(s.value)}" for s in others]
    yield f" In comparison, {_listed(told)}."
    less = [WORDS[s.representation] for s in others if not _clearly_above(own, s)]
    if less:
        yield f" The embedding doesn\u2019t tell clearly more than {_listed(less)}."


def _thinned(part: Embedded) -> Iterator[Markup]:
    """The same with equally many locs in every ROI: in full where most ROIs are left, in short for others."""
    if part.n_locs:
        yield escape(f"This is at equal density: {counted(part.n_locs, 'loc')} of every ROI were embedded; plain descriptors are of all.")
        return
    told = {n_locs: scores for n_locs in part.thinned if (scores := _scores_at(part, n_locs))}
    if not told:
        return
    (n_locs, first), *others = told.items()
    lost = first[0].n_lost
    left_out = f" ({counted(lost, 'ROI')} with fewer left out)" if lost else ""
    said = [
        f"{share(s.value)}{interval(s, as_share=True)} of ROIs are assigned rightly" if s.measure == NEAREST else _indexed(s) for s in first
    ]
    more = [f"with {count(n)}, {counted(own[0].n_rois, 'ROI')} left: {_listed([_value(s) for s in own])}" for n, own in others]
    yield escape(
        f"At equal density, with {counted(n_locs, 'loc')} drawn from every ROI{left_out}, {_listed(said)}"
        f"{' (' + '; '.join(more) + ')' if more else ''}."
    )


def _scores_at(part: Embedded, n_locs: int) -> list[EmbeddingScore]:
    found = (part.score(EMBEDDING, measure, n_locs=n_locs) for measure in (NEAREST, K_MEANS))
    return [score for score in found if score is not None and math.isfinite(score.value)]


def _indexed(score: EmbeddingScore) -> str:
    return f"the adjusted Rand index is {index(score.value)}{interval(score)}"


def _value(score: EmbeddingScore) -> str:
    return share(score.value) if score.measure == NEAREST else index(score.value)


def _replicates(distances: Sequence[EmbeddingDistance]) -> Iterator[Markup]:
    """Whether replicates of a condition lie nearer to each other than conditions do."""
    known = [d for d in distances if math.isfinite(d.spread) and d.spread > 0]
    if not known:
        return
    near, far = (pick(known, key=lambda d: d.distance) for pick in (min, max))
    least = min(d.distance / d.spread for d in known)
    agree = (
        "Replicates agree"
        if least >= _APART and not _explained(known)
        else "Replicates scatter, but less than conditions"
        if least > _NEAR
        else None
    )
    head = agree or "Replicates of a condition lie as far apart as some conditions do"
    spread = number(sum(d.spread for d in known) / len(known), digits=2)
    apart = number(near.distance, digits=2) if len(known) == 1 else f"{number(near.distance, digits=2)} ({_pair(near)}) to "
    apart += "" if len(known) == 1 else f"{number(far.distance, digits=2)} ({_pair(far)})"
    yield escape(
        f"{head}: replicates lie {spread} from their condition\u2019s centre on average, centres of conditions {apart} from each other."
        f"{_explained(known)}"
    )


def _explained(known: Sequence[EmbeddingDistance]) -> str:
    """Pairs whose distance scatter may explain: its interval begins at 0."""
    near = [d for d in known if math.isfinite(d.low) and d.low <= 0]
    if not near:
        return ""
    whose = f" of {_pair(near[0])}" if len(near) == 1 < len(known) else f" of {count(len(near))} of {count(len(known))} pairs"
    return f" It may be that their scatter alone explains the distance{'' if len(known) == 1 else whose}."


def _pair(d: EmbeddingDistance) -> str:
    return f"{d.condition} and {d.other}"


def _short(part: Embedded) -> str:
    """For the verdict."""
    score, alone = part.score(EMBEDDING, NEAREST), part.score(LOG_N, NEAREST)
    if score is not None and math.isfinite(score.value):
        plain = part.score(DESCRIPTORS, NEAREST)
        others = [(WORDS[s.representation], s.value) for s in (alone, plain) if s is not None and math.isfinite(s.value)]
        beside = "; " + _listed([f"by {words} {share(value)}" for words, value in others]) if others else ""
        return (
            f"{share(score.value)} of ROIs in replicates that were left out are assigned to the right condition "
            f"(chance {share(score.chance)}){beside}."
        )
    score, alone = part.score(EMBEDDING, K_MEANS), part.score(LOG_N, K_MEANS)
    if score is None or not math.isfinite(score.value):
        return f"conditions can\u2019t be told apart{f' ({score.note})' if score is not None and score.note else ''}."
    beside = f"; the number of locs alone gives {index(alone.value)}" if alone is not None and math.isfinite(alone.value) else ""
    return (
        f"clusters of ROIs agree with the conditions to {index(score.value)} (adjusted Rand index){beside}. No replicate could be left out."
    )


# ---- what must not be concluded


def limits(*, config: Config) -> list[str]:
    """What the embedding can't say, of this campaign."""
    merged = config.prepare.merge_nm or config.prepare.merge_nena
    said = [
        "ROIs are not replicates: intervals of the adjusted Rand index and of clusters are over ROIs and describe these cells only. What "
        "holds for new cells is what holds for replicates that were left out.",
        f"A difference is one of pattern in squares of {length(config.tile.roi_nm)} as the network sees it; it names no structure. Look at "
        "the regions and the descriptors to see what it is.",
        "Conditions that are not told apart may differ all the same, at lengths below the raster\u2019s pixel or in ways the network never "
        "learned.",
        "Day, dish, dye or microscope can make a difference as large as biology does. The flags below say what was checked.",
    ]
    if not merged:
        said.append("Repeated blinks were not merged: how often a dye blinks is part of the pattern.")
    return said


# ---- flags

FLAG_WORDS = {
    "density": "Density",
    "replicate": "Replicates",
    "batch": "Batches",
    "channel": "Channels",
    "format": "Programs",
    "label": "Labels",
    "order": "Order",
    "few": "Numbers",
    "range": "Range of densities",
}


def grave_flags(embeddings: Embeddings) -> list[EmbeddingFlag]:
    """Red flags of all channels, each once."""
    return list(dict.fromkeys(flag for part in embeddings.channels for flag in part.flags if flag.light == "red"))


def flags_said(embeddings: Embeddings) -> str:
    """How many flags there are of each light; "" = none."""
    flags = dict.fromkeys(flag for part in embeddings.channels for flag in part.flags)
    found = [(light, sum(flag.light == light for flag in flags)) for light in ("red", "amber")]
    return _listed([f"{count(n)} {MARKS[light].word}" for light, n in found if n])  # type: ignore[index]


# ---- numbers


def share(value: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * value:.0f}\u202f%" if math.isfinite(value) else NONE


def index(value: float) -> str:
    """An adjusted Rand index: two decimals, a true minus."""
    return f"{value:z.2f}".replace("-", "\u2212") if math.isfinite(value) else NONE


def interval(score: EmbeddingScore, *, as_share: bool = False) -> str:
    """The 95 % interval in brackets; "" where there is none, or where all resamples gave one value: that is no certainty."""
    if not math.isfinite(score.low) or not math.isfinite(score.high) or score.low == score.high:
        return ""
    show = share if as_share else index
    return f" (95\u202f% interval {show(score.low)} to {show(score.high)})"


def distance_said(d: EmbeddingDistance) -> str:
    """A distance with its interval."""
    value, low, high = rounded(d.distance, d.low, d.high)
    return value if NONE in (low, high) else f"{value} ({low} to {high})"


def _listed(texts: Sequence[str]) -> str:
    """Texts with commas and "and".

    >>> _listed(["a", "b", "c"]), _listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1] if texts else ""]))
