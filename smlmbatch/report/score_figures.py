"""Box plots of scores: one panel per figure, one box per clustering, fields as dots, the same field joined across clusterings.

Box: quartiles and median; whiskers: the furthest field within 1.5 times the box's height (Tukey). Dots are spread by their order, not at
random, so equal scores are equal files.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smlmbatch.report.figures import INK, LINE, RC, SOFT, drawable, drawn, look_of, number_axis
from smlmbatch.report.gallery import Drawing

_COLUMNS: Final = 5
_PANEL_IN: Final = (1.7, 2.1)
_BOX: Final = 0.5  # width, in units of the distance between boxes

Values = NDArray[np.float64]


def draw_score_boxes(panels: Mapping[str, Sequence[Values]], *, labels: Sequence[str]) -> Drawing:
    """Boxes of each figure.

    Parameters
    ----------
    panels : title of a figure → per clustering the values of its fields, (n,) f8, row by row the same fields; NaN = undefined
    labels : the clusterings' names
    """
    rows = -(-len(panels) // _COLUMNS)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(_PANEL_IN[0] * min(_COLUMNS, len(panels)), _PANEL_IN[1] * rows), layout="constrained")
        grid = figure.subplots(rows, min(_COLUMNS, len(panels)), squeeze=False).ravel()
        for axes, (title, values) in zip(grid, panels.items(), strict=False):
            _draw_panel(axes, values, labels)
            axes.set_title(title, fontsize=8.5, color=INK)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        return drawn(figure)


def _draw_panel(axes: Axes, values: Sequence[Values], labels: Sequence[str]) -> None:
    places = [at + _spread(len(own)) for at, own in enumerate(values)]
    axes.plot(np.stack(places), np.stack(values), color=LINE, linewidth=0.6, zorder=1)  # one line per column: a field
    for at, own in enumerate(values):
        colour, defined = look_of(at).colour, own[np.isfinite(own)]
        if len(defined):
            style = {"color": colour, "linewidth": 1.0}
            axes.boxplot(
                [defined],
                positions=[at],
                widths=_BOX,
                showfliers=False,
                boxprops=style,
                whiskerprops=style,
                capprops=style,
                medianprops=style | {"linewidth": 1.8},
            )
        axes.plot(places[at], own, "o", color=colour, markersize=2.2, alpha=0.6, markeredgewidth=0, zorder=2)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_xticks(range(len(values)), [drawable(label, most=12) for label in labels], rotation=30, ha="right")
    number_axis(axes, "y")
    axes.tick_params(length=2.5, color=SOFT)


def _spread(n: int) -> Values:
    """Where dots stand beside the middle of their box: five lanes in turn."""
    return (np.arange(n) % 5 - 2) * _BOX / 8
