"""The page's parts on what came in, what was dropped and why, and the rendered fields."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.tables import STAGES, legible
from smlmbatch.report.page import Markup, advice, breakable, element, join, table
from smlmbatch.report.pictures import choose_view, count_locs, draw_field, spread_evenly, thumbnail
from smlmbatch.report.wording import NO_ROI_HINT, NONE, count, counted, number, percent, roi_hint, rows_dropped, warnings_of
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign, FieldResult

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]  # one row of fields.parquet

_MOST_PICTURES = 24
_MOST_THUMBNAILS = 200
_MOST_REASONS, _MOST_NAMES = 50, 20  # kinds of failure, and fields named with each
_MOST_LISTED = 200  # rows of the tables of dropped records and ignored files
_THUMB_PX = 46
_FINDING_LETTERS = 60  # of the reason why a field failed, in the table of fields


def with_sample(campaign: Campaign, rows: Sequence[Row]) -> list[Row]:
    """Rows with two things more: `conditions`, of the channels in their order, and `finding`, why a field failed."""
    results = {legible(r.field.key): r for r in campaign.fields}
    return [{**row, "conditions": _conditions(results[row["key"]], row), "finding": _finding(results[row["key"]])} for row in rows]


def _conditions(result: FieldResult, row: Row) -> tuple[str, ...]:
    """Each condition once; those of the sample sheet where the channels are not known."""
    own = {int(name.removeprefix("condition_")) for name, value in result.field.labels if _CONDITION_OF_CHANNEL.fullmatch(name) and value}
    found = (result.field.condition_of(c) for c in row["channels"] or sorted(own))
    return tuple(dict.fromkeys(map(legible, found))) or (row["condition"],)


_CONDITION_OF_CHANNEL = re.compile(r"condition_\d+", re.ASCII)


def _finding(result: FieldResult) -> str:
    finding = " ".join(legible(result.failure.finding).split()) if result.failure else ""
    return finding if len(finding) <= _FINDING_LETTERS else finding[: _FINDING_LETTERS - 1].rstrip() + "…"


def conditions_said(row: Row) -> Markup:
    """Conditions of a field's channels, in the order of the channels."""
    return join(part for i, name in enumerate(row["conditions"]) for part in (" / " if i else None, breakable(name)))


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Fields as people look for them: by condition, replicate and name."""
    return sorted(
        rows, key=lambda r: ([natural_key(c) for c in r["conditions"]], natural_key(r["replicate"]), natural_key(r["field"]), r["key"])
    )


def open_units(result: FieldResult) -> tuple[UnitReader, UnitReader]:
    """Ingest and tile units of an analysed field; both are context managers."""
    return UnitReader(result.units["ingest"]), UnitReader(result.units["tile"])


# ---- what came in


def show_fields(campaign: Campaign, rows: Sequence[Row]) -> Markup:
    """A table with one row per field."""
    results = {legible(r.field.key): r for r in campaign.fields}
    idle = {"Batch": all(not row["batch"] for row in rows), "Replicate": all(row["replicate"] == row["field"] for row in rows)}
    columns = [column for column in _FIELD_COLUMNS if not idle.get(column[0])]
    body = []
    for i, row in enumerate(rows):
        image = _thumbnail(results[row["key"]]) if i < _MOST_THUMBNAILS else ""
        body.append([image, *(show(row) for _, _, show in columns)])
    numeric, whole = ([i for i, (_, kind, _) in enumerate(columns, start=1) if kind == wanted] for wanted in "nw")
    note = "Thumbnails show the smoothed density of locs. Precision is the median over the field."
    note += " Each file is a replicate of its own." if idle["Replicate"] else ""
    if len(rows) > _MOST_THUMBNAILS:
        note += f" They are shown for the first {_MOST_THUMBNAILS} fields."
    return join(
        [
            table(["", *(title for title, _, _ in columns)], body, numeric=numeric, whole=whole, class_="fields"),
            element("p", note, class_="note"),
        ]
    )


def _thumbnail(result: FieldResult) -> Markup | str:
    if "tile" not in result.units:
        return ""
    with UnitReader(result.units["tile"]) as tile:
        size = str(_THUMB_PX)
        return element("img", src=thumbnail(tile), alt="", width=size, height=size, class_="thumb")


def _extent(row: Row) -> str:
    sides = [number(row[name]) for name in ("extent_x_um", "extent_y_um") if row[name] is not None]
    sides += [number(row["extent_z_um"], digits=2)] if row["dims"] == 3 else []
    return " \u00d7 ".join(sides) or NONE


def _kept(row: Row) -> str:
    return NONE if row["n_rois"] is None else f"{count(row['n_rois_kept'])} of {count(row['n_rois'])}"


def _remarks(row: Row) -> str:
    if row["status"] != "ok":
        why = f": {row['finding']}" if row["finding"] else ""
        return element("span", f"{row['status'] if row['status'] == 'failed' else 'not finished'}{why}", class_="warn")
    said, some_dropped = warnings_of(row), bool(row["n_dropped"])
    if some_dropped and not any(rows_dropped(row) in words for words in said):  # so few that it is no warning
        said_softly = element("span", rows_dropped(row), class_="soft")
        return join([element("span", "; ".join(said) + "; ", class_="warn") if said else None, said_softly])
    return element("span", "; ".join(said), class_="warn") if said else NONE


def _locs(row: Row) -> str:
    """All locs; below, those of each channel where there are several."""
    channels = row["n_per_channel"] or []
    if len(channels) < 2:
        return count(row["n"])
    return join([count(row["n"]), element("br"), element("span", " + ".join(map(count, channels)), class_="soft")])


# Title, kind ("n" = number, "w" = a word not to break), how to show it.
_FIELD_COLUMNS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("Field", "", lambda r: element("a", breakable(r["field"]), href=f"fields/{r['key']}.html")),
    ("Condition", "", conditions_said),
    ("Replicate", "", lambda r: breakable(r["replicate"]) if r["replicate"] != r["field"] else element("span", "this file", class_="soft")),
    ("Batch", "", lambda r: breakable(r["batch"])),
    ("Format", "w", lambda r: r["format"] or NONE),
    ("Locs", "n", _locs),
    ("Extent (µm)", "n", _extent),
    ("Precision (nm)", "n", lambda r: number(r["precision_median_nm"])),
    ("Outline area (µm²)", "n", lambda r: number(r["cell_area_um2"])),
    ("ROIs kept", "n", _kept),
    ("Remarks", "", _remarks),
)


# ---- what was dropped


def show_failures(campaign: Campaign) -> Markup | None:
    """Failed fields with reason and remedy; fields that failed alike stand together."""
    alike: dict[tuple[str, str, str, str, str], list[FieldResult]] = {}
    for result in campaign.fields:
        if (failure := result.failure) is not None:
            alike.setdefault((failure.stage, failure.kind, failure.finding, failure.want, failure.mend), []).append(result)
    if not alike:
        return None
    total = sum(map(len, alike.values()))
    blocks = [_failure(*reason, results=results) for reason, results in list(alike.items())[:_MOST_REASONS]]
    more = len(alike) - _MOST_REASONS
    note = element("p", f"and {counted(more, 'more reason')}; all are in failed.csv.", class_="note") if more > 0 else None
    return join([element("h3", f"Fields that failed ({count(total)})", id="failed"), *blocks, note])


def _failure(stage: str, kind: str, finding: str, want: str, mend: str, *, results: Sequence[FieldResult]) -> Markup:
    paths = _first_names([legible(r.field.path) for r in results])
    name = legible(results[0].field.name) if len(results) == 1 else counted(len(results), "field")
    head = element("p", element("b", name), " ", element("span", paths, class_="soft"))
    said = (("Found", finding), ("Wanted", want), ("To mend it", mend))
    lines = [element("p", element("span", f"{word}: ", class_="soft"), legible(text)) for word, text in said]
    return element("div", head, *lines, element("p", f"Stage {stage}: {_KINDS.get(kind, kind)}", class_="soft"), class_="failed")


def _first_names(names: Sequence[str]) -> Markup:
    more = len(names) - _MOST_NAMES
    shown = [part for i, name in enumerate(names[:_MOST_NAMES]) for part in (", " if i else None, breakable(name))]
    return join([*shown, f" and {count(more)} more" if more > 0 else None])


_KINDS = {
    "input": "not tried again until the file changes",
    "resource": "tried again with the next run",
    "internal": "tried again with the next run",
}


def show_dropped_records(rows: Sequence[Row]) -> Markup:
    """Records that were no valid localisation or that a filter dropped, by field and reason; what merging took away."""
    hit = [row for row in rows if row["n_dropped"]]
    read, dropped = sum(r["n_read"] or 0 for r in rows), sum(r["n_dropped"] for r in hit)
    heading, merged = element("h3", "Records"), _merged_said(rows)
    if not hit:
        said = f"All {count(read)} records read were valid localisations." if read else "No record was read."
        return join([heading, element("p", said), merged])
    hit.sort(key=lambda r: (-r["n_dropped"] / r["n_read"], r["key"]))
    body = [
        [
            breakable(r["field"]),
            conditions_said(r),
            count(r["n_read"]),
            count(r["n_dropped"]),
            percent(r["n_dropped"], r["n_read"]),
            _reasons(r["dropped"]),
        ]
        for r in hit[:_MOST_LISTED]
    ]
    said = f"{count(dropped)} of {count(read)} records ({percent(dropped, read)}) in {counted(len(hit), 'field')} were dropped."
    header = ["Field", "Condition", "Records read", "Dropped", "Share", "Reasons"]
    return join([heading, element("p", said), table(header, body, numeric=(2, 3, 4)), _and_more(len(hit)), merged])


def _merged_said(rows: Sequence[Row]) -> Markup | None:
    """How many locs went into others when blinks were merged."""
    away, left = (sum(row[name] or 0 for row in rows) for name in ("n_merged_away", "n"))
    if not away:
        return None
    return element("p", f"Merging of blinks made {counted(left, 'loc')} of {count(away + left)} ({percent(away, away + left)} fewer).")


def _reasons(pairs: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{reason}: {count(n)}" for reason, n in pairs if n)


def _and_more(n: int) -> Markup | None:
    more = n - _MOST_LISTED
    return element("p", f"and {counted(more, 'more row')}; all are in tables/fields.parquet.", class_="note") if more > 0 else None


def show_dropped_rois(rois: "pa.Table", rows: Sequence[Row]) -> Markup:
    """Regions left out, by reason, with a hint; and fields that are left without any."""
    import pyarrow.compute as pc

    found, kept = (sum(r[name] or 0 for r in rows) for name in ("n_rois", "n_rois_kept"))
    heading = element("h3", "Regions of interest")
    bare = [r for r in rows if r["status"] == "ok" and not r["n_rois_kept"]]
    lines = [element("p", f"{count(kept)} of {counted(found, 'ROI')} kept." if found else "No ROI was found in any field.")]
    if bare:
        names = _first_names([r["path"] for r in bare])
        lines.append(element("p", f"{counted(len(bare), 'field')} without any kept ROI: ", names, ".", class_="warn"))
    if any(r["n_cells"] and r["outline_source"] == "found" for r in bare):
        lines.append(element("p", advice(NO_ROI_HINT)))
    # one row per region: a region has as many rows as its field has channels
    dropped = rois.filter(~pc.field("kept")).group_by(["key", "roi", "reason"], use_threads=False).aggregate([])
    if len(dropped):
        reasons = Counter(dropped["reason"].to_pylist())
        fields = Counter(reason for _, reason in set(zip(dropped["key"].to_pylist(), dropped["reason"].to_pylist(), strict=True)))
        body = [
            [str(reason), count(n), percent(n, found), count(fields[reason]), advice(roi_hint(str(reason)))]
            for reason, n in _by_count(reasons)
        ]
        lines.append(table(["Reason", "ROIs", "Share of all", "Fields", "To keep more"], body, numeric=(1, 2, 3)))
    return join([heading, *lines])


def _by_count(counter: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))


def show_ignored(campaign: Campaign) -> Markup | None:
    """Files that are plainly no localisation table."""
    if not campaign.ignored:
        return None
    body = [[breakable(legible(path)), reason] for path, reason in campaign.ignored[:_MOST_LISTED]]
    heading = element("h3", f"Files ignored ({count(len(campaign.ignored))})")
    more = len(campaign.ignored) - _MOST_LISTED
    note = element("p", f"and {counted(more, 'more file')}.", class_="note") if more > 0 else None
    return join([heading, table(["File", "Why"], body, class_="few"), note])


# ---- rendered fields


def show_pictures(campaign: Campaign, rows: Sequence[Row]) -> Markup:
    """Rendered fields, evenly over the conditions where there are too many for all."""
    results = {legible(r.field.key): r for r in campaign.fields}
    able = [row for row in rows if row["n"] and all(stage in results[row["key"]].units for stage in STAGES[:2])]
    if not able:
        return element("p", "There is no field to show.")
    n_channels = max(len(row["channels"]) for row in able)
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(able):
        groups.setdefault(row["condition"], []).append(i)
    most = max(_MOST_PICTURES // n_channels, min(len(groups), _MOST_PICTURES // 2))  # every condition, if there are not too many
    chosen = spread_evenly(list(groups.values()), most=most)
    columns = n_channels if n_channels > 1 else 1 if len(chosen) == 1 else 2 if len(chosen) <= 4 else 3
    columns = min(columns, 3)
    figures = [figure for i in chosen for figure in _pictures_of(results[able[i]["key"]], able[i], columns=columns)]
    note = f"All {counted(len(able), 'field')}." if len(chosen) == len(able) else _chosen_note(len(chosen), len(able))
    return join([element("p", note, " ", _HOW), element("div", *figures, class_=f"pictures c{columns}")])


_HOW = (
    "Brightness is the root of the number of locs per pixel, clipped at the 99.5th percentile; sparse fields have larger dots. "
    "Blue: cell outline. White squares: ROIs kept; dashed: dropped (rest the pointer on one to see why). x points right, y down."
)
_SHOWN_PX = {1: 700, 2: 530, 3: 345}  # width of one picture on the page, by pictures abreast
_RASTER_PX = {1: 700, 2: 560, 3: 400}


def _chosen_note(chosen: int, able: int) -> str:
    return f"{count(chosen)} of {count(able)} fields, spread evenly over the conditions."


def _pictures_of(result: FieldResult, row: Row, *, columns: int) -> list[Markup]:
    """One figure per channel."""
    ingest, tile = open_units(result)
    with ingest, tile:
        view = choose_view(ingest, tile, size_px=_RASTER_PX[columns])
        counts = count_locs(ingest, view)
        names = row["channel_names"] if len(counts) > 1 else [""]
        figures: list[Markup] = []
        for (channel, pixels), name in zip(counts.items(), names, strict=True):
            label = f"{row['field']}{', ' + name if name else ''}: rendered localisations, cell outline and ROIs"
            drawing = draw_field(pixels, view, tile, shown_px=_SHOWN_PX[columns], label=label)
            link = element("a", breakable(row["field"]), href=f"fields/{row['key']}.html")
            head = element("b", link, f", {name}" if name else None)
            sample = legible(result.field.condition_of(channel))
            sample += f" · {row['replicate']}" if row["replicate"] != row["field"] else ""
            said = [
                f"{count(row['n_per_channel'][len(figures)])} locs",
                f"{_kept(row)} ROIs",
                f"{number(view.pixel_nm, digits=2)} nm/pixel",
            ]
            said += ["cut to 99.8 % of locs"] if view.cropped else []
            caption = element("figcaption", head, element("br"), sample, element("br"), " · ".join(said))
            figures.append(element("figure", element("div", drawing, class_="frame"), caption))
    return figures


# ---- channels


def channel_titles(rows: Sequence[Row]) -> dict[int, str]:
    """What each channel is called: its number, and its name where all its fields share it; empty where there is one channel only."""
    names: dict[int, set[str]] = {}
    for row in rows:
        for channel, name in zip(row["channels"] or [], row["channel_names"] or [], strict=True):
            names.setdefault(channel, set()).add(name)
    if len(names) < 2:
        return {}
    return {channel: _channel_title(channel, names[channel]) for channel in sorted(names)}


def _channel_title(channel: int, names: set[str]) -> str:
    told = names - {"", str(channel), f"channel {channel}"}
    return f"Channel {channel}" + (f": {told.pop()}" if len(names) == len(told) == 1 else "")
