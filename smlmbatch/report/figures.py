"""Plots of descriptors: strips of ROIs and replicates per condition, and curves of L(r) - r, as SVG data URIs.

Drawn with matplotlib's object interface, never pyplot; letters become paths, so the page needs no font. Names of
conditions come from users: they are drawn literally (no `$math$`), shortened, and what the font lacks becomes `?`;
the key beside the plots, in HTML, holds the full names.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

# Okabe and Ito's palette without yellow, which is faint on white; told apart by the colour-blind.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_MARKERS = (("o", "-", "\u25cf"), ("D", "--", "\u25c6"), ("^", ":", "\u25b2"))  # matplotlib marker, line, letter for HTML
_LABEL_LETTERS = 24
_COLUMNS = 3
_WIDTH_IN = 11.0
_RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is there in every image
    "font.size": 8.5,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#5b6670",
    "axes.labelcolor": "#1d2329",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#5b6670",
    "xtick.labelcolor": "#1d2329",
    "ytick.color": "#5b6670",
    "ytick.labelcolor": "#1d2329",
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
    """One condition in one panel: ROIs' values (n,), replicates' means (m,) with NaN where undefined, and the mean of these."""

    label: str
    look: Look
    rois: NDArray[np.float64]
    replicates: NDArray[np.float64]
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One descriptor; its strips stand below each other in the order given."""

    axis: str
    strips: Sequence[Strip]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """L(r) - r of one condition: one row per replicate."""

    label: str
    look: Look
    radius_nm: NDArray[np.float64]
    replicates_nm: NDArray[np.float64]


def drawable(text: str) -> str:
    """A name as the plots can show it: one line, known letters, shortened in its middle.

    >>> drawable("a\\nb"), drawable("x" * 20 + "y" * 20)
    ('a b', 'xxxxxxxxxxxxxx…yyyyyyyyy')
    """
    letters = get_font(findfont("DejaVu Sans")).get_charmap()
    known = "".join(c if ord(c) in letters and c.isprintable() else "?" for c in " ".join(text.split()))
    return known if len(known) <= _LABEL_LETTERS else known[:14] + "…" + known[-(_LABEL_LETTERS - 15) :]


def draw_strips(panels: Sequence[Panel], *, rng: np.random.Generator) -> str:
    """All panels of one channel in rows of three, as an SVG data URI; `rng` scatters the dots within their strip."""
    n_strips = max((len(panel.strips) for panel in panels), default=0)
    n_rows = -(-len(panels) // _COLUMNS)
    labels = [drawable(strip.label) for strip in panels[0].strips] if panels else []
    panel_in = 0.34 + 0.36 * n_strips
    row_in = panel_in + 0.66
    left_in = 0.14 + 0.073 * max(map(len, labels), default=0)
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(_WIDTH_IN, row_in * n_rows))
        cell_in = (_WIDTH_IN - left_in) / _COLUMNS
        for i, panel in enumerate(panels):
            row, column = divmod(i, _COLUMNS)
            bottom_in = row_in * (n_rows - row) - panel_in - 0.06
            box = (left_in + column * cell_in, bottom_in, cell_in - 0.36, panel_in)
            axes = figure.add_axes((box[0] / _WIDTH_IN, box[1] / (row_in * n_rows), box[2] / _WIDTH_IN, box[3] / (row_in * n_rows)))
            _draw_panel(axes, panel, labels if column == 0 else [""] * len(labels), rng)
        return _svg(figure)


def _draw_panel(axes: Axes, panel: Panel, labels: Sequence[str], rng: np.random.Generator) -> None:
    low, high = _limits(panel)
    for y, strip in enumerate(panel.strips):
        height = y + rng.uniform(-0.32, 0.32, len(strip.rois))
        dots = np.clip(strip.rois, low, high)
        axes.plot(dots, height, linestyle="", marker="o", ms=2.2, mew=0, color="#8b949c", alpha=0.45, rasterized=True, zorder=1)
        size = 7.0 if len(strip.replicates) <= 12 else 5.0 if len(strip.replicates) <= 40 else 3.5
        means = np.clip(strip.replicates, low, high)
        look, lanes = strip.look, y + np.linspace(-0.2, 0.2, len(means)) if len(means) > 1 else np.full(len(means), float(y))
        axes.plot(means, lanes, linestyle="", marker=look.marker, ms=size, color=look.colour, mec="white", mew=0.8, zorder=5, clip_on=False)
        if np.isfinite(strip.mean):
            axes.plot([strip.mean] * 2, [y - 0.42, y + 0.42], color="#1d2329", lw=1.6, solid_capstyle="butt", zorder=4)
        else:
            axes.text(0.02, y, "undefined", transform=axes.get_yaxis_transform(), va="center", color="#5b6670", style="italic")
    axes.set_xlim(low, high)
    axes.set_ylim(len(panel.strips) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(panel.axis, labelpad=3)
    _number_axis(axes, "x")


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


def _number_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}".replace("-", "\u2212")))
    axes.grid(axis=which, color="#dfe3e7", lw=0.6, zorder=0)
    axes.set_axisbelow(True)


def draw_curves(conditions: Sequence[Curves]) -> str:
    """Mean L(r) - r of each condition, a band of ± one standard deviation over replicates, and the replicates, thin."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(7.6, max(3.1, 0.9 + 0.2 * len(conditions))))
        axes = figure.add_axes((0.095, 0.145, 0.53, 0.825))
        thin = sum(len(c.replicates_nm) for c in conditions) <= 60
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
        axes.axhline(0, color="#5b6670", lw=0.8, zorder=1)
        axes.set_xlim(0, max(c.radius_nm[-1] for c in conditions))
        axes.set_xlabel("Radius r (nm)")
        axes.set_ylabel("L(r) \u2212 r (nm)")
        _number_axis(axes, "x")
        _number_axis(axes, "y")
        axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.02), frameon=False, borderaxespad=0, handlelength=1.8, labelspacing=0.7)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    FigureCanvasSVG(figure)
    out = io.BytesIO()
    figure.savefig(out, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()
