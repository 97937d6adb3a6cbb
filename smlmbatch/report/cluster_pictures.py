"""Clusters of a field as pictures: its locs, where the network moved them, and which cluster each is in; whole, and near by.

All three are rasters of a fixed size, counted in one pass over the locs, so a field of 10^7 locs costs time and neither memory nor a
larger page. Seven colours are given out so that a cluster differs from its nearest; locs in no cluster are grey. Colours mean nothing
else. They were searched for so that, on black, every two of them and the grey are apart to the colour-blind as well: by 24 and more in
CIELAB (colour vision simulated after Machado et al., IEEE Trans. Vis. Comput. Graph. 15:1291, 2009).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.report.field_charts import FONT, svg
from smlmbatch.report.field_render import Pixels, paint, shade, soften, zoom_view
from smlmbatch.report.page import Markup, element
from smlmbatch.report.pictures import View, choose_view, png, scale_bar
from smlmbatch.store.arrays import UnitReader

_PIECE = 1 << 20  # locs held at a time
_FIELD_PX, _ZOOM_PX = 420, 360  # longer side of a raster
_SIDE, _GAP, _HEAD = 340.0, 10.0, 24.0  # of one picture, between two, and above a row, px
_TALLEST = 1.25  # a picture's height over its width; a taller field is drawn narrower
_WIDEST_ZOOM_NM = 3000.0
_LEVELS = 6  # shades of a colour, black included
_GREY = (150, 150, 150)
_COLOURS = ((211, 147, 11), (43, 249, 253), (242, 96, 86), (180, 254, 139), (198, 50, 254), (237, 252, 55), (131, 168, 241))
_RAMPS = ((0.3, 0.75), (0.6, 1.0))  # brightness of the faintest and of the brightest pixel: grey ones, coloured ones
_NEAREST = 4  # clusters that one's colour is held against
_ROUNDS = 24  # of recolouring; what is alike after these stays so
WORDS = ("Locs as recorded", "Contracted", "Clusters")


# ---- colours


def colours_of(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A colour for each cluster, other than those of the nearest ones: (c,) u1, 1 … 7.

    Clusters are recoloured until none has the colour of one of its nearest that comes before it. Nearly always that takes few rounds.

    Parameters
    ----------
    x_nm, y_nm : (c,) centres
    """
    from scipy.spatial import cKDTree

    n = len(x_nm)
    colour = np.arange(n) % len(_COLOURS)
    if n < 2:
        return (colour + 1).astype(np.uint8)
    points = np.column_stack([x_nm, y_nm])
    near = cKDTree(points).query(points, k=min(_NEAREST + 1, n))[1]
    pairs = np.concatenate([np.column_stack([np.repeat(np.arange(n), near.shape[1]), near.ravel()])])
    later, earlier = pairs.max(axis=1), pairs.min(axis=1)
    later, earlier = later[later != earlier], earlier[later != earlier]
    for _ in range(_ROUNDS):
        alike = np.unique(later[colour[later] == colour[earlier]])
        if not len(alike):
            break
        used = np.zeros((n, len(_COLOURS)), dtype=bool)
        used[later, colour[earlier]] = True
        colour[alike] = np.argmin(used[alike], axis=1)
    return (colour + 1).astype(np.uint8)


def paint_labels(counts: Pixels, colour: NDArray[np.uint8]) -> str:
    """A PNG data URI: brightness by the number of locs, colour by the nearest pixel that has one.

    Parameters
    ----------
    counts : (rows, columns) locs per pixel, softened or not
    colour : (rows, columns) u1, 0 = locs in no cluster, 255 = no loc, else a cluster's colour
    """
    from scipy.ndimage import distance_transform_edt

    if (colour < 255).any():
        row, column = distance_transform_edt(colour == 255, return_distances=False, return_indices=True)
        colour = colour[row, column]
    shades = shade(counts, levels=_LEVELS)
    return png(np.where(shades, colour * _LEVELS + shades, 0).astype(np.uint8), _palette())


