"""AnnData of the campaign's ROIs: every value, where it belongs. anndata's own reader is in test_other_readers."""

import json
import tomllib
from dataclasses import replace

import h5py
import numpy as np
import pyarrow.parquet
import pytest

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.digest import table_digest
from smlmbatch.campaign import load_plan
from smlmbatch.config import Config
from smlmbatch.export.h5ad import write_h5ad
from smlmbatch.work import Campaign, FieldResult
from tests.conftest import smlmbatch


def decoded(item):
    """An element of an h5ad file by its encoding: text and numbers as arrays, frames and dicts as dicts."""
    kind = item.attrs["encoding-type"]
    if kind == "categorical":
        categories = decoded(item["categories"])
        return np.array([None if code < 0 else categories[code] for code in item["codes"][()]], dtype=object)
    if isinstance(item, h5py.Group):
        return {name: decoded(item[name]) for name in item}
    value = item[()]
    if kind == "string":
        return value.decode()
    return np.array([text.decode() for text in value], dtype=object) if kind == "string-array" else value


@pytest.fixture(scope="module")
def exported(small_output, tmp_path_factory):
    target = tmp_path_factory.mktemp("h5ad")
    (line,) = smlmbatch("export", small_output, target, "--format", "h5ad").stdout.splitlines()
    assert line == str(target / "rois.h5ad")
    return target / "rois.h5ad"


@pytest.fixture(scope="module")
def table(small_output):
    rows = pyarrow.parquet.read_table(small_output / "tables" / "rois.parquet")
    return rows.filter(rows["kept"])


def test_x_holds_the_descriptors(exported, table):
    with h5py.File(exported) as file:
        x, names = file["X"][()], decoded(file["var"]["_index"]).tolist()
        assert (file.attrs["encoding-type"], file.attrs["encoding-version"]) == ("anndata", "0.1.0")
    assert names == list(DESCRIPTORS)
    assert x.dtype == np.float64
    expected = [[np.nan if value is None else value for value in table[name].to_pylist()] for name in DESCRIPTORS]
    assert np.array_equal(x, np.array(expected).T, equal_nan=True)
    assert np.isfinite(x).any()


def test_obs_says_where_each_row_comes_from(exported, table):
    with h5py.File(exported) as file:
        obs = decoded(file["obs"])
        order = list(file["obs"].attrs["column-order"])
        assert file["obs"].attrs["_index"] == "_index"
    assert set(order) == set(obs) - {"_index"}
    assert not {"kept", "reason", *DESCRIPTORS} & set(order)
    for name in set(order) & set(table.column_names):
        found = [None if isinstance(value, float) and np.isnan(value) else value for value in obs[name].tolist()]  # a figure not defined
        assert found == table[name].to_pylist(), name
    keys = [f"{key}/{roi}/{channel}" for key, roi, channel in zip(obs["key"], obs["roi"], obs["channel"], strict=True)]
    assert obs["_index"].tolist() == keys
    assert len(set(keys)) == len(keys) == table.num_rows


def test_places_are_centres_in_micrometres(exported, table):
    with h5py.File(exported) as file:
        centres = file["obsm/spatial"][()]
    corners = np.column_stack([table["x_nm"], table["y_nm"]])
    np.testing.assert_allclose(centres, (corners + 1500) / 1000, rtol=1e-12)


def test_uns_says_what_it_was_made_of(exported, small_output):
    with h5py.File(exported) as file:
        origin = decoded(file["uns/smlmbatch"])
    members = json.loads(smlmbatch("verify", small_output, "--json").stdout)["members"]
    assert origin["digest"] == members["tables/rois.parquet"] == table_digest(small_output / "tables" / "rois.parquet")
    assert tomllib.loads(origin["settings"])["tile"]["roi_nm"] == 3000.0
    assert origin["version"] == json.loads((small_output / "smlmbatch.json").read_text())["smlmbatch"]


def test_labels_of_the_sheet_are_columns(small_output, tmp_path):
    plan = load_plan(small_output)
    fields = [replace(field, labels=(("dye", "A647" if field.condition == "control" else ""),)) for field in plan.fields]
    campaign = Campaign(output=small_output, config=plan.config, fields=tuple(FieldResult(field=field, units={}) for field in fields))
    write_h5ad(small_output / "tables" / "rois.parquet", tmp_path / "rois.h5ad", campaign)
    with h5py.File(tmp_path / "rois.h5ad") as file:
        obs = decoded(file["obs"])
    assert {(c, d) for c, d in zip(obs["condition"], obs["label_dye"], strict=True)} == {("control", "A647"), ("treated", None)}


def test_the_same_campaign_gives_the_same_file(exported, small_output, tmp_path):
    smlmbatch("export", small_output, tmp_path, "--format", "h5ad")
    assert (tmp_path / "rois.h5ad").read_bytes() == exported.read_bytes()


def test_no_kept_roi_is_an_empty_file(small_output, table, tmp_path):
    pyarrow.parquet.write_table(table.slice(0, 0), tmp_path / "rois.parquet")
    write_h5ad(tmp_path / "rois.parquet", tmp_path / "rois.h5ad", Campaign(output=small_output, config=Config(), fields=()))
    with h5py.File(tmp_path / "rois.h5ad") as file:
        assert file["X"].shape == (0, len(DESCRIPTORS))
        assert decoded(file["obs"])["condition"].shape == (0,)
        assert file["obsm/spatial"].shape == (0, 2)
