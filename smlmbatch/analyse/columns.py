"""The columns of the campaign's tables: type, unit and meaning of each, in the order in which they stand.

`docs/tables.md` is generated from here. Descriptors have the unit and meaning that the store's schema gives them.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from smlmbatch.store.schema import SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa


class Column(NamedTuple):
    """Type (an Arrow type or a key of `_COMPOUND`), unit ("" where it has none) and meaning of a column."""

    kind: str
    unit: str
    text: str


DESCRIPTORS: Final = tuple(
    name for name, spec in SCHEMA["measure"].items() if spec.dims == ("row",) and name not in ("roi", "channel")
)  # of one ROI and channel

FIELD_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store; joins this table to `rois`."),
    "field": Column("string", "", "Name of the field as people know it."),
    "path": Column("string", "", "Its file, relative to INPUT."),
    "condition": Column("string", "", "Condition of the field; columns `label_condition_<channel>` win for a channel."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch (day, dish, microscope), empty where none is given."),
    "status": Column("string", "", "`ok`, `failed` or `unfinished`."),
    "failed_stage": Column("string", "", "Stage that failed; null unless failed."),
    "format": Column("string", "", "Reader that read the file."),
    "dims": Column("int8", "", "2 or 3 dimensions."),
    "pixel_size_nm": Column("double", "nm", "Camera pixel used to convert pixels; null where the file is in lengths."),
    "frame_base": Column("int64", "frame", "Number of the first frame in the source's own count."),
    "columns": Column("names", "", "Quantity to the source's column that it was read from."),
    "n_read": Column("int64", "row", "Rows read from the file."),
    "n": Column("int64", "loc", "Locs that are analysed: rows that are valid and pass the filters, blinks merged if they are."),
    "n_dropped": Column("int64", "row", "Rows dropped as no valid loc or by a filter."),
    "n_merged_away": Column("int64", "loc", "Locs that went into another one as the same blink; `n_read` - `n_dropped` - `n`."),
    "dropped": Column("counts", "row", "Reason to number of rows dropped for it, by filters too."),
    "warnings": Column("counts", "", "The reader's warnings and how often each was given."),
    "origin_x_nm": Column("double", "nm", "x in the source's frame to which the store's x positions are relative."),
    "origin_y_nm": Column("double", "nm", "y in the source's frame to which the store's y positions are relative."),
    "extent_x_um": Column("double", "um", "Largest minus smallest x of the locs."),
    "extent_y_um": Column("double", "um", "Largest minus smallest y of the locs."),
    "extent_z_um": Column("double", "um", "Largest minus smallest z of the locs; null in 2D data."),
    "precision_median_nm": Column("double", "nm", "Median lateral localisation precision; null where the file has none."),
    "first_frame": Column("int64", "frame", "First frame with a loc, counted from 0."),
    "last_frame": Column("int64", "frame", "Last frame with a loc, counted from 0."),
    "channels": Column("integers", "", "Channel numbers."),
    "channel_names": Column("texts", "", "Name of each channel, in the order of `channels`."),
    "n_per_channel": Column("integers", "loc", "Locs of each channel, in the order of `channels`."),
    "outline_source": Column("string", "", "Where the outlines come from: `found` by density, the whole `field`, or a file."),
    "density_threshold_per_um2": Column("double", "1/um2", "Density above which an outline was found; null where none was sought."),
    "n_cells": Column("int64", "", "Outlines; a found outline may hold several touching cells."),
    "cell_area_um2": Column("double", "um2", "Area inside the outlines, without their holes."),
    "n_rois": Column("int64", "", "ROIs of the grid, kept and dropped."),
    "n_rois_kept": Column("int64", "", "ROIs kept and measured."),
    "roi_density_per_um2": Column("double", "1/um2", "Mean over kept ROIs of all channels' locs per covered area."),
    "cluster_method": Column("string", "", "How clusters were found: `miro`, `dbscan`, `none`; null before the stage `cluster`."),
    "n_clusters": Column("integers", "", "Clusters (innermost ones) of each channel, in the order of `channels`; null without the stage."),
    "clusters_per_um2": Column("numbers", "1/um2", "Those whose centroid lies inside the outlines, per `cell_area_um2`; by channel."),
    "clustered_share": Column("numbers", "1", "Share of the channel's locs, in cells or outside, that lie in clusters; by channel."),
    "cluster_radius_nm": Column("numbers", "nm", "Median radius of gyration of the clusters; by channel, null without clusters."),
    "cluster_locs": Column("numbers", "loc", "Median locs of the clusters; by channel."),
    "cluster_nearest_nm": Column("numbers", "nm", "Median distance between centroids of nearest neighbours; by channel."),
    "locs_per_spot": Column("numbers", "loc", "Mean of a geometric distribution fitted to the clusters' locs; by channel."),
    "cluster_warnings": Column("texts", "", "What is to be known of these clusters before they are believed, in sentences."),
    "light": Column("string", "", "Worst light of its checks in `quality`; `grey` only where none could be judged, null unless `ok`."),
}
_CORNER = "of the lower-left corner (smallest x and y), absolute, in the source's frame"
ROI_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store; joins this table to `fields`."),
    "field": Column("string", "", "Name of the field as people know it."),
    "condition": Column("string", "", "Condition of the channel in this field."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch, empty where none is given."),
    "roi": Column("int32", "", "Number of the ROI in its field, from 0; the same ROI has one row per channel."),
    "cell": Column("string", "", "Name of the outline the ROI lies in."),
    "region": Column("string", "", "Name of the region the outline file gives; null where it gives none."),
    "x_nm": Column("double", "nm", f"x {_CORNER}; x grows to the right in pictures."),
    "y_nm": Column("double", "nm", f"y {_CORNER}; y grows downward in pictures."),
    "side_nm": Column("double", "nm", "Side of the square."),
    "coverage": Column("double", "1", "Share of the square inside the outline."),
    "kept": Column("bool", "", "Whether the ROI was kept; a dropped one was not measured."),
    "reason": Column("string", "", "Why it was dropped; null where it was kept."),
    "distance_to_edge_nm": Column("double", "nm", SCHEMA["tile"]["roi_distance_to_edge_nm"].text),
    "channel": Column("uint8", "", "Channel that the descriptors of this row describe."),
}

QUALITY_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store; joins this table to `fields`."),
    "field": Column("string", "", "Name of the field as people know it."),
    "condition": Column("string", "", "Condition of the channel in this field; of the field where the check is of the whole field."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch, empty where none is given."),
    "check": Column("string", "", "Name of the check, as in the limits of `[quality]`."),
    "channel": Column("uint8", "", "Channel judged; null for a check of the whole field."),
    "value": Column("double", "", "What was measured, in `unit`; null where it could not be."),
    "unit": Column("string", "", "Unit of `value`, `amber` and `red`; `1` for shares and ratios, empty for counts."),
    "amber": Column("double", "", "Limit beyond which a field deserves a look."),
    "red": Column("double", "", "Limit beyond which its results are in doubt."),
    "light": Column("string", "", "`green`, `amber`, `red`; `grey` where it could not be judged."),
    "text": Column("string", "", "What was found, what it means, what to do about it."),
}

_INTERVAL = "of the 95 % interval (bootstrap over replicates)"
_G_INTERVAL = "of its 95 % interval (noncentral t)"
COMPARISON_COLUMNS: Final[Mapping[str, Column]] = {
    "channel": Column("uint8", "", "Channel compared; null where channels are part of the condition, or labels given per channel are."),
    "descriptor": Column("string", "", "Column of `rois` that is compared; means and differences below are in its unit."),
    "reference": Column("string", "", "Condition that the other is compared with: joint value of the columns in `compare.conditions`."),
    "condition": Column("string", "", "The other condition; differences are this one minus the reference."),
    "paired": Column("string", "", "Column that values are paired by; empty where they are not."),
    "n_replicates_reference": Column("int64", "", "Replicates of the reference that entered: those in which the descriptor is defined."),
    "n_replicates": Column("int64", "", "The same of the other condition."),
    "n_pairs": Column("int64", "", "Pairs that entered: blocks (means of their replicates) with both sides; 0 where not paired."),
    "n_rois_reference": Column("int64", "", "ROIs of the reference in which the descriptor is defined."),
    "n_rois": Column("int64", "", "The same of the other condition."),
    "mean_reference": Column("double", "", "Mean over the replicates (where paired, over the pairs) of the reference."),
    "mean": Column("double", "", "The same of the other condition."),
    "difference": Column("double", "", "`mean` - `mean_reference`."),
    "difference_low": Column("double", "", f"Lower end {_INTERVAL}."),
    "difference_high": Column("double", "", f"Upper end {_INTERVAL}."),
    "ratio": Column("double", "1", "`mean` / `mean_reference`; null unless the latter is above 0."),
    "ratio_low": Column("double", "1", f"Lower end {_INTERVAL}; null unless all replicates are above 0."),
    "ratio_high": Column("double", "1", f"Upper end {_INTERVAL}; null unless all replicates are above 0."),
    "hedges_g": Column("double", "1", "Difference in pooled standard deviations of the replicates, corrected for their small number."),
    "hedges_g_low": Column("double", "1", f"Lower end {_G_INTERVAL}."),
    "hedges_g_high": Column("double", "1", f"Upper end {_G_INTERVAL}."),
    "p": Column("double", "1", "Two-sided p of Welch's t test on replicates' means (paired t where paired), which the verdict rests on."),
    "p_family": Column("double", "1", "`p` x `n_family`, at most 1 (Bonferroni)."),
    "p_rank": Column("double", "1", "Two-sided p of Mann-Whitney's test on replicates' means (Wilcoxon's signed rank where paired)."),
    "p_rank_family": Column("double", "1", "`p_rank` x the number of rank tests that were possible in the family, at most 1."),
    "p_rank_smallest": Column("double", "1", "Smallest `p_rank` that so many replicates can give."),
    "p_roi": Column("double", "1", "Two-sided p of Mann-Whitney's test on ROIs as if independent: pseudo-replicated, never the verdict."),
    "p_roi_family": Column("double", "1", "`p_roi` x the number of tests on ROIs that were possible in the family, at most 1."),
    "n_family": Column("int64", "", "Tests on replicates' means that were possible in the family: descriptors x pairs of a channel."),
    "verdict": Column(
        "string",
        "",
        "`differs` (`p_family` < `compare.alpha`), `no difference shown`, `too few replicates` (below 2), `not testable` (replicates, or "
        "where paired their differences, don't vary).",
    ),
}

EMBEDDING_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store; `key`, `roi` and `channel` join this table to `rois`."),
    "field": Column("string", "", "Name of the field as people know it."),
    "condition": Column("string", "", "Condition compared: joint value of the columns in `compare.conditions`."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch, empty where none is given."),
    "channel": Column("uint8", "", "Channel embedded."),
    "roi": Column("int32", "", "Number of the ROI in its field, from 0."),
    "n_locs": Column("int64", "loc", "Locs embedded."),
    "kmeans": Column("int32", "", "Cluster of K-means among the ROIs compared with it, 0 = the largest; null where there is none."),
    "ward": Column("int32", "", "The same of Ward's method; null beyond `embeddings.max_rois`, which are drawn evenly over conditions."),
    "axis_1": Column("double", "1", "Position along the leading principal axis of the ROIs compared with it; null without a condition."),
    "map_x": Column("float", "1", "Place on the map (UMAP), for the eye only; null beyond `embeddings.map_rois`."),
    "map_y": Column("float", "1", "The same along y."),
    "embedding": Column("vector", "1", SCHEMA["embed"]["embedding"].text),
}
_OF_CHANNEL = "Channel; null where channels are part of the condition."
SCORE_COLUMNS: Final[Mapping[str, Column]] = {
    "channel": Column("uint8", "", _OF_CHANNEL),
    "label": Column("string", "", "What the groups are: `condition`, `condition without` the reference; for quality control others."),
    "representation": Column(
        "string",
        "",
        "`embedding`; to hold it against: `log N` (the number of locs alone), `descriptors` (z-scored), `random encoder` (the untrained "
        "network). `cell means` (of a cell's ROIs; `n_rois` counts cells), `cell means of all channels` (side by side).",
    ),
    "n_locs": Column("int64", "loc", "Locs each ROI was thinned to; 0 = all it has."),
    "measure": Column(
        "string",
        "",
        "`ARI k-means`, `ARI Ward`: adjusted Rand index of groups and clusters; `accuracy nearest`, `accuracy logistic`: of replicates "
        "left out whole; `inertia`: of `k` clusters of K-means over that of one, `elbow` in the note of the bend; `Spearman ROIs`, "
        "`Spearman replicates`: rank correlation, without its sign, of the leading principal axis with the order that the label names.",
    ),
    "value": Column("double", "1", "Mean over repeats; null where it is not possible, and `note` says why."),
    "low": Column(
        "double", "1", "Lower end of the 95 % interval: bootstrap over ROIs as if independent, for accuracies over replicates left out."
    ),
    "high": Column("double", "1", "Its upper end."),
    "repeats": Column("int64", "", "Density normalisations drawn; 1 where nothing was drawn."),
    "repeat_sd": Column("double", "1", "Standard deviation of the value among them."),
    "groups": Column("int64", "", "Number of groups."),
    "k": Column("int64", "", "Number of clusters; 0 where there are none."),
    "n_rois": Column("int64", "", "ROIs that entered."),
    "n_lost": Column("int64", "", "ROIs left out as they have fewer locs than `n_locs`."),
    "chance": Column("double", "1", "Value expected of a representation that knows nothing."),
    "note": Column("string", "", "Why there is no value, or what to know of it; empty = nothing."),
}
CLUSTER_COLUMNS: Final[Mapping[str, Column]] = {
    "channel": Column("uint8", "", _OF_CHANNEL),
    "cluster": Column("int64", "", "Cluster of K-means, counted from 0 by size, the largest first."),
    "condition": Column("string", "", "Condition."),
    "n": Column("int64", "", "ROIs of the condition in the cluster."),
    "n_cluster": Column("int64", "", "ROIs in the cluster."),
    "n_condition": Column("int64", "", "ROIs of the condition."),
    "entropy": Column(
        "double",
        "1",
        "Shannon entropy of the cluster's composition over the logarithm of the number of conditions: 0 = one condition, 1 = all alike; "
        "null with one condition.",
    ),
}
DISTANCE_COLUMNS: Final[Mapping[str, Column]] = {
    "channel": Column("uint8", "", _OF_CHANNEL),
    "condition": Column("string", "", "Condition."),
    "other": Column("string", "", "The other condition."),
    "distance": Column("double", "1", "Euclidean distance of the centroids (means over replicates' means)."),
    "low": Column(
        "double",
        "1",
        "Lower end of the 95 % interval of the true distance (bootstrap over replicates; what scatter alone adds is taken off); null with "
        "one replicate.",
    ),
    "high": Column("double", "1", "Its upper end."),
    "spread": Column("double", "1", "Mean distance of replicates' means from their own condition's centroid, of both; null with one each."),
    "within": Column("double", "1", "Root mean square distance of ROIs from their own condition's centroid, of both."),
}
FLAG_COLUMNS: Final[Mapping[str, Column]] = {
    "channel": Column("uint8", "", "Channel; null where it is about all."),
    "kind": Column("string", "", "About what: `density`, `replicate`, `batch`, `channel`, `format`, `label`, `order`, `few`, `range`."),
    "light": Column("string", "", "`green`, `amber`, `red`; `grey` where it could not be judged."),
    "text": Column("string", "", "What was found, what it means, what to do about it."),
}

_NUMPY_TO_ARROW = {"f4": "float", "f8": "double", "i4": "int32", "i8": "int64", "u1": "uint8"}
DESCRIPTOR_COLUMNS: Final[Mapping[str, Column]] = {
    name: Column(_NUMPY_TO_ARROW[spec.dtype], spec.unit, spec.text)
    for name, spec in ((name, SCHEMA["measure"][name]) for name in DESCRIPTORS)
}
_OF_CLUSTERS = "mean over the clusters whose centre lies in the ROI"
CLUSTER_MEASURES: Final[Mapping[str, Column]] = {
    "clusters_per_um2": Column(
        "double", "1/um2", "Clusters found by the stage `cluster` in the whole field whose centre lies in the ROI, per covered area."
    ),
    "clustered_share": Column("double", "1", "Share of the ROI's locs that are in such a cluster; NaN without locs."),
    "cluster_locs": Column("double", "1", f"Locs per cluster, {_OF_CLUSTERS}; NaN without clusters, as all that follow."),
    "cluster_gyration_nm": Column("double", "nm", f"Radius of gyration, {_OF_CLUSTERS}."),
    "cluster_hull_nm2": Column("double", "nm2", f"Area of the convex hull, {_OF_CLUSTERS} and that have one."),
    "cluster_eccentricity": Column("double", "1", f"Eccentricity (0 = round, towards 1 = a line), {_OF_CLUSTERS}."),
    "cluster_nearest_nm": Column("double", "nm", f"Distance to the nearest other cluster's centre in the field, {_OF_CLUSTERS}."),
    "cluster_molecules": Column("double", "1", f"Molecules (copy number), {_OF_CLUSTERS}; NaN without calibration."),
}  # of the stage `cluster`; DBSCAN's within a ROI are descriptors of `measure`
_OF_SCHEMA = {
    name: Column(_NUMPY_TO_ARROW[spec.dtype], spec.unit, spec.text) for name, spec in SCHEMA["cluster"].items() if spec.dims == ("cluster",)
}
FIELD_CLUSTER_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store; joins this table to `fields`."),
    "field": Column("string", "", "Name of the field as people know it."),
    "condition": Column("string", "", "Condition of the channel in this field."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch, empty where none is given."),
    "channel": Column("uint8", "", "Channel of the cluster."),
    "cluster": Column("int32", "", "Number of the cluster in its field: what the store's array `label` says of each loc."),
    "n_locs": _OF_SCHEMA["n_locs"],
    "x_nm": Column("double", "nm", "x of the centroid, absolute, in the source's frame."),
    "y_nm": Column("double", "nm", "y of the centroid, absolute, in the source's frame."),
    **{name: _OF_SCHEMA[name] for name in ("z_nm", "radius_of_gyration_nm", "area_nm2", "eccentricity")},
    "shape": Column("string", "", "Shape that most of its locs tell; null where the method or model tells none."),
    **{name: _OF_SCHEMA[name] for name in ("shape_share", "belonging_mean")},
    "parent": Column("int32", "", "Number (`cluster`) of the one that it is a part of; null where of none."),
    **{name: _OF_SCHEMA[name] for name in ("n_children", "nearest_nm", "n_molecules")},
    "roi": Column("int32", "", "Number of the kept ROI that holds its centroid; null where none does."),
}
PARTICLE_COLUMNS: Final[Mapping[str, Column]] = {
    "key": Column("string", "", "Folder of the field in the store."),
    "field": Column("string", "", "Name of the field as people know it."),
    "condition": Column("string", "", "Condition of the particle's channel."),
    "replicate": Column("string", "", "Replicate within the condition."),
    "batch": Column("string", "", "Batch, empty where none is given."),
    "channel": Column("uint8", "", "Channel."),
    "particle": Column("int32", "", "Number of the particle in its field's unit of the stage `pick`, from 0."),
    "cluster": Column("int32", "", "Its cluster: `key` and this join to `clusters`; null where it comes of none."),
    "group": Column("int32", "", "Its group in the file; null where it comes of none."),
    "pick": Column("int32", "", "Which centre of the file of centres it lies about, from 0; null where it comes of none."),
    "x_nm": Column("double", "nm", "Centre along x in the source's frame; not the mean of its locs (see `centre_by`)."),
    "y_nm": Column("double", "nm", "The same along y."),
    "z_nm": Column("double", "nm", "The same along z; null in 2D data."),
    "centre_by": Column("string", "", "`circle`, `sphere`: fitted to its locs; `area`: centroid of the hull; `given`: as the file says."),
    "n_locs": Column("int64", "loc", "Its own locs."),
    "n_points": Column("int64", "loc", "Locs kept of it: its own, and those in no cluster within the margin."),
    "radius_nm": Column("double", "nm", SCHEMA["pick"]["radius_nm"].text),
}
_COMPOUND = {
    "numbers": "list<double>",
    "counts": "map<string, int64>",
    "names": "map<string, string>",
    "integers": "list<int64>",
    "texts": "list<string>",
    "vector": "fixed_size_list<float>[features]",
}


def arrow_schema(columns: Mapping[str, Column], *, features: int = 0) -> "pa.Schema":
    """Columns as an Arrow schema; `features` is the length of vectors, where there are any."""
    import pyarrow as pa

    compound = {
        "counts": pa.map_(pa.string(), pa.int64()),
        "names": pa.map_(pa.string(), pa.string()),
        "integers": pa.list_(pa.int64()),
        "numbers": pa.list_(pa.float64()),
        "texts": pa.list_(pa.string()),
        "vector": pa.list_(pa.float32(), features),
    }
    return pa.schema([(name, compound.get(c.kind) or pa.type_for_alias(c.kind)) for name, c in columns.items()])


_HEAD = """# Columns of the tables

