"""The page's part on differences between conditions: effects with intervals as a figure, and every comparison in a table.

Replicates first: p values of replicate means, corrected for the family, lead; those of single ROIs stand last, under a
heading that says what they are.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import DIFFERS, NOT_TESTABLE, TESTED, TOO_FEW
from smlmbatch.report.figures import Effect, Look, draw_effects, look_of
from smlmbatch.report.gallery import Gallery, csv_text
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.wording import NONE, Title, counted, number, p_value, rounded, titles

_MOST_BARE = 12  # pairs of conditions named that could not be compared
_MOST_DRAWN = 4  # pairs of conditions in one figure
_MOST_TABLES, _MOST_UNTESTED = 6, 2  # pairs of conditions that get a table of one channel; where no test was possible

Pair = tuple[int | None, str, str]  # channel, reference, condition


def pairs_of(comparisons: Sequence[Comparison]) -> dict[Pair, list[Comparison]]:
    """Comparisons by channel and pair of conditions, in the order in which they come; descriptors in the page's order."""
    groups: dict[Pair, list[Comparison]] = {}
    for c in comparisons:
        groups.setdefault((c.channel, c.reference, c.condition), []).append(c)
    order = {name: i for i, name in enumerate(titles(c.descriptor for c in comparisons))}
    return {pair: sorted((c for c in group if c.descriptor in order), key=lambda c: order[c.descriptor]) for pair, group in groups.items()}


def surest_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """By p of the verdict's test, then by the size of the effect; without a p last."""
    return sorted(comparisons, key=lambda c: (c.p if math.isfinite(c.p) else 2.0, -abs(c.hedges_g) if math.isfinite(c.hedges_g) else 0.0))


def show_effects(
    comparisons: Sequence[Comparison], *, look: Mapping[str, Look], gallery: Gallery, name: str, single: str = "ROI"
) -> Markup:
    """Figure and tables of one channel.

    Parameters
    ----------
    comparisons : of one channel
    look : by condition
    name : of the figure's files
    single : what a value that is no replicate's is of
    """
    pairs = pairs_of(comparisons)
    tested = any(c.verdict in TESTED for c in comparisons)
    bare = [pair for pair, group in pairs.items() if all(c.verdict == TOO_FEW if tested else math.isnan(c.difference) for c in group)]
    numbers = csv_text([f.name for f in dataclasses.fields(Comparison)], [_cells(c) for group in pairs.values() for c in group])
    pairs = {pair: group for pair, group in pairs.items() if pair not in bare}
    figure = _figure(pairs, look=look, gallery=gallery, name=name, numbers=numbers)
    ranked = sorted(pairs, key=lambda pair: _first_p(pairs[pair]))[: _MOST_TABLES if tested else _MOST_UNTESTED]
    tables = [_table_of_pair(pairs[pair], single) for pair in pairs if pair in ranked]
    more = len(pairs) - len(tables)
    which = "with larger p" if tested else "without a test"
    note = f"and {counted(more, 'more pair')} of conditions {which}; all are in the CSV." if more else ""
    return join([figure, *tables, element("p", note, class_="note") if note else None, _bare_said(bare)])


def _bare_said(pairs: Sequence[Pair]) -> Markup | None:
    """Pairs of conditions that no number compares."""
    if not pairs:
        return None
    more = f" and {counted(len(pairs) - _MOST_BARE, 'more pair')}" if len(pairs) > _MOST_BARE else ""
    named = (part for i, pair in enumerate(pairs[:_MOST_BARE]) for part in ("; " if i else None, versus(pair[1], pair[2])))
    return element("p", "No test was possible, for lack of replicates or partners: ", *named, f"{more}.", class_="note")


def _first_p(group: Sequence[Comparison]) -> float:
    return min((c.p for c in group if math.isfinite(c.p)), default=2.0)


# ---- the figure


def _figure(
    pairs: Mapping[Pair, Sequence[Comparison]], *, look: Mapping[str, Look], gallery: Gallery, name: str, numbers: str
) -> Markup | None:
    """Effects of the surest pairs. One reference for all: its partners have their own colours; else pairs are counted through."""
    drawn = sorted(pairs, key=lambda pair: _first_p(pairs[pair]))[:_MOST_DRAWN]
    drawn = [pair for pair in pairs if pair in drawn]
    shared = len({reference for _, reference, _ in pairs}) == 1
    looks = {pair: look[pair[2]] if shared and pair[2] in look else look_of(i) for i, pair in enumerate(drawn)}
    effects = [_effect(c, looks[pair]) for pair in drawn for c in pairs[pair] if math.isfinite(c.ratio) or math.isfinite(c.hedges_g)]
    if not effects:
        return None
    which = "pairs with the smallest p of" if any(_first_p(pairs[pair]) <= 1 for pair in drawn) else "of"
    more = f" The {len(drawn)} {which} {len(pairs)} are drawn." if len(drawn) < len(pairs) else ""
    caption = (
        "Effects on all descriptors: left as a ratio of the conditions\u2019 means (1 = equal), right as a difference in standard "
        "deviations of the replicates (0 = equal). Lines: 95\u202f% intervals; an arrow where a line goes on. "
        f"Full markers differ after correction, open ones were not shown to, or there is no test.{more}"
    )
    figure = gallery.show(
        name,
        draw_effects(effects),
        numbers=numbers,
        alt="Effects on each descriptor with 95 % intervals. The numbers are in the tables below.",
        caption=caption,
    )
    key = [element("div", element("span", looks[p].letter, style=f"color:{looks[p].colour}"), " ", versus(p[1], p[2])) for p in drawn]
    return join([element("div", *key, class_="key"), figure])


