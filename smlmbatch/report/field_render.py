"""Renderings on a field's own page: each channel in a colour of its own, their merge, and single ROIs at high magnification.

Brightness is a power of the number of locs: between fields of single blinks and bright clumps lie three orders of magnitude,
and no fixed power serves both. It is chosen for each picture so that its median lit pixel has about a third of full brightness.
Channels of a merge are scaled each by itself. Two channels are magenta and green, three are cyan, magenta and yellow (additive,
told apart by the colour-blind; Wong, Nat. Methods 8, 441, 2011); of more no merge is drawn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.report.field_charts import FONT
from smlmbatch.report.page import Markup, element
from smlmbatch.report.pictures import SHADES, View, outlines, png, roi_tooltips, scale_bar
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs

Pixels = NDArray[np.float32]

ALL_CHANNELS = -1
_SVG = "http://www.w3.org/2000/svg"
UNKNOWN_PRECISION_NM = 10.0
_ZOOM_PX, _INSET_PX = 300, 250  # sides of the pictures of a ROI and of its inset: 10 and 2 nm a pixel at the usual 3 um
_INSET_PARTS = 6
_RIM, _ZOOM_RIM = 0.12, 0.03  # of one loc's peak; fainter parts of its spot are dark
# Up to this share of pixels with locs: standard deviation of a spot, px
_SPOTS_PX = ((0.02, 1.2), (0.06, 1.0), (0.2, 0.7), (1.0, 0.0))
_TOP_PERCENTILE = 99.7  # of lit pixels; above it all are equally bright
_MEDIAN_SHADE = 0.36
_POWERS = (0.15, 1.0)  # the power stays within these
_TOOLTIPS = 1000  # more ROIs than this are drawn without
_WIDEST_SPOT_NM = 30.0  # that a loc is drawn as at high magnification


@dataclass(frozen=True, slots=True)
class Hue:
    """A channel's colour on black (red, green, blue) and on white paper, and the dash of its curves."""

    on_black: tuple[int, int, int]
    on_white: str
    dash: str
    name: str


_ALONE = Hue((255, 255, 255), "#0b5c8a", "", "")
_TWO = (Hue((255, 0, 255), "#b0128f", "", "magenta"), Hue((0, 255, 0), "#1a7f37", "6 3", "green"))
_THREE = (
    Hue((0, 255, 255), "#2f9fc4", "", "cyan"),
    Hue((255, 0, 255), "#8e0f72", "6 3", "magenta"),
    Hue((255, 255, 0), "#8a6d00", "2 3", "yellow"),
)
_MANY = (*_THREE, Hue((0, 255, 0), "#1a7f37", "8 3 2 3", "green"))
_HUES: Mapping[int, tuple[Hue, ...]] = {1: (_ALONE,), 2: _TWO, 3: _THREE}
_MERGED_LEVELS = {2: 16, 3: 6}  # shades of each channel in a palette of at most 256 colours
_LEVELS = 32  # shades of a channel in its own colour


def hues_of(n_channels: int) -> list[Hue]:
    """The colours of a field's channels, in their order."""
    hues = _HUES.get(n_channels, _MANY)
    return [hues[i % len(hues)] for i in range(n_channels)]


# ---- brightness and colour


def shade(amount: Pixels, *, levels: int) -> NDArray[np.uint8]:
    """Brightness of each pixel as one of `levels` shades, 0 = dark; a lit pixel is never dark.

    Parameters
    ----------
    amount : locs per pixel, as `soften` or `zoom_counts` give them; 0 = nothing there
    """
    lit, shades = amount > 0, np.zeros(amount.shape, dtype=np.uint8)
    present = amount[lit]
    if not present.size:
        return shades
    top, median = float(np.percentile(present, _TOP_PERCENTILE)), float(np.median(present))
    power = np.log(_MEDIAN_SHADE) / np.log(median / top) if median < top else _POWERS[1]
    share = np.minimum(present / top, 1.0) ** np.clip(power, *_POWERS)
    shades[lit] = np.maximum(np.round(share * (levels - 1)), 1)
    return shades


