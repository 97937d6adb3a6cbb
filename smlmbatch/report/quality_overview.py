"""The page's part on the fields' quality: a matrix of traffic lights, fields by checks, and what the amber and red ones mean.

Few fields are shown with their values; many without, in tables abreast, so that 200 fit on a page and a bad day or
dish shows as a stripe. Beyond that the worst are shown.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.quality import worst
from smlmbatch.analyse.results import LIGHTS, Light, QualityCheck
from smlmbatch.report.lights import MARKS, light_key, light_mark
from smlmbatch.report.page import Markup, advice, breakable, element, join, table
from smlmbatch.report.wording import count, counted, number, told

Row = Mapping[str, Any]  # one row of fields.parquet

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

_MOST_WITH_VALUES = 30  # fields
_LEAST_SHARE = 1e-4  # told in digits
_ABREAST = 3  # tables of fields without values
_MOST_FIELDS = 300
_MOST_SENTENCES, _MOST_NAMES, _MOST_UNJUDGED = 2, 40, 12  # of one check; fields named after those; reasons


@dataclass(frozen=True, slots=True)
class CheckWords:
    """How a check is called: at the head of its column, and in a sentence; and how its value is written."""

    column: str
    finding: str
    show: Callable[[float], str]


def _share(value: float) -> str:
    return "<0.01\u202f%" if 0 < value < _LEAST_SHARE else f"{number(100 * value, digits=2)}\u202f%"


def _nm(value: float) -> str:
    return f"{number(value, digits=2)}\u202fnm"


_WORDS: Mapping[str, CheckWords] = MappingProxyType(  # in the order in which they are shown
    {
        "nena_over_precision": CheckWords(
            "NeNA / precision", "stated precision not confirmed", lambda value: f"{number(value, digits=2)}\u00d7"
        ),
        "drift_nm": CheckWords("Drift", "drift", _nm),
        "fading": CheckWords("Fading", "fading", _share),
        "gaps": CheckWords("Gaps", "gaps in the recording", _share),
        "duplicates": CheckWords("Duplicates", "duplicate locs", _share),
        "blinks": CheckWords("Repeated blinks", "repeated blinks", _share),
        "crowding": CheckWords("Crowding", "crowded frames", _share),
        "illumination": CheckWords("Illumination", "uneven illumination", _share),
        "cut": CheckWords("Cut by edge", "cells cut by the field\u2019s edge", _share),
        "rois": CheckWords("ROIs", "few ROIs", lambda value: count(round(value))),
    }
)


def words_of(check: str) -> CheckWords:
    """A check's words; one that has none here goes by its own name."""
    plain = check.replace("_", " ")
    return _WORDS.get(check) or CheckWords(plain, plain, lambda value: number(value))


def checks_in_order(checks: Iterable[QualityCheck]) -> list[str]:
    """Names of the checks there are, in the order in which they are shown."""
    names = {check.check for check in checks}
    return [name for name in _WORDS if name in names] + sorted(names - set(_WORDS))


