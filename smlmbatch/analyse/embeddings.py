"""The campaign's embeddings analysed: `tables/embeddings.parquet` and what is said of it in four tables beside.

Reads the units of the stage embed and the tables of fields and ROIs, which are written before. These tables carry a fingerprint of
their own, so that none of this is computed again when only the report or the limits of quality changed. Where nothing was embedded
they exist and are empty but for the flag that says why. With 2,000 ROIs or more the normalisations take most of the time: some minutes.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.columns import (
    CLUSTER_COLUMNS,
    DISTANCE_COLUMNS,
    EMBEDDING_COLUMNS,
    FLAG_COLUMNS,
    SCORE_COLUMNS,
    Column,
    arrow_schema,
)
from smlmbatch.analyse.embedding_classify import all_channel_scores
from smlmbatch.analyse.embedding_density import Embedder, embedder, rasters_of
from smlmbatch.analyse.embedding_family import FamilyResult, Material, analyse_family, cells_of, draw_sample
from smlmbatch.analyse.embedding_flags import Embedded, columns_to_check, embedding_flags
from smlmbatch.analyse.embedding_order import Order, order_of_column
from smlmbatch.analyse.embedding_rows import READ, EmbeddedRois, Family, read_embedded
from smlmbatch.analyse.fingerprint import FINGERPRINT_KEY, MADE_WITH_KEY, UMAP_KEY, table_path
from smlmbatch.analyse.grouping import ColumnName, column_values, labels_of, sheet_columns
from smlmbatch.analyse.results import EmbeddingCluster, EmbeddingDistance, EmbeddingFlag, EmbeddingScore
from smlmbatch.config import Config
from smlmbatch.methods.chosen import MODELS, choose, whole_folder
from smlmbatch.store.units import appears_whole
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import pyarrow as pa

Record = EmbeddingScore | EmbeddingCluster | EmbeddingDistance | EmbeddingFlag
_ROW_GROUP: Final = 1 << 16
_COLUMNS: Final[Mapping[str, tuple[type[Any], Mapping[str, Column]]]] = {
    "embedding_scores": (EmbeddingScore, SCORE_COLUMNS),
    "embedding_clusters": (EmbeddingCluster, CLUSTER_COLUMNS),
    "embedding_distances": (EmbeddingDistance, DISTANCE_COLUMNS),
    "embedding_flags": (EmbeddingFlag, FLAG_COLUMNS),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """What is written: all embedded ROIs, and what was found of each family."""

    rois: EmbeddedRois
    families: Sequence[tuple[Family, FamilyResult]]
    scores: Sequence[EmbeddingScore]
    flags: Sequence[EmbeddingFlag]

    def records(self) -> dict[str, list[Record]]:
        """Rows of the four tables, by name."""
        found = [result for _, result in self.families]
        return {
            "embedding_scores": list(self.scores),
            "embedding_clusters": [row for result in found for row in result.clusters],
            "embedding_distances": [row for result in found for row in result.distances],
            "embedding_flags": list(self.flags),
        }


def write_embeddings(campaign: Campaign, *, fingerprint: str) -> Analysis:
    """Analyse the embeddings of a campaign whose tables of fields and ROIs are written, and write all tables of it.

    Parameters
    ----------
    fingerprint : hash of all that they depend on, kept in each

    Raises
    ------
    SmlmbatchError
        a unit is damaged, or doesn't fit the tables
    ConfigError
        a column of `compare.conditions` that there is not
    InputError
        the model that the units were made with is not there any more
    """
    import pyarrow.parquet as pq

    rois = pq.ParquetFile(table_path(campaign.output, "rois")).read(columns=list(READ))
    fields = pq.ParquetFile(table_path(campaign.output, "fields")).read()
    embedded = read_embedded(campaign, rois, fields, config=campaign.config.compare)
    analysis = analyse(embedded, campaign, fields)
    _write_rows(campaign.output, analysis, fingerprint=fingerprint)
    for name, rows in analysis.records().items():
        _write_records(campaign.output, name, rows, fingerprint=fingerprint)
    return analysis


def analyse(rois: EmbeddedRois, campaign: Campaign, fields: "pa.Table") -> Analysis:
    """All families, one after the other.

    Parameters
    ----------
    fields : the table of fields
    """
    config = campaign.config
    networks = _embedder(rois, campaign)
    columns = columns_to_check(rois.rows, fields, config=config.compare)
    orders = _orders(rois, fields, config=config)
    found: list[tuple[Family, FamilyResult]] = []
    scores: list[EmbeddingScore] = []
    flags = _campaign_flags(rois, campaign)
    for family in rois.families:
        material = _material(rois, family, campaign, networks, orders)
        result = analyse_family(material, config=config)
        looked_at = _looked_at(material, columns)
        flags += embedding_flags(looked_at, channel=family.channel, scores=result.scores, seed=config.embeddings.seed)
        flags += result.flags
        scores += result.scores
        found.append((family, result))
    return Analysis(rois=rois, families=found, scores=[*scores, *_of_all_channels(rois, seed=config.embeddings.seed)], flags=flags)


def _material(
    rois: EmbeddedRois,
    family: Family,
    campaign: Campaign,
    networks: Embedder | None,
    orders: Sequence[tuple[Order, NDArray[np.object_]]],
) -> Material:
    sample = draw_sample(family, config=campaign.config)
    own = [(order, values[family.rows]) for order, values in orders]
    material = Material(rois=rois, family=family, rasters=None, sample=sample, embedder=networks, orders=own)
    if networks is None or not len(sample):
        return material
    rasters = np.stack([*rasters_of(campaign.fields, material.places(), side_nm=networks.side_nm, side_px=networks.side_px)])
    return dataclasses.replace(material, rasters=rasters)


def _embedder(rois: EmbeddedRois, campaign: Campaign) -> Embedder | None:
    """The networks that embed thinned ROIs; None where there is nothing to embed (torch is not imported then)."""
    settings = rois.settings
    if not len(rois):
        return None
    from smlmbatch.methods.model import load_model

    model = load_model(whole_folder(choose(campaign.config), campaign.output / MODELS))
    return embedder(model, turned=settings.turned, seed=campaign.config.embeddings.seed)


def _orders(rois: EmbeddedRois, fields: "pa.Table", *, config: Config) -> list[tuple[Order, NDArray[np.object_]]]:
    """Columns of the sheet that state an order, with the value of every row."""
    found = []
    for name in sheet_columns(labels_of(fields)):
        column = column_values(ColumnName(name, label=True), rois.rows, fields, config=config.compare)
        values = np.array([value or "" for value in column.to_pylist()], dtype=object)
        if order := order_of_column(name, values.tolist()):
            found.append((order, values))
    return found


def _looked_at(material: Material, columns: Mapping[str, NDArray[np.object_]]) -> Embedded:
    rois, family, rows = material.rois, material.family, material.family.rows
    return Embedded(
        vectors=material.vectors,
        condition=family.condition,
        replicate=family.replicate,
        key=np.asarray(rois.rows["key"].take(rows).to_numpy(zero_copy_only=False), dtype=object),
        columns={name: values[rows] for name, values in columns.items()},
        n_skipped=rois.of_channel(rois.skipped, family.channel),
        n_beyond=rois.of_channel(rois.beyond, family.channel),
    )


def _campaign_flags(rois: EmbeddedRois, campaign: Campaign) -> list[EmbeddingFlag]:
    """What concerns the campaign as a whole: no model, fields that are not embedded yet."""
    texts = []
    if rois.settings.why_none:
        texts.append(f"Nothing was embedded. {rois.settings.why_none}")
    elif not rois.families:
        texts.append("No ROI was embedded: no field has one that was kept.")
    missing = sum("embed" not in result.units for result in campaign.fields if "measure" in result.units)
    if missing and not rois.settings.why_none:
        texts.append(f"{missing} of {len(campaign.fields)} fields are measured but not embedded. Run again to embed them.")
    return [EmbeddingFlag(channel=None, kind="few", light="grey", text=text) for text in texts]


def _of_all_channels(rois: EmbeddedRois, *, seed: int) -> list[EmbeddingScore]:
    """How well cells are told by all their channels side by side; none with one channel, or where channels are compared."""
    if rois.joined or len(rois.families) < 2:
        return []
    rows = np.concatenate([family.rows for family in rois.families])
    parts = [Material(rois=rois, family=family, rasters=None, sample=family.rows[:0], embedder=None) for family in rois.families]
    return all_channel_scores(
        rois.vectors[rows],
        cell=np.concatenate([cells_of(part) for part in parts]),
        condition=np.concatenate([family.condition for family in rois.families]),
        replicate=np.concatenate([family.replicate for family in rois.families]),
        channel=rois.rows["channel"].take(rows).to_numpy(),
        n_locs=rois.settings.n_locs,
        seed=seed,
    )


# ---- files


def _write_rows(output: Path, analysis: Analysis, *, fingerprint: str) -> None:
    """`embeddings.parquet`; rows without a condition are in it, with nulls for all that needs one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rois = analysis.rois
    n, features = rois.vectors.shape
    made_with = json.dumps(dataclasses.asdict(rois.settings), sort_keys=True).encode()
    umap = json.dumps([family.channel for family, result in analysis.families if result.is_umap]).encode()
    metadata = {FINGERPRINT_KEY: fingerprint.encode(), MADE_WITH_KEY: made_with, UMAP_KEY: umap}
    schema = arrow_schema(EMBEDDING_COLUMNS, features=max(1, features)).with_metadata(metadata)
    columns: dict[str, Any] = {name: rois.grouped[name] for name in ("key", "field", "condition", "replicate", "batch", "roi")}
    columns |= {"channel": rois.rows["channel"], "n_locs": pa.array(rois.n_locs), **_spread(analysis)}
    flat = pa.array(np.ascontiguousarray(rois.vectors).reshape(-1))
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, max(1, features)) if n else pa.array([], schema.field("embedding").type)
    table = pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema=schema)
    with appears_whole(table_path(output, "embeddings")) as partial:
        pq.write_table(table, partial, compression="zstd", row_group_size=_ROW_GROUP)


