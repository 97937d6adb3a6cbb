"""The campaign's tables of fields (`tables/fields.parquet`), of ROIs and channels (`rois`), of clusters (`clusters`), of quality checks.

Fields are read one after the other and rows go to disk in groups, so memory does not grow with the campaign. All
files carry the campaign's fingerprint and appear whole or not at all; they are current only if all carry the same.
Nothing that is not a result is in them: no clock, no host, no attempt. A value that was not measured (a dropped
ROI) or is undefined (a cluster's area where there is no cluster) is null; the column `kept` tells the two apart.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.cluster_rois import cluster_columns
from smlmbatch.analyse.cluster_table import cluster_summary, cluster_table
from smlmbatch.analyse.columns import (
    CLUSTER_MEASURES,
    DESCRIPTOR_COLUMNS,
    DESCRIPTORS,
    FIELD_CLUSTER_COLUMNS,
    FIELD_COLUMNS,
    PARTICLE_COLUMNS,
    QUALITY_COLUMNS,
    ROI_COLUMNS,
    Column,
    arrow_schema,
)
from smlmbatch.analyse.fingerprint import FINGERPRINT_KEY, table_path
from smlmbatch.analyse.particle_table import particle_table
from smlmbatch.analyse.quality import checks_of, worst
from smlmbatch.analyse.results import QualityCheck
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.units import appears_whole
from smlmbatch.work import Campaign, FieldResult

if TYPE_CHECKING:
    import pyarrow as pa

STAGES = ("ingest", "tile", "quality", "measure")  # a field is analysed when all of these are published
_CLUSTER, _PICK = "cluster", "pick"  # may be missing
_GROUP_ROWS = 1 << 16  # rows held before a row group is written: a few MiB


class Tables(NamedTuple):
    """Both tables in memory: `fields` one row per field, `rois` one row per ROI and channel."""

    fields: "pa.Table"
    rois: "pa.Table"


def write_tables(campaign: Campaign, *, fingerprint: str) -> None:
    """Write all tables of OUTPUT; rows of fields, ROIs and checks in the order of samples.csv.

    Parameters
    ----------
    fingerprint : hash of all that the tables depend on, kept in both files

    Raises
    ------
    SmlmbatchError
        a unit is damaged
    ConfigError
        conditions can't be compared as `[compare]` asks; fields and ROIs are written nevertheless
    """
    from smlmbatch.analyse.comparisons import write_comparisons  # imports this module
    from smlmbatch.analyse.heterogeneity import write_order

    folder = campaign.output / "tables"
    with ExitStack() as stack:
        fields = stack.enter_context(_writer(folder / "fields.parquet", _field_schema(campaign), fingerprint))
        rois = stack.enter_context(_writer(folder / "rois.parquet", _roi_schema(), fingerprint))
        clusters = stack.enter_context(_writer(folder / "clusters.parquet", arrow_schema(FIELD_CLUSTER_COLUMNS), fingerprint))
        particles = stack.enter_context(_writer(folder / "particles.parquet", arrow_schema(PARTICLE_COLUMNS), fingerprint))
        quality = stack.enter_context(_writer(folder / "quality.parquet", arrow_schema(QUALITY_COLUMNS), fingerprint))
        for result in campaign.fields:
            row, table, found = _read_field(result)
            checks = checks_of(result, campaign.config)
            row["light"] = worst(check.light for check in checks) if row["status"] == "ok" else None
            fields.add_row(row)
            for check in checks:
                quality.add_row(_check_row(result, check))
            if table is not None:
                rois.add_table(table)
            if found is not None:
                clusters.add_table(found)
            if row["status"] != "failed" and {"ingest", _PICK} <= result.units.keys():
                particles.add_table(_particle_table(result))
    write_order(campaign, names_of=_order_names(campaign), fingerprint=fingerprint)
    write_comparisons(campaign.output, config=campaign.config, fingerprint=fingerprint)


def read_tables(output: Path) -> Tables:
    """Both tables of a campaign, all columns."""
    import pyarrow.parquet as pq

    fields, rois = (pq.ParquetFile(path).read() for path in (table_path(output, name) for name in Tables._fields))
    return Tables(fields, rois)


# ---- one field


def legible(text: str) -> str:
    """A name as UTF-8 can hold it: bytes of a file name that are no UTF-8 become `\\xff`.

    >>> legible("caf\\udce9")
    'caf\\\\xe9'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _read_field(result: FieldResult) -> "tuple[dict[str, Any], pa.Table | None, pa.Table | None]":
    """The field's row, its ROIs and its clusters; None where there are none yet."""
    with ExitStack() as stack:
        units = {stage: stack.enter_context(UnitReader(path)) for stage, path in result.units.items() if stage in STAGES}
        row = _sample_row(result, units)
        if "ingest" in units:
            row |= _ingest_row(units["ingest"].attrs)
        if "tile" in units:
            row |= _tile_row(units["tile"])
        if row["status"] == "failed":
            return row, None, None
        cluster = stack.enter_context(UnitReader(result.units[_CLUSTER])) if _CLUSTER in result.units else None
        rois = _roi_table(result, units, cluster) if row["status"] == "ok" else None
        if cluster is None or not {"ingest", "tile"} <= units.keys():
            return row, rois, None
        return row | _cluster_row(units, cluster, row), rois, _cluster_table(result, units["ingest"], cluster)


