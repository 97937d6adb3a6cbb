"""Plots of the embedding as SVG and PNG: map, compositions of clusters, tree and distances of conditions, bend, scores, order.

In the manner of `figures`: each condition has its look of the whole report, names are drawn literally.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from smlmbatch.report.figures import INK, RC, SOFT, Look, drawable, drawn, number_axis
from smlmbatch.report.gallery import Drawing

Floats = NDArray[np.float64]

_HATCHES = {"o": "", "D": "////", "^": "...."}  # bars of conditions that share a colour differ in these
_NUMBERED = 12  # conditions up to which the matrix of distances holds numbers
_WHITE_FROM = 0.5  # of the largest distance; letters on darker ground are white
_LETTER_IN = 0.075  # width of an average letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """The map: (n,) places, and the number of each dot's condition among `looks` and `labels`."""

    x: Floats
    y: Floats
    condition: NDArray[np.int64]
    looks: Sequence[Look]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One cluster: its name, shares of conditions (sum 1), and words at its end."""

    label: str
    shares: Sequence[float]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One value with its interval; NaN where there is none. `filled` tells two kinds in a row apart."""

    row: str
    value: float
    low: float
    high: float
    filled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePanel:
    """Scores of one number of locs; `chance` is marked."""

    title: str
    scores: Sequence[ScoreRow]
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedDots:
    """Replicates of one condition along the leading axis, at the condition's number."""

    at: float
    label: str
    look: Look
    replicates: Floats


# ---- map


def draw_map(dots: Dots) -> Drawing:
    """A dot per ROI; drawn in an order that hides no condition behind another."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.6, max(4.4, 0.7 + 0.2 * len(dots.labels))))
        axes = figure.add_axes((0.02, 0.03, 0.62, 0.94))
        order = np.random.default_rng(0).permutation(len(dots.x))
        for marker in dict.fromkeys(look.marker for look in dots.looks):
            own = order[[dots.looks[c].marker == marker for c in dots.condition[order].tolist()]]
            colours = [dots.looks[c].colour for c in dots.condition[own].tolist()]
            size = 11 if len(order) <= 600 else 7 if len(order) <= 2000 else 4
            axes.scatter(dots.x[own], dots.y[own], s=size, c=colours or None, marker=marker, linewidths=0, alpha=0.75, rasterized=True)
        for look, label in zip(dots.looks, dots.labels, strict=True):
            n = int((dots.condition == list(dots.looks).index(look)).sum())
            axes.plot([], [], linestyle="", marker=look.marker, ms=5, color=look.colour, label=f" {drawable(label)}  {n}")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[:].set_visible(False)  # places mean nothing, so there is no axis
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, borderaxespad=0, handletextpad=0.2, labelspacing=0.6)
        return drawn(figure)


# ---- clusters


def draw_compositions(bars: Sequence[Bar], *, looks: Sequence[Look], labels: Sequence[str]) -> Drawing:
    """One bar a cluster, divided by condition."""
    height_in = 0.3 * len(bars)
    size_in = (7.6, max(height_in + 0.62, 0.5 + 0.19 * len(labels)))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=size_in)
        axes = figure.add_axes((0.115, 1 - (height_in + 0.12) / size_in[1], 0.37, height_in / size_in[1]))
        ends = np.zeros(len(bars))
        for i, (look, label) in enumerate(zip(looks, labels, strict=True)):
            shares = np.array([100 * bar.shares[i] for bar in bars])
            pen: dict[str, Any] = {"color": look.colour, "edgecolor": "white", "linewidth": 0.6, "hatch": _HATCHES.get(look.marker, "")}
            axes.barh(range(len(bars)), shares, left=ends, height=0.72, label=f" {drawable(label)}", **pen)
            ends += shares
        for y, bar in enumerate(bars):
            axes.text(102, y, bar.words, va="center", color=SOFT)
        axes.set_yticks(range(len(bars)), labels=[bar.label for bar in bars])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("Share of the cluster\u2019s ROIs (%)", labelpad=3)
        number_axis(axes, "x")
        axes.legend(loc="upper left", bbox_to_anchor=(1.62, 1.03), frameon=False, borderaxespad=0, handlelength=1.2, labelspacing=0.5)
        return drawn(figure)


def draw_bend(inertia: Sequence[float], *, used: int, bend: int | None) -> Drawing:
    """Spread left within clusters against their number; the bend, and the number that was used."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(3.6, 2.5))
        axes = figure.add_axes((0.15, 0.17, 0.81, 0.78))
        every = np.arange(1, len(inertia) + 1)
        axes.plot(every, inertia, color=SOFT, lw=1.3, marker="o", ms=3.5, zorder=3)
        axes.plot([1, len(inertia)], [inertia[0], inertia[-1]], color=SOFT, lw=0.7, linestyle=":", zorder=2)
        marked = [(k, "D", "bend") for k in (bend,) if k] + [(k, "s", "used") for k in (used,) if 1 <= k <= len(inertia)]
        for place, marker, label in marked:
            axes.plot([place], [inertia[place - 1]], linestyle="", marker=marker, ms=9, mfc="none", mec=INK, mew=1.3, label=f" {label}")
        axes.set_xlim(0.6, len(inertia) + 0.4)
        axes.set_ylim(0, 1.06)
        axes.set_xticks(every)
        axes.set_xlabel("Clusters", labelpad=3)
        axes.set_ylabel("Spread left, of that of one cluster")
        number_axis(axes, "y")
        if marked:
            axes.legend(loc="upper right", frameon=False, borderaxespad=0.2, labelspacing=0.7)
        return drawn(figure)


