"""Plots of descriptors: superplots, effects with their intervals, and curves of L(r) - r, each as SVG and PNG.

Drawn with matplotlib's object interface, never pyplot; letters become paths, so the page needs no font. Names of
conditions come from users: they are drawn literally (no `$math$`), shortened, and what the font lacks becomes `?`;
the key beside the plots, in HTML, holds the full names.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from smlmbatch.report.gallery import Drawing

# Okabe and Ito's palette without yellow, which is faint on white; told apart by the colour-blind.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_MARKERS = (("o", "-", "\u25cf"), ("D", "--", "\u25c6"), ("^", ":", "\u25b2"))  # matplotlib marker, line, letter for HTML
_LABEL_LETTERS = 24
_SUPERPLOT_LETTERS = 17  # half of a superplot is left for the dots
INK, SOFT, LINE = "#1d2329", "#5b6670", "#dfe3e7"
_DIGIT_IN = 0.082  # width of a digit of a tick's label
_SUPERPLOT_IN = 3.6  # three abreast on the page
_PNG_DPI = 220  # 800 pixels for a superplot: sharp on a slide
_DOTS_DPI = 200  # of the ROIs' dots within an SVG
_MOST_TIMES_POINT = 3.0  # an interval may widen the axis to so many times the largest effect
_MOST_THIN = 60  # curves of single replicates
RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is there in every image
    "font.size": 8.5,
    "axes.linewidth": 0.7,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "text.parse_math": False,  # a name with two `$` is no formula
    "svg.fonttype": "path",
    "svg.hashsalt": "smlmbatch",  # equal figures are equal files
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one condition is drawn, everywhere on the page."""

    colour: str
    marker: str
    line: str
    letter: str


def look_of(number: int) -> Look:
    """The look of the number-th condition; 21 of them differ."""
    marker, line, letter = _MARKERS[number // len(_COLOURS) % len(_MARKERS)]
    return Look(_COLOURS[number % len(_COLOURS)], marker, line, letter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One condition of a superplot.

    Attributes
    ----------
    rois : (n,) f8, values of single ROIs
    lanes : (n,) i8, the replicate each belongs to
    replicates : (m,) f8, means of the replicates, NaN where undefined
    names : (m,) the replicates' names
    blocks : (m,) by which replicates are joined across conditions; None = not
    mean : mean of the replicates' means
    """

    label: str
    look: Look
    rois: NDArray[np.float64]
    lanes: NDArray[np.int64]
    replicates: NDArray[np.float64]
    names: Sequence[str]
    blocks: Sequence[str | None]
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One descriptor; its strips stand below each other in the order given, replicates of one block joined where `joined`."""

    axis: str
    strips: Sequence[Strip]
    joined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """L(r) - r of one condition: one row per replicate."""

    label: str
    look: Look
    radius_nm: NDArray[np.float64]
    replicates_nm: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One descriptor of one pair of conditions: (value, low, high) of the ratio and of Hedges' g; NaN where undefined."""

    row: str
    look: Look
    ratio: tuple[float, float, float]
    hedges_g: tuple[float, float, float]
    differs: bool


def drawable(text: str, *, most: int = _LABEL_LETTERS) -> str:
    """A name as the plots can show it: one line, known letters, shortened in its middle.

    >>> drawable("a\\nb"), drawable("x" * 20 + "y" * 20)
    ('a b', 'xxxxxxxxxxxxxx…yyyyyyyyy')
    """
    letters = get_font(findfont("DejaVu Sans")).get_charmap()
    known = "".join(c if ord(c) in letters and c.isprintable() else "?" for c in " ".join(text.split()))
    head = round(0.6 * most)
    return known if len(known) <= most else known[:head] + "…" + known[-(most - head - 1) :]


# ---- superplots


def draw_superplot(panel: Panel, *, rng: np.random.Generator) -> Drawing:
    """Conditions below each other; in each, every replicate has a lane with its ROIs and its mean.

    Parameters
    ----------
    rng : scatters the dots within their lanes
    """
    n, labels = len(panel.strips), [drawable(strip.label, most=_SUPERPLOT_LETTERS) for strip in panel.strips]
    strip_in = 0.54 if n <= 3 else 0.42 if n <= 6 else 0.30
    left_in, bottom_in, above_in = 0.16 + 0.072 * max(map(len, labels), default=0), 0.41, 0.08
    height_in = 0.12 + strip_in * n
    size_in = _SUPERPLOT_IN, height_in + bottom_in + above_in
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=size_in)
        width_in = _SUPERPLOT_IN - left_in - 0.14
        axes = figure.add_axes((left_in / size_in[0], bottom_in / size_in[1], width_in / size_in[0], height_in / size_in[1]))
        _draw_strips(axes, panel, labels, rng)
        width_in -= _overhang(axes, width_in, 0.14)
        axes.set_position((left_in / size_in[0], bottom_in / size_in[1], width_in / size_in[0], height_in / size_in[1]))
        return drawn(figure)


def _overhang(axes: Axes, width_in: float, margin_in: float) -> float:
    """By how much the x axis has to be narrower so that no label stands beyond the margin on its right, in inches."""
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks().tolist() if low <= tick <= high]
    shares = ((tick - low) / (high - low) for tick in ticks)  # of the width, left of each tick
    beyond = zip((_DIGIT_IN * len(_written(tick)) / 2 - margin_in for tick in ticks), shares, strict=True)
    return max((max(0.0, right - width_in * (1 - share)) / share for right, share in beyond if share > 0.5), default=0.0)