def _sample_row(result: FieldResult, units: Mapping[str, UnitReader]) -> dict[str, Any]:
    field, failure = result.field, result.failure
    status = "failed" if failure else "ok" if len(units) == len(STAGES) else "unfinished"
    row = {name: legible(getattr(field, name)) for name in ("key", "path", "condition", "replicate", "batch", "format")}
    labels = {f"label_{legible(name)}": legible(value) for name, value in field.labels}
    return {**row, "field": legible(field.name), "status": status, "failed_stage": failure.stage if failure else None, **labels}


def _ingest_row(attrs: Mapping[str, Any]) -> dict[str, Any]:
    low, high = attrs["extent_nm"] or ([None] * 2, [None] * 2)
    first, last = attrs["frame_extent"] or (None, None)
    copied = ("format", "dims", "pixel_size_nm", "frame_base", "n_read", "n", "n_merged_away", "precision_median_nm")
    return {
        **{name: attrs[name] for name in (*copied, "channels", "channel_names", "n_per_channel")},
        **{name: sorted(attrs[name].items()) for name in ("columns", "dropped", "warnings")},
        "n_dropped": sum(attrs["dropped"].values()),
        "origin_x_nm": attrs["origin_nm"][0],
        "origin_y_nm": attrs["origin_nm"][1],
        "extent_x_um": _span_um(low[0], high[0]),
        "extent_y_um": _span_um(low[1], high[1]),
        "extent_z_um": _span_um(*(attrs["z_extent_nm"] or (None, None))),
        "first_frame": first,
        "last_frame": last,
    }


def _span_um(low_nm: float | None, high_nm: float | None) -> float | None:
    return None if low_nm is None or high_nm is None else (high_nm - low_nm) / 1000.0


def _tile_row(tile: UnitReader) -> dict[str, Any]:
    attrs = tile.attrs
    kept = tile.read("roi_kept").astype(bool)
    area_um2 = (attrs["roi_nm"] / 1000.0) ** 2 * tile.read("roi_coverage")[kept]
    density = tile.read("roi_n_locs")[kept].sum(axis=1) / area_um2
    return {
        "outline_source": attrs["outline_source"],
        "density_threshold_per_um2": attrs["density_threshold_per_um2"],
        "n_cells": len(attrs["cells"]),
        "cell_area_um2": outline_area_um2(tile),
        "n_rois": len(kept),
        "n_rois_kept": int(kept.sum()),
        "roi_density_per_um2": float(density.mean()) if density.size else None,
    }


def outline_area_um2(tile: UnitReader) -> float:
    """Area inside the outlines of a tile unit, um2; a ring inside a ring of the same cell is a hole."""
    return float(sum(polygon.area for polygon in _cells(tile)) / 1e6)


