"""The clusters of one field on its page: pictures before and after, how many locs a cluster has, how large clusters are, and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.report.cluster_pictures import draw_clusters
from smlmbatch.report.cluster_wording import SHAPES_LIMIT, found_by, lead, shapes_said
from smlmbatch.report.field_charts import Axis, Floats, Ink, Item, Line, Steps, draw_chart
from smlmbatch.report.field_figures import Figure
from smlmbatch.report.field_render import choose_rois, hues_of
from smlmbatch.report.gallery import csv_text
from smlmbatch.report.page import Markup, element, join, table
from smlmbatch.report.pictures import View
from smlmbatch.report.wording import NONE, count, number, percent
from smlmbatch.store.arrays import UnitReader

_MOST_BINS = 48
_BEYOND_PERCENTILE = 99.0  # of clusters; the last bar holds those above
_LEAST = 5  # clusters for a histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldClusters:
    """What a page shows of them: words first, panels one below the other, charts two abreast, numbers last."""

    words: Markup
    panels: Sequence[Figure]
    charts: Sequence[Figure]
    numbers: Markup | None


def field_clusters(ingest: UnitReader, tile: UnitReader, cluster: UnitReader, *, names: Sequence[str], field: str) -> FieldClusters:
    """The part of one field's page.

    Parameters
    ----------
    names : of the channels, in their order
    field : its name
    """
    data = _Data(ingest, tile, cluster, names)
    cautions = [f"{text[:1].upper()}{text[1:].removesuffix('.')}." for text in cluster.attrs["warnings"]]
    words = join([element("p", lead(cluster.attrs, n=data.n)), *(element("p", text, class_="caution") for text in cautions)])
    if not data.n:
        return FieldClusters(words=words, panels=(), charts=(), numbers=None)
    drawn = [*(_sizes(data, i) for i in range(len(data.channels))), _radii(data)]
    charts = [chart for chart in drawn if chart is not None]
    return FieldClusters(words=words, panels=_panels(data, field), charts=charts, numbers=_numbers(data))


class _Data:
    """A field's clusters by channel; parents of nested clusters are left out of numbers, as they are their children once more."""

    def __init__(self, ingest: UnitReader, tile: UnitReader, cluster: UnitReader, names: Sequence[str]) -> None:
        self.ingest, self.tile, self.cluster, self.names = ingest, tile, cluster, names
        self.channels = [int(c) for c in ingest.attrs["channels"]]
        self._innermost = cluster.read("n_children") == 0
        self._channel = cluster.read("cluster_channel")
        self.n = len(self._channel)

    def of(self, name: str, place: int) -> Any:
        """A column of the clusters of the channel in this place."""
        return self.cluster.read(name)[self._innermost & (self._channel == self.channels[place])]

    def n_parents(self, place: int) -> str:
        """Clusters that consist of others, where the model looks for such."""
        parents = ~self._innermost & (self._channel == self.channels[place])
        return count(int(parents.sum())) if self.cluster.attrs["with_parents"] else NONE

    def whose(self, place: int) -> str:
        """The channel's name after a comma, where there are several."""
        return f", {self.names[place]}" if len(self.channels) > 1 else ""

    def suffix(self, place: int) -> str:
        """End of the names of the channel's files."""
        return f"-{self.channels[place]}" if len(self.channels) > 1 else ""

    def ink(self, place: int) -> Ink:
        hue = hues_of(len(self.channels))[place]
        return Ink(colour=hue.on_white, dash=hue.dash, label=self.names[place] if len(self.channels) > 1 else "")


# ---- pictures


def _panels(data: _Data, field: str) -> list[Figure]:
    rois = [_typical_roi(data, i) for i in range(len(data.channels))]
    labels = [f"{field}{data.whose(i)}: locs, contracted locs and clusters in colours" for i in range(len(data.channels))]
    return [
        Figure(
            name=f"clusters{data.suffix(i)}",
            title=f"Clusters{data.whose(i)}",
            drawing=panel,
            caption=_caption(data, view, rois[i]),
            numbers=_zoomed_csv(data, i, rois[i]),
        )
        for i, panel, view in draw_clusters(data.ingest, data.tile, data.cluster, rois=rois, labels=labels)
    ]


