"""The embedding of ROIs as exports carry it: from `embeddings.parquet`, row for row beside another table's rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.fingerprint import EMBEDDING_NAMES, MADE_WITH_KEY, UMAP_KEY

_VECTORS, _MAP = "X_smlmbatch", "X_umap"
_CLUSTERS: Final = ("kmeans", "ward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Of every row asked for: arrays named as scanpy looks for them (f4 with NaN), names of clusters (None = none); and the model's name
    and sha256, as `model` and `model_sha256`."""

    places: Mapping[str, NDArray[np.float32]]
    clusters: Mapping[str, list[str | None]]
    model: dict[str, str]


def read_embedded(rois: Path, rows: Sequence[str]) -> Embedded | None:
    """What the table beside `rois` says of these rows; None where no ROI was embedded.

    Parameters
    ----------
    rois : the table of ROIs
    rows : `<field key>/<roi>/<channel>` of the rows wanted, in order
    """
    from pyarrow import parquet

    path = rois.with_name(f"{EMBEDDING_NAMES[0]}.parquet")
    if not path.is_file():
        return None
    with parquet.ParquetFile(path) as file:
        if not file.metadata.num_rows:
            return None
        metadata = file.schema_arrow.metadata or {}
        made, drawn = json.loads(metadata.get(MADE_WITH_KEY, b"{}")), json.loads(metadata.get(UMAP_KEY, b"[]"))
        keys = file.read(columns=["key", "roi", "channel"]).to_pydict()
        number = {name: i for i, name in enumerate(rows)}
        here = np.array([number[f"{key}/{roi}/{channel}"] for key, roi, channel in zip(*keys.values(), strict=True)], dtype=np.intp)
        clusters = {name: _spread(file.read(columns=[name]).column(0).to_pylist(), here, len(rows)) for name in _CLUSTERS}
        places = {}
        if drawn:
            at = file.read(columns=["map_x", "map_y"])
            mine = np.ones(len(here), dtype=bool) if None in drawn else np.isin(keys["channel"], drawn)
            places[_MAP] = np.where(mine[:, None], np.column_stack([at[name].to_numpy() for name in ("map_x", "map_y")]), np.nan)
        values = file.read(columns=["embedding"]).column(0).combine_chunks()
        places[_VECTORS] = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
    return Embedded(
        places={name: _filled(own, here, len(rows)) for name, own in places.items()},
        clusters=clusters,
        model={name: str(made.get(name, "")) for name in ("model", "model_sha256")},
    )


def _spread(values: Sequence[int | None], here: NDArray[np.intp], n: int) -> list[str | None]:
    names: list[str | None] = [None] * n
    for place, value in zip(here.tolist(), values, strict=True):
        names[place] = None if value is None else str(value)
    return names


def _filled(values: NDArray[np.floating], here: NDArray[np.intp], n: int) -> NDArray[np.float32]:
    filled = np.full((n, values.shape[1]), np.nan, dtype=np.float32)
    filled[here] = values
    return filled