def soften(counts: NDArray[np.int64]) -> Pixels:
    """Counts with each loc drawn as a small Gaussian spot, the larger the emptier the picture; its faint rim is left dark.

    Single pixels are seen where many are lit, and lost on an empty ground.
    """
    lit = np.count_nonzero(counts) / max(counts.size, 1)
    sigma_px = next(sigma for most, sigma in _SPOTS_PX if lit <= most)
    return _spots(counts, sigma_px, rim=_RIM)


def _spots(counts: NDArray[np.int64], sigma_px: float, *, rim: float) -> Pixels:
    """Each loc as a Gaussian; what is fainter than `rim` of one loc's peak is dark."""
    from scipy.ndimage import gaussian_filter

    drawn: Pixels = counts.astype(np.float32)
    if not sigma_px:
        return drawn
    drawn = gaussian_filter(drawn, sigma_px, mode="constant", truncate=3.0)
    peak = 1.0 / (2 * np.pi * max(sigma_px, 0.4) ** 2)  # of one loc
    drawn[drawn < rim * peak] = 0.0
    return drawn


def paint(counts: Pixels, hue: Hue | None) -> str:
    """One channel as a PNG data URI: in its colour, or in pictures' own colours where it is alone."""
    if hue is None:
        return png(shade(counts, levels=SHADES))
    ramp = np.linspace(0, 1, _LEVELS)[:, None] * np.array(hue.on_black)
    return png(shade(counts, levels=_LEVELS), np.round(ramp).astype(np.uint8).tobytes())


def paint_merge(channels: Sequence[Pixels], hues: Sequence[Hue]) -> str:
    """Two or three channels added, as a PNG data URI; its palette holds every mixture of their shades."""
    levels = _MERGED_LEVELS[len(channels)]
    mixture = np.zeros(channels[0].shape, dtype=np.uint8)
    for values in channels:
        mixture = (mixture * levels + shade(values, levels=levels)).astype(np.uint8)
    steps = np.stack(np.meshgrid(*[np.linspace(0, 1, levels)] * len(channels), indexing="ij"), axis=-1).reshape(-1, len(channels))
    colours = np.clip(steps @ np.array([hue.on_black for hue in hues], dtype=np.float64), 0, 255)
    return png(mixture, np.round(colours).astype(np.uint8).tobytes())


def paintings(counts: Sequence[Pixels]) -> list[tuple[int | None, str]]:
    """(channel's place, picture) of each channel; before these the merge (place None) where there is one."""
    hues = hues_of(len(counts))
    if len(counts) == 1:
        return [(0, paint(counts[0], None))]
    merged = [(None, paint_merge(counts, hues))] if len(counts) in _MERGED_LEVELS else []
    return [*merged, *((i, paint(values, hue)) for i, (values, hue) in enumerate(zip(counts, hues, strict=True)))]


# ---- the whole field


@dataclass(frozen=True, slots=True)
class RoiLook:
    """How the ROIs of one fate are drawn."""

    dash: str
    opacity: float


_LOOKS = (RoiLook("", 1.0), RoiLook("6 4", 0.6), RoiLook("1.5 4", 0.75), RoiLook("8 3 1.5 3", 0.7))  # by reason; 0 = kept
_GRID_LINES = ((30, 1.0, 0.75), (150, 0.8, 0.5), (10**9, 0.6, 0.3))  # up to so many ROIs: line width in px, opacity


def look_of_reason(reason: int) -> RoiLook:
    """The look of ROIs dropped for a reason (index into the tile stage's `reasons`, 0 = kept)."""
    return _LOOKS[min(reason, len(_LOOKS) - 1)]


