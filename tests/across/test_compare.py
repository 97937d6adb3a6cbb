"""`smlmbatch compare` on real OUTPUTs: what it says, what it refuses, and that it writes into none of them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smlmbatch.across.stored import Making, Stored, check_alike
from smlmbatch.analyse.fingerprint import MADE_WITH_KEY
from smlmbatch.errors import EXIT_USAGE, InputError
from tests.conftest import smlmbatch


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model: the way through the pipeline is the same."""
    import torch

    from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
    from smlmbatch.methods.model import save_model

    folder = tmp_path_factory.mktemp("model") / "untrained"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = Contrastive().build(ContrastiveConfig())
    save_model(folder, Contrastive(), ContrastiveConfig(), network)
    return folder


@pytest.fixture(scope="module")
def campaigns(small_campaign, small_output, model, tmp_path_factory):
    """The small campaign embedded with that model, and a copy of it under another name."""
    folder = tmp_path_factory.mktemp("across")
    shutil.copytree(small_output, folder / "here")
    smlmbatch("run", small_campaign, folder / "here", "--model", model, "--update")
    shutil.copytree(folder / "here", folder / "there")
    return folder / "here", folder / "there"


def state(folder):
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_campaign_resembles_its_copy(campaigns, tmp_path):
    here, there = campaigns
    before = [state(folder) for folder in campaigns]
    found = json.loads(smlmbatch("compare", here, there, "--json", "--csv", tmp_path / "placed.csv").stdout)
    assert [state(folder) for folder in campaigns] == before
    assert found["made_with"]["model"] == "untrained"
    nearest = [row for row in found["placements"] if row["rank"] == 1]
    assert {row["scope"] for row in nearest} == {"condition", "field"}
    for row in nearest:
        if row["scope"] == "condition":
            assert (row["condition"], row["distance"], row["locs_ratio"]) == (row["name"], 0.0, 1.0)
            assert row["low"] in (0.0, None)
        else:
            assert row["low"] is None
    assert len((tmp_path / "placed.csv").read_text().splitlines()) == len(found["placements"]) + 1
    text = smlmbatch("compare", here, there).stdout
    assert "control in there" in text
    assert text.startswith("model untrained (")


@pytest.mark.parametrize("name", ["model_sha256", "turned", "n_locs", "device"])
def test_what_was_made_otherwise_is_refused(name):
    made = Making(model="a", model_sha256="0" * 64, turned=True, n_locs=0, device="cpu")
    names, numbers = np.array(["x"], dtype=object), np.array([1])
    rois = {"field": names, "condition": names, "replicate": names, "channel": numbers, "n_locs": numbers, "vectors": np.zeros((1, 2))}
    one = Stored(name="one", making=made, **rois)
    check_alike(one, replace(one, making=replace(made, model="called otherwise")))
    other = {"model_sha256": "1" * 64, "turned": False, "n_locs": 900, "device": "cuda"}[name]
    with pytest.raises(InputError, match=f"embedded with {name} = ") as error:
        check_alike(one, replace(one, name="two", making=replace(made, **{name: other})))
    assert error.value.path == "two"
    assert "[embed]" in error.value.mend


def unsaid(output):
    """A campaign's embeddings that name a model, and no more of it."""
    table = pq.ParquetFile(output / "tables" / "embeddings.parquet").read()
    return table.replace_schema_metadata({MADE_WITH_KEY: b'{"model": "contrastive"}'})


def test_what_can_not_be_compared_is_refused(small_campaign, campaigns, tmp_path):
    here, there = campaigns
    (tmp_path / "link").symlink_to(here)
    shutil.copytree(there, tmp_path / "none")
    smlmbatch("run", small_campaign, tmp_path / "none", "--model", "none", "--update")
    shutil.copytree(there, tmp_path / "gone")
    (tmp_path / "gone" / "tables" / "embeddings.parquet").unlink()
    shutil.copytree(there, tmp_path / "damaged")
    (tmp_path / "damaged" / "tables" / "embeddings.parquet").write_bytes(b"PAR1 and nothing")
    (tmp_path / "empty").mkdir()
    for name, table in (("foreign", pa.table({"key": ["a"]})), ("unsaid", unsaid(there))):
        (tmp_path / name / "tables").mkdir(parents=True)
        pq.write_table(table, tmp_path / name / "tables" / "embeddings.parquet")
    (tmp_path / "file").write_text("no folder")
    for arguments, says in [
        ((here, here), "is named twice"),
        ((here, tmp_path / "link"), "is named twice"),
        ((here, there, there), "is named twice"),
        ((here, tmp_path / "none"), "has no embeddings: No embedding was wanted"),
        ((tmp_path / "none", here), "has no embeddings"),
        ((here, tmp_path / "gone"), "embeddings.parquet: is not there"),
        ((here, tmp_path / "damaged"), "can't be read as Parquet"),
        ((here, tmp_path / "empty"), "embeddings.parquet: is not there"),
        ((here, tmp_path / "file"), "embeddings.parquet: is not there"),
        ((here, tmp_path / "foreign"), "embeddings.parquet: has no column field"),
        ((here, tmp_path / "unsaid"), "doesn't say with which model_sha256 it was made"),
        ((here, there, "--csv", tmp_path), "is a folder; name a file"),
        ((here, there, "--csv", there / "placed.csv"), "lies in a campaign's folder"),
        ((here,), "Missing argument 'OTHER...'"),
    ]:
        told = smlmbatch("compare", *arguments, expect=EXIT_USAGE)
        assert says in told.stderr, arguments
        assert told.stdout == ""
    assert not (there / "placed.csv").exists()