def _draw_strips(axes: Axes, panel: Panel, labels: Sequence[str], rng: np.random.Generator) -> None:
    low, high = _limits(panel)
    most = max((len(strip.replicates) for strip in panel.strips), default=1)
    size = 6.5 if most <= 12 else 4.5 if most <= 40 else 3.0
    heights = [_lanes(y, len(strip.replicates)) for y, strip in enumerate(panel.strips)]
    for y, (strip, lanes) in enumerate(zip(panel.strips, heights, strict=True)):
        _draw_rois(axes, strip, lanes, (low, high), rng)
        means, look = np.clip(strip.replicates, low, high), strip.look
        axes.plot(means, lanes, linestyle="", marker=look.marker, ms=size, color=look.colour, mec="white", mew=0.8, zorder=5, clip_on=False)
        if np.isfinite(strip.mean):
            axes.plot([strip.mean] * 2, [y - 0.42, y + 0.42], color=INK, lw=1.6, solid_capstyle="butt", zorder=4)
        else:
            axes.text(0.02, y, "undefined", transform=axes.get_yaxis_transform(), va="center", color=SOFT, style="italic")
    if panel.joined:
        _join(axes, panel.strips, heights)
    axes.set_xlim(low, high)
    axes.set_ylim(len(panel.strips) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(panel.axis, labelpad=3)
    number_axis(axes, "x")


def _lanes(y: float, n: int) -> NDArray[np.float64]:
    """Heights of n replicates within the strip at y."""
    return y + (np.linspace(-0.28, 0.28, n) if n > 1 else np.zeros(n))


def _draw_rois(axes: Axes, strip: Strip, lanes: NDArray[np.float64], ends: tuple[float, float], rng: np.random.Generator) -> None:
    reach = min(0.1, 0.24 / max(1, len(lanes)))
    height = lanes[strip.lanes] + rng.uniform(-reach, reach, len(strip.rois))
    dots = np.clip(strip.rois, *ends)
    axes.plot(dots, height, linestyle="", marker="o", ms=2.2, mew=0, color="#8b949c", alpha=0.45, rasterized=True, zorder=1)


def _join(axes: Axes, strips: Sequence[Strip], heights: Sequence[NDArray[np.float64]]) -> None:
    """A line through the replicates of one block, from each condition to the next; several of one condition meet in their mean."""
    for block in dict.fromkeys(block for strip in strips for block in strip.blocks if block is not None):
        points = []
        for strip, lanes in zip(strips, heights, strict=True):
            members = np.array([own == block for own in strip.blocks]) & np.isfinite(strip.replicates)
            if members.any():
                points.append((strip.replicates[members].mean(), lanes[members].mean()))
        axes.plot([x for x, _ in points], [y for _, y in points], color=SOFT, lw=0.7, alpha=0.7, zorder=3)


def _limits(panel: Panel) -> tuple[float, float]:
    """From the 0.5th to the 99.5th percentile of ROIs and all replicates; from 0 where that is near."""
    rois = np.concatenate([strip.rois for strip in panel.strips])
    ends = [np.percentile(rois, [0.5, 99.5])] if len(rois) else []
    values = np.concatenate([*ends, *(strip.replicates for strip in panel.strips)])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low_end = low - margin
    if 0 <= low < 0.4 * high:
        low_end = 0.0
    return low_end, high + margin


# ---- effects


def draw_effects(effects: Sequence[Effect]) -> Drawing:
    """Effects of all descriptors with their intervals: ratios on the left, differences in standard deviations on the right.

    Effects of one row stand together in the order given. Full markers differ, open ones don't.
    """
    rows = list(dict.fromkeys(effect.row for effect in effects))
    abreast = max(sum(effect.row == row for effect in effects) for row in rows)
    row_in = max(0.3, 0.12 + 0.13 * abreast)
    height_in = row_in * len(rows)
    size_in = 11.0, height_in + 0.62
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=size_in)
        for left_in, which in ((2.35, "ratio"), (6.95, "g")):
            if not any(np.isfinite(effect.ratio[0] if which == "ratio" else effect.hedges_g[0]) for effect in effects):
                figure.text((left_in + 1.0) / size_in[0], 0.5, _UNDEFINED[which], color=SOFT, style="italic")
                continue
            axes = figure.add_axes((left_in / size_in[0], 0.52 / size_in[1], 3.85 / size_in[0], height_in / size_in[1]))
            _draw_side(axes, effects, rows, which)
            first = which == "ratio" or not any(np.isfinite(effect.ratio[0]) for effect in effects)
            axes.set_yticks(range(len(rows)), labels=rows if first else [""] * len(rows))
        return drawn(figure)


