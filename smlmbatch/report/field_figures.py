"""The figures of one field: histograms of its locs, its recording over time, and the pattern of its ROIs, each with its numbers.

Made of what the stages `quality` and `measure` have counted; no loc is read. Channels are drawn over each other as shares, because
they rarely hold equally many locs; the numbers kept with each figure are the counts themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smlmbatch.config import Config
from smlmbatch.report.field_charts import SOFT, Axis, Band, Floats, Ink, Item, Line, Mark, Steps, draw_chart
from smlmbatch.report.field_maps import Offset, draw_map, draw_offsets
from smlmbatch.report.field_render import Hue, hues_of
from smlmbatch.report.gallery import csv_text
from smlmbatch.report.page import Markup
from smlmbatch.report.wording import count, counted, number, percent
from smlmbatch.store.arrays import UnitReader

_BEYOND = 0.01  # share of locs that a histogram may leave out on either side, so that few stray values do not press the rest together
_FEW_ROIS = 5  # below, single ROIs are drawn and no band
_FEWEST_PARTS = 4  # with a value, for a map of the field
_LEAST_LOCS, _LEAST_BINS = 20, 40  # of all channels in a bin of frames, on average; and bins not to go below for that
_BAND = (10, 90)  # percentiles of ROIs between which the band lies


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of the page.

    Attributes
    ----------
    name : of the files it is saved as, after the field's key; letters and hyphens
    numbers : what is drawn, as CSV
    """

    name: str
    title: str
    drawing: Markup
    caption: str
    numbers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldData:
    """What the figures of one field are made of; a unit that there isn't is None.

    Attributes
    ----------
    channels, names : number and name of each channel, in their order
    """

    channels: Sequence[int]
    names: Sequence[str]
    quality: UnitReader | None
    measure: UnitReader | None
    config: Config

    @property
    def hues(self) -> list[Hue]:
        return hues_of(len(self.channels))

    def ink(self, place: int, **more: Any) -> Ink:
        """How the curve of the channel in this place is drawn; named where there are several."""
        hue, several = self.hues[place], len(self.channels) > 1
        return Ink(colour=hue.on_white, dash=hue.dash, label=self.names[place] if several else "", **more)

    def array(self, name: str) -> Any:
        """An array of the quality unit, or None where the field does not have that quantity."""
        return self.quality.read(name) if self.quality is not None and self.quality.has(name) else None

    def value(self, name: str, place: int) -> float:
        """A value of the quality unit of one channel; NaN where there is none."""
        found = (self.quality.attrs["values"].get(name) or []) if self.quality is not None else []
        return float(found[place]) if place < len(found) and found[place] is not None else np.nan

    def columns(self, what: str) -> list[str]:
        """Heads of CSV columns, one per channel."""
        return [f"{what}_channel_{channel}" for channel in self.channels]


# ---- histograms


@dataclass(frozen=True, slots=True, kw_only=True)
class _Histogram:
    """One histogram: its arrays, its axis, and what to know about it."""

    name: str
    title: str
    bounds: str
    counts: str
    axis: str
    log: bool = False
    caption: str


_HISTOGRAMS = (
    _Histogram(
        name="precision",
        title="Localisation precision",
        bounds="precision_bound_nm",
        counts="precision_locs",
        axis="Stated precision (nm)",
        caption="As the localisation program states it.",
    ),
    _Histogram(
        name="photons",
        title="Photons",
        bounds="photons_bound",
        counts="photons_locs",
        axis="Photons per loc",
        log=True,
        caption="In the source's own unit, which some programs do not calibrate.",
    ),
    _Histogram(
        name="psf",
        title="PSF width",
        bounds="psf_bound_nm",
        counts="psf_locs",
        axis="Standard deviation of the spot (nm)",
        caption="A long right tail: out of focus, or two molecules fitted as one.",
    ),
    _Histogram(
        name="z",
        title="Depth",
        bounds="z_bound_nm",
        counts="z_locs",
        axis="z (nm)",
        caption="Peaks at an end: fits that ran into the limit.",
    ),
    _Histogram(
        name="neighbours",
        title="Nearest neighbours",
        bounds="nn_bound_nm",
        counts="nn_locs",
        axis="Distance to the nearest loc (nm)",
        caption="Within a sample of the kept ROIs; repeated blinks of one molecule are neighbours too.",
    ),
)


