"""Embeddings in exports: beside the right ROIs, NaN where there are none, and the same numbers again."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from smlmbatch.analyse.columns import EMBEDDING_COLUMNS, arrow_schema
from smlmbatch.analyse.fingerprint import MADE_WITH_KEY, UMAP_KEY
from smlmbatch.campaign import load_plan
from smlmbatch.export.h5ad import write_h5ad
from smlmbatch.export.tables import write_table_csv
from smlmbatch.work import Campaign, FieldResult

FEATURES = 5


@pytest.fixture
def embedded(small_output, tmp_path):
    """(table of ROIs, table of embeddings in another order with a ROI missing, campaign)."""
    rois = pyarrow.parquet.read_table(small_output / "tables" / "rois.parquet")
    pyarrow.parquet.write_table(rois, tmp_path / "rois.parquet")
    kept = rois.filter(rois["kept"]).to_pylist()
    rng = np.random.default_rng(0)
    rows = [
        {name: row[name] for name in ("key", "field", "condition", "replicate", "batch", "channel", "roi", "n_locs")}
        | {"kmeans": i % 3, "ward": None if i == 1 else 0, "map_x": None if i == 2 else float(i), "map_y": float(-i)}
        | {"embedding": rng.normal(size=FEATURES).astype(np.float32).tolist()}
        for i, row in enumerate(kept[1:])
    ]
    made = json.dumps({"model": "contrastive", "model_sha256": "ab" * 32}).encode()
    schema = arrow_schema(EMBEDDING_COLUMNS, features=FEATURES).with_metadata({MADE_WITH_KEY: made, UMAP_KEY: b"[0]"})
    table = pa.Table.from_pylist(rows[::-1], schema=schema)
    pyarrow.parquet.write_table(table, tmp_path / "embeddings.parquet")
    plan = load_plan(small_output)
    fields = [FieldResult(field=field, units={}) for field in plan.fields]
    return kept, rows, Campaign(output=tmp_path, config=plan.config, fields=tuple(fields))


def test_anndata_carries_vectors_map_clusters_and_model(embedded, tmp_path):
    kept, rows, campaign = embedded
    write_h5ad(tmp_path / "rois.parquet", tmp_path / "rois.h5ad", campaign)
    with h5py.File(tmp_path / "rois.h5ad") as file:
        vectors, at = file["obsm/X_smlmbatch"][()], file["obsm/X_umap"][()]
        clusters = {name: (file[f"obs/{name}/codes"][()], file[f"obs/{name}/categories"].asstr()[()]) for name in ("kmeans", "ward")}
        assert file["obs/kmeans"].attrs["encoding-type"] == "categorical"
        assert {"kmeans", "ward"} <= set(file["obs"].attrs["column-order"])
        assert (file["uns/smlmbatch/model"].asstr()[()], file["uns/smlmbatch/model_sha256"].asstr()[()]) == ("contrastive", "ab" * 32)
    assert vectors.dtype == at.dtype == np.float32
    assert np.isnan(vectors[0]).all()
    assert np.array_equal(vectors[1:], np.array([row["embedding"] for row in rows], dtype=np.float32))
    expected = [[np.nan if row["map_x"] is None else row["map_x"], row["map_y"]] for row in rows]
    assert np.array_equal(at[1:], np.array(expected, dtype=np.float32), equal_nan=True)
    codes, categories = clusters["kmeans"]
    assert codes[0] == -1
    assert [categories[code] for code in codes[1:]] == [str(row["kmeans"]) for row in rows]
    assert clusters["ward"][0].tolist() == [-1, 0, -1, *([0] * (len(kept) - 3))]


@pytest.mark.parametrize(("drawn", "n"), [("[]", None), ("[1]", 0), ("[null]", "all"), ("[0, 1]", "all")])
def test_principal_axes_are_not_called_umap(embedded, tmp_path, drawn, n):
    _, rows, campaign = embedded
    table = pyarrow.parquet.read_table(tmp_path / "embeddings.parquet")
    metadata = table.schema.metadata | {UMAP_KEY: drawn.encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "embeddings.parquet")
    write_h5ad(tmp_path / "rois.parquet", tmp_path / "rois.h5ad", campaign)
    with h5py.File(tmp_path / "rois.h5ad") as file:
        assert ("X_umap" in file["obsm"]) == (n is not None)
        if n is not None:
            assert np.isfinite(file["obsm/X_umap"][:, 1]).sum() == (len(rows) if n == "all" else n)


def test_a_campaign_without_embeddings_has_none(embedded, tmp_path):
    _, _, campaign = embedded
    table = pyarrow.parquet.read_table(tmp_path / "embeddings.parquet")
    for spoil in (lambda path: pyarrow.parquet.write_table(table.slice(0, 0), path), lambda path: path.unlink()):
        spoil(tmp_path / "embeddings.parquet")
        write_h5ad(tmp_path / "rois.parquet", tmp_path / "rois.h5ad", campaign)
        with h5py.File(tmp_path / "rois.h5ad") as file:
            assert set(file["obsm"]) == {"spatial"}
            assert "kmeans" not in file["obs"]
            assert "model" not in file["uns/smlmbatch"]


def test_csv_holds_every_number_again(embedded, tmp_path):
    _, rows, _ = embedded
    write_table_csv(tmp_path / "embeddings.parquet", tmp_path / "embeddings.csv")
    cells = pyarrow.csv.read_csv(tmp_path / "embeddings.csv")["embedding"].to_pylist()
    again = np.array([json.loads(cell) for cell in cells]).astype(np.float32)
    assert np.array_equal(again[::-1], np.array([row["embedding"] for row in rows], dtype=np.float32))
    assert max(map(len, cells)) < FEATURES * 16
