"""Charts that are pictures of the plane: the offset between a recording's halves, and photons over the field."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smlmbatch.report.field_charts import RULE, SOFT, Axis, Floats, Ink, svg, ticks, written
from smlmbatch.report.page import Markup, element
from smlmbatch.report.pictures import png

_SIDE, _ROOM = 250.0, 46.0  # of a square plot, and around it, px
_CELL_PX, _MAP_PX = 8, 250.0  # raster pixels of a part of the map (readers that smooth pictures blur only their rims); its longer side
_SHADES = 64
_DARKEST, _BRIGHTEST = np.array([238, 244, 248]), np.array([8, 64, 110])  # one hue, light to dark: order holds in greyscale
_NOTHING = np.array([255, 255, 255])


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """Offset of a channel's second half against its first, with its error (NaN = not known), nm."""

    x_nm: float
    y_nm: float
    error_nm: float
    ink: Ink


def draw_offsets(offsets: Sequence[Offset], rings: Sequence[tuple[float, str]], *, label: str) -> Markup:
    """Offsets as crosses with circles of their error, about the origin; rings are limits with their words.

    x points right and y down, as in the renderings.
    """
    far = [max(abs(o.x_nm), abs(o.y_nm)) + (o.error_nm if np.isfinite(o.error_nm) else 0.0) for o in offsets]
    reach = 1.15 * max([*far, *(radius for radius, _ in rings), 1e-9])
    across = Axis(label="Offset in x (nm)", low=-reach, high=reach)
    plot = _SIDE - 2 * _ROOM + 40

    def place(x_nm: float, y_nm: float) -> tuple[float, float]:
        return _ROOM + plot * float(across.share(x_nm)), 12 + plot * float(across.share(y_nm))

    parts = [*_crossed_axes(across, plot)]
    x0, y0 = place(0.0, 0.0)
    for radius_nm, words in rings:
        radius = plot * radius_nm / (2 * reach)
        ring = {"fill": "none", "stroke": SOFT, "stroke_dasharray": "4 3"}
        parts.append(element("circle", cx=f"{x0:.1f}", cy=f"{y0:.1f}", r=f"{radius:.1f}", **ring))
        parts.append(element("text", words, x=f"{x0:.1f}", y=f"{y0 - radius - 3:.1f}", text_anchor="middle", fill=SOFT, font_size="10"))
    for i, offset in enumerate(offsets):
        x, y = place(offset.x_nm, offset.y_nm)
        if np.isfinite(offset.error_nm):
            radius = plot * offset.error_nm / (2 * reach)
            parts.append(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:.1f}", fill=offset.ink.colour, fill_opacity="0.2"))
        parts.append(element("path", d=f"M{x0:.1f} {y0:.1f}L{x:.1f} {y:.1f}", stroke=offset.ink.colour, stroke_opacity="0.5"))
        cross = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10"
        parts.append(element("path", d=cross, stroke=offset.ink.colour, stroke_width="2", fill="none"))
        if offset.ink.label:
            parts.append(element("text", offset.ink.label, x=f"{_ROOM + plot + 12:g}", y=f"{24 + 18 * i}", fill=offset.ink.colour))
    width = _ROOM + plot + 16 + (150 if any(offset.ink.label for offset in offsets) else 0)
    return svg(parts, width=width, height=plot + 12 + _ROOM, label=label)


def _crossed_axes(axis: Axis, plot: float) -> Iterator[Markup]:
    bottom = 12 + plot
    for value, words in ticks(axis, most=4):
        at = plot * float(axis.share(value))
        yield element("path", d=f"M{_ROOM + at:.1f} {bottom:g}V12M{_ROOM:g} {12 + at:.1f}h{plot:g}", stroke=RULE)
        yield element("text", words, x=f"{_ROOM + at:.1f}", y=f"{bottom + 16:g}", text_anchor="middle", fill=SOFT)
        yield element("text", words, x=f"{_ROOM - 6:g}", y=f"{12 + at:.1f}", dy="4", text_anchor="end", fill=SOFT)
    yield element("text", axis.label, x=f"{_ROOM + plot / 2:g}", y=f"{bottom + 36:g}", text_anchor="middle")
    yield element("text", "Offset in y (nm)", transform=f"translate(12 {12 + plot / 2:g}) rotate(-90)", text_anchor="middle")


# ---- maps


def draw_map(values: Floats, *, unit: str, label: str) -> Markup:
    """Values over the field, in squares, as a shaded map with its scale from 0; NaN is white.

    Parameters
    ----------
    values : (rows, columns) f8, row 0 at the smallest y; at least one is finite
    """
    known = values[np.isfinite(values)]
    low, high = 0.0, float(known.max()) or 1.0
    shades = np.where(np.isfinite(values), 1 + np.round((_SHADES - 2) * np.clip(np.nan_to_num(values) / high, 0, 1)), 0).astype(np.uint8)
    height, width = (_MAP_PX * n / max(values.shape) for n in values.shape)
    box = {"width": f"{width:.1f}", "height": f"{height:.1f}", "preserveAspectRatio": "none", "style": "image-rendering:pixelated"}
    image = element("image", href=png(np.kron(shades, np.ones((_CELL_PX, _CELL_PX), dtype=np.uint8)), _palette()), x="8", y="8", **box)
    frame = element("rect", x="8", y="8", width=f"{width:.1f}", height=f"{height:.1f}", fill="none", stroke=SOFT)
    total = max(height + 16, 150.0)
    return svg([image, frame, *_scale(width + 30, total, low, high, unit)], width=width + 130, height=total, label=label)


def _palette() -> bytes:
    share = np.linspace(0, 1, _SHADES - 1)[:, None]
    colours = np.concatenate([_NOTHING[None], (1 - share) * _DARKEST + share * _BRIGHTEST])
    return np.round(colours).astype(np.uint8).tobytes()


def _scale(left: float, total: float, low: float, high: float, unit: str) -> Iterator[Markup]:
    """The map's colours with their values, upright."""
    tall = total - 50
    column = np.arange(_SHADES - 1, 0, -1, dtype=np.uint8)[:, None]
    size = {"width": "14", "height": f"{tall:.1f}", "preserveAspectRatio": "none"}
    yield element("text", unit, x=f"{left:.1f}", y="18")
    yield element("image", href=png(column, _palette()), x=f"{left:.1f}", y="30", **size)
    axis = Axis(label="", low=low, high=high)
    for value, _ in ticks(axis, most=4):
        y = 30 + tall * (1 - float(axis.share(value)))
        yield element("text", written(value), x=f"{left + 20:.1f}", y=f"{y:.1f}", dy="4", fill=SOFT)
