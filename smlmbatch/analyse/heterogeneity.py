"""The tables of particles in order: what each particle, each bin and each direction is like, and how conditions differ along them.

`order`, `order_bins`, `order_axes`, `order_comparisons`. The latter compares conditions as `comparisons` does regions: replicates are the
unit of inference, and the tests are few: the first principal axes, the direction of a known value, and what formulas tell (units say the
same again, turned). A direction that goes best with something known is chosen on one half of the particles and reported on the other: the
best of eight, picked and reported on the same particles, flatters. A bin's precision is the published one (full width at half maximum over
the root of n).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import COMPARISON_COLUMNS, Column, arrow_schema
from smlmbatch.analyse.comparisons import comparison_rows
from smlmbatch.analyse.fingerprint import FINGERPRINT_KEY, table_path
from smlmbatch.analyse.order_columns import (
    ESTIMATES,
    ORDER_AXIS_COLUMNS,
    ORDER_BIN_COLUMNS,
    ORDER_COLUMNS,
    QUANTITIES,
    SUPERVISED,
)
from smlmbatch.analyse.results import Comparison
from smlmbatch.analyse.statistics import compare
from smlmbatch.analyse.super_particles import aligned_series, registered_directions
from smlmbatch.clustering.particle_shapes import FWHM_OF_SD, circle_radii, layer_heights
from smlmbatch.config import Config, OrderConfig
from smlmbatch.errors import ConfigError
from smlmbatch.methods.pcvae.axes import halves
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.units import appears_whole
from smlmbatch.work import Campaign, OrderUnits

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

VALUE: Final = "value"
_ALIVE_NATS: Final = 0.05  # as the stage has it: a unit that says less has collapsed
_LEAST: Final = 8  # particles of which a quantity is known, for a correlation
_KINDS: Final = ("unit", "pc", VALUE)
_COMPARED: Final = ("pc1", "pc2", "pc3")
_LEAST_SHARE: Final = 0.01  # of all differences between particles; conditions are not compared along a lesser axis


@dataclass(frozen=True)
class Ordered:
    """What the unit `order` holds, as tables need it: k particles, a directions."""

    names: tuple[str, ...]
    places: Floats
    bins: NDArray[np.int16]
    latents: Floats
    quantities: Mapping[str, Floats]
    nats: Floats
    shares: tuple[float | None, ...]
    thinned: Floats
    field: NDArray[np.int32]
    number: NDArray[np.int32]
    keys: tuple[str, ...]
    channel: int

    @property
    def alive(self) -> list[int]:
        """Columns of latents that say something."""
        return np.flatnonzero(self.nats > _ALIVE_NATS).tolist()


def read_ordered(units: OrderUnits | None) -> Ordered | None:
    """The unit `order`; None where nothing is in order."""
    if units is None:
        return None
    with UnitReader(units.order) as unit:
        if unit.attrs["why_none"]:
            return None
        quantities = {name: unit.read(name) for name in ESTIMATES}
        quantities["n_points"] = np.diff(unit.read("start")).astype(np.float64)
        quantities[VALUE] = unit.read(VALUE) if unit.has(VALUE) else np.full(len(quantities["n_points"]), np.nan)
        attrs = unit.attrs
        return Ordered(
            names=tuple(attrs["directions"]),
            places=unit.read("place"),
            bins=unit.read("bin"),
            latents=unit.read("latent").astype(np.float64),
            quantities=quantities,
            nats=unit.read("nats"),
            shares=tuple(attrs["shares"]),
            thinned=unit.read("thinned"),
            field=unit.read("field"),
            number=unit.read("number"),
            keys=tuple(attrs["fields"]),
            channel=attrs["channel"],
        )


def write_order(campaign: Campaign, *, names_of: Mapping[str, Mapping[str, str]], fingerprint: str) -> None:
    """Write the four tables of a campaign whose table of fields is written; without rows where nothing is in order.

    Parameters
    ----------
    names_of : key → field, condition (of the channel in order), replicate, batch
    fingerprint : hash of all that the tables depend on, kept in the files

    Raises
    ------
    ConfigError
        `[order] grouped_by` names a direction that isn't there; or conditions can't be compared
    """
    ordered = read_ordered(campaign.order)
    columns: dict[str, Column] = dict(ORDER_COLUMNS)
    rows: dict[str, Any] = {}
    bins: list[dict[str, Any]] = []
    axes: list[dict[str, Any]] = []
    if ordered is not None and campaign.order is not None:
        columns |= {name: Column("double", "", "") for name in ordered.names if name != VALUE}
        rows = _particles(ordered, names_of, campaign.config.order)
        bins, axes = list(_bins(ordered, campaign.order)), list(_axes(ordered, seed=campaign.config.order.seed))
    folder = campaign.output
    _write(table_path(folder, "order"), _table(rows, columns), fingerprint)
    _write(table_path(folder, "order_bins"), _of_rows(bins, ORDER_BIN_COLUMNS), fingerprint)
    _write(table_path(folder, "order_axes"), _of_rows(axes, ORDER_AXIS_COLUMNS), fingerprint)
    leading = [] if ordered is None else [name for name in _COMPARED if _share_of(ordered, name) >= _LEAST_SHARE]
    compared = _compared(folder, rows, columns, axes=leading, config=campaign.config) if rows else []
    _write(table_path(folder, "order_comparisons"), _of_rows(comparison_rows(compared), COMPARISON_COLUMNS), fingerprint)


def _write(path: Path, table: "pa.Table", fingerprint: str) -> None:
    import pyarrow.parquet as pq

    with appears_whole(path) as partial:
        pq.write_table(table.replace_schema_metadata({FINGERPRINT_KEY: fingerprint.encode()}), partial, compression="zstd")


def _table(values: Mapping[str, Any], columns: Mapping[str, Column]) -> "pa.Table":
    """Columns of arrays; NaN is null."""
    import pyarrow as pa

    schema = arrow_schema(columns)
    if not values:
        return schema.empty_table()
    arrays = {name: np.asarray(found) for name, found in values.items()}
    nulls = {name: np.isnan(found) if found.dtype.kind == "f" else None for name, found in arrays.items()}
    filled = [
        pa.array(arrays[name].tolist() if arrays[name].dtype.kind == "O" else arrays[name], type=schema.field(name).type, mask=nulls[name])
        for name in schema.names
    ]
    return pa.Table.from_arrays(filled, schema=schema)


def _of_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> "pa.Table":
    """Rows with null where a number is undefined."""
    import pyarrow as pa

    def known(value: Any) -> Any:
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return pa.Table.from_pylist([{name: known(row.get(name)) for name in columns} for row in rows], schema=arrow_schema(columns))


# ---- particles


def _particles(ordered: Ordered, names_of: Mapping[str, Mapping[str, str]], config: OrderConfig) -> dict[str, Any]:
    """Columns of the table `order`."""
    own = [names_of[key] for key in ordered.keys]
    columns: dict[str, Any] = {"key": np.array(ordered.keys, object)[ordered.field]}
    columns |= {name: np.array([one[name] for one in own], object)[ordered.field] for name in ("field", "condition", "replicate", "batch")}
    columns |= {"channel": np.full(len(ordered.field), ordered.channel, np.uint8), "particle": ordered.number}
    columns |= {"n_points": ordered.quantities["n_points"].astype(np.int64)}
    columns |= {name: ordered.quantities[name] for name in (*ESTIMATES, VALUE)}
    places = dict(zip(ordered.names, ordered.places.T, strict=True))
    columns[SUPERVISED] = places.pop(VALUE, np.full(len(ordered.field), np.nan))
    columns |= places
    return columns | group_particles(ordered, config)


def group_particles(ordered: Ordered, config: OrderConfig) -> dict[str, NDArray[np.int32]]:
    """Groups of alike particles by k-means and by a mixture of Gaussians, numbered from 1 along the first principal axis: (k,) i4 each.

    Raises
    ------
    ConfigError
        `[order] grouped_by` names a direction that isn't there
    """
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    features = _grouped_by(ordered, config.grouped_by)
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    count = min(config.groups, len(np.unique(features, axis=0)))
    first = ordered.places[:, ordered.names.index("pc1")]
    ways = {
        "kmeans": KMeans(count, n_init=10, random_state=config.seed),
        "gmm": GaussianMixture(count, covariance_type="full", reg_covar=1e-4, n_init=3, random_state=config.seed),
    }
    return {name: _numbered(way.fit_predict(features), first) for name, way in ways.items()}


def _grouped_by(ordered: Ordered, grouped_by: str) -> Floats:
    if grouped_by.strip() == "units":
        return ordered.latents[:, ordered.alive or [*range(ordered.latents.shape[1])]]
    names = [name.strip() for name in grouped_by.split(",") if name.strip()]
    if unknown := [name for name in names if name not in ordered.names] or ([] if names else [grouped_by]):
        raise ConfigError(f'order.grouped_by = {grouped_by!r}: wanted "units" or some of {", ".join(ordered.names)}, not {unknown[0]!r}')
    return ordered.places[:, [ordered.names.index(name) for name in names]]


def _numbered(label: NDArray[np.integer], place: Floats) -> NDArray[np.int32]:
    """Group numbers from 1, in the order of their mean places."""
    means = [place[label == own].mean() for own in np.unique(label)]
    rank = np.empty(len(means), np.int32)
    rank[np.argsort(means)] = np.arange(1, len(means) + 1)
    return rank[np.searchsorted(np.unique(label), label)]


# ---- bins


def _bins(ordered: Ordered, units: OrderUnits) -> Any:
    """Rows of `order_bins`, direction by direction."""
    registered = registered_directions(units)
    for column, name in enumerate(ordered.names):
        found = aligned_series(units, name) if name in registered else None
        super_particles = {} if found is None else dict(zip(found.numbers, range(len(found.numbers)), strict=True))
        for number in range(int(ordered.bins[:, column].max()) + 1):
            row = _bin(ordered, column, number) | {"direction": name, "bin": number}
            if found is not None and number in super_particles:
                at = super_particles[number]
                row |= _registered(found.facts[at], found.poor[at], found.series.particles[at]) | {"overlap": found.series.overlap[at]}
            yield row


def _bin(ordered: Ordered, column: int, number: int) -> dict[str, Any]:
    members = ordered.bins[:, column] == number
    places = ordered.places[members, column]
    row: dict[str, Any] = {"n": int(members.sum()), "n_points": float(ordered.quantities["n_points"][members].mean())}
    row |= {"place_low": float(places.min()), "place_median": float(np.median(places)), "place_high": float(places.max())}
    for name in ESTIMATES:
        known = ordered.quantities[name][members]
        known = known[np.isfinite(known)]
        if len(known):
            row |= {name: float(known.mean()), f"{name}_median": float(np.median(known))}
        if len(known) > 1:
            row[f"{name}_precision"] = float(FWHM_OF_SD * known.std(ddof=1) / np.sqrt(len(known)))
    return row


def _registered(facts: Mapping[str, Any], poor: int, particle: Any) -> dict[str, Any]:
    points = particle.points_nm
    start = np.array([0, len(points)])
    circle = circle_radii(points, start).radius
    row = {"n_registered": len(np.unique(particle.particle)), "n_poor": poor, "registered_failed": facts["failed"]}
    row |= {"gain_z": facts["gain_z"], "rotation_sd_deg": facts["rotation_sd_deg"]}
    row |= {"super_radius_nm": float(circle.nm[0]), "super_radius_error_nm": float(circle.error_nm[0])}
    if points.shape[1] == 3:
        height = layer_heights(points, start)
        row |= {"super_height_nm": float(height.nm[0]), "super_height_error_nm": float(height.error_nm[0])}
    return row


# ---- directions


def _axes(ordered: Ordered, *, seed: int) -> Any:
    """Rows of `order_axes`, direction by direction."""
    found = {quantity: _correlations(ordered.places, values, seed=seed) for quantity, values in ordered.quantities.items()}
    for column, name in enumerate(ordered.names):
        unit = name.startswith("unit")
        own = {"direction": name, "share": ordered.shares[column], "nats": float(ordered.nats[column]) if unit else None}
        own |= {"thinned_50": float(ordered.thinned[0, column]), "thinned_20": float(ordered.thinned[1, column])}
        for quantity in QUANTITIES:
            row = {key: values[column] for key, values in found[quantity].items() if key != "n"}
            chosen = _chosen(ordered.names, found[quantity]["half1_pearson"])
            yield own | row | {"quantity": quantity, "n": found[quantity]["n"], "chosen": column in chosen}


def _chosen(names: Sequence[str], half: Sequence[float]) -> set[int]:
    """The direction of each kind that goes best with a quantity on the first half."""
    best = set()
    for kind in _KINDS:
        own = [column for column, name in enumerate(names) if name.startswith(kind) and np.isfinite(half[column])]
        best |= {max(own, key=lambda column: abs(half[column]))} if own else set()
    return best


def _correlations(places: Floats, values: Floats, *, seed: int) -> dict[str, Any]:
    """Of each direction with a quantity; NaN where it is known of too few, or doesn't vary."""
    known = np.isfinite(values)
    places, values = places[known], values[known]
    nowhere = [np.nan] * places.shape[1]
    if known.sum() < _LEAST:
        return {"n": int(known.sum()), **dict.fromkeys(("pearson", "spearman", "half1_pearson", "half2_pearson"), nowhere)}
    first, other = halves(len(values), seed=seed)
    return {
        "n": len(values),
        "pearson": _pearson(places, values),
        "spearman": _pearson(_ranks(places), _ranks(values[:, None])[:, 0]),
        "half1_pearson": _pearson(places[first], values[first]),
        "half2_pearson": _pearson(places[other], values[other]),
    }


