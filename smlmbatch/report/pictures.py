"""Pictures of fields: locs counted into pixels, coloured, with cell outline, ROI grid and scale bar drawn over them.

Locs are read in pieces, so a field's size costs time and no memory. x points right and y down, as on the camera. The
picture is a palette PNG (one byte a pixel) inside an SVG that holds the drawing; both are part of the page. A few
stray locs far away would shrink the cell to a dot, so the view is cut to where 99.8 % of locs lie along each axis.
"""

import base64
import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.report.page import Markup, element
from smlmbatch.report.wording import counted, length, percent
from smlmbatch.store.arrays import UnitReader

_PIECE = 1 << 20  # locs held at a time
_STRAY = 0.001  # share of locs beyond the view on each side
_THUMB_PX = 80
SHADES = 48  # shades; the eye tells no more in a noisy picture, and fewer pack better
_CLIP_PERCENTILE = 99.5  # of pixels that hold locs; above it all are equally bright
_SPARSE = 0.05  # share of pixels with locs
_GRID_LINES = ((30, 0.9, 0.5), (100, 0.7, 0.34), (math.inf, 0.5, 0.18))  # up to so many ROIs: line width in px, opacity
_TOOLTIPS = 400  # more ROIs than this are drawn without


@dataclass(frozen=True, slots=True)
class View:
    """The part of a field that is shown: lower corner and side lengths in nm, and the side of a pixel."""

    x_nm: float
    y_nm: float
    width_nm: float
    height_nm: float
    pixel_nm: float
    cropped: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return max(1, round(self.height_nm / self.pixel_nm)), max(1, round(self.width_nm / self.pixel_nm))

    def to_px(self, points_nm: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, 2) points as (x, y) in pixels."""
        points_px: NDArray[np.float64] = (points_nm - np.array([self.x_nm, self.y_nm])) / self.pixel_nm
        return points_px


def choose_view(ingest: UnitReader, tile: UnitReader, *, size_px: int) -> View:
    """The view of a field, its longer side `size_px` pixels: all locs but strays, and every cell and ROI."""
    low, high = _extent(ingest)
    shown_low, shown_high = _crowded_box(ingest)
    for corner, reach in ((tile.read("roi_origin_nm"), tile.attrs["roi_nm"]), (tile.read("outline_nm"), 0.0)):
        if len(corner):
            shown_low = np.minimum(shown_low, corner.min(axis=0))
            shown_high = np.maximum(shown_high, corner.max(axis=0) + reach)
    margin = 0.02 * (shown_high - shown_low).max()
    cropped = bool((low < shown_low - margin).any() or (high > shown_high + margin).any())
    shown_low, shown_high = shown_low - margin, shown_high + margin
    width, height = np.maximum(shown_high - shown_low, 100.0)
    return View(float(shown_low[0]), float(shown_low[1]), float(width), float(height), float(max(width, height)) / size_px, cropped)


def _extent(ingest: UnitReader) -> NDArray[np.float64]:
    """Lower and upper corner of all locs, relative to the field's origin (the attribute is absolute)."""
    corners: NDArray[np.float64] = np.array(ingest.attrs["extent_nm"], dtype=np.float64) - np.array(ingest.attrs["origin_nm"])
    return corners


