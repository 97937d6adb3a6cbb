"""The page's first lines: is the data good, do conditions differ, in what, how much, how sure.

Written for who took the data. What is not known is said: a difference that was not shown is not equality, and what so few
replicates could have shown at all stands beside it.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from smlmbatch.analyse.quality import worst
from smlmbatch.analyse.results import Comparison, Light, QualityCheck
from smlmbatch.analyse.statistics import COMPARED, DIFFERS, MOST_CONDITIONS, NOT_SHOWN, NOT_TESTABLE, TESTED, TOO_FEW, Summary, summarise
from smlmbatch.config import Config
from smlmbatch.report.cautions import CLUSTERED, contradicted_pairs, is_confounded
from smlmbatch.report.detectable import detectable_sd
from smlmbatch.report.effects import pairs_of, replicates_said, surest_first, versus
from smlmbatch.report.lights import MARKS, light_mark
from smlmbatch.report.page import Markup, advice, breakable, element, escape, join, table
from smlmbatch.report.quality_overview import checks_in_order, frequent_findings, words_of
from smlmbatch.report.wording import NONE, count, counted, in_sentence, number, p_said, p_value, percent, rounded, titles

Row = Mapping[str, Any]  # one row of fields.parquet

_MOST_FINDINGS = 4
_MOST_PAIRS = 3  # told in sentences
_MOST_NAMED = 4  # descriptors after the clearest
_PER_PAIR, _MOST_ROWS, _MOST_UNTESTED = 3, 12, 4  # of the table of largest effects
_MANY_PAIRS = 6  # from four conditions on
_PLANNED = 5  # replicates a condition that are advised
_HOPELESS_SD = 5.0  # standard deviations: no treatment that needs a test moves means so far
_FEW_BAD = 0.2  # share of fields in doubt or failed up to which the data counts as mostly good


# ---- is the data good?


def show_data(rows: Sequence[Row], checks: Sequence[QualityCheck], *, config: Config, ignored: int) -> Markup:
    """Answer, counts of fields by light, the most frequent findings, what was left out."""
    bare = _without_region(rows, checks)
    states, own = _states(rows), _states(rows, apart=bare)  # `own`: what the data says, whatever the settings kept of it
    shown = _states([row for row in rows if row["key"] not in bare])
    chips = [element("span", light_mark(light), f" {count(shown[light])} {mark.word}") for light, mark in MARKS.items() if shown[light]]
    chips += [element("b", f"{count(len(bare))} without a region", class_="warn")] if bare else []
    chips += [element("b", f"{count(states[name])} {word}", class_="warn") for name, word in _STATES.items() if states[name]]
    told = [check for check in checks if not (check.check == "rois" and check.key in bare)]
    judged = any(own[light] for light in ("green", "amber", "red"))
    return element(
        "div",
        element("h3", "Is the data good?"),
        element("p", element("b", _answer(own, read=any(row["n"] is not None for row in rows))), class_="answer"),
        element("p", element("span", f"{counted(len(rows), 'field')}:"), *chips, class_="chips"),
        *_findings(told, judged=judged),
        element("p", _never_judged(checks)) if judged and _never_judged(checks) else None,
        _bare_said([row for row in rows if row["key"] in bare]),
        element("p", "Fields in doubt count in the numbers below as far as they have ROIs. To leave one out, take it off the sample sheet.")
        if shown["red"]
        else None,
        _failed_said(states),
        element("p", *_left_out(rows, ignored=ignored)),
        element("p", _blinks_said(config)) if any(row["n"] for row in rows) else None,
    )


_STATES = {"failed": "failed", "unfinished": "not finished"}


def _states(rows: Sequence[Row], *, apart: Mapping[str, Light] = MappingProxyType({})) -> Counter[str]:
    """Fields by their light (that in `apart`, by key, before their own); those without units by how they ended."""
    return Counter(row["status"] if row["status"] in _STATES else apart.get(row["key"]) or row["light"] or "grey" for row in rows)


def _without_region(rows: Sequence[Row], checks: Sequence[QualityCheck]) -> dict[str, Light]:
    """Fields of which no region was kept and nothing else is wrong: a matter of settings. Key → light of all other checks."""
    empty = {row["key"] for row in rows if row["status"] == "ok" and row["n"] and not row["n_rois_kept"]}
    others: dict[str, list[Light]] = {}
    for check in checks:
        if check.key in empty:
            others.setdefault(check.key, []).extend([] if check.check == "rois" else [check.light])
    lights = {key: worst(found) for key, found in others.items()}
    return {key: light for key, light in lights.items() if light != "red"}


def _bare_said(rows: Sequence[Row]) -> Markup | None:
    n = len(rows)
    if not n:
        return None
    outlined = any(row["n_cells"] and row["outline_source"] == "found" for row in rows)
    why = element("a", "Why", href="#dropped")
    said = f" gave no region with these settings and {'is' if n == 1 else 'are'} in no number below. "
    return element("p", counted(n, "field"), said, why, advice(f"; try a smaller --roi-nm{', or --outline field' if outlined else ''}."))


def _never_judged(checks: Sequence[QualityCheck]) -> str:
    """The checks that could be judged in no field."""
    able = {check.check for check in checks if check.light != "grey"}
    names = [words_of(name).column for name in checks_in_order(checks) if name not in able]
    if not names:
        return ""
    *others, last = [names[0], *map(in_sentence, names[1:])]
    return f"{' and '.join(filter(None, [', '.join(others), last]))} could not be judged in any field."


def _answer(states: Counter[str], *, read: bool) -> str:
    total, bad = states.total() - states["unfinished"], states["red"] + states["failed"]  # who isn't there yet is neither good nor bad
    judged = states["green"] + states["amber"] + states["red"]
    answers = (
        (not total and states["unfinished"], "Not known yet."),
        (not total, "There is none."),
        (not read and states["failed"], "Not judged: no file could be read."),
        (bad == total, "No."),
        (not judged, "Not judged."),
        (states["green"] == total, "Yes."),
        (bad > total / 2, "Mostly not."),
        (bad > _FEW_BAD * total, "In part."),
        (bad > 0, "Mostly, with exceptions."),
        (states["green"] > states["amber"], "Mostly."),
        (True, "Worth a look before you rely on it."),
    )
    return next(answer for holds, answer in answers if holds)


def _findings(checks: Sequence[QualityCheck], *, judged: bool) -> list[Markup]:
    found = frequent_findings(checks)
    if not found:
        return [element("p", "No check found a fault.")] if judged else []
    named = ", ".join(f"{words} ({counted(n, 'field')})" for words, n in found[:_MOST_FINDINGS])
    more = f" and {counted(len(found) - _MOST_FINDINGS, 'other finding')}" if len(found) > _MOST_FINDINGS else ""
    return [element("p", f"Found most often: {named}{more}. ", element("a", "What this means", href="#quality"), ".")]


def _failed_said(states: Counter[str]) -> Markup | None:
    if not states["failed"]:
        return None
    n = states["failed"]
    said = f"{counted(n, 'field')} could not be analysed and {'is' if n == 1 else 'are'} in no number below. "
    return element("p", said, element("a", "Why, and how to mend it", href="#failed"), ".")


def _left_out(rows: Sequence[Row], *, ignored: int) -> list[str]:
    done = [row for row in rows if row["status"] == "ok"]  # ROIs of the others are in no number
    found, kept = (sum(row[key] or 0 for row in done) for key in ("n_rois", "n_rois_kept"))
    rois = f"{count(kept)} of {counted(found, 'ROI')} kept ({percent(kept, found)})." if found else "No ROI found."
    files = f" {counted(ignored, 'other file')} ignored." if ignored else ""
    return [element("b", rois, class_="warn") if not kept else rois, files]


def _blinks_said(config: Config) -> str:
    prepare = config.prepare
    if prepare.merge_nm or prepare.merge_nena:
        return "Repeated blinks of a molecule were merged. Some may remain, so counts of locs are still not counts of molecules."
    return "Repeated blinks of a molecule were not merged: counts of locs are not counts of molecules."


# ---- do the conditions differ?


def show_conditions(
    comparisons: Sequence[Comparison],
    *,
    conditions: Sequence[str],
    channel_titles: Mapping[int, str],
    cautions: Sequence[str],
    config: Config,
    more: Sequence[Markup] = (),
) -> Markup:
    """Answer and, for each channel, the pairs of conditions in sentences; what stands against the answer comes right after it.

    Parameters
    ----------
    conditions : those with ROIs
    channel_titles : what channels are called, where there are several
    cautions : what the experiment's design leaves open
    more : paragraphs of other measures, after all that the descriptors say
    """
    summaries = summarise(comparisons)
    said_first = [element("p", advice(text), class_="caution") for text in cautions]
    parts: list[Markup] = []
    for summary in summaries:
        title = None if summary.channel is None else channel_titles.get(summary.channel)
        parts += [element("h4", title)] if title else []
        parts += [element("p", text) for text in _said(summary)]
    limits = dict.fromkeys(text for summary in summaries for text in _limits_said(summary, config=config))  # channels often share them
    parts += [element("p", text) for text in limits]
    answer = _conditions_answer(summaries, conditions, warned=is_confounded(cautions), config=config)
    return element("div", element("h3", "Do the conditions differ?"), element("p", answer, class_="answer"), *said_first, *parts, *more)


def _conditions_answer(summaries: Sequence[Summary], conditions: Sequence[str], *, warned: bool, config: Config) -> Markup:
    if not summaries:
        return _nothing_compared(conditions, config=config)
    differing = sum(len(summary.differing) for summary in summaries)
    tested = differing + sum(len(summary.unclear) for summary in summaries)
    answers = (
        (
            differing and warned and len({pair for s in summaries for pair in s.pairs}) > 1,
            "Yes, but for some pairs the batches differ too.",
        ),
        (differing and warned, "Yes, but the batches differ too."),
        (differing, "Yes."),
        (tested, "No difference was shown."),
        (any(summary.untestable for summary in summaries), "Not testable."),
        (True, "Too few replicates to tell."),
    )
    return element("b", next(answer for holds, answer in answers if holds))


def _nothing_compared(conditions: Sequence[str], *, config: Config) -> Markup:
    if not conditions:
        return join([element("b", "Nothing to compare."), " No ROI was kept."])
    reference = config.compare.reference
    if reference and reference not in conditions:
        named = ", ".join(conditions[:_MOST_NAMED]) + (" \u2026" if len(conditions) > _MOST_NAMED else "")
        why = [" No ROI of the reference ", element("b", breakable(reference)), " was kept, so nothing is compared with it. "]
        return join([element("b", "Nothing compared."), *why, "There are kept ROIs of ", breakable(named), "."])
    if len(conditions) > MOST_CONDITIONS:
        said = f" {count(len(conditions))} conditions are too many to compare pair by pair; name the control (compare.reference)."
        return join([element("b", "Nothing compared."), said])
    one = join(["All ROIs are of one condition, ", element("b", breakable(conditions[0])), "."])
    return join([element("b", "Nothing to compare."), " ", one, " The numbers below describe it."])


def _said(summary: Summary) -> list[Markup]:
    """The sentences of one channel."""
    pairs = pairs_of([*summary.differing, *summary.unclear, *summary.untested, *summary.untestable])
    hit = [pair for pair, group in pairs.items() if any(c.verdict == DIFFERS for c in group)]
    few = [pair for pair, group in pairs.items() if all(c.verdict == TOO_FEW for c in group)]
    fixed = [pair for pair, group in pairs.items() if not any(c.verdict in TESTED for c in group) and pair not in few]
    said: list[Markup] = []
    if len(pairs) > 1:
        said.append(escape(_counts_said(summary, n=len(pairs), hit=len(hit), few=len(few), fixed=len(fixed))))
    told = sorted(hit, key=lambda pair: surest_first(pairs[pair])[0].p)[:_MOST_PAIRS] if len(pairs) > 1 else list(pairs)
    said += [_pair_said(pairs[pair]) for pair in told]
    if len(hit) > len(told) > 0:
        said.append(element("a", f"{counted(len(hit) - len(told), 'more pair')} below", href="#compared"))
    return said


def _limits_said(summary: Summary, *, config: Config) -> Iterator[Markup]:
    """What the tests could not show, and what would help."""
    pairs = pairs_of([*summary.differing, *summary.unclear, *summary.untested, *summary.untestable])
    if any(all(c.verdict == TOO_FEW for c in group) for group in pairs.values()):
        yield _too_few_said(config)
    elif summary.untested:
        names = dict.fromkeys(in_sentence(title.name) for title in titles(c.descriptor for c in summary.untested).values())
        yield escape(f"Not tested, as too few replicates have a value: {', '.join(names)}.")
    if summary.unclear:
        yield _not_equal(summary, config=config)
    if summary.n_family and len(summary.pairs) >= _MANY_PAIRS and not config.compare.reference:
        yield escape(
            f"The correction is for all {count(len(summary.pairs))} pairs. If one condition is the control, name it (compare.reference): "
            "fewer tests find smaller differences."
        )


def _counts_said(summary: Summary, *, n: int, hit: int, few: int, fixed: int) -> str:
    """How many pairs of conditions differ."""
    not_told = f" In {counted(few, 'pair')} there were too few replicates to tell." if few else ""
    not_told += f" In {counted(fixed, 'pair')} no test was possible, as {_constant_said(summary.untestable[0])}." if fixed else ""
    if hit:
        return f"{count(hit)} of {count(n)} pairs of conditions differ in at least one descriptor.{not_told}"
    if few == n:
        return f"{count(n)} pairs of conditions, none with enough replicates to tell."
    if few + fixed == n:
        return f"{count(n)} pairs of conditions, none of which can be tested.{not_told}"
    smallest = min((c.p_family for c in summary.unclear if math.isfinite(c.p_family)), default=math.nan)
    sure = f" (smallest {p_said(smallest)}, corrected for {counted(summary.n_family, 'test')})" if math.isfinite(smallest) else ""
    return f"None of {count(n)} pairs of conditions was shown to differ in any descriptor{sure}.{not_told}"


def _pair_said(group: Sequence[Comparison]) -> Markup:
    """One pair of conditions: what differs, by how much, how sure."""
    first = group[0]
    head = join([versus(first.reference, first.condition), f", {replicates_said(first)}: "])
    differing = surest_first([c for c in group if c.verdict == DIFFERS])
    unclear = [c for c in group if c.verdict == NOT_SHOWN]
    untestable = _untestable_said([c for c in group if c.verdict == NOT_TESTABLE])
    if not differing and not unclear:
        return join([head, "no test is possible.", untestable])
    if not differing:
        smallest = min((c.p_family for c in unclear if math.isfinite(c.p_family)), default=math.nan)
        sure = f" (smallest {p_said(smallest)}, corrected for {counted(first.n_family, 'test')})" if math.isfinite(smallest) else ""
        return join([head, f"none of {counted(len(unclear), 'descriptor')} was shown to differ{sure}.", untestable])
    doubtful = [c for c in differing if c.descriptor in CLUSTERED] if contradicted_pairs(group) else []
    clearest, *others = [c for c in differing if c not in doubtful]  # of a contradicted pair, Ripley's radius at least
    verb = "differ. Clearest" if len(differing) > 1 else "differs"
    parts = [
        head,
        f"{count(len(differing))} of {counted(len(differing) + len(unclear), 'descriptor')} {verb}: ",
        _effect_said(clearest),
        ".",
    ]
    if others:
        named = ", ".join(_effect_in_short(c) for c in others[:_MOST_NAMED])
        parts.append(f" Also {named}" + (f" and {counted(len(others) - _MOST_NAMED, 'other')}." if len(others) > _MOST_NAMED else "."))
    if doubtful:
        parts.append(f" Not to be trusted as they are, see above: {', '.join(_effect_in_short(c) for c in doubtful)}.")
    return join([*parts, untestable])


def _untestable_said(group: Sequence[Comparison]) -> str:
    """Descriptors without a test though there are replicates, those whose means are apart first."""
    if not group:
        return ""
    named = [_means_said(c) for c in sorted(group, key=_means_equal)]
    more = f" and {counted(len(named) - _MOST_NAMED, 'other')}" if len(named) > _MOST_NAMED else ""
    return f" Not testable, as {_constant_said(group[0])}: {', '.join(named[:_MOST_NAMED])}{more}."


def _constant_said(c: Comparison) -> str:
    return "the pairs\u2019 differences don\u2019t vary" if c.paired else "the replicates don\u2019t vary"


def _means_said(c: Comparison) -> str:
    title = titles([c.descriptor])[c.descriptor]
    means = "equal" if _means_equal(c) else f"{title.measured(c.mean)} against {title.measured(c.mean_reference)}"
    return f"{in_sentence(title.name)} ({means})"


def _means_equal(c: Comparison) -> bool:
    return math.isclose(c.mean, c.mean_reference, rel_tol=1e-9)


def _effect_said(c: Comparison) -> Markup:
    """How much and how sure."""
    title = titles([c.descriptor])[c.descriptor]
    reference = element("b", breakable(c.reference))
    if math.isfinite(c.ratio):
        value, low, high = rounded(c.ratio, c.ratio_low, c.ratio_high)
        size = join([f" is {value} times that of ", reference])
    else:
        value, low, high = rounded(*(x / title.divisor for x in (c.difference, c.difference_low, c.difference_high)))
        size = join([" differs from that of ", reference, f" by {value}\u202f{title.unit}"])
    interval = f"95\u202f% interval {low} to {high}; " if NONE not in (low, high) else ""
    return join(
        [
            element("b", in_sentence(title.name)),
            size,
            f" ({interval}{p_said(c.p_family)}, corrected for {counted(c.n_family, 'test')})",
        ]
    )


def _effect_in_short(c: Comparison) -> str:
    title = titles([c.descriptor])[c.descriptor]
    if math.isfinite(c.ratio):
        return f"{in_sentence(title.name)} ({rounded(c.ratio, c.ratio_low, c.ratio_high)[0]} times)"
    return f"{in_sentence(title.name)} ({title.measured(c.difference)})"


def _not_equal(summary: Summary, *, config: Config) -> Markup:
    """What tests on so few replicates can't show."""
    fewest = min(summary.unclear, key=lambda c: c.n_pairs if c.paired else c.n_replicates + c.n_replicates_reference)
    plain = "What was not shown to differ may differ all the same."
    alpha = config.compare.alpha / max(1, summary.n_family)
    smallest = detectable_sd(fewest.n_replicates_reference, fewest.n_replicates, alpha=alpha, n_pairs=fewest.n_pairs)
    if not math.isfinite(smallest):
        return escape(plain)
    if smallest > _HOPELESS_SD:
        return escape(f"{plain} With so few replicates, {replicates_said(fewest)}, practically no difference could be found.")
    spread = "the pairs\u2019 differences" if fewest.paired else "the replicates"
    return escape(
        f"{plain} With {replicates_said(fewest)} and {counted(summary.n_family, 'test')}, a difference is found in 4 of 5 experiments only "
        f"if it is at least {number(smallest, digits=2)} times the standard deviation of {spread}."
    )