def draw_picture(
    image: str, view: View, tile: UnitReader, *, shown_px: float, label: str, rois: bool, letters: Mapping[int, str] | None = None
) -> Markup:
    """A rendering with outline and scale bar, and with ROIs, as an SVG that can stand alone.

    Parameters
    ----------
    image : data URI of the rendering, (rows, columns) of the view
    shown_px : longer side on the page, which sets the size of type and lines
    rois : whether the grid is drawn
    letters : ROI → letter of those shown at high magnification
    """
    rows, columns = view.shape
    scale = max(rows, columns) / shown_px
    parts: list[Markup] = [*outlines(tile, view, scale)]
    if rois:
        parts += [*_squares(tile, view, scale), *_letters(tile, view, scale, letters or {})]
    size = {"viewbox": f"0 0 {columns} {rows}", "width": f"{columns / scale:.0f}", "height": f"{rows / scale:.0f}"}
    content = [_image(image, rows, columns), *parts, *scale_bar(view, scale)]
    return element("svg", *content, xmlns=_SVG, **size, font_family=FONT, role="img", aria_label=label)


def _image(image: str, rows: int, columns: int) -> Markup:
    size = {"width": str(columns), "height": str(rows), "preserveAspectRatio": "none"}
    return element("image", href=image, **size, style="image-rendering:pixelated")


def _squares(tile: UnitReader, view: View, scale: float) -> Iterator[Markup]:
    """The grid: dropped ROIs by reason, then those kept on top; the reason is shown where the pointer rests."""
    corners, reasons = view.to_px(tile.read("roi_origin_nm")), tile.read("roi_reason")
    side = f"{tile.attrs['roi_nm'] / view.pixel_nm:.1f}"
    says = roi_tooltips(tile) if len(reasons) <= _TOOLTIPS else [None] * len(reasons)
    thickness, faint = next((width, opacity) for most, width, opacity in _GRID_LINES if len(reasons) <= most)
    for reason in sorted(np.unique(reasons).tolist(), reverse=True):
        look = look_of_reason(reason)
        squares = [
            element("rect", says[i], x=f"{corners[i, 0]:.1f}", y=f"{corners[i, 1]:.1f}", width=side, height=side)
            for i in np.flatnonzero(reasons == reason).tolist()
        ]
        dash = _dash(reason, scale)
        pen = {"stroke_width": f"{thickness * scale:.2f}", "stroke_opacity": f"{faint * look.opacity:.2f}", "stroke_dasharray": dash}
        yield element("g", *squares, fill="none", pointer_events="all", stroke="#ffffff", **pen)


def _dash(reason: int, scale: float) -> str | None:
    return " ".join(f"{float(length) * scale:.1f}" for length in look_of_reason(reason).dash.split()) or None


def _letters(tile: UnitReader, view: View, scale: float, letters: Mapping[int, str]) -> Iterator[Markup]:
    """The ROIs shown at high magnification, framed, with their letter in the upper left corner."""
    corners, side = view.to_px(tile.read("roi_origin_nm")), tile.attrs["roi_nm"] / view.pixel_nm
    reasons = tile.read("roi_reason")
    for roi, letter in letters.items():
        x, y = corners[roi].tolist()
        frame = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{side:.1f}", "height": f"{side:.1f}", "pointer_events": "none"}
        pen = {"stroke": "#fff", "stroke_width": f"{1.8 * scale:.2f}", "stroke_dasharray": _dash(int(reasons[roi]), scale)}
        yield element("rect", **frame, fill="none", **pen)
        outlined = {"stroke": "#000", "stroke_width": f"{3 * scale:.1f}", "paint_order": "stroke", "font_weight": "600"}
        place = {"x": f"{x + 4 * scale:.1f}", "y": f"{y + 15 * scale:.1f}"}
        yield element("text", letter, **place, fill="#fff", font_size=f"{14 * scale:.1f}", **outlined)


# ---- single ROIs


def choose_rois(tile: UnitReader, *, most: int) -> list[int]:
    """ROIs to show at high magnification: evenly from the sparsest kept one to the densest, by locs of all channels per covered area.

    Where none was kept, those of the dropped ones that hold the most locs, sparsest first.
    """
    n_locs, kept = tile.read("roi_n_locs").sum(axis=1), tile.read("roi_kept").astype(bool)
    if not kept.any():
        most_locs = np.lexsort((np.arange(len(kept)), -n_locs))[:most]
        return [roi for roi in most_locs.tolist()[::-1] if n_locs[roi]]
    members = np.flatnonzero(kept)
    density = n_locs[members] / np.maximum(tile.read("roi_coverage")[members], 1e-9)
    ordered = members[np.lexsort((members, density))]
    places = np.round(np.linspace(0, len(ordered) - 1, min(most, len(ordered)))).astype(np.intp)
    return [int(roi) for roi in ordered[places]]