_NENA_MARK = (
    "The upright line is what the data themselves say (NeNA): far to the right of the bulk, the stated precision is too good to be true, "
    "or blinks move between frames."
)


def histograms(data: FieldData) -> dict[str, Figure]:
    """Histograms of the quantities that the field has, by name."""
    drawn = ((kind.name, _draw_histogram(data, kind)) for kind in _HISTOGRAMS)
    return {name: figure for name, figure in drawn if figure is not None}


def _draw_histogram(data: FieldData, kind: _Histogram) -> Figure | None:
    counts = data.array(kind.counts)
    if counts is None or not counts.any():
        return None
    bounds = data.array(kind.bounds)
    header = [f"{kind.name}_from", f"{kind.name}_to", *data.columns("locs")]
    shares = _shares(counts)
    shown = _crowded(counts)
    items: list[Item] = [
        Steps(bounds[shown.start : shown.stop + 1], shares[shown, i], data.ink(i)) for i in range(len(data.channels)) if counts[:, i].any()
    ]
    marks = _nena_marks(data) if kind.name == "precision" else []
    axis = _axis(kind.axis, bounds[shown.start : shown.stop + 1], log=kind.log)
    return Figure(
        name=kind.name,
        title=kind.title,
        drawing=draw_chart(axis, _from_zero("Locs (%)", shares[shown]), [*items, *marks], label=f"Histogram: {kind.title}."),
        caption=" ".join(filter(None, (kind.caption, _NENA_MARK if marks else "", _beyond(counts, shown)))),
        numbers=csv_text(header, np.column_stack([bounds[:-1], bounds[1:], counts]).tolist()),
    )


def _crowded(counts: Any) -> slice:
    """Bins from the first in which a channel has come to `_BEYOND` of its locs to the last in which one has that many left."""
    totals = np.maximum(counts.sum(axis=0), 1)
    below, above = (np.cumsum(part, axis=0) / totals > _BEYOND for part in (counts, counts[::-1]))
    return slice(int(np.argmax(below.any(axis=1))), len(counts) - int(np.argmax(above.any(axis=1))))


def _beyond(counts: Any, shown: slice) -> str:
    """What the axis leaves out, and what the stage has put into the last bin."""
    total = int(counts.sum())
    left_out = total - int(counts[shown].sum())
    if left_out:
        return f"{percent(left_out, total)} of the locs lie beyond the axis."
    return "The last bar holds all above." if counts[-1].any() and counts[-1].sum() > counts[-2:-1].sum() else ""


def _shares(counts: Any) -> Floats:
    """Percent of each channel's total, NaN where it has none."""
    totals = counts.sum(axis=0)
    shares: Floats = 100.0 * counts / np.where(totals > 0, totals, np.nan)
    return shares


def _axis(label: str, bounds: Floats, *, log: bool) -> Axis:
    """From the first bound to the last; from 0 where that is near."""
    low, high = float(bounds[0]), float(bounds[-1])
    return Axis(label=label, low=0.0 if not log and 0 <= low < 0.4 * high else low, high=high, log=log)


def _from_zero(label: str, heights: Floats) -> Axis:
    top = float(np.nanmax(heights, initial=0.0))
    return Axis(label=label, low=0.0, high=1.06 * top if top > 0 else 1.0)


def _nena_marks(data: FieldData) -> list[Item]:
    marks: list[Item] = []
    for i in range(len(data.channels)):
        nena_nm = data.value("nena_nm", i)
        if np.isfinite(nena_nm):
            marks.append(Mark(nena_nm, f"NeNA {number(nena_nm)} nm", Ink(colour=data.hues[i].on_white, dash=data.hues[i].dash)))
    return marks


# ---- the recording


def frames(data: FieldData) -> Figure | None:
    """Locs per frame over the recording."""
    counts = data.array("frame_locs")
    if counts is None or not counts.any():
        return None
    bounds = data.array("frame_bound")
    ends, binned = _coarser(bounds, counts)
    per_frame = binned / np.diff(ends)[:, None]
    items = [Steps(ends, per_frame[:, i], data.ink(i)) for i in range(len(data.channels))]
    axis = Axis(label="Frame", low=float(bounds[0]), high=float(bounds[-1]))
    drawing = draw_chart(axis, _from_zero("Locs per frame", per_frame), items, label="Locs per frame over the recording.")
    numbers = csv_text(["frame_from", "frame_to", *data.columns("locs")], np.column_stack([bounds[:-1], bounds[1:], counts]).tolist())
    caption = "A steady fall is bleaching. Steps and gaps are the laser, the focus, or parts of the recording cut out."
    return Figure(name="frames", title="Locs per frame", drawing=drawing, caption=caption, numbers=numbers)