_UNDEFINED = {"ratio": "No ratio: means are not above 0.", "g": "Needs 2 replicates of each condition."}


def _draw_side(axes: Axes, effects: Sequence[Effect], rows: Sequence[str], which: str) -> None:
    ratios = which == "ratio"
    values = np.array([effect.ratio if ratios else effect.hedges_g for effect in effects], dtype=np.float64)
    values = np.log2(np.where(values > 0, values, np.nan)) if ratios else values
    reach = _reach(values)
    for row, name in enumerate(rows):
        members = [i for i, effect in enumerate(effects) if effect.row == name]
        offsets = 0.13 * (np.arange(len(members)) - (len(members) - 1) / 2) / max(0.3, 0.12 + 0.13 * len(members))
        for i, offset in zip(members, offsets.tolist(), strict=True):
            _draw_effect(axes, effects[i], values[i], row + offset, reach)
    axes.axvline(0, color=SOFT, lw=0.9, zorder=1)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    number_axis(axes, "x", most=8)
    if ratios:
        _ratio_axis(axes, reach)
    axes.set_xlabel("Ratio of the means" if ratios else "Difference in standard deviations of replicates (Hedges\u2019 g)", labelpad=3)


def _reach(values: NDArray[np.float64]) -> float:
    """Half of the axis: all effects, and intervals unless they are far wider."""
    points, ends = np.abs(values[:, 0]), np.abs(values[:, 1:])
    largest = float(np.nanmax(points, initial=0.0, where=np.isfinite(points)))
    widest = float(np.nanmax(ends, initial=0.0, where=np.isfinite(ends)))
    return 1.08 * max(largest, min(widest, _MOST_TIMES_POINT * largest)) or 1.0