def _crowded_box(ingest: UnitReader) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where locs lie but for strays, to a tile; read off the spatial index. The extent where that is as good."""
    low, high = _extent(ingest)
    per_tile = np.diff(ingest.read("tile_start")).reshape(ingest.attrs["tile_grid"])
    rows, columns = _crowded(per_tile.sum(axis=1)), _crowded(per_tile.sum(axis=0))
    first = np.array([columns.start, rows.start]) * ingest.attrs["tile_nm"]
    last = np.array([columns.stop, rows.stop]) * ingest.attrs["tile_nm"]
    few = (last - first) > 0.7 * (high - low)  # nothing gained: show all
    return np.where(few, low, np.maximum(first, low)), np.where(few, high, np.minimum(last, high))


def _crowded(counts: NDArray[np.number[Any]]) -> slice:
    """The bins between the `_STRAY` and 1 - `_STRAY` quantiles."""
    share = np.cumsum(counts, dtype=np.float64)
    if not len(share) or not share[-1]:
        return slice(0, len(share))
    share /= share[-1]
    return slice(int(np.searchsorted(share, _STRAY, side="right")), min(len(share), int(np.searchsorted(share, 1 - _STRAY)) + 1))


def count_locs(ingest: UnitReader, view: View) -> dict[int, NDArray[np.int64]]:
    """Locs per pixel, for each channel: (rows, columns) i8, row 0 at the smallest y."""
    rows, columns = view.shape
    channels = [int(c) for c in ingest.attrs["channels"]]
    slot = np.zeros(256, dtype=np.intp)
    slot[channels] = np.arange(len(channels))
    counts = np.zeros(len(channels) * rows * columns, dtype=np.int64)
    for start in range(0, ingest.length("x_nm"), _PIECE):
        x, y, channel = (ingest.read(name, start, start + _PIECE) for name in ("x_nm", "y_nm", "channel"))
        column = np.floor((x - view.x_nm) / view.pixel_nm).astype(np.intp)
        row = np.floor((y - view.y_nm) / view.pixel_nm).astype(np.intp)
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        place = ((slot[channel] * rows + row) * columns + column)[inside]
        counts += np.bincount(place, minlength=len(counts))
    return dict(zip(channels, counts.reshape(len(channels), rows, columns), strict=True))


# ---- colours


def _shades(values: NDArray[np.number[Any]]) -> NDArray[np.uint8]:
    """Brightness as the root of the value, clipped at a high percentile of what is there."""
    present = values[values > 0]
    top = float(np.percentile(present, _CLIP_PERCENTILE)) if present.size else 1.0
    share = np.sqrt(np.clip(values / top, 0, 1))
    shades: NDArray[np.uint8] = np.ceil(share * (SHADES - 1)).astype(np.uint8)
    return shades


def _thicken(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums over 3 x 3 pixels where so few pixels hold locs that single ones would not be seen."""
    if np.count_nonzero(counts) > _SPARSE * counts.size:
        return counts
    padded = np.pad(counts, 1)
    rows, columns = counts.shape
    shifted = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    total: NDArray[np.int64] = np.sum(shifted, axis=0, dtype=np.int64)
    return total


@cache
def _palette() -> bytes:
    """`inferno`: dark ground, uniform to the eye, told apart by the colour-blind."""
    import matplotlib

    shades = matplotlib.colormaps["inferno"](np.linspace(0, 1, SHADES))[:, :3]
    return np.round(255 * shades).astype(np.uint8).tobytes()


