"""What the pages say of clusters: which method found them, what that means, and what it can't tell."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import DIFFERS, TESTED
from smlmbatch.report.cluster_model import learned_said
from smlmbatch.report.effects import pairs_of, replicates_said, surest_first, versus
from smlmbatch.report.page import Markup, element, join
from smlmbatch.report.wording import NONE, count, counted, in_sentence, p_said, percent, rounded, titles

if TYPE_CHECKING:
    from smlmbatch.report.cluster_data import CampaignClusters, ClusterFacts

UNTOLD = 255  # a shape that the network did not tell
_NAMES = {"miro": "MIRO", "dbscan": "DBSCAN"}
_BACKGROUND = "background"
_MOST_PAIRS, _MOST_NAMED, _MOST_WARNINGS = 3, 4, 6


def found_by(attrs: Mapping[str, Any]) -> str:
    """The method's name; of a learned one with its model.

    Parameters
    ----------
    attrs : of a unit of the stage `cluster`

    >>> found_by({"method": "miro", "model": "miro"}), found_by({"method": "miro", "model": "mine"}), found_by({"method": "dbscan"})
    ('MIRO', 'MIRO (model mine)', 'DBSCAN')
    """
    model = attrs.get("model")
    own = f" (model {model})" if model and model != attrs["method"] else ""
    return _NAMES[str(attrs["method"])] + own


def method_name(method: str) -> str:
    """What readers know a method by."""
    return _NAMES[method]


def lead(attrs: Mapping[str, Any], *, n: int) -> str:
    """The first sentence about one field's clusters.

    Parameters
    ----------
    n : clusters of the field
    """
    if attrs["why_none"]:
        return str(attrs["why_none"])
    if not n:
        return f"{found_by(attrs)} found no cluster in this field."
    return f"{found_by(attrs)} found {counted(n, 'cluster')} in the whole field. {HOW[attrs['method']]}"


HOW: Mapping[str, str] = {
    "miro": "A network moves each loc towards the middle of the cluster that it takes it to belong to; what comes together is a cluster.",
    "dbscan": "A cluster is what hangs together by locs with enough others within one fixed distance.",
}
# What a reader should know before he believes a difference; the method's own limits, then those of any.
LIMITS: Mapping[str, Callable[["ClusterFacts"], str]] = {
    "miro": learned_said,
    "dbscan": lambda _: (
        "Its one distance decides what a cluster is: where density differs between fields or conditions, so does what it finds."
    ),
}
LIMIT_OF_ALL = (
    "A cluster of locs is not a cluster of molecules: one molecule that blinks often is one as well. Positions carry their error, so "
    "radii below the precision mean nothing, and clusters closer than it are one."
)


SHAPES_LIMIT = (
    "Shapes are a hint, no finding: in simulated mixtures of spots, rings, ellipses and C-shapes the shape told by the shipped model was "
    "right for a third of the clusters. Hold it against the pictures."
)


def shapes_said(shape: NDArray[np.integer], names: Sequence[str]) -> str:
    """Shares of the shapes that were told, the most frequent first; "" where none was.

    Parameters
    ----------
    shape : (c,) u1, index into `names`; 255 = not told

    >>> shapes_said(np.array([1, 1, 2, 255]), ["background", "round", "rod"]).replace("\u202f", " ")
    'round 67 %, rod 33 %'
    """
    told = Counter(names[i] for i in shape.tolist() if i != UNTOLD and names[i] != _BACKGROUND)
    total = sum(told.values())
    return ", ".join(f"{name} {percent(n, total)}" for name, n in sorted(told.items(), key=lambda item: (-item[1], item[0])))


# ---- of the campaign


def method_said(clusters: "CampaignClusters") -> Iterator[str]:
    """How clusters were found in this campaign, and what that can't tell."""
    facts = clusters.facts
    assert facts is not None
    model = f" (model {facts.model}, sha256 {facts.model_sha256[:12]}\u2026)" if facts.model else ""
    without = f" {counted(clusters.n_without, 'field')} not yet." if clusters.n_without else ""
    yield (
        f"{counted(clusters.n_clusters, 'cluster')} in {counted(clusters.n_fields, 'field')}, found by "
        f"{_NAMES[facts.method]}{model}.{without} {HOW[facts.method]} {_OTHERS[facts.method]}"
    )
    yield f"{LIMITS[facts.method](facts)} {LIMIT_OF_ALL}"


