"""The page of one field: what was measured of it, how good it is, what it looks like, and how it compares with its condition.

One self-contained file, laid out like the campaign's page. A field that failed has a short one with the reason and the remedy.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.quality import worst
from smlmbatch.analyse.results import LIGHTS, Light, QualityCheck
from smlmbatch.analyse.tables import legible
from smlmbatch.config import Config
from smlmbatch.report.field_clusters import field_clusters
from smlmbatch.report.field_figures import FieldData, Figure, drift, frames, histograms, illumination, nena, ripley
from smlmbatch.report.field_render import choose_rois, draw_picture, hues_of, look_of_reason, paintings, soften
from smlmbatch.report.field_script import SCRIPT, STYLE
from smlmbatch.report.field_zooms import LETTERS, draw_zooms
from smlmbatch.report.gallery import csv_text
from smlmbatch.report.lights import MARKS, light_mark
from smlmbatch.report.page import Markup, advice, breakable, document, element, join, section, table
from smlmbatch.report.pictures import View, choose_view, count_locs
from smlmbatch.report.quality_overview import checks_in_order, words_of
from smlmbatch.report.wording import NONE, count, counted, number, percent, warnings_of
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import FieldResult

Row = Mapping[str, Any]  # one row of fields.parquet, with `conditions` and `finding`

_RASTER_PX = {1: 1000, 2: 700}  # longer side of a rendering, by channels; more channels as two
_SHOWN_PX, _ABREAST_PX = 880.0, 514.0  # longer side on the page: of the first rendering, and of channels two abreast


class _Unit(UnitReader):
    """A unit whose whole arrays are read once: many parts of a page look at the same small ones, and each reading takes a millisecond."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._whole: dict[str, NDArray[Any]] = {}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        if start or stop is not None:
            return super().read(name, start, stop)
        if name not in self._whole:
            self._whole[name] = super().read(name)
        return self._whole[name]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another field's page: key and name."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class DescriptorTable:
    """Descriptors of the field in one channel (and condition) beside its condition's, ready to be shown."""

    title: str
    condition: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPage:
    """All that the page of one field is made of, besides its units."""

    result: FieldResult
    row: Row
    checks: Sequence[QualityCheck]
    descriptors: Sequence[DescriptorTable]
    config: Config
    campaign_name: str
    before: Neighbour | None = None
    after: Neighbour | None = None


def field_document(page: FieldPage, *, fingerprint: str) -> str:
    """The whole page as HTML."""
    with ExitStack() as stack:
        units = {stage: stack.enter_context(_Unit(path)) for stage, path in page.result.units.items()}
        parts = dict(_sections(page, units)) if page.row["status"] == "ok" else {"failure": ("What went wrong", _failure(page))}
        parts["file"] = ("The file", _file(page.row))
        body = join([_head(page, parts), *(section(title, content, anchor=anchor) for anchor, (title, content) in parts.items())])
    title = f"{page.row['field']}: {page.campaign_name}"
    return document(title, body, fingerprint=fingerprint, style=STYLE, script=SCRIPT)


def _sections(page: FieldPage, units: Mapping[str, UnitReader]) -> Iterator[tuple[str, tuple[str, Markup]]]:
    """Anchor, heading and content of each part that has a content."""
    ingest, tile = units["ingest"], units["tile"]
    names = [legible(str(name)) for name in ingest.attrs["channel_names"]]
    data = FieldData(
        channels=[int(c) for c in ingest.attrs["channels"]],
        names=names,
        quality=units.get("quality"),
        measure=units.get("measure"),
        config=page.config,
    )
    if page.checks:
        yield "quality", ("Is it good data?", _lights(page.checks, names, data.channels))
    if page.row["n"]:
        chosen = choose_rois(tile, most=len(LETTERS))
        yield "rendering", ("The field", _renderings(page, ingest, tile, names, chosen))
        if chosen:
            label = f"{page.row['field']}: regions of interest at high magnification"
            yield "zooms", ("Regions at high magnification", _show(page, draw_zooms(ingest, tile, chosen, names=names, label=label)))
        if "cluster" in units:
            yield "clusters", ("Clusters", _clusters(page, ingest, tile, units["cluster"], names))
    yield from _charts(page, data)
    if page.descriptors:
        yield "descriptors", ("Descriptors beside the condition's", join(_descriptors(page.descriptors)))