def png(shades: NDArray[np.uint8], palette: bytes | None = None) -> str:
    """A palette PNG (W3C PNG specification, colour type 3) of (rows, columns) shades, as a data URI.

    Parameters
    ----------
    palette : red, green and blue of each shade, one byte each; None = `inferno`
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows, columns = shades.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)  # each line starts with its filter: none
    lines[:, 1:] = shades
    parts = (b"IHDR", header), (b"PLTE", palette or _palette()), (b"IDAT", zlib.compress(lines.tobytes(), 5)), (b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, part) for kind, part in parts)
    return "data:image/png;base64," + base64.b64encode(content).decode()


def thumbnail(tile: UnitReader) -> str:
    """A small picture of the field's smoothed density, as a data URI."""
    density = tile.read("density")
    if not density.size:
        return png(np.zeros((1, 1), dtype=np.uint8))
    density = density[_crowded(density.sum(axis=1)), _crowded(density.sum(axis=0))]
    step = max(1, -(-max(density.shape) // _THUMB_PX))
    rows, columns = (-(-n // step) for n in density.shape)
    padded = np.zeros((rows * step, columns * step), dtype=np.float64)
    padded[: density.shape[0], : density.shape[1]] = density
    return png(_shades(padded.reshape(rows, step, columns, step).mean(axis=(1, 3))))


# ---- the drawing over the picture


def draw_field(counts: NDArray[np.int64], view: View, tile: UnitReader, *, shown_px: int, label: str) -> Markup:
    """One channel of a field as an SVG: locs, outline, ROIs and scale bar.

    Parameters
    ----------
    counts : (rows, columns) i8, locs per pixel
    shown_px : width at which the page shows it, which sets the size of type and lines
    label : what a screen reader says
    """
    rows, columns = counts.shape
    scale = max(rows, columns) / shown_px
    image = element("image", href=png(_shades(_thicken(counts))), width=str(columns), height=str(rows), preserveAspectRatio="none")
    drawing = [image, *outlines(tile, view, scale), *_rois(tile, view, scale), *scale_bar(view, scale)]
    return element("svg", *drawing, viewbox=f"0 0 {columns} {rows}", role="img", aria_label=label)


def outlines(tile: UnitReader, view: View, scale: float) -> Iterable[Markup]:
    """Outlines of the cells; `scale` is the number of the raster's pixels in one of the page's."""
    bounds, points = tile.read("outline_start"), view.to_px(tile.read("outline_nm"))
    path = "".join(_ring(points[first:last]) for first, last in pairwise(bounds.tolist()))
    if path:
        yield element("path", d=path, fill="none", stroke="#56d4f5", stroke_width=f"{1.4 * scale:.2f}", stroke_opacity="0.9")


def _ring(points_px: NDArray[np.float64]) -> str:
    """A closed SVG path; vertices within half a pixel of the one before are left out."""
    rounded = np.round(points_px * 2) / 2
    moved = np.ones(len(rounded), dtype=bool)
    moved[1:] = (np.diff(rounded, axis=0) != 0).any(axis=1)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in rounded[moved]) + "Z"


def _rois(tile: UnitReader, view: View, scale: float) -> Iterable[Markup]:
    corners, kept = view.to_px(tile.read("roi_origin_nm")), tile.read("roi_kept").astype(bool)
    side = f"{tile.attrs['roi_nm'] / view.pixel_nm:.1f}"
    says = roi_tooltips(tile) if len(kept) <= _TOOLTIPS else [None] * len(kept)

    def squares(which: NDArray[np.bool_]) -> list[Markup]:
        return [
            element("rect", says[i], x=f"{corners[i, 0]:.1f}", y=f"{corners[i, 1]:.1f}", width=side, height=side)
            for i in np.flatnonzero(which).tolist()
        ]

    thickness, opacity = next((width, opacity) for most, width, opacity in _GRID_LINES if len(kept) <= most)
    common = {"fill": "none", "pointer_events": "all", "stroke": "#ffffff", "stroke_width": f"{thickness * scale:.2f}"}
    dash = f"{3 * scale:.1f} {4 * scale:.1f}"
    yield element("g", *squares(~kept), **common, stroke_opacity=f"{0.5 * opacity:.2f}", stroke_dasharray=dash)
    yield element("g", *squares(kept), **common, stroke_opacity=f"{opacity:.2f}")


def roi_tooltips(tile: UnitReader) -> list[Markup]:
    """What a browser shows where the pointer rests on a ROI."""
    reasons, n_locs = tile.attrs["reasons"], tile.read("roi_n_locs").sum(axis=1)
    states = zip(tile.read("roi_kept"), tile.read("roi_reason"), tile.read("roi_coverage"), n_locs, strict=True)
    return [
        element(
            "title",
            f"ROI {i}: {'kept' if kept else 'dropped, ' + str(reasons[reason])}; {counted(int(n), 'loc')}, "
            f"{percent(round(1000 * coverage), 1000)} inside the cell",
        )
        for i, (kept, reason, coverage, n) in enumerate(states)
    ]


def scale_bar(view: View, scale: float) -> Iterable[Markup]:
    """A bar of 1, 2 or 5 times a power of ten, about a fifth of the picture, lower right, on a dark ground."""
    rows, columns = view.shape
    bar_nm = _round_length(0.22 * columns * view.pixel_nm)
    width, right, bottom = bar_nm / view.pixel_nm, columns - 14 * scale, rows - 14 * scale
    half = max(width / 2, 0.3 * 13 * scale * len(length(bar_nm))) + 7 * scale  # letters are about 0.6 of their size wide
    centre = min(right - width / 2, columns - half)
    yield element(
        "rect",
        x=f"{centre - half:.1f}",
        y=f"{bottom - 27 * scale:.1f}",
        width=f"{2 * half:.1f}",
        height=f"{34 * scale:.1f}",
        rx=f"{3 * scale:.1f}",
        fill="#000004",
        fill_opacity="0.6",
    )
    yield element(
        "rect", x=f"{centre - width / 2:.1f}", y=f"{bottom - 4 * scale:.1f}", width=f"{width:.1f}", height=f"{4 * scale:.1f}", fill="#fff"
    )
    yield element(
        "text",
        length(bar_nm),
        x=f"{centre:.1f}",
        y=f"{bottom - 10 * scale:.1f}",
        fill="#fff",
        font_size=f"{13 * scale:.1f}",
        text_anchor="middle",
        stroke="#000004",
        stroke_width=f"{3 * scale:.1f}",
        paint_order="stroke",
    )


def _round_length(wanted_nm: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above the wanted length."""
    power = 10.0 ** np.floor(np.log10(wanted_nm))
    return float(max(step for step in (power, 2 * power, 5 * power) if step <= wanted_nm * (1 + 1e-9)))


def spread_evenly(groups: Sequence[Sequence[int]], *, most: int) -> list[int]:
    """At most `most` items, the groups taking turns; within a group evenly from its first to its last.

    >>> spread_evenly([[1, 2, 3, 4, 5], [6]], most=4)
    [1, 3, 5, 6]
    """
    quota = [0] * len(groups)
    while sum(quota) < most and any(q < len(g) for q, g in zip(quota, groups, strict=True)):
        for i, group in enumerate(groups):
            if quota[i] < len(group) and sum(quota) < most:
                quota[i] += 1
    return [group[0 if n == 1 else k * (len(group) - 1) // (n - 1)] for group, n in zip(groups, quota, strict=True) for k in range(n)]
