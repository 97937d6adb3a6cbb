"""Plots of particles in order: super-particles of the bins as a film, what the network decodes beside them, estimates bin by bin, and the
course of training. In the manner of `figures`; pictures of one film share scale and contrast, so that what differs is the structure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from smlmbatch.report.figures import INK, RC, SOFT, drawn, number_axis
from smlmbatch.report.gallery import Drawing

Floats = NDArray[np.float64]

_WIDTH_IN = 7.6
_ABREAST = 10  # bins in a row of the film
_GAP_IN, _LABEL_IN = 0.05, 0.19
_BRIGHTEST = 0.998  # quantile of the film's pixels that is white
_BLUE, _ORANGE = "#0072B2", "#D55E00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One bin of a film.

    Attributes
    ----------
    views : densities seen from above, and from the side where there is z; (rows, columns) each, rows from low to high
    decoded_nm : (p, d) f4, what the network makes of the bin's latents
    label : words below
    failed : whether nothing was found that its particles have in common
    """

    views: Sequence[Floats]
    decoded_nm: NDArray[np.float32]
    label: str
    failed: bool


def draw_film(stills: Sequence[Still], *, half_nm: float, bar_nm: float) -> Drawing:
    """All bins, ten abreast: each from above (and from the side), and below that what is decoded.

    Parameters
    ----------
    half_nm : half the side of every picture
    bar_nm : length of the scale bar in the first
    """
    sorts = len(stills[0].views) + 1
    side_in = (_WIDTH_IN - (_ABREAST - 1) * _GAP_IN) / _ABREAST
    row_in = sorts * (side_in + _GAP_IN) + _LABEL_IN
    height_in = math.ceil(len(stills) / _ABREAST) * row_in
    white = [max(float(np.quantile(np.concatenate([s.views[v].ravel() for s in stills]), _BRIGHTEST)), 1e-12) for v in range(sorts - 1)]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(_WIDTH_IN, height_in))
        for number, still in enumerate(stills):
            left = (number % _ABREAST) * (side_in + _GAP_IN)
            top = height_in - (number // _ABREAST) * row_in
            size = side_in / _WIDTH_IN, side_in / height_in
            bottoms = [top - (v + 1) * (side_in + _GAP_IN) + _GAP_IN for v in range(sorts)]
            boxes = [figure.add_axes((left / _WIDTH_IN, bottom / height_in, *size)) for bottom in bottoms]
            for axes, view, brightest in zip(boxes, still.views, white, strict=False):
                axes.imshow(view, origin="lower", extent=(-half_nm, half_nm) * 2, vmin=0, vmax=brightest, cmap="inferno")
            _dots(boxes[-1], still.decoded_nm, half_nm)
            for axes in boxes:
                axes.set(xticks=[], yticks=[], xlim=(-half_nm, half_nm), ylim=(-half_nm, half_nm))
                for spine in axes.spines.values():
                    spine.set_visible(still.failed)
                    spine.set(color=_ORANGE, linewidth=1.2, linestyle=":")
            boxes[-1].set_xlabel(still.label, fontsize=6.2, labelpad=2, color=_ORANGE if still.failed else INK)
            if number == 0:
                _bar(boxes[0], half_nm, bar_nm)
        return drawn(figure)


def _dots(axes: Axes, decoded_nm: NDArray[np.float32], half_nm: float) -> None:
    axes.set_facecolor("#f6f7f8")
    axes.set_aspect("equal")
    axes.scatter(decoded_nm[:, 0], decoded_nm[:, 1], s=1.6, color=_BLUE, linewidths=0)


def _bar(axes: Axes, half_nm: float, bar_nm: float) -> None:
    left, y = -0.88 * half_nm, -0.86 * half_nm
    axes.plot([left, left + bar_nm], [y, y], color="white", linewidth=1.6, solid_capstyle="butt")
    axes.text(left, y + 0.07 * half_nm, f"{bar_nm:g} nm", color="white", fontsize=5.6, va="bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class BinValues:
    """One quantity, bin by bin: its axis' label, the bins' values, and those of the super-particles with their errors (NaN = none)."""

    axis: str
    values: Sequence[Floats]
    super_nm: Floats
    super_error_nm: Floats


def draw_violins(panels: Sequence[BinValues], *, across: str) -> Drawing:
    """A violin per bin and quantity, the median as a line, the super-particle's own value as a diamond."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(_WIDTH_IN, 2.1 * len(panels)), layout="constrained")
        for axes, panel in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
            at = [number for number, values in enumerate(panel.values) if len(values) > 1 and np.ptp(values) > 0]
            if at:
                parts = axes.violinplot(
                    [panel.values[number] for number in at], positions=at, widths=0.85, showextrema=False, showmedians=True
                )
                for body in parts["bodies"]:
                    body.set(facecolor=_BLUE, alpha=0.35, linewidth=0)
                parts["cmedians"].set(color=_BLUE, linewidth=1.6)
            known = np.flatnonzero(np.isfinite(panel.super_nm))
            if len(known):
                style = {"fmt": "D", "ms": 3.2, "color": INK, "mfc": "white", "elinewidth": 0.8, "label": "super-particle"}
                axes.errorbar(known, panel.super_nm[known], yerr=panel.super_error_nm[known], **style)
                axes.legend(frameon=False, fontsize=7, loc="best")
            axes.set_ylabel(panel.axis)
            axes.set_xlim(-0.7, len(panel.values) - 0.3)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=20))
            number_axis(axes, "y")
        axes.set_xlabel(across)
        return drawn(figure)


def draw_losses(losses: Floats) -> Drawing:
    """Training and validation loss of each epoch.

    Parameters
    ----------
    losses : (e, 2)
    """
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(3.6, 2.0), layout="constrained")
        axes = figure.subplots()
        epoch = np.arange(1, len(losses) + 1)
        for column, label, style, colour in ((0, "training", "-", _BLUE), (1, "validation", "--", _ORANGE)):
            axes.plot(epoch, losses[:, column], style, color=colour, label=label, linewidth=1.2, marker="o" if len(losses) == 1 else "")
        axes.set(xlabel="epoch", ylabel="loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.legend(frameon=False, fontsize=7)
        axes.tick_params(colors=SOFT)
        return drawn(figure)