def _draw_effect(axes: Axes, effect: Effect, values: NDArray[np.float64], y: float, reach: float) -> None:
    """Marker and interval; where the interval leaves the axis, an arrow."""
    value, low, high = values.tolist()
    colour = effect.look.colour
    if np.isfinite(low) and np.isfinite(high):
        axes.plot([max(low, -reach), min(high, reach)], [y, y], color=colour, lw=1.5, solid_capstyle="butt", zorder=3)
        for beyond, x, marker in ((low < -reach, -reach, "<"), (high > reach, reach, ">")):
            if beyond:
                axes.plot([x], [y], marker=marker, ms=4.5, color=colour, mew=0, zorder=3, clip_on=False)
    if np.isfinite(value):
        face = colour if effect.differs else "white"
        axes.plot([value], [y], marker=effect.look.marker, ms=5.5, mec=colour, mfc=face, mew=1.3, linestyle="", zorder=4, clip_on=False)


# Ratios above 1 that an axis is divided by, from fine to coarse; their inverses stand on the other side.
_DIVISIONS = (
    (1.02, 1.04, 1.06),
    (1.05, 1.1, 1.15, 1.2),
    (1.1, 1.2, 1.4, 1.6),
    (1.25, 1.5, 2.0, 2.5),
    (1.5, 2.0, 3.0, 5.0),
    (2.0, 4.0, 8.0, 16.0),
    (10.0, 100.0, 1000.0),
    (1e3, 1e6, 1e9),
)


def _ratio_axis(axes: Axes, reach: float) -> None:
    """Ticks at ratios people know; the axis itself is in log2."""
    division = next((ratios for ratios in _DIVISIONS if np.log2(ratios[-1]) * 1.3 > reach), _DIVISIONS[-1])
    above = [ratio for ratio in division if np.log2(ratio) <= reach]
    both = [1 / ratio for ratio in reversed(above)] + [1.0] + above
    axes.set_xticks(np.log2(both).tolist(), labels=[f"{tick:.3g}" if tick >= 1 else f"{tick:.2g}" for tick in both])
    axes.xaxis.set_minor_locator(NullLocator())


# ---- curves


def draw_curves(conditions: Sequence[Curves]) -> Drawing:
    """Mean L(r) - r of each condition, a band of ± one standard deviation over replicates, and the replicates, thin."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.6, max(3.1, 0.9 + 0.2 * len(conditions))))
        axes = figure.add_axes((0.095, 0.145, 0.53, 0.825))
        thin = sum(len(c.replicates_nm) for c in conditions) <= _MOST_THIN
        for c in conditions:
            mean = c.replicates_nm.mean(axis=0)
            if len(c.replicates_nm) > 1:
                sd = c.replicates_nm.std(axis=0, ddof=1)
                axes.fill_between(c.radius_nm, mean - sd, mean + sd, color=c.look.colour, alpha=0.16, lw=0)
            for replicate in c.replicates_nm if thin else ():
                axes.plot(c.radius_nm, replicate, color=c.look.colour, lw=0.6, alpha=0.45)
            axes.plot(  # the label starts with a space: matplotlib hides labels that start with an underscore
                c.radius_nm,
                mean,
                color=c.look.colour,
                lw=2,
                linestyle=c.look.line,
                label=f" {drawable(c.label)}  n = {len(c.replicates_nm)}",
            )
        axes.axhline(0, color=SOFT, lw=0.8, zorder=1)
        axes.set_xlim(0, max(c.radius_nm[-1] for c in conditions))
        axes.set_xlabel("Radius r (nm)")
        axes.set_ylabel("L(r) \u2212 r (nm)")
        number_axis(axes, "x")
        number_axis(axes, "y")
        axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.02), frameon=False, borderaxespad=0, handlelength=1.8, labelspacing=0.7)
        return drawn(figure)


# ---- what all share


def number_axis(axes: Axes, which: Literal["x", "y"], *, most: int = 4) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _written(value)))
    axes.grid(axis=which, color=LINE, lw=0.6, zorder=0)
    axes.set_axisbelow(True)


def _written(value: float) -> str:
    """A tick's label, with a true minus sign."""
    return f"{value:,g}".replace("-", "\u2212")


def drawn(figure: Figure) -> Drawing:
    """The figure as both kinds of file, without clock or version."""
    svg, png = io.BytesIO(), io.BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(svg, format="svg", dpi=_DOTS_DPI, metadata={"Date": None, "Creator": None})
    FigureCanvasAgg(figure)
    figure.savefig(png, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    return Drawing(svg.getvalue(), png.getvalue())
