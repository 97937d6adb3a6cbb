"""Made-up embeddings of made-up campaigns: units of the stage `embed` and the five tables, as the analysis writes them.

Vectors are clouds about a centre of each condition; the figures of agreement are set by hand, so tests know what pages must say.
"""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smlmbatch.analyse.columns import CLUSTER_COLUMNS, DISTANCE_COLUMNS, EMBEDDING_COLUMNS, FLAG_COLUMNS, SCORE_COLUMNS, arrow_schema
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.results import EmbeddingCluster, EmbeddingDistance, EmbeddingFlag, EmbeddingScore
from smlmbatch.store.arrays import UnitReader, unit_writer

FEATURES = 16
COLUMNS = {
    "embedding_scores": SCORE_COLUMNS,
    "embedding_clusters": CLUSTER_COLUMNS,
    "embedding_distances": DISTANCE_COLUMNS,
    "embedding_flags": FLAG_COLUMNS,
}


def with_units(campaign, *, model="contrastive", why_none="", n_skipped=0, n_beyond=0):
    """The campaign with a unit of stage `embed` for each of its fields, two clouds apart."""
    conditions = sorted({result.field.condition for result in campaign.fields})
    results = []
    for number, result in enumerate(campaign.fields):
        if "tile" not in result.units:
            results.append(result)
            continue
        path = result.units["tile"].with_name("embed-0.zarr.zip")
        path.unlink(missing_ok=True)
        rng = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(number,)))
        with UnitReader(result.units["measure"]) as measure:
            roi, channel, n_locs = (measure.read(name) for name in ("roi", "channel", "n_locs"))
            channels = sorted(set(channel.tolist()))
        centre = 4.0 * np.eye(FEATURES)[conditions.index(result.field.condition) % FEATURES]
        vectors = centre + rng.normal(size=(len(roi), FEATURES)) + 0.3 * rng.normal(size=FEATURES)
        some = slice(None) if model else slice(0)
        with unit_writer(path, "embed") as out:
            out.write("roi", roi[some])
            out.write("channel", channel[some])
            out.write("n_locs", n_locs[some])
            out.write("embedding", vectors[some])
            out.attrs = {
                "model": model,
                "model_sha256": "5ee7" * 16 if model else "",
                "why_none": why_none,
                "side_px": 64,
                "pixel_nm": 3000 / 64,
                "features": FEATURES,
                "turned": True,
                "n_locs": 0,
                "device": "cpu",
                "channels": channels,
                "n_skipped": [n_skipped] * len(channels),
                "n_beyond": [n_beyond] * len(channels),
            }
        results.append(replace(result, units={**result.units, "embed": path}))
    return replace(campaign, fields=tuple(results))


def write_tables(campaign, *, scores=None, flags=(), clusters=None, map_rois=10**9):
    """The tables of a campaign `with_units`; `scores` are (representation, n_locs, measure, value, low, high, chance)."""
    rows = _rows(campaign, map_rois)
    found = {name: [] for name in COLUMNS}
    for channel in sorted({row["channel"] for row in rows}):
        own = [row for row in rows if row["channel"] == channel]
        names = sorted({row["condition"] for row in own})
        found["embedding_scores"] += [_score(channel, len(own), len(names), *one) for one in (SCORES if scores is None else scores)]
        found["embedding_scores"] += _inertia(channel, len(own), len(names))
        found["embedding_clusters"] += clusters or _clusters(channel, own)
        found["embedding_distances"] += _distances(channel, own, names)
    found["embedding_flags"] = list(flags)
    (campaign.output / "tables").mkdir(exist_ok=True)
    schema = arrow_schema(EMBEDDING_COLUMNS, features=FEATURES)
    pq.write_table(pa.Table.from_pylist(rows, schema), table_path(campaign.output, "embeddings"))
    for name, columns in COLUMNS.items():
        cells = [{key: _null(value) for key, value in dataclasses.asdict(record).items()} for record in found[name]]
        pq.write_table(pa.Table.from_pylist(cells, arrow_schema(columns)), table_path(campaign.output, name))


def flag(light, text, *, kind="replicate", channel=0):
    return EmbeddingFlag(channel=channel, kind=kind, light=light, text=text)