def _pearson(places: Floats, values: Floats) -> list[float]:
    centred, wanted = places - places.mean(axis=0), values - values.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (wanted**2).sum())
    found: list[float] = np.where(size > 0, wanted @ centred / np.where(size > 0, size, 1.0), np.nan).tolist()
    return found


def _ranks(columns: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(columns, axis=0), np.float64)


# ---- conditions


def _share_of(ordered: Ordered, name: str) -> float:
    return (ordered.shares[ordered.names.index(name)] or 0.0) if name in ordered.names else 0.0


def _compared(
    output: Path, rows: Mapping[str, Any], columns: Mapping[str, Column], *, axes: Sequence[str], config: Config
) -> list[Comparison]:
    """Conditions compared along directions, and in what was estimated; particles stand for regions."""
    import pyarrow.parquet as pq

    table = with_rois_columns(_table(rows, columns))
    fields = pq.ParquetFile(table_path(output, "fields")).read()
    told = [name for name in (*axes, SUPERVISED, *ESTIMATES, "n_points") if table[name].null_count < len(table)]
    found = compare(table, fields, config=config.compare, min_locs=1, descriptors=told)
    return [_without_ratio(one) if one.descriptor in (*axes, SUPERVISED) else one for one in found]


def _without_ratio(one: Comparison) -> Comparison:
    """Places have no zero that means anything, so none is so many times another."""
    return replace(one, ratio=np.nan, ratio_low=np.nan, ratio_high=np.nan)


def comparable_particles(output: Path) -> "pa.Table":
    """The table `order` with the columns that make its rows comparable as regions are."""
    import pyarrow.parquet as pq

    return with_rois_columns(pq.ParquetFile(table_path(output, "order")).read())


def with_rois_columns(table: "pa.Table") -> "pa.Table":
    """Particles in place of regions: all kept, all with locs enough, of no region of the cell."""
    import pyarrow as pa

    n = len(table)
    for name, values in (("kept", pa.array([True] * n)), ("n_locs", pa.array([1] * n)), ("region", pa.nulls(n, pa.string()))):
        table = table.append_column(name, values)
    return table.append_column("distance_to_edge_nm", pa.nulls(n, pa.float64()))