def _cells(tile: UnitReader) -> list[Any]:
    """Polygons of the outlines, nm, one a cell."""
    import shapely

    vertices_nm, bounds = tile.read("outline_nm"), tile.read("outline_start")
    rings: dict[int, list[Any]] = {}
    for ring, cell in enumerate(tile.read("outline_cell")):
        rings.setdefault(int(cell), []).append(shapely.Polygon(vertices_nm[bounds[ring] : bounds[ring + 1]]))
    return [reduce(shapely.symmetric_difference, polygons) for polygons in rings.values()]


def _cluster_row(units: Mapping[str, UnitReader], cluster: UnitReader, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the field's row says of its clusters."""
    import shapely

    x_nm, y_nm = cluster.read("x_nm"), cluster.read("y_nm")
    inside = np.zeros(len(x_nm), dtype=bool)
    for polygon in _cells(units["tile"]):
        inside |= shapely.contains_xy(polygon, x_nm, y_nm)
    attrs = units["ingest"].attrs
    n_per_channel = dict(zip(attrs["channels"], attrs["n_per_channel"], strict=True))
    return cluster_summary(cluster, inside, area_um2=row["cell_area_um2"], n_per_channel=n_per_channel)


def _cluster_table(result: FieldResult, ingest: UnitReader, cluster: UnitReader) -> "pa.Table":
    return cluster_table(cluster, origin_nm=ingest.attrs["origin_nm"], names=_names(result), condition_of=_conditions(result))


def _particle_table(result: FieldResult) -> "pa.Table":
    with UnitReader(result.units["ingest"]) as ingest, UnitReader(result.units[_PICK]) as pick:
        return particle_table(pick, origin_nm=ingest.attrs["origin_nm"], names=_names(result), condition_of=_conditions(result))


def _names(result: FieldResult) -> dict[str, str]:
    """Columns that are the same in all rows of a field."""
    field = result.field
    return {name: legible(getattr(field, name)) for name in ("key", "replicate", "batch")} | {"field": legible(field.name)}


def _order_names(campaign: Campaign) -> dict[str, dict[str, str]]:
    """What each field's particles in order are called, those of the channel in order."""
    if campaign.order is None:
        return {}
    with UnitReader(campaign.order.order) as order:
        channel = order.attrs["channel"] or 0
    return {result.field.key: _names(result) | {"condition": _conditions(result)(channel)} for result in campaign.fields}


def _conditions(result: FieldResult) -> Callable[[int], str]:
    return lambda channel: legible(result.field.condition_of(channel))


def _check_row(result: FieldResult, check: QualityCheck) -> dict[str, Any]:
    """A check as a row, with null where a number is undefined."""
    field, channel = result.field, check.channel
    condition = field.condition if channel is None else field.condition_of(channel)
    own = {"condition": legible(condition), "replicate": legible(field.replicate), "batch": legible(field.batch)}
    return {**dataclasses.asdict(check), **own, "field": legible(field.name), "value": check.value if math.isfinite(check.value) else None}


# ---- ROIs of one field


def _roi_table(result: FieldResult, units: Mapping[str, UnitReader], cluster: UnitReader | None) -> "pa.Table":
    """One row per ROI and channel, ROI-major."""
    import pyarrow as pa

    tile, measure = units["tile"], units["measure"]
    channels = [int(c) for c in tile.attrs["channels"]]
    field, n_rois, n_channels = result.field, tile.length("roi_kept"), len(channels)
    n_rows = n_rois * n_channels
    own = {name: legible(getattr(field, name)) for name in ("key", "replicate", "batch")} | {"field": legible(field.name)}
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(text), n_rows) for name, text in own.items()}
    columns["condition"] = [legible(field.condition_of(c)) for c in channels] * n_rois
    columns["channel"] = np.tile(np.array(channels, dtype=np.uint8), n_rois)
    for name, values in _roi_columns(tile, units["ingest"].attrs["origin_nm"]).items():
        columns[name] = np.repeat(values, n_channels)
    columns |= _descriptor_columns(measure, channels, n_rois)
    columns |= cluster_columns(cluster, tile, channels)
    columns["n_locs"] = tile.read("roi_n_locs").reshape(-1)  # known for dropped ROIs too
    schema = _roi_schema()
    return pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def _roi_columns(tile: UnitReader, field_origin_nm: list[float]) -> dict[str, NDArray[Any]]:
    """Columns with one entry per ROI."""
    attrs = tile.attrs
    kept, cell = tile.read("roi_kept").astype(bool), tile.read("roi_cell")
    origin_nm = tile.read("roi_origin_nm") + np.asarray(field_origin_nm, dtype=np.float64)
    cells, regions = ([legible(str(name)) for name in attrs[key] or []] for key in ("cells", "regions"))
    reason = _pick([legible(str(name)) for name in attrs["reasons"]], tile.read("roi_reason"))
    reason[kept] = None
    return {
        "roi": np.arange(len(kept), dtype=np.int32),
        "cell": _pick(cells, cell),
        "region": _pick(regions, cell),
        "x_nm": origin_nm[:, 0],
        "y_nm": origin_nm[:, 1],
        "side_nm": np.full(len(kept), float(attrs["roi_nm"])),
        "coverage": tile.read("roi_coverage"),
        "kept": kept,
        "reason": reason,
        "distance_to_edge_nm": tile.read("roi_distance_to_edge_nm"),
    }