_OTHERS: Mapping[str, str] = {
    "miro": "The clusters among the descriptors are DBSCAN\u2019s, ROI by ROI, and will not be the same.",
    "dbscan": "The clusters among the descriptors are DBSCAN\u2019s too, with the settings of [measure], ROI by ROI: not the same.",
}


def warnings_said(warnings: Sequence[tuple[str, int]], *, n_fields: int) -> Iterator[Markup]:
    """The stage's own warnings, each once with the number of fields that have it."""
    for text, n in warnings[:_MOST_WARNINGS]:
        whose = "In all fields" if n == n_fields else f"In {count(n)} of {counted(n_fields, 'field')}"
        yield element("p", f"{whose}: {text}", class_="caution")
    more = len(warnings) - _MOST_WARNINGS
    if more > 0:
        yield element("p", f"and {counted(more, 'other warning')}; the fields\u2019 pages have them.", class_="note")


def compared_said(comparisons: Sequence[Comparison]) -> Iterator[Markup]:
    """A sentence for each of the surest pairs of conditions of one channel; what was not shown is not called equal."""
    pairs = {pair: group for pair, group in pairs_of(comparisons).items() if any(c.verdict in TESTED for c in group)}
    ranked = sorted(pairs, key=lambda pair: surest_first(pairs[pair])[0].p)
    for pair in ranked[:_MOST_PAIRS]:
        group = pairs[pair]
        differing = surest_first([c for c in group if c.verdict == DIFFERS])
        n = sum(c.verdict in TESTED for c in group)
        head = join([versus(pair[1], pair[2]), f", {replicates_said(group[0])}: "])
        if differing:
            yield join([head, f"{count(len(differing))} of {counted(n, 'measure')} of clusters {_verb(differing)}: {_named(differing)}."])
        else:
            smallest = min((c.p_family for c in group if math.isfinite(c.p_family)), default=math.nan)
            sure = f" (smallest {p_said(smallest)}, corrected for {counted(group[0].n_family, 'test')})" if math.isfinite(smallest) else ""
            yield join([head, f"no measure of clusters was shown to differ{sure}; that does not make them equal."])
    if len(ranked) > _MOST_PAIRS:
        yield join([f"{counted(len(ranked) - _MOST_PAIRS, 'more pair')} of conditions below."])


def short_said(comparisons: Sequence[Comparison]) -> Markup | str:
    """The same in one sentence for the verdict; "" where nothing could be tested."""
    tested = [c for c in comparisons if c.verdict in TESTED]
    if not tested:
        return ""
    pairs = pairs_of(tested)
    hit = {pair: [c for c in group if c.verdict == DIFFERS] for pair, group in pairs.items()}
    hit = {pair: group for pair, group in hit.items() if group}
    if not hit:
        return "no measure of clusters was shown to differ."
    pair = min(hit, key=lambda one: surest_first(hit[one])[0].p)
    of_pairs = f"{count(len(hit))} of {counted(len(pairs), 'pair')} of conditions differ; " if len(pairs) > 1 else ""
    n = f"{count(len(hit[pair]))} of {counted(len(pairs[pair]), 'measure')}"
    return join([of_pairs, versus(pair[1], pair[2]), f": {n} {_verb(hit[pair])}, {_named(surest_first(hit[pair]))}."])


def _verb(differing: Sequence[Comparison]) -> str:
    return "differs" if len(differing) == 1 else "differ"


def _named(differing: Sequence[Comparison]) -> str:
    """Measures with their ratios, the surest first."""
    named = ", ".join(_effect(c) for c in differing[:_MOST_NAMED])
    more = len(differing) - _MOST_NAMED
    return named + (f" and {counted(more, 'other')}" if more > 0 else "")


def _effect(c: Comparison) -> str:
    """One measure with its ratio and 95 % interval, or the difference where there is no ratio."""
    title = titles([c.descriptor])[c.descriptor]
    if math.isfinite(c.ratio):
        value, low, high = rounded(c.ratio, c.ratio_low, c.ratio_high)
        interval = f", {low} to {high}" if NONE not in (low, high) else ""
        return f"{in_sentence(title.name)} ({value} times{interval})"
    return f"{in_sentence(title.name)} ({title.measured(c.difference)})"