def _typical_roi(data: _Data, place: int) -> int | None:
    """Of the kept ROIs with locs in clusters of the channel the one with the middle number; without any, one in the middle by all locs."""
    channels = [int(c) for c in data.cluster.attrs["channels"]]
    if data.channels[place] in channels:
        n_locs = data.cluster.read("roi_n_clustered")[:, channels.index(data.channels[place])]
        able = np.flatnonzero(data.tile.read("roi_kept").astype(bool) & (n_locs > 0))
        if len(able):
            return int(able[np.lexsort((able, n_locs[able]))][len(able) // 2])
    rois = choose_rois(data.tile, most=3)
    return rois[len(rois) // 2] if rois else None


def _caption(data: _Data, view: View, roi: int | None) -> str:
    moved = "Middle: where the network moved each loc. " if data.cluster.has("contracted_x_nm") else ""
    below = (
        f" Below: the middle of ROI {roi}, framed above; its clusters are in the CSV. Of the kept ROIs with clusters it has the middle "
        "number of locs in them."
        if roi is not None
        else ""
    )
    return (
        f"{moved}Right: locs in clusters in colour, the others grey. Neighbours differ in colour; colours mean nothing else. "
        f"{number(view.pixel_nm, digits=2)} nm per pixel above.{below}"
    )


_COLUMNS = ("n_locs", "x_nm", "y_nm", "z_nm", "radius_of_gyration_nm", "area_nm2", "eccentricity", "nearest_nm", "n_molecules", "roi")


def _zoomed_csv(data: _Data, place: int, roi: int | None) -> str:
    """The clusters whose centre lies in the ROI shown; those of the whole field may be 10^5 and stand in tables/clusters.parquet."""
    shown = data.of("roi", place) == (-2 if roi is None else roi)
    columns = (data.of(name, place)[shown] for name in _COLUMNS)
    return csv_text(_COLUMNS, list(zip(*(values.round(3).tolist() for values in columns), strict=True)))


# ---- histograms


def _sizes(data: _Data, place: int) -> Figure | None:
    """Locs per cluster of one channel, with the geometric distribution that fits best; channels may differ tenfold, so each has its own."""
    n_locs = data.of("n_locs", place)
    if len(n_locs) < _LEAST:
        return None
    low, high = int(n_locs.min()), int(np.percentile(n_locs, _BEYOND_PERCENTILE))
    step = max(1, -(-(high + 1 - low) // _MOST_BINS))
    bounds: Floats = np.arange(low, high + step + 1, step, dtype=np.float64) - 0.5
    counts = _counts(n_locs, bounds)
    shares, fit = 100.0 * counts / len(n_locs), _fit(data, place)
    fitted = None if fit is None else _expected(fit, bounds)
    ink = data.ink(place)
    items: list[Item] = [Steps(bounds, shares, Ink(colour=ink.colour))]
    items += [] if fitted is None else [Line((bounds[:-1] + bounds[1:]) / 2, fitted, Ink(colour=ink.colour, width=2.2))]
    top = max(float(shares.max()), 0.0 if fitted is None else float(fitted.max()))
    of, x = data.whose(place), Axis(label="Locs per cluster", low=float(bounds[0]), high=float(bounds[-1]))
    fit_column = np.full(len(counts), np.nan) if fitted is None else (fitted * len(n_locs) / 100).round(3)
    rows = zip((bounds[:-1] + 0.5).astype(int), (bounds[1:] - 0.5).astype(int), counts, fit_column.tolist(), strict=True)
    return Figure(
        name=f"locs-per-cluster{data.suffix(place)}",
        title=f"Locs per cluster{of}",
        drawing=draw_chart(x, Axis(label="Clusters (%)", low=0.0, high=1.06 * top), items, label=f"Histogram: locs per cluster{of}."),
        caption=_sizes_caption(fit),
        numbers=csv_text(["locs_from", "locs_to", "clusters", "clusters_by_fit"], list(rows)),
    )


def _counts(values: Any, bounds: Floats) -> NDArray[np.intp]:
    """Clusters in each bin, those beyond in the last."""
    counts: NDArray[np.intp] = np.histogram(np.minimum(values, bounds[-1]), bins=bounds)[0]
    return counts


def _fit(data: _Data, place: int) -> Mapping[str, float] | None:
    """The fitted geometric distribution of one channel as the unit keeps it; None where none was fitted."""
    fits = data.cluster.attrs["locs_per_spot"]
    channels = [int(c) for c in data.cluster.attrs["channels"]]
    if data.channels[place] not in channels:
        return None
    fit: Mapping[str, float] | None = fits[channels.index(data.channels[place])]
    return fit


def _expected(fit: Mapping[str, float], bounds: Floats) -> Floats:
    """Percent of clusters that the distribution has in each bin; seen from the smallest cluster on, it begins there (it has no memory)."""
    stays = 1.0 - 1.0 / fit["mean"]
    above: Floats = stays ** np.maximum(bounds + 0.5 - fit["least"], 0.0)  # chance of that many locs or more
    return 100.0 * (above[:-1] - above[1:])


def _sizes_caption(fit: Mapping[str, float] | None) -> str:
    if fit is None:
        return "The last bar holds all above."
    missed = percent(round(1000 * fit["distance"]), 1000)
    return (
        "The last bar holds all above. Line: what single molecules that bleach by chance would give (geometric distribution); "
        f"each would have {number(fit['mean'])} locs. It misses the clusters by {missed} at most (Kolmogorov-Smirnov)."
    )


def _radii(data: _Data) -> Figure | None:
    found = {i: data.of("radius_of_gyration_nm", i) for i in range(len(data.channels))}
    found = {i: radii for i, radii in found.items() if len(radii) >= _LEAST}
    if not found:
        return None
    high = max(float(np.percentile(radii, _BEYOND_PERCENTILE)) for radii in found.values()) or 1.0
    bounds: Floats = np.linspace(0.0, high, _MOST_BINS + 1)
    counts = {i: _counts(radii, bounds) for i, radii in found.items()}
    items: list[Item] = [Steps(bounds, 100.0 * n / len(found[i]), data.ink(i)) for i, n in counts.items()]
    top = max(float(n.max()) / len(found[i]) for i, n in counts.items())
    x = Axis(label="Radius of gyration (nm)", low=0.0, high=float(bounds[-1]))
    rows = zip(bounds[:-1].round(2).tolist(), bounds[1:].round(2).tolist(), *(n.tolist() for n in counts.values()), strict=True)
    return Figure(
        name="cluster-radius",
        title="Size of clusters",
        drawing=draw_chart(x, Axis(label="Clusters (%)", low=0.0, high=106.0 * top), items, label="Histogram: radius of clusters."),
        caption="Root mean square distance of a cluster's locs to their centre, as recorded; the localisation error is in it. "
        "The last bar holds all above.",
        numbers=csv_text(["radius_from_nm", "radius_to_nm", *(f"clusters_channel_{data.channels[i]}" for i in counts)], list(rows)),
    )


# ---- numbers


def _numbers(data: _Data) -> Markup:
    """A column per channel; of skewed quantities the median and the middle half."""
    rows = [[title, *(show(data, i) for i in range(len(data.channels)))] for title, show in _ROWS]
    rows = [row for row in rows if any(cell != NONE for cell in row[1:])]
    header = ["Median (middle half)", *(data.names if len(data.names) > 1 else [found_by(data.cluster.attrs)])]
    told = any(title == _SHAPES_TOLD for title, *_ in rows)
    return join(
        [table(header, rows, numeric=range(1, len(header)), class_="few"), element("p", SHAPES_LIMIT, class_="note") if told else None]
    )


def _spread(name: str, divisor: float = 1.0) -> Callable[[_Data, int], str]:
    def show(data: _Data, place: int) -> str:
        found = data.of(name, place)
        values = found[np.isfinite(found)] / divisor
        if not len(values):
            return NONE
        low, middle, high = (_written(value, whole=found.dtype.kind == "i") for value in np.percentile(values, [25, 50, 75]).tolist())
        return f"{middle} ({low} to {high})"

    return show


def _written(value: float, *, whole: bool) -> str:
    return count(round(value)) if whole else number(value)


def _per_area(data: _Data, place: int) -> str:
    kept = data.tile.read("roi_kept").astype(bool)
    area_um2 = float((data.tile.attrs["roi_nm"] / 1000.0) ** 2 * data.tile.read("roi_coverage")[kept].sum())
    return number((data.of("roi", place) >= 0).sum() / area_um2) if area_um2 else NONE


def _clustered(data: _Data, place: int) -> str:
    channels = [int(c) for c in data.cluster.attrs["channels"]]
    if data.channels[place] not in channels:
        return NONE
    n_locs = int(data.ingest.attrs["n_per_channel"][place])
    return percent(int(data.cluster.attrs["n_clustered"][channels.index(data.channels[place])]), n_locs)


def _shapes(data: _Data, place: int) -> str:
    return shapes_said(data.of("shape", place), data.cluster.attrs["shapes"]) or NONE


_SHAPES_TOLD = "Shapes told"
_ROWS: tuple[tuple[str, Callable[[_Data, int], str]], ...] = (
    ("Clusters", lambda data, i: count(len(data.of("n_locs", i)))),
    ("Clusters per µm² of kept ROIs", _per_area),
    ("Locs in clusters", _clustered),
    ("Clusters of clusters", lambda data, i: data.n_parents(i)),
    ("Locs per cluster", _spread("n_locs")),
    ("Radius of gyration (nm)", _spread("radius_of_gyration_nm")),
    ("Area of the hull (10³ nm²)", _spread("area_nm2", 1000.0)),
    ("Eccentricity", _spread("eccentricity")),
    ("Nearest other cluster (nm)", _spread("nearest_nm")),
    ("Molecules per cluster", _spread("n_molecules")),
    (_SHAPES_TOLD, _shapes),
)
