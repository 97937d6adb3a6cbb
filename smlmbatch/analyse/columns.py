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
    "n": Column("int64", "loc", "Rows that are valid locs."),
    "n_dropped": Column("int64", "row", "Rows dropped as no valid loc; `n_read` - `n`."),
    "dropped": Column("counts", "row", "Reason to number of rows dropped for it."),
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

_NUMPY_TO_ARROW = {"f4": "float", "f8": "double", "i4": "int32", "i8": "int64", "u1": "uint8"}
DESCRIPTOR_COLUMNS: Final[Mapping[str, Column]] = {
    name: Column(_NUMPY_TO_ARROW[spec.dtype], spec.unit, spec.text)
    for name, spec in ((name, SCHEMA["measure"][name]) for name in DESCRIPTORS)
}
_COMPOUND = {
    "counts": "map<string, int64>",
    "names": "map<string, string>",
    "integers": "list<int64>",
    "texts": "list<string>",
}


def arrow_schema(columns: Mapping[str, Column]) -> "pa.Schema":
    """Columns as an Arrow schema."""
    import pyarrow as pa

    compound = {
        "counts": pa.map_(pa.string(), pa.int64()),
        "names": pa.map_(pa.string(), pa.string()),
        "integers": pa.list_(pa.int64()),
        "texts": pa.list_(pa.string()),
    }
    return pa.schema([(name, compound.get(c.kind) or pa.type_for_alias(c.kind)) for name, c in columns.items()])


_HEAD = """# Columns of the tables

Generated from `smlmbatch/analyse/columns.py`; `python -m smlmbatch.analyse.columns` prints it.

Both files are Parquet in `OUTPUT/tables`. A value that was not measured (a failed field, a dropped ROI) or is
undefined (where a meaning below says NaN) is null.
"""
_LABELS = "\nFurther columns of the sample sheet follow as strings, `label_<column>`, sorted by name.\n"


def table_of_columns() -> str:
    """The columns as a Markdown document: what `docs/tables.md` holds.

    >>> table_of_columns().splitlines()[0]
    '# Columns of the tables'
    """
    fields = _markdown("fields.parquet", "One row per field, in the order of `samples.csv`.", FIELD_COLUMNS)
    rois = _markdown("rois.parquet", "One row per ROI and channel, fields in the same order.", {**ROI_COLUMNS, **DESCRIPTOR_COLUMNS})
    return f"{_HEAD}{fields}{_LABELS}{rois}"


def _markdown(file: str, rows: str, columns: Mapping[str, Column]) -> str:
    lines = ["", f"## {file}", "", rows, "", "| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {_COMPOUND.get(c.kind, c.kind)} | {c.unit} | {c.text} |" for name, c in columns.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table_of_columns())