def _cells(comparison: Comparison) -> list[object]:
    return [getattr(comparison, f.name) for f in dataclasses.fields(Comparison)]


def _effect(c: Comparison, look: Look) -> Effect:
    title = titles([c.descriptor])[c.descriptor]
    ratio, g = (c.ratio, c.ratio_low, c.ratio_high), (c.hedges_g, c.hedges_g_low, c.hedges_g_high)
    return Effect(row=title.name, look=look, ratio=ratio, hedges_g=g, differs=c.verdict == DIFFERS)


# ---- tables


def versus(reference: str, condition: str) -> Markup:
    """Two conditions as the page names a pair."""
    return join([element("b", breakable(condition)), " against ", element("b", breakable(reference))])


def _table_of_pair(group: Sequence[Comparison], single: str) -> Markup:
    first = group[0]
    header = [
        "Descriptor",
        "Unit",
        breakable(first.reference),
        breakable(first.condition),
        "Difference",
        "Ratio",
        "Hedges\u2019 g",
        "p, corrected",
        "p",
        "Rank test p, corrected",
        join([f"p per {single},", element("br"), "pseudo-replicated"]),
    ]
    body = [_row(c, titles([c.descriptor])[c.descriptor]) for c in group]
    said = f": {replicates_said(first)}"
    if math.isfinite(first.p_rank_smallest):
        said += f"; on so few, a rank test can\u2019t give a p below {p_value(first.p_rank_smallest).removeprefix('<')} before correction"
    heading = element("h4", versus(first.reference, first.condition), element("span", said, class_="soft"))
    return join([heading, table(header, body, numeric=range(2, len(header)), whole=(1,), class_="compared")])


def _row(c: Comparison, title: Title) -> list[str]:
    name = element("b", title.name) if c.verdict == DIFFERS else title.name
    said = c.verdict if c.verdict == NOT_TESTABLE else p_value(c.p_family)
    corrected = element("b", said) if c.verdict == DIFFERS else said
    return [
        name,
        title.unit,
        number(c.mean_reference / title.divisor),
        number(c.mean / title.divisor),
        _with_interval(*(value / title.divisor for value in (c.difference, c.difference_low, c.difference_high))),
        _with_interval(c.ratio, c.ratio_low, c.ratio_high),
        _with_interval(c.hedges_g, c.hedges_g_low, c.hedges_g_high),
        corrected,
        p_value(c.p),
        p_value(c.p_rank_family),
        element("span", p_value(c.p_roi), class_="pm"),
    ]


def _with_interval(value: float, low: float, high: float) -> Markup | str:
    """A value and, below it, its interval."""
    shown = rounded(value, low, high)
    if shown[0] == NONE or NONE in shown[1:]:
        return shown[0]
    return join([shown[0], element("br"), element("span", f"{shown[1]} to {shown[2]}", class_="pm")])


def replicates_said(c: Comparison) -> str:
    """How many replicates stand behind a comparison.

    Pairs where they were paired.
    """
    if c.paired:
        return f"{counted(c.n_pairs, 'pair')} (by {c.paired})"
    if c.n_replicates == c.n_replicates_reference:
        return f"{counted(c.n_replicates, 'replicate')} each"
    return f"{c.n_replicates} against {counted(c.n_replicates_reference, 'replicate')}"


HOW_TO_READ = (
    "p: Welch\u2019s t test of the replicates\u2019 means (paired: the paired t test), on which the verdict rests. Corrected: times the "
    "number of tests in the family (Bonferroni). Not testable: the replicates (paired: the differences of partners) don\u2019t vary, so "
    "nothing says how far they would by chance. Rank test: Mann-Whitney of the replicates\u2019 means (paired: Wilcoxon\u2019s signed "
    "rank test), corrected likewise. Intervals: 95\u202f%. Pseudo-replicated: Mann-Whitney that takes every ROI for an independent "
    "sample. ROIs of one cell are not independent, so it finds differences where there are none; it is shown because many papers quote it."
)