# ---- distances


def tree_order(distances: Floats) -> list[int]:
    """Conditions in the order in which average linkage puts them beside each other; (n, n) distances."""
    from scipy.cluster.hierarchy import leaves_list

    return [int(i) for i in leaves_list(_linkage(distances))] if len(distances) > 1 else list(range(len(distances)))


def _linkage(distances: Floats) -> Floats:
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    tree: Floats = linkage(squareform(distances, checks=False), method="average", optimal_ordering=True)
    return tree


def draw_distances(distances: Floats, labels: Sequence[str]) -> Drawing:
    """Tree (average linkage) and matrix of distances of conditions, both in the tree's order.

    Parameters
    ----------
    distances : (n, n) f8 of at least two conditions, symmetric, 0 on the diagonal
    """
    n, order = len(labels), tree_order(distances)
    names = [drawable(labels[i]) for i in order]
    cell_in = 0.62 if n <= 6 else 0.46 if n <= _NUMBERED else 0.26
    label_in = 0.2 + _LETTER_IN * max(map(len, names))
    side_in, tree_in = cell_in * n, 2.1
    left_in = 0.35 + tree_in + label_in
    size_in = (left_in + side_in + 0.3, side_in + 0.6 + min(label_in, 2.0))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=size_in)
        bottom = 0.5 / size_in[1]
        tree = figure.add_axes((0.2 / size_in[0], bottom, tree_in / size_in[0], side_in / size_in[1]))
        _draw_tree(tree, distances, n)
        matrix = figure.add_axes((left_in / size_in[0], bottom, side_in / size_in[0], side_in / size_in[1]))
        _draw_matrix(matrix, distances[np.ix_(order, order)], names, numbered=n <= _NUMBERED)
        return drawn(figure)


def _draw_tree(axes: Axes, distances: Floats, n: int) -> None:
    """Leaves to the right, from above in the matrix's order."""
    from scipy.cluster.hierarchy import dendrogram

    drawn_tree = dendrogram(_linkage(distances), no_plot=True)
    for place, height in zip(drawn_tree["icoord"], drawn_tree["dcoord"], strict=True):
        axes.plot(height, [(y - 5) / 10 for y in place], color=INK, lw=1.2, solid_capstyle="butt")
    top = max(float(np.max(drawn_tree["dcoord"])), 1e-12)
    axes.set_xlim(1.05 * top, 0)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Distance at which they join", labelpad=3)
    number_axis(axes, "x")


def _draw_matrix(axes: Axes, distances: Floats, names: Sequence[str], *, numbered: bool) -> None:
    top, n = max(float(distances.max()), 1e-12), len(names)
    colours = matplotlib.colormaps["cividis_r"]
    decimals = int(np.clip(2 - np.floor(np.log10(top)), 0, 3))  # the same in all cells, three digits of the largest
    for row in range(n):
        for column in range(n):
            level = float(distances[row, column]) / top
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colours(level), edgecolor="white", linewidth=0.8))
            if numbered and row != column:
                words = f"{distances[row, column]:.{decimals}f}"
                colour = "white" if level > _WHITE_FROM else INK
                axes.text(column, row, words, ha="center", va="center", color=colour, fontsize=8 if n <= 6 else 7)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_yticks(range(n), labels=names)
    axes.xaxis.tick_top()
    axes.set_xticks(range(n), labels=names, rotation=90)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