def _clusters(page: FieldPage, ingest: UnitReader, tile: UnitReader, cluster: UnitReader, names: Sequence[str]) -> Markup:
    found = field_clusters(ingest, tile, cluster, names=names, field=page.row["field"])
    charts = [_show(page, figure) for figure in found.charts]
    drawn = element("div", *charts, class_="charts") if charts else None
    return join([found.words, *(_show(page, figure) for figure in found.panels), drawn, found.numbers])


def _charts(page: FieldPage, data: FieldData) -> Iterator[tuple[str, tuple[str, Markup]]]:
    drawn = histograms(data)
    neighbours = drawn.pop("neighbours", None)
    groups: tuple[tuple[str, str, Sequence[Figure | None]], ...] = (
        ("locs", "Its localisations", [*drawn.values(), nena(data), *illumination(data)]),
        ("recording", "The recording", [frames(data), drift(data)]),
        ("pattern", "The pattern", [ripley(data), neighbours]),
    )
    for anchor, title, figures in groups:
        shown = [_show(page, figure) for figure in figures if figure is not None]
        if shown:
            yield anchor, (title, element("div", *shown, class_="charts"))


def _show(page: FieldPage, figure: Figure, *, class_: str | None = None, below: Markup | None = None) -> Markup:
    """A figure with its caption; its numbers stand hidden beside it, for the script that saves them."""
    caption = element("figcaption", element("b", figure.title), ". ", figure.caption)
    drawing = element("div", figure.drawing, class_=class_) if class_ else figure.drawing
    numbers = element("pre", figure.numbers, hidden="")
    return element("figure", drawing, below, caption, numbers, data_name=f"{page.row['key']}-{figure.name}")


# ---- head


def _head(page: FieldPage, parts: Mapping[str, tuple[str, Markup]]) -> Markup:
    row = page.row
    sample = [join([" / ".join(row["conditions"])]), row["replicate"] if row["replicate"] != row["field"] else "", row["batch"]]
    links = [element("a", title, href=f"#{anchor}") for anchor, (title, _) in parts.items()]
    return element(
        "header",
        _links(page),
        element("h1", breakable(row["field"]), " ", _overall(page)),
        element("p", " · ".join(part for part in sample if part), class_="soft"),
        element("div", *(element("div", element("b", value), " ", element("span", words)) for value, words in _facts(row)), class_="facts"),
        element("nav", *links),
    )


def _links(page: FieldPage) -> Markup:
    """To the field before, the campaign's report, and the field after."""
    before, after = page.before, page.after
    links = [
        element("a", "← ", breakable(before.name), href=f"{before.key}.html") if before else None,
        element("a", "Report: ", breakable(page.campaign_name), href="../index.html"),
        element("a", breakable(after.name), " →", href=f"{after.key}.html") if after else None,
    ]
    return element("div", *links, class_="pages")


def _overall(page: FieldPage) -> Markup | None:
    if page.row["status"] != "ok":
        return element("span", page.row["status"] if page.row["status"] == "failed" else "not finished", class_="warn")
    if not page.checks:
        return None
    light = worst(check.light for check in page.checks)
    return light_mark(light, MARKS[light].word + _possible(page.checks) if light == "green" else MARKS[light].word)


def _possible(checks: Sequence[QualityCheck]) -> str:
    """How many checks stand behind a good field, where they are fewer than half."""
    able, names = ({check.check for check in checks if check.light != "grey" or grey} for grey in (False, True))
    return f", {len(able)} of {counted(len(names), 'check')} possible" if 2 * len(able) < len(names) else ""


def _facts(row: Row) -> list[tuple[str, str]]:
    """Numbers under the field's name."""
    if row["n"] is None:
        return []
    sides = [number(row[f"extent_{axis}_um"]) for axis in ("x", "y", "z") if row[f"extent_{axis}_um"] is not None]
    facts = [(count(row["n"]), "localisations")]
    if len(row["channels"]) > 1:
        facts += [(count(n), name) for n, name in zip(row["n_per_channel"], row["channel_names"], strict=True)]
    facts += [(" \u00d7 ".join(sides), "µm")] if sides else []
    facts += [(number(row["precision_median_nm"]), "nm median precision")] if row["precision_median_nm"] is not None else []
    if row["n_rois"] is not None:
        facts += [(f"{count(row['n_rois_kept'])} of {count(row['n_rois'])}", "ROIs kept"), (number(row["cell_area_um2"]), "µm² outlined")]
    return facts


# ---- quality


