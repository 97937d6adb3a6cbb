"""AnnData of the campaign's kept ROIs: one row per ROI and channel, one column per descriptor.

    X       descriptors, float64; NaN where one is undefined        var    unit and meaning of each
    obs     where each row comes from, labels of the sample sheet   obsm   "spatial": centres of the ROIs, um
    uns     "smlmbatch": version, settings, digest of the table that it was made of (as `verify --list` prints it)

Where ROIs were embedded, also obsm "X_smlmbatch" (float32) and "X_umap" (the map; not where too few ROIs had principal axes instead),
NaN for a ROI without; in obs their clusters `kmeans` and `ward`; in uns the model's name and sha256. Unless channels are compared with each
other, each has a map and clusters of its own: look at one channel at a time.

Written by the on-disk specification of AnnData (its encoding types and versions) with h5py: anndata itself would bring
pandas. Text is categorical, as anndata makes it of strings that repeat; what is null has the code -1. Columns are read one
at a time, so memory is that of X and one column.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import smlmbatch
from smlmbatch.analyse.columns import DESCRIPTOR_COLUMNS, DESCRIPTORS
from smlmbatch.analyse.digest import table_digest
from smlmbatch.analyse.tables import legible
from smlmbatch.config import to_toml
from smlmbatch.export.embedded import read_embedded
from smlmbatch.store.units import appears_whole
from smlmbatch.work import Campaign

if TYPE_CHECKING:
    import h5py
    import pyarrow as pa

# Constant in what is exported, or in X.
_LEFT_OUT: Final = ("kept", "reason", *DESCRIPTORS)
_LABEL: Final = "label_"
_NM_PER_UM: Final = 1000.0
# Encoding type → version; anndata's specification of the on-disk format.
_VERSIONS: Final = {
    "anndata": "0.1.0",
    "dict": "0.1.0",
    "array": "0.2.0",
    "string-array": "0.2.0",
    "categorical": "0.2.0",
    "dataframe": "0.2.0",
    "string": "0.2.0",
}


def write_h5ad(source: Path, path: Path, campaign: Campaign) -> None:
    """The table of ROIs at `source` as AnnData.

    Raises
    ------
    OSError, pyarrow.ArrowException
        the table is damaged
    """
    import h5py
    from pyarrow import parquet

    with parquet.ParquetFile(source) as table, appears_whole(path) as partial, h5py.File(partial, "w") as file:
        rows = _Rows(table)
        names = _row_names(rows)
        embedded = read_embedded(source, names)
        _mark(file, "anndata")
        _write_array(file, "X", np.column_stack([rows.numbers(name) for name in DESCRIPTORS]))
        clusters = {name: _codes(values) for name, values in embedded.clusters.items()} if embedded else {}
        _write_frame(file, "obs", names, _observations(rows, campaign) | clusters)
        meanings = {"unit": [DESCRIPTOR_COLUMNS[name].unit for name in DESCRIPTORS]}
        meanings |= {"meaning": [DESCRIPTOR_COLUMNS[name].text for name in DESCRIPTORS]}
        _write_frame(file, "var", list(DESCRIPTORS), {name: _codes(values) for name, values in meanings.items()})
        corners_nm = np.column_stack([rows.numbers(name) + rows.numbers("side_nm") / 2 for name in ("x_nm", "y_nm")])
        places = _group(file, "obsm")
        _write_array(places, "spatial", corners_nm / _NM_PER_UM)
        for name, values in (embedded.places if embedded else {}).items():
            _write_array(places, name, values)
        origin = _group(_group(file, "uns"), "smlmbatch")
        for name, text in (_origin(source, campaign) | (embedded.model if embedded else {})).items():
            _write_text(origin, name, text)
        for name in ("layers", "varm", "obsp", "varp"):
            _group(file, name)


class _Rows:
    """Kept rows of the table of ROIs, column by column."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._kept = np.flatnonzero(np.asarray(self._column("kept")))
        self.names = tuple(table.schema_arrow.names)

    def _column(self, name: str) -> "pa.ChunkedArray":
        return self._table.read(columns=[name]).column(0)

    def numbers(self, name: str) -> NDArray[Any]:
        """Numbers as they are; floats, with NaN for null, where some are missing."""
        values = self._column(name).take(self._kept)
        return np.asarray(values.cast("float64") if values.null_count or name in DESCRIPTORS else values)

    def texts(self, name: str) -> list[str | None]:
        return list(self._column(name).take(self._kept).to_pylist())

    def is_text(self, name: str) -> bool:
        return str(self._table.schema_arrow.field(name).type) == "string"


def _row_names(rows: _Rows) -> list[str]:
    parts = (rows.texts("key"), rows.numbers("roi").tolist(), rows.numbers("channel").tolist())
    return [f"{key}/{roi}/{channel}" for key, roi, channel in zip(*parts, strict=True)]


def _observations(rows: _Rows, campaign: Campaign) -> dict[str, Any]:
    """Column → numbers, or (codes, categories) of text."""
    columns: dict[str, Any] = {}
    for name in (name for name in rows.names if name not in _LEFT_OUT):
        columns[name] = _codes(rows.texts(name)) if rows.is_text(name) else rows.numbers(name)
    labels = {result.field.key: dict(result.field.labels) for result in campaign.fields}
    keys = rows.texts("key")
    for name in sorted({name for own in labels.values() for name in own}):
        columns[_LABEL + legible(name).replace("/", "_")] = _codes([legible(labels[key or ""].get(name, "")) or None for key in keys])
    return columns


def _codes(values: Sequence[str | None]) -> tuple[NDArray[np.int32], list[str]]:
    categories = sorted({value for value in values if value is not None})
    number = {value: i for i, value in enumerate(categories)}
    return np.array([-1 if value is None else number[value] for value in values], dtype=np.int32), categories


def _origin(source: Path, campaign: Campaign) -> dict[str, str]:
    return {"version": smlmbatch.__version__, "settings": to_toml(campaign.config), "digest": table_digest(source)}


# ---- anndata's encodings


def _mark(item: Any, kind: str, **attributes: Any) -> None:
    item.attrs.update({"encoding-type": kind, "encoding-version": _VERSIONS[kind], **attributes})


def _group(parent: "h5py.Group", name: str) -> "h5py.Group":
    group = parent.create_group(name)
    _mark(group, "dict")
    return group


def _write_array(parent: "h5py.Group", name: str, values: NDArray[Any]) -> None:
    _mark(parent.create_dataset(name, data=values), "array")


def _write_texts(parent: "h5py.Group", name: str, values: list[str]) -> None:
    import h5py

    _mark(parent.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype()), "string-array")


def _write_text(parent: "h5py.Group", name: str, value: str) -> None:
    import h5py

    _mark(parent.create_dataset(name, data=value, dtype=h5py.string_dtype()), "string")


def _write_frame(parent: "h5py.Group", name: str, index: list[str], columns: Mapping[str, Any]) -> None:
    import h5py

    frame = parent.create_group(name)
    order = np.array(list(columns), dtype=h5py.string_dtype())
    _mark(frame, "dataframe", **{"_index": "_index", "column-order": order})
    _write_texts(frame, "_index", index)
    for column, values in columns.items():
        if not isinstance(values, tuple):
            _write_array(frame, column, values)
            continue
        codes, categories = values
        group = frame.create_group(column)
        _mark(group, "categorical", ordered=False)
        _write_array(group, "codes", codes)
        _write_texts(group, "categories", categories)