def _palette() -> bytes:
    """Shades of grey, then of each colour; the first of each is black."""
    steps = np.linspace(0, 1, _LEVELS - 1)
    ramps = [_RAMPS[0], *[_RAMPS[1]] * len(_COLOURS)]
    lit = [np.outer(low + (high - low) * steps, colour) for (low, high), colour in zip(ramps, (_GREY, *_COLOURS), strict=True)]
    rows = [np.concatenate([np.zeros((1, 3)), shades]) for shades in lit]
    return np.round(np.concatenate(rows)).astype(np.uint8).tobytes()


# ---- rasters


@dataclass(frozen=True, slots=True)
class Raster:
    """One channel in one view, (rows, columns): locs per pixel as recorded and contracted (None with DBSCAN), and the clusters' colours."""

    recorded: NDArray[np.int64]
    contracted: NDArray[np.int64] | None
    colour: NDArray[np.uint8]

    def pictures(self) -> list[tuple[str, str]]:
        """(what it shows, data URI) of each."""
        spots = soften(self.recorded)
        shown = [(WORDS[0], paint(spots, None))]
        shown += [(WORDS[1], paint(soften(self.contracted), None))] if self.contracted is not None else []
        return [*shown, (WORDS[2], paint_labels(spots, self.colour))]


def rasters(
    ingest: UnitReader, cluster: UnitReader, view: View, colours: NDArray[np.uint8], *, start: int = 0, stop: int | None = None
) -> list[Raster]:
    """One raster for each channel of the field.

    Parameters
    ----------
    colours : (c,) u1, of the rows of the unit's table of clusters
    start, stop : locs that may lie in the view, in the unit's order; the others are not read
    """
    rows, columns = view.shape
    channels, moved = [int(c) for c in ingest.attrs["channels"]], cluster.has("contracted_x_nm")
    shape = (len(channels), rows, columns)
    recorded, contracted = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    colour = np.full(shape, 255, dtype=np.uint8)
    slot = np.zeros(256, dtype=np.intp)
    slot[channels] = np.arange(len(channels))
    of_label = np.append(colours, 0).astype(np.uint8)  # label -1 is the last
    last = ingest.length("x_nm") if stop is None else stop
    for begin in range(start, last, _PIECE):
        end = min(begin + _PIECE, last)
        own, label = slot[ingest.read("channel", begin, end)], cluster.read("label", begin, end)
        place, inside = _pixels(ingest.read("x_nm", begin, end), ingest.read("y_nm", begin, end), own, view)
        recorded += np.bincount(place, minlength=recorded.size).reshape(shape)
        label = label[inside]
        alone = label < 0
        flat = colour.reshape(-1)
        flat[place[alone]] = np.where(flat[place[alone]] == 255, 0, flat[place[alone]])
        flat[place[~alone]] = of_label[label[~alone]]
        if moved:
            x_nm, y_nm = (cluster.read(f"contracted_{axis}_nm", begin, end) for axis in "xy")
            contracted += np.bincount(_pixels(x_nm, y_nm, own, view)[0], minlength=contracted.size).reshape(shape)
    return [Raster(recorded[i], contracted[i] if moved else None, colour[i]) for i in range(len(channels))]