def blur_nm(precision_nm: float | None, view: View) -> float:
    """Standard deviation of the spot that a loc is drawn as: the field's median precision, at least a pixel, at most 30 nm."""
    return float(np.clip(precision_nm or UNKNOWN_PRECISION_NM, view.pixel_nm, _WIDEST_SPOT_NM))


def zoom_counts(locs: FieldLocs, view: View, channels: Sequence[int], *, spot_nm: float) -> list[Pixels]:
    """Locs per pixel of each channel within the view, each loc a Gaussian of `spot_nm`; (rows, columns) f4."""
    rows, columns = view.shape
    inside = locs.rectangle(view.x_nm, view.y_nm, view.x_nm + view.width_nm, view.y_nm + view.height_nm)
    row = np.minimum((inside.y_nm - view.y_nm) / view.pixel_nm, rows - 1).astype(np.intp)
    column = np.minimum((inside.x_nm - view.x_nm) / view.pixel_nm, columns - 1).astype(np.intp)
    place = row * columns + column
    members = (np.ones(len(place), dtype=bool) if channel == ALL_CHANNELS else inside.channel == channel for channel in channels)
    counts = (np.bincount(place[chosen], minlength=rows * columns) for chosen in members)
    return [_spots(n.reshape(rows, columns), spot_nm / view.pixel_nm, rim=_ZOOM_RIM) for n in counts]


def zoom_view(tile: UnitReader, roi: int, *, side_px: int = _ZOOM_PX) -> View:
    """The square of one ROI, usually in pixels of about 10 nm."""
    (x_nm, y_nm), side_nm = tile.read("roi_origin_nm")[roi].tolist(), float(tile.attrs["roi_nm"])
    return View(x_nm, y_nm, side_nm, side_nm, side_nm / side_px, False)


def densest_view(locs: FieldLocs, view: View) -> View:
    """A square of a sixth of the ROI's side about its densest place, within the ROI."""
    side_nm = view.width_nm / _INSET_PARTS
    (counts,) = zoom_counts(locs, view, [ALL_CHANNELS], spot_nm=side_nm / 10)
    row, column = np.unravel_index(int(np.argmax(counts)), counts.shape)
    corner = [(float(place) + 0.5) * view.pixel_nm - side_nm / 2 for place in (column, row)]
    x_nm, y_nm = (float(np.clip(low, 0.0, view.width_nm - side_nm)) for low in corner)
    return View(view.x_nm + x_nm, view.y_nm + y_nm, side_nm, side_nm, side_nm / _INSET_PX, True)


def draw_zoom(image: str, view: View, *, corner: tuple[float, float], side_px: float, words: str, inset: View | None = None) -> Markup:
    """One ROI with its scale bar and words, the inset framed, as a part of a larger SVG at `corner`."""
    rows, columns = view.shape
    scale = columns / side_px
    outlined = {"stroke": "#000", "stroke_width": f"{3 * scale:.1f}", "paint_order": "stroke", "font_weight": "600"}
    parts = [element("text", words, x=f"{9 * scale:.1f}", y=f"{20 * scale:.1f}", fill="#fff", font_size=f"{14 * scale:.1f}", **outlined)]
    if inset is not None:
        x, y = view.to_px(np.array([[inset.x_nm, inset.y_nm]]))[0].tolist()
        side = f"{inset.width_nm / view.pixel_nm:.1f}"
        pen = {"fill": "none", "stroke": "#fff", "stroke_width": f"{1.2 * scale:.2f}"}
        parts.append(element("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=side, height=side, **pen))
    place = {"x": f"{corner[0]:g}", "y": f"{corner[1]:g}", "width": f"{side_px:g}", "height": f"{side_px:g}"}
    return element("svg", _image(image, rows, columns), *parts, *scale_bar(view, scale), viewbox=f"0 0 {columns} {rows}", **place)