def _pick(names: list[str], index: NDArray[Any]) -> NDArray[np.object_]:
    """names[index], None where the name is empty or there is none."""
    return np.array([names[i] or None if 0 <= i < len(names) else None for i in index], dtype=object)


def _descriptor_columns(measure: UnitReader, channels: list[int], n_rois: int) -> dict[str, Any]:
    """Descriptors spread over all ROIs and channels; null where nothing was measured or the value is undefined."""
    import pyarrow as pa

    column_of = np.full(256, -1, dtype=np.intp)
    column_of[channels] = np.arange(len(channels))
    place = measure.read("roi").astype(np.intp) * len(channels) + column_of[measure.read("channel")]
    columns = {}
    for name in DESCRIPTORS:
        values = measure.read(name)
        spread = np.zeros(n_rois * len(channels), dtype=values.dtype)
        missing = np.ones(len(spread), dtype=bool)
        spread[place] = values
        missing[place] = np.isnan(values) if values.dtype.kind == "f" else False
        columns[name] = pa.array(spread, mask=missing)
    return columns


# ---- schemas and files


def _field_schema(campaign: Campaign) -> "pa.Schema":
    labels = sorted({legible(name) for result in campaign.fields for name, _ in result.field.labels})
    text = Column("string", "", "")
    return arrow_schema({**FIELD_COLUMNS, **{f"label_{name}": text for name in labels}})


def _roi_schema() -> "pa.Schema":
    return arrow_schema({**ROI_COLUMNS, **DESCRIPTOR_COLUMNS, **CLUSTER_MEASURES})


class _RowGroups:
    """Gathers rows of one file and writes them a group at a time."""

    def __init__(self, writer: Any, schema: "pa.Schema") -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._n_rows = 0

    def add_row(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._count(1)

    def add_table(self, table: "pa.Table") -> None:
        self._tables.append(table)
        self._count(len(table))

    def _count(self, n_rows: int) -> None:
        self._n_rows += n_rows
        if self._n_rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=self._schema))
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables))
        self._rows, self._tables, self._n_rows = [], [], 0


@contextmanager
def _writer(path: Path, schema: "pa.Schema", fingerprint: str) -> Iterator[_RowGroups]:
    """A Parquet file that appears whole or not at all."""
    import pyarrow.parquet as pq

    schema = schema.with_metadata({FINGERPRINT_KEY: fingerprint.encode()})
    with appears_whole(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        groups = _RowGroups(writer, schema)
        yield groups
        groups.flush()