def _lights(checks: Sequence[QualityCheck], names: Sequence[str], channels: Sequence[int]) -> Markup:
    """The checks with their sentences, worst first; those of which the same is said stand together: channels, and what can't be judged."""
    order = {name: i for i, name in enumerate(checks_in_order(checks))}
    alike: dict[tuple[str, Light, str], list[QualityCheck]] = {}
    for check in checks:
        alike.setdefault(("" if check.light == "grey" else check.check, check.light, check.text), []).append(check)
    ranked = sorted(alike.values(), key=lambda found: (-LIGHTS.index(found[0].light), order[found[0].check]))
    return join(_judged(found, names, channels) for found in ranked)


def _judged(found: Sequence[QualityCheck], names: Sequence[str], channels: Sequence[int]) -> Markup:
    first, words = found[0], words_of(found[0].check)
    what = ", ".join(dict.fromkeys(words_of(check.check).column for check in found))
    values = dict.fromkeys(words.show(check.value) if np.isfinite(check.value) else "" for check in found)
    marks = join(part for value in values for part in (light_mark(first.light, "" if value == NONE else value), " "))
    own = {names[channels.index(c)]: None for c in (check.channel for check in found) if c in channels} if len(channels) > 1 else {}
    whose = [element("br"), element("span", ", ".join(own), class_="soft")] if own else []
    return element("div", element("div", marks), element("p", element("b", what), *whose), element("p", first.text), class_="judged")


# ---- renderings


def _renderings(page: FieldPage, ingest: UnitReader, tile: UnitReader, names: Sequence[str], chosen: Sequence[int]) -> Markup:
    """The merge (or the only channel) with outline and grid, then each channel."""
    view = choose_view(ingest, tile, size_px=_RASTER_PX[min(len(names), 2)])
    counts = count_locs(ingest, view)
    painted = paintings([soften(pixels) for pixels in counts.values()])
    letters = dict(zip(chosen, LETTERS, strict=False))
    field, rois_csv = page.row["field"], _rois_csv(ingest, tile)
    figures = []
    for i, (place, image) in enumerate(painted):
        name = "merge" if place is None else names[place] if len(names) > 1 else ""
        of = f", {name}" if name else ""
        label = f"{field}{of}: rendered localisations with cell outline" + (" and ROIs" if i == 0 else "")
        drawing = draw_picture(image, view, tile, shown_px=_SHOWN_PX if i == 0 else _ABREAST_PX, label=label, rois=i == 0, letters=letters)
        figure = Figure(
            name="rendering"
            + ("" if len(names) == 1 else "-merge" if place is None else f"-channel-{int(ingest.attrs['channels'][place])}"),
            title=f"{field}{of}",
            drawing=drawing,
            caption=_rendering_caption(view, names, page.row, whole=i == 0, place=place),
            numbers=rois_csv
            if i == 0
            else csv_text(["channel", "n_locs"], [[page.row["channels"][place or 0], page.row["n_per_channel"][place or 0]]]),
        )
        figures.append(_show(page, figure, class_="rendering", below=_fates(tile) if i == 0 else None))
    return join([figures[0], element("div", *figures[1:], class_="channels") if figures[1:] else None])


def _rendering_caption(view: View, names: Sequence[str], row: Row, *, whole: bool, place: int | None) -> str:
    n_locs = row["n"] if place is None else row["n_per_channel"][place]
    said = [f"{counted(n_locs, 'loc')}, {number(view.pixel_nm, digits=2)} nm per pixel."]
    if place is None:
        colours = ", ".join(f"{name} {hue.name}" for name, hue in zip(names, hues_of(len(names)), strict=True))
        said.append(f"{colours}; each channel's brightness is scaled by itself.")
    if whole:
        said.append(
            "Brightness is a power of the number of locs, chosen so that the median lit pixel has about a third of full brightness; "
            "on sparse pictures each loc is a small spot. Blue: cell outline. x points right, y down."
        )
    said += ["Cut to 99.8 % of the locs: a few lie far away."] if view.cropped and whole else []
    return " ".join(said)