def _too_few_said(config: Config) -> Markup:
    needed = detectable_sd(_PLANNED, _PLANNED, alpha=config.compare.alpha / len(COMPARED))
    return escape(
        f"A test needs 2 replicates of each condition at least; {_PLANNED} of each find differences of {number(needed, digits=2)} standard "
        "deviations. The numbers below describe these samples and say nothing about others."
    )


# ---- the table of largest effects

_IN_SHORT = {NOT_SHOWN: "not shown", TOO_FEW: "too few"}


def show_largest(comparisons: Sequence[Comparison], *, channel_titles: Mapping[int, str]) -> Markup | None:
    """The largest effects of each channel and pair of conditions."""
    chosen = _largest(comparisons)
    if not chosen:
        return None
    several, single = len({c.channel for c in chosen}) > 1, len({(c.reference, c.condition) for c in chosen}) == 1
    sides = [breakable(chosen[0].reference), breakable(chosen[0].condition)] if single else ["From", "To"]
    lead = [title for title, shown in (("Channel", several), ("Compared", not single)) if shown]
    header = [*lead, "Largest effects", *sides, "Ratio", "Hedges\u2019 g", "p, corrected", ""]
    body, doubtful = [], _doubtful(comparisons)
    for c in chosen:
        title = titles([c.descriptor])[c.descriptor]
        channel = [channel_titles.get(c.channel, str(c.channel)) if c.channel is not None else ""] if several else []
        pair = [] if single else [versus(c.reference, c.condition)]
        means = (title.measured(mean) for mean in (c.mean_reference, c.mean))
        effect = (_interval(c.ratio, c.ratio_low, c.ratio_high), _interval(c.hedges_g, c.hedges_g_low, c.hedges_g_high))
        said = "differs; see above" if id(c) in doubtful else _IN_SHORT.get(c.verdict, c.verdict)
        name, verdict = (element("b", text) if c.verdict == DIFFERS and id(c) not in doubtful else text for text in (title.name, said))
        body.append([*channel, *pair, name, *means, *effect, p_value(c.p_family), verdict])
    start = len(lead) + 1
    return table(header, body, numeric=range(start, start + 5), whole=(0, start + 5) if several else (start + 5,), class_="largest")