# ---- scores


def draw_scores(panels: Sequence[ScorePanel], *, axis: str, low: float, kinds: tuple[str, str]) -> Drawing:
    """Scores with their intervals, a panel per number of locs; full and open markers are two kinds.

    Parameters
    ----------
    low : where axes start; they end at 1
    kinds : what full and open markers are
    """
    rows = list(dict.fromkeys(score.row for panel in panels for score in panel.scores))
    height_in = 0.36 * len(rows)
    left_in, each_in = 0.25 + _LETTER_IN * max(map(len, rows)), 2.5
    size_in = (left_in + each_in * len(panels) + 0.2, height_in + 1.05)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=size_in)
        for i, panel in enumerate(panels):
            axes = figure.add_axes(
                ((left_in + each_in * i) / size_in[0], 0.5 / size_in[1], (each_in - 0.25) / size_in[0], height_in / size_in[1])
            )
            _draw_panel(axes, panel, rows, low)
            axes.set_yticks(range(len(rows)), labels=rows if not i else [""] * len(rows))
        middle_in = left_in + (each_in * len(panels) - 0.25) / 2
        figure.text(
            middle_in / size_in[0], 0.06 / size_in[1], axis, ha="center", va="bottom", fontsize=matplotlib.rcParams["axes.labelsize"]
        )
        for i, (kind, face) in enumerate(zip(kinds, (INK, "white"), strict=True)):
            if kind and any(score.filled is (i == 0) for panel in panels for score in panel.scores):
                x_in = left_in + 1.4 * i
                figure.add_artist(
                    matplotlib.lines.Line2D(
                        [x_in / size_in[0]], [1 - 0.12 / size_in[1]], marker="o", ms=5, mec=INK, mfc=face, mew=1.2, linestyle=""
                    )
                )
                figure.text((x_in + 0.1) / size_in[0], 1 - 0.16 / size_in[1], kind, color=INK)
        return drawn(figure)


def _draw_panel(axes: Axes, panel: ScorePanel, rows: Sequence[str], low: float) -> None:
    for score in panel.scores:
        if not np.isfinite(score.value):
            continue
        y = rows.index(score.row) + (-0.14 if score.filled else 0.14)
        if np.isfinite(score.low) and np.isfinite(score.high):
            ends = np.clip([score.low, score.high], low, 1.0)
            axes.plot(ends, [y, y], color=INK, lw=1.3, solid_capstyle="butt", zorder=3, clip_on=False)
        face = INK if score.filled else "white"
        value = float(np.clip(score.value, low, 1.0))
        axes.plot([value], [y], marker="o", ms=5, mec=INK, mfc=face, mew=1.2, linestyle="", zorder=4, clip_on=False)
    if np.isfinite(panel.chance):
        axes.axvline(panel.chance, color=SOFT, lw=1.0, linestyle="--", zorder=1)
    axes.set_xlim(low, 1.0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_title(panel.title, fontsize=8.5, loc="left", pad=6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    number_axis(axes, "x", most=5)


# ---- order


def draw_order(groups: Sequence[OrderedDots], *, axis: str) -> Drawing:
    """Replicates along the leading axis against the number in their condition's name; the line joins the conditions' means."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(3.9, 2.7))
        axes = figure.add_axes((0.17, 0.18, 0.79, 0.77))
        ordered = sorted(groups, key=lambda group: group.at)
        axes.plot(range(len(ordered)), [group.replicates.mean() for group in ordered], color=SOFT, lw=1.0, zorder=2)
        for x, group in enumerate(ordered):
            places = x + (np.linspace(-0.12, 0.12, len(group.replicates)) if len(group.replicates) > 1 else np.zeros(1))
            pen: dict[str, Any] = {"color": group.look.colour, "mec": "white", "mew": 0.8}
            axes.plot(places, group.replicates, linestyle="", marker=group.look.marker, ms=6.5, zorder=4, clip_on=False, **pen)
        labels = [drawable(group.label, most=12) for group in ordered]
        crowded = sum(map(len, labels)) > 36
        axes.set_xticks(range(len(ordered)), labels=labels, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        axes.set_xlim(-0.5, len(ordered) - 0.5)
        axes.set_ylabel(axis)
        number_axis(axes, "y")
        figure.set_figheight(2.7 + (0.35 if crowded else 0.0))
        return drawn(figure)