def _fates(tile: UnitReader) -> Markup:
    """Key to the grid: how many ROIs were kept, and dropped for which reason."""
    reasons, found = [legible(str(text)) for text in tile.attrs["reasons"]], tile.read("roi_reason")
    said = []
    for reason in np.unique(found).tolist():
        look = look_of_reason(reason)
        line = element("path", d="M3 7h24", stroke="#fff", stroke_width="1.6", stroke_dasharray=look.dash or None)
        swatch = element("svg", element("rect", width="30", height="14", rx="2", fill="#000004"), line, width="30", height="14")
        n = int((found == reason).sum())
        said.append(element("span", swatch, f"{counted(n, 'ROI')} {'kept' if reason == 0 else 'dropped: ' + reasons[reason]}"))
    return element("div", *said, class_="fates") if said else element("div", element("span", "No ROI was found."), class_="fates")


def _rois_csv(ingest: UnitReader, tile: UnitReader) -> str:
    """The grid as CSV, positions in the source's frame."""
    reasons = [legible(str(text)) for text in tile.attrs["reasons"]]
    corners = tile.read("roi_origin_nm") + np.array(ingest.attrs["origin_nm"])
    header = ["roi", "x_nm", "y_nm", "side_nm", "coverage", "fate", *(f"n_locs_channel_{c}" for c in tile.attrs["channels"])]
    rows = zip(
        corners.tolist(),
        tile.read("roi_coverage").tolist(),
        tile.read("roi_reason").tolist(),
        tile.read("roi_n_locs").tolist(),
        strict=True,
    )
    return csv_text(
        header,
        [[i, *(f"{v:.1f}" for v in xy), tile.attrs["roi_nm"], f"{share:.3f}", reasons[r], *n] for i, (xy, share, r, n) in enumerate(rows)],
    )


# ---- descriptors, file, failure


def _descriptors(blocks: Sequence[DescriptorTable]) -> Iterator[Markup]:
    for block in blocks:
        if len(blocks) > 1:
            yield element("h3", block.title)
        header = [
            "Descriptor",
            "Unit",
            "This field, mean ± SD over ROIs",
            "ROIs",
            join([breakable(block.condition), ", mean ± SD over replicates"]),
            "Replicates",
        ]
        yield table(header, block.rows, numeric=range(2, 6), whole=(1,), class_="few")


def _file(row: Row) -> Markup:
    """Where the field comes from, how it was read, and what was dropped."""
    facts: list[tuple[str, str | Markup]] = [("File", breakable(row["path"])), ("Format", row["format"] or NONE)]
    if row["n_read"] is not None:
        facts += _reading(row)
    facts += [(name.removeprefix("label_"), breakable(value)) for name, value in row.items() if name.startswith("label_") and value]
    lines = element("dl", *(join([element("dt", name), element("dd", text)]) for name, text in facts))
    warned = warnings_of(row) if row["status"] == "ok" else []
    return join([lines, element("p", "Warnings: ", "; ".join(warned), ".", class_="warn") if warned else None])


def _reading(row: Row) -> Iterable[tuple[str, str]]:
    yield "Columns read", "; ".join(f"{quantity} from {column}" for quantity, column in row["columns"])
    pixel, base = row["pixel_size_nm"], row["frame_base"]
    yield "Camera pixel", NONE if pixel is None else f"{number(pixel)} nm"
    if row["first_frame"] is not None:
        yield "Frames", f"{count(row['first_frame'])} to {count(row['last_frame'])}, counted from 0 (in the file from {base})"
    yield "Records read", count(row["n_read"])
    yield "Dropped or filtered out", _dropped(row)
    if row.get("n_merged_away"):
        yield "Merged into others", f"{count(row['n_merged_away'])} ({percent(row['n_merged_away'], row['n_read'])})"
    if row["outline_source"] is not None:
        source = {"found": "by density", "field": "the whole field", "file": "given in a file"}.get(
            row["outline_source"], row["outline_source"]
        )
        yield "Outline", f"{source}, {counted(row['n_cells'], 'outline')}"


def _dropped(row: Row) -> str:
    if not row["n_dropped"]:
        return "none"
    reasons = ", ".join(f"{reason}: {count(n)}" for reason, n in row["dropped"] if n)
    return f"{count(row['n_dropped'])} ({percent(row['n_dropped'], row['n_read'])}): {reasons}"


def _failure(page: FieldPage) -> Markup:
    failure = page.result.failure
    if failure is None:
        return element("p", "This field is not finished yet: run again to go on.")
    said = (("Found", failure.finding), ("Wanted", failure.want), ("To mend it", failure.mend))
    lines = [element("p", element("span", f"{word}: ", class_="soft"), advice(legible(text))) for word, text in said]
    return element("div", *lines, element("p", f"Stage {failure.stage}", class_="soft"), class_="failed")
