"""Tables of campaigns drawn at the level of ROI values: what tests of statistics know the truth of."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from smlmbatch.analyse.columns import DESCRIPTOR_COLUMNS, ROI_COLUMNS, arrow_schema

ROWS = arrow_schema({**ROI_COLUMNS, **DESCRIPTOR_COLUMNS})
MANY = 1000  # locs a ROI: every descriptor counts


def tables(rows: Sequence[Mapping[str, object]], labels: Mapping[str, Mapping[str, str]] | None = None) -> tuple[pa.Table, pa.Table]:
    """(rois, fields); a row needs `condition` and descriptors, and is of a field (`key`) of its replicate unless it says so.

    Parameters
    ----------
    labels : key → label → value
    """
    filled = [{"channel": 0, "kept": True, "n_locs": MANY, "batch": "", "replicate": "1"} | dict(row) for row in rows]
    filled = [{"key": f"{row['condition']}/{row['replicate']}"} | row for row in filled]
    keys = sorted({str(row["key"]) for row in filled})
    names = sorted({f"label_{name}" for own in (labels or {}).values() for name in own})
    columns = {name: [(labels or {}).get(key, {}).get(name.removeprefix("label_"), "") for key in keys] for name in names}
    first = {row["key"]: row for row in reversed(filled)}
    columns |= {name: pa.array([first[key][name] for key in keys], pa.string()) for name in ("condition", "replicate")}
    fields = pa.table({"key": pa.array(keys, pa.string()), "status": pa.array(["ok"] * len(keys), pa.string()), **columns})
    return pa.Table.from_pylist(filled, schema=ROWS), fields


def nested(rng: np.random.Generator, means: np.ndarray, *, rois: int, noise: float) -> np.ndarray:
    """(replicates, rois) values of ROIs that scatter about their replicate's mean."""
    return means[:, None] + noise * rng.standard_normal((len(means), rois))


def campaign(values: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[pa.Table, pa.Table]:
    """Tables of condition → descriptor → (replicates, rois) values."""
    shape = {name: next(iter(own.values())).shape for name, own in values.items()}
    columns: dict[str, list[object]] = {name: [] for name in ROWS.names}
    for condition, (replicates, rois) in shape.items():
        n = replicates * rois
        names = np.repeat([f"{condition}{r}" for r in range(replicates)], rois).tolist()
        own = {"key": names, "replicate": names, "condition": [condition] * n, "channel": [0] * n, "kept": [True] * n, "n_locs": [MANY] * n}
        own |= {name: array.ravel().tolist() for name, array in values[condition].items()}
        for name, column in columns.items():
            column.extend(own.get(name, [None] * n))
    own = dict(zip(columns["key"], columns["condition"], strict=True))
    keys = sorted(own)
    fields = {"key": keys, "status": ["ok"] * len(keys), "condition": [own[key] for key in keys], "replicate": keys}
    return pa.table(columns, schema=ROWS), pa.table(fields)