Generated from `smlmbatch/analyse/columns.py`; `python -m smlmbatch.analyse.columns` prints it.

All files are Parquet in `OUTPUT/tables`. A value that was not measured (a failed field, a dropped ROI) or is
undefined (where a meaning below says NaN) is null.
"""
_LABELS = "\nFurther columns of the sample sheet follow as strings, `label_<column>`, sorted by name.\n"


def table_of_columns() -> str:
    """The columns as a Markdown document: what `docs/tables.md` holds.

    >>> table_of_columns().splitlines()[0]
    '# Columns of the tables'
    """
    fields = _markdown("fields.parquet", "One row per field, in the order of `samples.csv`.", FIELD_COLUMNS)
    of_rois = {**ROI_COLUMNS, **DESCRIPTOR_COLUMNS, **CLUSTER_MEASURES}
    rois = _markdown("rois.parquet", "One row per ROI and channel, fields in the same order.", of_rois)
    checked = "One row per field, check and channel (one for a check of the whole field), fields in the same order."
    quality = _markdown("quality.parquet", checked, QUALITY_COLUMNS)
    compared = "One row per channel, pair of conditions and descriptor. `cluster_comparisons.parquet` has the same columns, of clusters."
    comparisons = _markdown("comparisons.parquet", compared, COMPARISON_COLUMNS)
    found = "One row per cluster that the stage `cluster` found, in the order of the store, fields in that of `fields`."
    clusters = _markdown("clusters.parquet", found, FIELD_CLUSTER_COLUMNS)
    picked = "One row per particle of the stage `pick`, fields in the same order."
    particles = _markdown("particles.parquet", picked, PARTICLE_COLUMNS)
    embedding = "".join(_markdown(f"{name}.parquet", rows, columns) for name, (rows, columns) in _EMBEDDING_TABLES.items())
    order = "".join(_markdown(f"{name}.parquet", rows, columns) for name, (rows, columns) in order_tables().items())
    return f"{_HEAD}{fields}{_LABELS}{rois}{clusters}{particles}{order}{quality}{comparisons}{embedding}"


def order_tables() -> "Mapping[str, tuple[str, Mapping[str, Column]]]":
    """Tables of particles in order: what a row is, and the columns."""
    from smlmbatch.analyse.order_columns import ORDER_AXIS_COLUMNS, ORDER_BIN_COLUMNS, ORDER_COLUMNS  # imports this module

    places = "A column for each latent unit and principal axis follows, `unit1`, `pc1` and so on: its place along it."
    compared = "`order_comparisons.parquet` has the columns of `comparisons`, with particles in place of ROIs."
    return {
        "order": (f"One row per particle in order, fields in that of `fields`. {places}", ORDER_COLUMNS),
        "order_bins": ("One row per direction and bin.", ORDER_BIN_COLUMNS),
        "order_axes": (f"One row per direction and quantity. {compared}", ORDER_AXIS_COLUMNS),
    }


_EMBEDDING_TABLES: Final[Mapping[str, tuple[str, Mapping[str, Column]]]] = {
    "embeddings": ("One row per embedded ROI and channel, in the order of `rois`.", EMBEDDING_COLUMNS),
    "embedding_scores": ("One row per channel, label, representation, number of locs and measure.", SCORE_COLUMNS),
    "embedding_clusters": ("One row per channel, cluster of K-means and condition.", CLUSTER_COLUMNS),
    "embedding_distances": ("One row per channel and pair of conditions.", DISTANCE_COLUMNS),
    "embedding_flags": ("One row per thing to know before the embedding is believed.", FLAG_COLUMNS),
}


def _markdown(file: str, rows: str, columns: Mapping[str, Column]) -> str:
    lines = ["", f"## {file}", "", rows, "", "| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {_COMPOUND.get(c.kind, c.kind)} | {c.unit} | {c.text} |" for name, c in columns.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table_of_columns())