def _spread(analysis: Analysis) -> "dict[str, pa.Array]":
    """What was found of each family, at its rows; null elsewhere."""
    import pyarrow as pa

    n = len(analysis.rois)
    whole = {"kmeans": np.full(n, -1, np.int32), "ward": np.full(n, -1, np.int32)}
    axis_1, place = np.full(n, np.nan), np.full((n, 2), np.nan, np.float32)
    for family, result in analysis.families:
        whole["kmeans"][family.rows], whole["ward"][family.rows] = result.kmeans, result.ward
        axis_1[family.rows], place[family.rows] = result.axis_1, result.place
    numbers = {"axis_1": axis_1, "map_x": place[:, 0], "map_y": place[:, 1]}
    return {
        **{name: pa.array(values, mask=values < 0) for name, values in whole.items()},
        **{name: pa.array(values, mask=~np.isfinite(values)) for name, values in numbers.items()},
    }


def _write_records(output: Path, name: str, rows: Sequence[Record], *, fingerprint: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(_COLUMNS[name][1]).with_metadata({FINGERPRINT_KEY: fingerprint.encode()})
    table = pa.Table.from_pylist([_with_nulls(row) for row in rows], schema=schema)
    with appears_whole(table_path(output, name)) as partial:
        pq.write_table(table, partial, compression="zstd")


def _with_nulls(record: Record) -> dict[str, Any]:
    """A record with null where a number is undefined."""
    values = dataclasses.asdict(record)
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}


def read_records(output: Path, name: str) -> list[Any]:
    """Rows of one of the four tables beside `embeddings` as records, in order; null becomes NaN where the column holds numbers."""
    import pyarrow.parquet as pq

    kind, columns = _COLUMNS[name]
    floats = {column for column, spec in columns.items() if spec.kind == "double"}
    rows: list[dict[str, Any]] = pq.ParquetFile(table_path(output, name)).read().to_pylist()
    return [kind(**row | {column: math.nan for column in floats if row[column] is None}) for row in rows]