def frequent_findings(checks: Iterable[QualityCheck]) -> list[tuple[str, int]]:
    """What is amber or red, as (words, number of fields), the most frequent first."""
    hit = {(check.check, check.key) for check in checks if check.light in ("amber", "red")}
    counts = Counter(name for name, _ in hit)
    return [(words_of(name).finding, n) for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _names_of(rows: Sequence[Row]) -> dict[str, str]:
    """Each field's name by its key, with condition and replicate where several fields share it."""
    shared = Counter(row["field"] for row in rows)
    own = {row["key"]: f" ({' / '.join(row['conditions'])}, {row['replicate']})" if shared[row["field"]] > 1 else "" for row in rows}
    return {row["key"]: row["field"] + own[row["key"]] for row in rows}


def show_quality(rows: Sequence[Row], checks: Sequence[QualityCheck]) -> Markup:
    """Matrix of lights; below, the sentences of amber and red ones, and what could not be judged."""
    if not checks:
        return element("p", "No field was judged.")
    names = checks_in_order(checks)
    judged: dict[str, dict[str, list[QualityCheck]]] = {}
    for check in checks:
        judged.setdefault(check.key, {}).setdefault(check.check, []).append(check)
    shown = [row for row in rows if row["key"] in judged]
    note = None
    if len(shown) > _MOST_FIELDS:
        worst_first = sorted(shown, key=lambda row: _badness(judged[row["key"]]), reverse=True)[:_MOST_FIELDS]
        kept = {row["key"] for row in worst_first}
        note = f"The {count(_MOST_FIELDS)} worst of {counted(len(shown), 'field')} are shown; all are in tables/quality.parquet."
        shown = [row for row in shown if row["key"] in kept]
    return join(
        [
            element("p", note) if note else None,
            _with_values(shown, names, judged) if len(shown) <= _MOST_WITH_VALUES else _compact(shown, names, judged),
            light_key(),
            *(_sentences(name, [check for check in checks if check.check == name], rows) for name in names),
            _unjudged(checks),
        ]
    )


def _badness(by_check: Mapping[str, Sequence[QualityCheck]]) -> tuple[int, int]:
    lights = Counter(worst(check.light for check in found) for found in by_check.values())
    return lights["red"], lights["amber"]


def read_checks(output: Path) -> list[QualityCheck]:
    """The rows of `tables/quality.parquet`, in its order, sentences as the page shows them; null becomes NaN in numbers."""
    import pyarrow.parquet as pq

    names = [f.name for f in dataclasses.fields(QualityCheck)]
    rows = pq.ParquetFile(table_path(output, "quality")).read(columns=names).to_pylist()
    checks = (QualityCheck(**row | {name: math.nan if row[name] is None else row[name] for name in _NUMBERS}) for row in rows)
    return [dataclasses.replace(check, text=told(check.text, share=_value_in(check))) for check in checks]


def _value_in(check: QualityCheck) -> str:
    """The percentage that a check's sentence gives for its value; none where the value is no share."""
    return _value(check) if words_of(check.check).show is _share and check.light != "grey" else ""


_NUMBERS = ("value", "amber", "red")


# ---- the matrix


def _field_link(row: Row) -> Markup:
    return element("a", breakable(row["field"]), href=f"fields/{row['key']}.html")


def _told(found: Sequence[QualityCheck]) -> str:
    """What the pointer finds on a light: the sentence, of each channel where there are several."""
    several = len(found) > 1
    return "\n".join((f"Channel {check.channel}: " if several and check.channel is not None else "") + check.text for check in found)


def _light_of(found: Sequence[QualityCheck], *, text: str = "") -> Markup:
    return light_mark(worst(check.light for check in found), text, title=_told(found))


def _with_values(rows: Sequence[Row], names: Sequence[str], judged: Mapping[str, Mapping[str, Sequence[QualityCheck]]]) -> Markup:
    body = []
    for row in rows:
        cells = [_with_value(judged[row["key"]].get(name, ())) for name in names]
        body.append([_overall(row, judged[row["key"]]), _field_link(row), breakable(" / ".join(row["conditions"])), *cells])
    return table(["", "Field", "Condition", *(words_of(name).column for name in names)], body, class_="lights")


def _with_value(found: Sequence[QualityCheck]) -> Markup | str:
    """The worst channel's light with its value."""
    if not found:
        return ""
    chosen = max(found, key=lambda check: (LIGHTS.index(check.light), -(check.channel or 0)))
    return _light_of(found, text=_value(chosen))


def _overall(row: Row, by_check: Mapping[str, Sequence[QualityCheck]]) -> Markup:
    light: Light = row["light"] or "grey"
    return light_mark(light, title=f"{row['field']}: {MARKS[light].word}")


def _compact(rows: Sequence[Row], names: Sequence[str], judged: Mapping[str, Mapping[str, Sequence[QualityCheck]]]) -> Markup:
    """Tables abreast, columns' heads written upward."""
    length = -(-len(rows) // _ABREAST)
    header = ["", "Field", *(element("span", words_of(name).column) for name in names)]
    tables = []
    for first in range(0, len(rows), length):
        body: list[list[str]] = []
        condition = ""
        for row in rows[first : first + length]:
            by_check, own = judged[row["key"]], " / ".join(row["conditions"])
            if own != condition:
                body.append(["", element("b", breakable(own)), *("" for _ in names)])
                condition = own
            cells = [_light_of(by_check[name]) if name in by_check else "" for name in names]
            body.append([_overall(row, by_check), _field_link(row), *cells])
        tables.append(table(header, body, class_="lights compact"))
    return element("div", *tables, class_="abreast")


# ---- sentences


def _sentences(name: str, checks: Sequence[QualityCheck], rows: Sequence[Row]) -> Markup | None:
    """What the amber and red ones of one check say, the worst first."""
    hit = [check for check in checks if check.light in ("amber", "red")]
    if not hit:
        return None
    place, names = {row["key"]: i for i, row in enumerate(rows)}, _names_of(rows)
    hit.sort(key=lambda check: (-LIGHTS.index(check.light), -_beyond(check), place.get(check.key, 0), check.channel or 0))
    lights = Counter(check.light for check in hit)
    said = ", ".join(f"{count(lights[light])} {MARKS[light].word}" for light in ("red", "amber") if lights[light])
    several = len({check.channel for check in checks}) > 1
    lines = [_sentence(check, names[check.key], several=several) for check in hit[:_MOST_SENTENCES]]
    more = hit[_MOST_SENTENCES:]
    if more:
        marks = [
            element("span", light_mark(check.light, _value(check)), " ", _link(check, names[check.key])) for check in more[:_MOST_NAMES]
        ]
        rest = f"and {count(len(more) - _MOST_NAMES)} more" if len(more) > _MOST_NAMES else None
        lines.append(element("p", "The same in ", *(part for mark in marks for part in (mark, " ")), rest, class_="finding alike"))
    return join([element("h4", words_of(name).column, element("span", f": {said}", class_="soft")), *lines])


def _beyond(check: QualityCheck) -> float:
    """Grows as the value gets worse; only for comparing values of one check."""
    if not math.isfinite(check.value):
        return -math.inf
    return check.value if check.red >= check.amber else -check.value


def _value(check: QualityCheck) -> str:
    return words_of(check.check).show(check.value) if math.isfinite(check.value) else ""


def _sentence(check: QualityCheck, name: str, *, several: bool) -> Markup:
    channel = f", channel {check.channel}" if several and check.channel is not None else ""
    return element("p", light_mark(check.light), " ", _link(check, name), channel, ": ", advice(check.text), class_="finding")


def _link(check: QualityCheck, name: str) -> Markup:
    return element("a", breakable(name), href=f"fields/{check.key}.html")


def _unjudged(checks: Sequence[QualityCheck]) -> Markup | None:
    """What could not be judged and why; fields of one reason are counted."""
    groups: dict[tuple[str, str], list[QualityCheck]] = {}
    for check in checks:
        if check.light == "grey":
            reason = check.check, _NUMBER.sub("#", check.text)  # alike but for numbers
            groups.setdefault(reason, []).append(check)
    if not groups:
        return None
    ranked = [alike for _, alike in sorted(groups.items(), key=lambda item: (-_n_fields(item[1]), item[0]))]
    lines = [_unjudged_said(alike) for alike in ranked[:_MOST_UNJUDGED]]
    more = len(ranked) - _MOST_UNJUDGED
    note = element("p", f"and {counted(more, 'more reason')}; all are in tables/quality.parquet.", class_="note") if more > 0 else None
    return join([element("h4", "Not judged"), *lines, note])


def _n_fields(checks: Sequence[QualityCheck]) -> int:
    return len({check.key for check in checks})


def _unjudged_said(alike: Sequence[QualityCheck]) -> Markup:
    """One check and reason, with the first one's numbers."""
    n = counted(_n_fields(alike), "field")
    example = "for example: " if len({check.text for check in alike}) > 1 else ""
    text = alike[0].text.removeprefix("Not judged: ")
    name = element("b", words_of(alike[0].check).column)
    return element("p", light_mark("grey"), " ", name, f", {n}: {example}{text}", class_="finding")
