"""ROIs of a field at high magnification, as one panel: a column per ROI, rows for the merge, its densest place, and each channel.

The sparsest, the middle and the densest ROI are shown, so that nobody has picked them.
"""

from collections.abc import Sequence

from smlmbatch.report.field_charts import svg
from smlmbatch.report.field_figures import Figure
from smlmbatch.report.field_render import blur_nm, densest_view, draw_zoom, paintings, zoom_counts, zoom_view
from smlmbatch.report.gallery import csv_text
from smlmbatch.report.page import Markup, element
from smlmbatch.report.pictures import View
from smlmbatch.report.wording import counted, length, number
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs

LETTERS = "ABC"
_SIDE, _GAP, _HEAD = 340.0, 10.0, 24.0  # of one picture, between two, and above a column, px


def draw_zooms(ingest: UnitReader, tile: UnitReader, rois: Sequence[int], *, names: Sequence[str], label: str) -> Figure:
    """The panel of these ROIs, three at most.

    Parameters
    ----------
    names : of the channels, in their order
    """
    locs = FieldLocs(ingest)
    channels = [int(channel) for channel in ingest.attrs["channels"]]
    parts: list[Markup] = []
    rows: list[list[object]] = []
    n_rows = 0
    for column, roi in enumerate(rois):
        view = zoom_view(tile, roi)
        inset = densest_view(locs, view)
        left = column * (_SIDE + _GAP)
        cells = _cells(locs, ingest, view, inset, channels, names, LETTERS[column])
        n_rows = len(cells)
        parts.append(element("text", _head(tile, roi, LETTERS[column]), x=f"{left:g}", y="15", font_size="12.5"))
        for row, (image, shown, words) in enumerate(cells):
            corner = (left, _HEAD + row * (_SIDE + _GAP))
            parts.append(draw_zoom(image, shown, corner=corner, side_px=_SIDE, words=words, inset=inset if shown is view else None))
        rows.append([LETTERS[column], roi, *_square(ingest, view), *_square(ingest, inset), *tile.read("roi_n_locs")[roi].tolist()])
    width, height = len(rois) * (_SIDE + _GAP) - _GAP, _HEAD + n_rows * (_SIDE + _GAP) - _GAP
    squares = [f"{what}{name}" for what in ("", "inset_") for name in ("x_nm", "y_nm", "side_nm")]
    header = ["letter", "roi", *squares, *(f"n_locs_channel_{c}" for c in channels)]
    return Figure(
        name="rois",
        title="ROIs at high magnification",
        drawing=svg(parts, width=width, height=height, label=label),
        caption=_caption(ingest, tile, rois, view, inset),
        numbers=csv_text(header, rows),
    )


def _cells(
    locs: FieldLocs, ingest: UnitReader, view: View, inset: View, channels: Sequence[int], names: Sequence[str], letter: str
) -> list[tuple[str, View, str]]:
    """(picture, its view, words) from above: all channels, the inset, then each channel by itself where there are several."""
    precision_nm = ingest.attrs["precision_median_nm"]
    whole = paintings(zoom_counts(locs, view, channels, spot_nm=blur_nm(precision_nm, view)))
    near = paintings(zoom_counts(locs, inset, channels, spot_nm=blur_nm(precision_nm, inset)))
    first, *others = [
        (image, view, f"{letter}, {names[place]}" if place is not None and len(channels) > 1 else letter) for place, image in whole
    ]
    return [first, (near[0][1], inset, f"{letter}, inset"), *others]


def _square(ingest: UnitReader, view: View) -> tuple[float, float, float]:
    """Lower corner in the source's frame, and side, nm."""
    x0_nm, y0_nm = ingest.attrs["origin_nm"]
    return view.x_nm + x0_nm, view.y_nm + y0_nm, view.width_nm


def _head(tile: UnitReader, roi: int, letter: str) -> str:
    n_locs, coverage = int(tile.read("roi_n_locs")[roi].sum()), float(tile.read("roi_coverage")[roi])
    area_um2 = coverage * (tile.attrs["roi_nm"] / 1000.0) ** 2
    density = f", {number(n_locs / area_um2)} per µm²" if area_um2 > 0 else ""
    fate = "" if tile.read("roi_kept")[roi] else " (dropped)"
    return f"{letter}: ROI {roi}{fate}, {counted(n_locs, 'loc')}{density}"


def _caption(ingest: UnitReader, tile: UnitReader, rois: Sequence[int], view: View, inset: View) -> str:
    precision_nm = ingest.attrs["precision_median_nm"]
    spots = " and ".join(dict.fromkeys(length(round(blur_nm(precision_nm, v), 1)) for v in (view, inset)))
    why = "the field's median precision" if precision_nm else "the file states no precision"
    n_kept = int(tile.read("roi_kept").sum())
    chosen = (
        "No ROI was kept: the dropped ones with most locs"
        if not n_kept
        else "All kept ROIs, the sparsest first"
        if n_kept <= len(rois)
        else "The sparsest, the middle and the densest of the kept ROIs, by locs per area"
    )
    return (
        f"{chosen}; lettered in the field above. Inset: the densest place, framed in the picture above it. Each loc is drawn as a "
        f"Gaussian spot with a standard deviation of {spots} ({why}, at least a pixel and at most 30 nm). Brightness is scaled in each "
        "picture by itself."
    )
