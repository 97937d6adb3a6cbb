"""Small charts as hand-written SVG: axes, histograms as steps, lines, bands, marks.

A page of one field holds a dozen of them, and a campaign hundreds of pages: matplotlib takes 0.1 to 0.3 s a figure, this about a
millisecond. Everything a chart needs stands in its own attributes, none in the page's style: saved by itself it looks the same.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.report.page import Markup, element

Floats = NDArray[np.float64]

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
INK, SOFT, RULE = "#1d2329", "#5b6670", "#dfe3e7"
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 24.0, 14.0, 42.0  # room around the plot, px
_KEY_PX = 18.0  # height of one row of the key
_FEWEST_LOG_TICKS = 3  # on a logarithmic axis; with fewer, evenly spaced values say more
_LETTERS = 44  # of a name in the key; the page holds the whole name
_LETTER_PX = 6.4  # width of an average letter at the size of type used


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis shows, from where to where."""

    label: str
    low: float
    high: float
    log: bool = False

    def share(self, values: Floats | float) -> Floats:
        """Where values lie between the axis' ends, 0 to 1; what is beyond sits on the end."""
        low, high, shown = (np.log10(v) if self.log else np.asarray(v, dtype=np.float64) for v in (self.low, self.high, values))
        return np.clip((shown - low) / (high - low), 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """How a curve is drawn and what the key calls it; `dash` is SVG's stroke-dasharray, "" = solid."""

    colour: str
    dash: str = ""
    width: float = 1.6
    opacity: float = 1.0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """A histogram: (n+1,) bounds, (n,) heights; NaN leaves a gap."""

    bounds: Floats
    heights: Floats
    ink: Ink


@dataclass(frozen=True, slots=True)
class Line:
    """A curve, (n,) each; NaN breaks it."""

    x: Floats
    y: Floats
    ink: Ink


@dataclass(frozen=True, slots=True)
class Band:
    """The room between two curves, (n,) each."""

    x: Floats
    low: Floats
    high: Floats
    ink: Ink


@dataclass(frozen=True, slots=True)
class Mark:
    """An upright line with its words beside it."""

    x: float
    words: str
    ink: Ink


Item = Steps | Line | Band | Mark


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the plot lies in the drawing, px."""

    x: Axis
    y: Axis
    width: float
    height: float
    top: float

    def across(self, values: Floats | float) -> Floats:
        return _LEFT + self.x.share(values) * (self.width - _LEFT - _RIGHT)

    def down(self, values: Floats | float) -> Floats:
        return self.bottom - self.y.share(values) * (self.bottom - self.top)

    @property
    def bottom(self) -> float:
        return self.height - _BOTTOM


def draw_chart(x: Axis, y: Axis, items: Sequence[Item], *, label: str, width: float = 520.0, height: float = 250.0) -> Markup:
    """A chart as an SVG element.

    Parameters
    ----------
    items : drawn in this order
    label : what a screen reader says
    width, height : px; a key of several rows adds to the height
    """
    key = [item.ink for item in items if not isinstance(item, Mark) and item.ink.label]
    rows = _key_rows(key, width)
    frame = _Frame(x, y, width, height + _KEY_PX * len(rows), _TOP + _KEY_PX * len(rows))
    drawn = [part for item in items if not isinstance(item, Mark) for part in _draw(frame, item)]
    parts = [*_axes(frame), *drawn, *_marks(frame, [item for item in items if isinstance(item, Mark)]), *_key(rows)]
    return svg(parts, width=width, height=frame.height, label=label)


def svg(parts: Iterable[Markup], *, width: float, height: float, label: str) -> Markup:
    """An SVG element that can stand alone."""
    return element(
        "svg",
        element("rect", width="100%", height="100%", fill="#fff"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewbox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        font_family=FONT,
        font_size="11.5",
        fill=INK,
        role="img",
        aria_label=label,
    )


# ---- items


def _draw(frame: _Frame, item: Steps | Line | Band) -> Iterator[Markup]:
    ink = item.ink
    if isinstance(item, Band):
        x, low, high = frame.across(item.x), frame.down(item.low), frame.down(item.high)
        path = _path(np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]])) + "Z"
        yield element("path", d=path, fill=ink.colour, fill_opacity=f"{ink.opacity:g}")
        return
    if isinstance(item, Steps):
        outline = _steps(frame.across(item.bounds), frame.down(item.heights), frame.bottom)
        yield element("path", d=outline, fill=ink.colour, fill_opacity="0.1")
        path = outline
    else:
        path = _path(frame.across(item.x), frame.down(item.y))
    dash = ink.dash or None
    more = {"stroke_width": f"{ink.width:g}", "stroke_dasharray": dash, "stroke_opacity": f"{ink.opacity:g}" if ink.opacity < 1 else None}
    yield element("path", d=path, fill="none", stroke=ink.colour, stroke_linejoin="round", **more)


def _path(x_px: Floats, y_px: Floats) -> str:
    """Straight lines through the points; a new one after each that is NaN."""
    pieces, pen = [], "M"
    for x, y in zip(x_px.tolist(), y_px.tolist(), strict=True):
        if math.isnan(x) or math.isnan(y):
            pen = "M"
            continue
        pieces.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(pieces)


def _steps(bounds_px: Floats, heights_px: Floats, ground_px: float) -> str:
    """The outline of a histogram; runs of equal height are one line, runs on the ground are left out."""
    pieces, standing = [], False
    bounds, heights = bounds_px.tolist(), heights_px.tolist()
    last = ground_px
    for left, height in zip(bounds, heights, strict=False):
        top = ground_px if math.isnan(height) else height
        if top != last:
            pieces.append(f"H{left:.1f}V{top:.1f}" if standing else f"M{left:.1f} {ground_px:.1f}V{top:.1f}")
            standing = top != ground_px
            last = top
    return "".join(pieces) + (f"H{bounds[-1]:.1f}V{ground_px:.1f}" if standing else "")


def _marks(frame: _Frame, marks: Sequence[Mark]) -> Iterator[Markup]:
    """Upright lines; the words of several stand below each other, to the side where there is room."""
    for i, mark in enumerate(marks):
        x, y = float(frame.across(mark.x)), frame.top + 10 + 14 * i
        right = x + 6 + _LETTER_PX * len(mark.words) < frame.width - _RIGHT
        yield element(
            "path",
            d=f"M{x:.1f} {frame.bottom:.1f}V{frame.top:.1f}",
            stroke=mark.ink.colour,
            stroke_width="1.4",
            stroke_dasharray=mark.ink.dash or None,
        )
        yield element(
            "text",
            mark.words,
            x=f"{x + (5 if right else -5):.1f}",
            y=f"{y:.1f}",
            text_anchor="start" if right else "end",
            fill=mark.ink.colour,
            stroke="#fff",
            stroke_width="3",
            paint_order="stroke",
        )


# ---- axes and key


def _axes(frame: _Frame) -> Iterator[Markup]:
    right, middle = frame.width - _RIGHT, (frame.top + frame.bottom) / 2
    for value, words in ticks(frame.y, most=5):
        y = f"{float(frame.down(value)):.1f}"
        yield element("path", d=f"M{_LEFT:g} {y}H{right:g}", stroke=RULE)
        yield element("text", words, x=f"{_LEFT - 7:g}", y=y, dy="4", text_anchor="end", fill=SOFT)
    for value, words in ticks(frame.x, most=7):
        x = f"{float(frame.across(value)):.1f}"
        yield element("path", d=f"M{x} {frame.bottom:g}v4", stroke=SOFT)
        yield element("text", words, x=x, y=f"{frame.bottom + 17:g}", text_anchor="middle", fill=SOFT)
    yield element("path", d=f"M{_LEFT:g} {frame.bottom:g}H{right:g}", stroke=SOFT)
    yield element("text", frame.x.label, x=f"{(_LEFT + right) / 2:g}", y=f"{frame.height - 7:g}", text_anchor="middle")
    yield element("text", frame.y.label, transform=f"translate(13 {middle:g}) rotate(-90)", text_anchor="middle")


def ticks(axis: Axis, *, most: int) -> list[tuple[float, str]]:
    """Round values on an axis with their words, at most `most` and one.

    >>> [words for _, words in ticks(Axis(label="", low=0, high=2300), most=5)]
    ['0', '500', '1,000', '1,500', '2,000']
    >>> [words for _, words in ticks(Axis(label="", low=30, high=40_000, log=True), most=5)]
    ['100', '1,000', '10,000']
    """
    if axis.log and len(decades := _log_ticks(axis, most=most)) >= _FEWEST_LOG_TICKS:
        return decades
    step = _round_step((axis.high - axis.low) / most)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [(i * step, written(i * step)) for i in range(first, last + 1)]


def _log_ticks(axis: Axis, *, most: int) -> list[tuple[float, str]]:
    """Powers of ten; between them 2 and 5 times these, or 2 to 9 times, where the axis spans few."""
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    for factors in (range(1, 10), (1, 2, 5), (1,)):
        values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        inside = [value for value in values if axis.low * (1 - 1e-9) <= value <= axis.high * (1 + 1e-9)]
        if len(inside) <= most:
            break
    return [(value, written(value)) for value in inside]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def written(value: float) -> str:
    """A tick's number.

    >>> written(-0.5), written(12000.0), written(2e-16), written(3e6)
    ('\u22120.5', '12,000', '0', '3,000,000')
    """
    near = 0.0 if abs(value) < 1e-12 else value
    text = f"{near:,.6f}".rstrip("0").rstrip(".") if abs(near) >= 1e-3 or near == 0 else f"{near:.2g}"
    return text.replace("-", "\u2212")


def _key_rows(inks: Sequence[Ink], width: float) -> list[list[tuple[float, Ink, str]]]:
    """Entries of the key with their left edge, as many in a row as fit; none where there is one curve without a name."""
    rows: list[list[tuple[float, Ink, str]]] = []
    left = width
    for ink in inks:
        words = ink.label if len(ink.label) <= _LETTERS else ink.label[: _LETTERS - 1] + "\u2026"
        needed = 44 + _LETTER_PX * len(words)
        if left + needed > width or not rows:
            rows.append([])
            left = _LEFT
        rows[-1].append((left, ink, words))
        left += needed
    return rows


def _key(rows: Sequence[Sequence[tuple[float, Ink, str]]]) -> Iterator[Markup]:
    for row, entries in enumerate(rows):
        y = _TOP + _KEY_PX * row
        for left, ink, words in entries:
            dash = ink.dash or None
            yield element("path", d=f"M{left:.1f} {y:g}h22", stroke=ink.colour, stroke_width="2", stroke_dasharray=dash)
            yield element("text", words, x=f"{left + 27:.1f}", y=f"{y:g}", dy="4")
