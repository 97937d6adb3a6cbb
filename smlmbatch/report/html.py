"""The campaign's report: one self-contained HTML file for the people who took the data.

Everything is in the file (style, pictures, plots): it can be mailed, printed and read in ten years. It is made of the
campaign's tables, and of the units where a picture needs them. No script, no link out, no clock.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smlmbatch.analyse.compare import natural_key, ripley_curves
from smlmbatch.analyse.tables import Tables, legible, read_tables
from smlmbatch.config import to_toml
from smlmbatch.report.costs import show_costs
from smlmbatch.report.descriptors import Numbers, csv_files, gather, show_channel
from smlmbatch.report.page import Markup, document, element, join, section, table
from smlmbatch.report.sections import (
    Row,
    in_order,
    show_dropped_records,
    show_dropped_rois,
    show_failures,
    show_fields,
    show_ignored,
    show_pictures,
    with_sample,
)
from smlmbatch.report.wording import REFERENCES, count, counted, methods, percent
from smlmbatch.store.units import write_whole
from smlmbatch.work import Campaign

_PARTS = (
    ("came-in", "What came in"),
    ("dropped", "What was dropped, and why"),
    ("pictures", "Rendered fields"),
    ("descriptors", "Descriptors by condition"),
    ("methods", "Methods and settings"),
    ("costs", "Run time and memory"),
)


def write_report(campaign: Campaign, *, fingerprint: str, input_name: str, software: Mapping[str, str], run: Mapping[str, Any]) -> Path:
    """Write `OUTPUT/report/index.html` (and the plots' numbers under `report/data`), of tables already written.

    Parameters
    ----------
    fingerprint : hash of all the report depends on, kept in the page's head
    input_name : what INPUT is called
    software : name → version
    run : further facts to list at the end; strings, numbers, lists or tables of these

    Returns
    -------
    path of the page

    Raises
    ------
    FileNotFoundError
        the tables are not written yet
    """
    tables = read_tables(campaign.output)
    numbers = gather(tables.rois, ripley_curves(campaign), min_locs=campaign.config.tile.min_locs)
    rows = in_order(with_sample(campaign, tables.fields.to_pylist()))
    name = legible(input_name) or "campaign"
    body = join(
        [
            _head(campaign, rows, name, run),
            *_sections(campaign, tables, rows, numbers, software=software, run=run),
        ]
    )
    folder = campaign.output / "report"
    for file, text in csv_files(numbers).items():
        write_whole(folder / "data" / file, text.encode("utf-8", "replace"))
    page = document(f"{name}: smlmbatch report", body, fingerprint=fingerprint)
    write_whole(folder / "index.html", page.encode("utf-8", "replace"))
    return folder / "index.html"


def _sections(
    campaign: Campaign, tables: Tables, rows: Sequence[Row], numbers: Numbers, *, software: Mapping[str, str], run: Mapping[str, Any]
) -> Iterator[Markup]:
    contents: dict[str, list[Markup | None]] = {
        "came-in": [show_fields(campaign, rows) if rows else element("p", "No field.")],
        "dropped": [
            show_failures(campaign),
            show_dropped_records(rows),
            show_dropped_rois(tables.rois, rows),
            show_ignored(campaign),
        ],
        "pictures": [show_pictures(campaign, rows)],
        "descriptors": [*_descriptors(numbers, rows)],
        "methods": [*_methods(campaign, software=software, run=run)],
        "costs": [show_costs(campaign)],
    }
    for anchor, title in _PARTS:
        yield section(title, *contents[anchor], anchor=anchor)


# ---- head


def _head(campaign: Campaign, rows: Sequence[Row], name: str, run: Mapping[str, Any]) -> Markup:
    links = [element("a", title, href=f"#{anchor}") for anchor, title in _PARTS]
    ok = [row for row in rows if row["status"] == "ok"]
    numbers = (
        (sum(row["n"] for row in ok), "localisation"),
        (sum(row["n_cells"] for row in ok), "outline"),
        (len(_conditions(ok)), "condition"),
        (len({(row["conditions"], row["replicate"]) for row in ok}), "replicate"),
    )
    facts = [(count(n), word if n == 1 else word + "s") for n, word in numbers]
    facts += [(legible(str(run["finished"])), "finished")] if "finished" in run else []
    return element(
        "header",
        element("h1", name),
        element("p", "Single-molecule localisation microscopy, batch report", class_="soft"),
        _verdict(rows, ignored=len(campaign.ignored)),
        element("div", *(element("div", element("b", value), " ", element("span", words)) for value, words in facts), class_="facts"),
        element("nav", *links),
    )


def _conditions(rows: Sequence[Row]) -> list[str]:
    return sorted({condition for row in rows for condition in row["conditions"]}, key=natural_key)


def _verdict(rows: Sequence[Row], *, ignored: int) -> Markup:
    states = [row["status"] for row in rows]
    found, kept = (sum(row[key] or 0 for row in rows) for key in ("n_rois", "n_rois_kept"))
    ok, failed = states.count("ok"), states.count("failed")
    said: list[str] = [f"{counted(len(rows), 'field')} in", f"{count(ok)} analysed", _alarm(f"{count(failed)} failed", when=failed > 0)]
    unfinished = len(states) - ok - failed
    said += [_alarm(f"{count(unfinished)} not finished", when=True)] if unfinished else []
    said += [f"{counted(ignored, 'other file')} ignored"] if ignored else []
    rois = f"{count(kept)} of {counted(found, 'ROI')} kept ({percent(kept, found)})." if found else "No ROI found."
    joined = join(part for i, word in enumerate(said) for part in (", " if i else None, word))
    return element("p", joined, ". ", _alarm(rois, when=kept == 0), class_="verdict")


def _alarm(text: str, *, when: bool) -> str:
    return element("b", text, class_="warn") if when else text


# ---- descriptors


def _descriptors(numbers: Numbers, rows: Sequence[Row]) -> list[Markup]:
    if not numbers.channels:
        return [element("p", "No ROI was kept, so there is nothing to describe.")]
    intro = "The replicate is the unit: its ROIs are averaged first. This part describes; it tests no hypothesis."
    parts = [element("p", intro)]
    described = {c.condition for c in numbers.conditions}
    bare = [name for name in _conditions(rows) if name not in described]
    if bare:
        parts.append(element("p", f"Without any kept ROI, so not described: {', '.join(bare)}.", class_="warn"))
    for channel in numbers.channels:
        if len(numbers.channels) > 1:
            parts.append(element("h3", _channel_title(channel, rows)))
        parts.append(show_channel(numbers, channel))
    return parts


def _channel_title(channel: int, rows: Sequence[Row]) -> str:
    """Number of a channel and the names that fields give it."""
    names = {name for row in rows for c, name in zip(row["channels"] or [], row["channel_names"] or [], strict=True) if c == channel}
    told = " / ".join(sorted(names - {"", str(channel), f"channel {channel}"}))
    return f"Channel {channel}" + (f": {told}" if told else "")


# ---- methods and settings


def _methods(campaign: Campaign, *, software: Mapping[str, str], run: Mapping[str, Any]) -> list[Markup]:
    paragraphs = [element("p", text) for text in methods(campaign.config, software=software)]
    references = [element("p", text, class_="reference") for text in REFERENCES]
    facts = list(_facts(run))
    versions = sorted(([legible(str(name)), legible(str(version))] for name, version in software.items()), key=_ours_first)
    left = [element("h3", "Settings"), element("pre", to_toml(campaign.config).strip())]
    right = [element("h3", "Software"), table(["Package", "Version"], versions)] if versions else []
    if facts:
        right += [element("h3", "Run"), element("dl", *(join([element("dt", name), element("dd", text)]) for name, text in facts))]
    return [
        element("p", "In words, for a methods section:", class_="soft"),
        *paragraphs,
        *references,
        element("div", element("div", *left), element("div", *right), class_="half"),
    ]


def _ours_first(row: Sequence[str]) -> tuple[bool, str]:
    return row[0] != "smlmbatch", row[0]


def _facts(run: Mapping[str, Any], *, above: str = "") -> Iterator[tuple[str, str]]:
    """Facts as pairs of text; nested tables are flattened, settings and software have their own place."""
    for key, value in run.items():
        name = f"{above}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            if key not in ("settings", "software"):
                yield from _facts(value, above=f"{name}, ")
        elif isinstance(value, list | tuple):
            yield legible(name), legible(shlex.join(map(str, value)))
        else:
            yield legible(name), legible(str(value))