def _largest(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Some of each pair, those that differ first; of too many pairs, too."""
    pairs = pairs_of(comparisons)
    each = max(1, min(_PER_PAIR, _MOST_ROWS // max(1, len(pairs))))
    doubtful = _doubtful(comparisons)

    def weight(c: Comparison) -> tuple[bool, bool, float]:
        return c.verdict == DIFFERS, id(c) not in doubtful, _size(c)

    chosen = [c for group in pairs.values() for c in sorted(group, key=weight, reverse=True)[:each] if _size(c) > 0]
    if len(pairs) > _MOST_ROWS:
        chosen.sort(key=weight, reverse=True)
    return chosen[: _MOST_ROWS if any(c.verdict in TESTED for c in chosen) else _MOST_UNTESTED]


def _doubtful(comparisons: Sequence[Comparison]) -> set[int]:
    """Identities of those that rest on DBSCAN where Ripley contradicts it."""
    contradicted = contradicted_pairs(comparisons)
    return {id(c) for c in comparisons if c.descriptor in CLUSTERED and (c.channel, c.reference, c.condition) in contradicted}


def _size(c: Comparison) -> float:
    """Sorts effects: in standard deviations; those without any spread after them, by their ratio."""
    if math.isfinite(c.hedges_g):
        return 1.0 + abs(c.hedges_g)
    return min(0.999, abs(math.log(c.ratio))) if math.isfinite(c.ratio) and c.ratio > 0 else 0.0


def _interval(value: float, low: float, high: float) -> Markup | str:
    shown = rounded(value, low, high)
    return join([shown[0], element("span", f" ({shown[1]} to {shown[2]})", class_="pm")]) if NONE not in shown else shown[0]