def _coarser(bounds: Floats, counts: Any) -> tuple[Floats, Any]:
    """Neighbouring bins taken together where they hold so few locs that the curve would only show chance."""
    wanted = int(np.ceil(_LEAST_LOCS / max(float(counts.sum(axis=1).mean()), 1e-9)))
    together = max(1, min(wanted, len(counts) // _LEAST_BINS))
    starts = np.arange(0, len(counts), together)
    return np.append(bounds[starts], bounds[-1]), np.add.reduceat(counts, starts, axis=0)


def drift(data: FieldData) -> Figure | None:
    """Offset of the second half of the frames against the first."""
    names = ("drift_x_nm", "drift_y_nm", "drift_error_nm")
    rows = [[data.value(name, i) for name in names] for i in range(len(data.channels))]
    known = [i for i, row in enumerate(rows) if np.isfinite(row[:2]).all()]
    if not known:
        return None
    limits = data.config.quality
    offsets = [Offset(x_nm=rows[i][0], y_nm=rows[i][1], error_nm=rows[i][2], ink=data.ink(i)) for i in known]
    rings = [
        (limits.drift_nm_amber, f"{limits.drift_nm_amber:g} nm: a look"),
        (limits.drift_nm_red, f"{limits.drift_nm_red:g} nm: in doubt"),
    ]
    drawing = draw_offsets(offsets, rings, label="Offset of the second half of the frames against the first.")
    caption = (
        "Where the second half of the frames lies against the first (cross), with the error of that (disc). It shows what drift correction "
        "left over; a drift there and back is not seen."
    )
    numbers = csv_text(["channel", *names], [[data.channels[i], *rows[i]] for i in known])
    return Figure(name="drift", title="Drift between the halves", drawing=drawing, caption=caption, numbers=numbers)


def nena(data: FieldData) -> Figure | None:
    """Distances between locs of following frames, with the fit that gives the precision."""
    pairs = data.array("nena_pairs")
    if pairs is None or not pairs.any():
        return None
    bounds, fit = data.array("nena_bound_nm"), data.array("nena_fit")
    totals = np.maximum(pairs.sum(axis=0), 1)
    middles = (bounds[:-1] + bounds[1:]) / 2
    items: list[Item] = []
    for i in range(len(data.channels)):
        items.append(Steps(bounds, 100.0 * pairs[:, i] / totals[i], data.ink(i, width=1.0)))
        if fit is not None:
            items.append(Line(middles, 100.0 * fit[:, i] / totals[i], Ink(colour=data.hues[i].on_white, width=2.2)))
    items += _nena_marks(data)
    shares = 100.0 * pairs / totals
    drawing = draw_chart(
        _axis("Distance to the nearest loc of the next frame (nm)", bounds, log=False),
        _from_zero("Pairs (%)", shares),
        items,
        label="Distances between following frames and their fit.",
    )
    fitted = fit if fit is not None else np.full(pairs.shape, np.nan)
    rows = np.column_stack([bounds[:-1], bounds[1:], pairs, fitted]).tolist()
    numbers = csv_text(["distance_from_nm", "distance_to_nm", *data.columns("pairs"), *data.columns("fit")], rows)
    found = [_nena_words(data, i) for i in range(len(data.channels))]
    caption = f"{' '.join(found)} The peak is one molecule seen twice, the rise behind it are different molecules."
    return Figure(
        name="nena", title="Precision by nearest neighbours in following frames (NeNA)", drawing=drawing, caption=caption, numbers=numbers
    )


def _nena_words(data: FieldData, place: int) -> str:
    name = f"{data.names[place]}: " if len(data.channels) > 1 else ""
    nena_nm, n_pairs = data.value("nena_nm", place), data.value("nena_n_pairs", place)
    pairs = f"of {counted(round(n_pairs), 'pair')}" if np.isfinite(n_pairs) else ""
    return f"{name}{number(nena_nm)} nm {pairs}." if np.isfinite(nena_nm) else f"{name}no fit {pairs}."


def illumination(data: FieldData) -> list[Figure]:
    """Median photons over the field, a map for each channel."""
    photons = data.array("illumination_photons")
    if photons is None or data.quality is None:
        return []
    side = f"{number(data.quality.attrs['illumination_side_nm'] / 1000, digits=2)}\u202fµm"
    figures = []
    for i, (channel, name) in enumerate(zip(data.channels, data.names, strict=True)):
        values = photons[:, :, i]
        if np.isfinite(values).sum() < _FEWEST_PARTS:
            continue
        of = f", {name}" if len(data.channels) > 1 else ""
        rows = [[row, column, values[row, column]] for row in range(values.shape[0]) for column in range(values.shape[1])]
        figures.append(
            Figure(
                name=f"illumination-{channel}" if len(data.channels) > 1 else "illumination",
                title=f"Photons over the field{of}",
                drawing=draw_map(values, unit="Photons", label=f"Median photons over the field{of}."),
                caption=f"Median photons of the locs in each square of {side}, as they lie in the rendering; white: too few locs. Uneven: "
                "illumination or focus, so that precision and detection differ across the field.",
                numbers=csv_text(["row", "column", "median_photons"], rows),
            )
        )
    return figures


# ---- the pattern


def ripley(data: FieldData) -> Figure | None:
    """L(r) - r of the field's ROIs: mean and spread, channel by channel."""
    if data.measure is None:
        return None
    radius_nm, k_nm2, channel = (data.measure.read(name) for name in ("radius_nm", "ripley_k_nm2", "channel"))
    enough = (data.measure.read("n_locs") >= data.config.tile.min_locs) & np.isfinite(k_nm2).all(axis=1)
    curves = {i: k_nm2[enough & (channel == c)] for i, c in enumerate(data.channels) if (enough & (channel == c)).any()}
    if not curves:
        return None
    items: list[Item] = []
    columns: dict[str, Floats] = {"radius_nm": radius_nm}
    heights = []
    for i, rows in curves.items():
        single = np.sqrt(rows / np.pi) - radius_nm
        mean = np.sqrt(rows.mean(axis=0) / np.pi) - radius_nm
        low, high = np.percentile(single, _BAND, axis=0)
        ink, faint = data.ink(i, width=2.2), Ink(colour=data.hues[i].on_white, width=0.7, opacity=0.6)
        items += [Line(radius_nm, row, faint) for row in single] if len(rows) < _FEW_ROIS else [Band(radius_nm, low, high, _thin(faint))]
        items.append(Line(radius_nm, mean, ink))
        heights += [mean, *(single if len(rows) < _FEW_ROIS else (low, high))]
        names = (f"{what}_l_minus_r_nm_channel_{data.channels[i]}" for what in ("mean", "p10", "p90"))
        columns |= dict(zip(names, (mean, low, high), strict=True))
    spread = np.concatenate([[0.0], *heights])
    room = 0.06 * (float(spread.max() - spread.min()) or 1.0)
    y = Axis(label="L(r) \u2212 r (nm)", low=float(spread.min()) - room, high=float(spread.max()) + room)
    ground = Line(np.array([0.0, radius_nm[-1]]), np.zeros(2), Ink(colour=SOFT, width=0.8))
    drawing = draw_chart(Axis(label="Radius r (nm)", low=0.0, high=float(radius_nm[-1])), y, [ground, *items], label="L(r) - r against r.")
    return Figure(
        name="ripley",
        title="Ripley's L(r) \u2212 r",
        drawing=drawing,
        caption=_ripley_caption(data, {data.names[i]: len(rows) for i, rows in curves.items()}),
        numbers=csv_text(list(columns), np.column_stack(list(columns.values())).tolist()),
    )


def _thin(ink: Ink) -> Ink:
    return Ink(colour=ink.colour, opacity=0.18)


def _ripley_caption(data: FieldData, n_rois: Mapping[str, int]) -> str:
    several = len(data.channels) > 1
    counts = ", ".join((f"{name}: " if several else "") + count(n) for name, n in n_rois.items())
    return (
        "Above 0: more neighbours within r than locs placed at random would have. Thick: mean over ROIs (of K); band: the middle 80 % "
        f"of them, or each ROI where there are fewer than {_FEW_ROIS}. ROIs with at least {counted(data.config.tile.min_locs, 'loc')}: "
        f"{counts}."
    )