def _null(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def _rows(campaign, map_rois):
    rows = []
    conditions = sorted({result.field.condition for result in campaign.fields})
    for result in campaign.fields:
        if "embed" not in result.units:
            continue
        field = result.field
        with UnitReader(result.units["embed"]) as unit:
            for roi, channel, n_locs, vector in zip(*(unit.read(name) for name in ("roi", "channel", "n_locs", "embedding")), strict=True):
                on_map = len(rows) < map_rois
                number = conditions.index(field.condition)
                rows.append(
                    {
                        **{name: getattr(field, name) for name in ("key", "condition", "replicate", "batch")},
                        "field": field.name,
                        "channel": int(channel),
                        "roi": int(roi),
                        "n_locs": int(n_locs),
                        "kmeans": number,
                        "ward": number,
                        "map_x": 5 * math.cos(number) + float(vector[-1]) if on_map else None,
                        "map_y": 5 * math.sin(number) + float(vector[-2]) if on_map else None,
                        "axis_1": float(number) + 0.3 * float(vector[-1]),
                        "embedding": vector.tolist(),
                    }
                )
    return rows


SCORES = (
    ("embedding", 0, "ARI k-means", 0.82, 0.75, 0.9, 0.0),
    ("embedding", 0, "ARI Ward", 0.8, 0.71, 0.88, 0.0),
    ("log N", 0, "ARI k-means", 0.21, 0.12, 0.3, 0.0),
    ("descriptors", 0, "ARI k-means", 0.55, 0.46, 0.63, 0.0),
    ("random encoder", 0, "ARI k-means", 0.3, 0.2, 0.39, 0.0),
    ("embedding", 100, "ARI k-means", 0.71, 0.62, 0.8, 0.0),
    ("log N", 100, "ARI k-means", 0.0, -0.01, 0.01, 0.0),
    ("descriptors", 100, "ARI k-means", 0.4, 0.3, 0.5, 0.0),
    ("embedding", 0, "accuracy nearest", 0.91, 0.8, 0.98, 0.5),
    ("embedding", 0, "accuracy logistic", 0.93, 0.82, 0.98, 0.5),
    ("log N", 0, "accuracy nearest", 0.6, 0.5, 0.7, 0.5),
)


def _score(channel, n_rois, groups, representation, n_locs, measure, value, low, high, chance, note=""):
    return EmbeddingScore(
        channel=channel,
        label="condition",
        representation=representation,
        n_locs=n_locs,
        measure=measure,
        value=value,
        low=low,
        high=high,
        repeats=20 if n_locs else 0,
        repeat_sd=0.02 if n_locs else math.nan,
        groups=groups,
        k=groups,
        n_rois=n_rois - (5 if n_locs else 0),
        n_lost=5 if n_locs else 0,
        chance=chance,
        note=note,
    )


def _inertia(channel, n_rois, groups):
    values = [0.15 + 0.85 / k**2 for k in range(1, 11)]
    made = [_score(channel, n_rois, groups, "embedding", 0, "inertia", v, math.nan, math.nan, math.nan) for v in values]
    return [replace(score, k=k, note="elbow" if k == groups else "") for k, score in enumerate(made, start=1)]


def _clusters(channel, rows):
    names = sorted({row["condition"] for row in rows})
    found = []
    for cluster in sorted({row["kmeans"] for row in rows}):
        members = [row["condition"] for row in rows if row["kmeans"] == cluster]
        shares = [members.count(name) / len(members) for name in names]
        entropy = -sum(p * math.log(p) for p in shares if p) / math.log(len(names)) if len(names) > 1 else math.nan
        for name in names:
            n_condition = sum(row["condition"] == name for row in rows)
            n = members.count(name)
            found.append(
                EmbeddingCluster(
                    channel=channel, cluster=cluster, condition=name, n=n, n_cluster=len(members), n_condition=n_condition, entropy=entropy
                )
            )
    return found


def _distances(channel, rows, names):
    centres = {name: np.mean([row["embedding"] for row in rows if row["condition"] == name], axis=0) for name in names}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return [
        EmbeddingDistance(
            channel=channel,
            condition=a,
            other=b,
            distance=(d := float(np.linalg.norm(centres[a] - centres[b]))),
            low=0.9 * d,
            high=1.15 * d,
            spread=1.1,
            within=3.9,
        )
        for a, b in pairs
    ]