def _pixels(
    x_nm: NDArray[np.float32], y_nm: NDArray[np.float32], slot: NDArray[np.intp], view: View
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Pixels of the locs that lie in the view, through all channels, and which locs these are; never those without a place (NaN)."""
    rows, columns = view.shape
    column, row = (x_nm - view.x_nm) / view.pixel_nm, (y_nm - view.y_nm) / view.pixel_nm
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return (slot[inside] * rows + row[inside].astype(np.intp)) * columns + column[inside].astype(np.intp), inside


def zoom_of(tile: UnitReader, roi: int) -> View:
    """A square of at most 3 um about the middle of a ROI."""
    whole = zoom_view(tile, roi)
    side_nm = min(whole.width_nm, _WIDEST_ZOOM_NM)
    margin_nm = (whole.width_nm - side_nm) / 2
    return View(whole.x_nm + margin_nm, whole.y_nm + margin_nm, side_nm, side_nm, side_nm / _ZOOM_PX, True)


def rows_near(ingest: UnitReader, view: View) -> tuple[int, int]:
    """First and last loc of the rows of tiles that the view touches, one more on either side: locs may have been moved into it."""
    tile_nm, (n_rows, n_columns) = float(ingest.attrs["tile_nm"]), ingest.attrs["tile_grid"]
    low, high = int(view.y_nm // tile_nm) - 1, int((view.y_nm + view.height_nm) // tile_nm) + 2
    start = ingest.read("tile_start")
    return int(start[min(max(low, 0), n_rows) * n_columns]), int(start[min(max(high, 0), n_rows) * n_columns])


# ---- the panels


def draw_clusters(
    ingest: UnitReader, tile: UnitReader, cluster: UnitReader, *, rois: Sequence[int | None], labels: Sequence[str]
) -> list[tuple[int, Markup, View]]:
    """(channel's place, panel, view of the whole field) of each channel that has locs: whole field above, a ROI below.

    Parameters
    ----------
    rois : shown near by, for each channel; None = none
    labels : what a screen reader says of each channel's panel
    """
    colours = colours_of(cluster.read("x_nm"), cluster.read("y_nm"))
    view = choose_view(ingest, tile, size_px=_FIELD_PX)
    panels = []
    for i, raster in enumerate(rasters(ingest, cluster, view, colours)):
        if raster.recorded.any():
            roi = rois[i]
            zoom = None if roi is None else zoom_of(tile, roi)
            near = None if zoom is None else _near(ingest, cluster, zoom, colours)[i]
            panels.append((i, _panel(raster, view, near, zoom, label=labels[i]), view))
    return panels


def _near(ingest: UnitReader, cluster: UnitReader, zoom: View, colours: NDArray[np.uint8]) -> list[Raster]:
    start, stop = rows_near(ingest, zoom)
    return rasters(ingest, cluster, zoom, colours, start=start, stop=stop)


def _panel(whole: Raster, view: View, near: Raster | None, zoom: View | None, *, label: str) -> Markup:
    rows = [(whole.pictures(), view, zoom)]
    rows += [(near.pictures(), zoom, None)] if near is not None and zoom is not None else []
    parts: list[Markup] = []
    top = 0.0
    for pictures, shown, framed in rows:
        height = _SIDE * min(shown.shape[0] / shown.shape[1], _TALLEST)
        for column, (words, image) in enumerate(pictures):
            left = column * (_SIDE + _GAP)
            if not top:
                parts.append(element("text", words, x=f"{left:g}", y="15", font_size="12.5"))
            parts.append(_picture(image, shown, framed, left=left, top=top or _HEAD, height=height))
        top = (top or _HEAD) + height + _GAP
    return svg(parts, width=len(rows[0][0]) * (_SIDE + _GAP) - _GAP, height=top - _GAP, label=label)


def _picture(image: str, view: View, framed: View | None, *, left: float, top: float, height: float) -> Markup:
    """One raster with its scale bar, and the frame of what is shown near by."""
    rows, columns = view.shape
    scale = max(columns / _SIDE, rows / height)
    parts = [
        element("rect", width=str(columns), height=str(rows), fill="#000004"),
        element("image", href=image, width=str(columns), height=str(rows), preserveAspectRatio="none", style="image-rendering:pixelated"),
        *(_frame(framed, view, scale) if framed is not None else ()),
        *scale_bar(view, scale),
    ]
    place = {"x": f"{left:g}", "y": f"{top:g}", "width": f"{_SIDE:g}", "height": f"{height:g}"}
    return element("svg", *parts, viewbox=f"0 0 {columns} {rows}", **place, font_family=FONT)


def _frame(framed: View, view: View, scale: float) -> Iterator[Markup]:
    x, y = view.to_px(np.array([[framed.x_nm, framed.y_nm]]))[0].tolist()
    side = f"{framed.width_nm / view.pixel_nm:.1f}"
    for colour, width in (("#000004", 3.0), ("#fff", 1.4)):
        pen = {"fill": "none", "stroke": colour, "stroke_width": f"{width * scale:.2f}"}
        yield element("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=side, height=side, **pen)
