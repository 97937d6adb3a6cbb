"""The tables of embeddings at a campaign's end: made once, made again only where something they rest on changed, part of the digest."""

import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.digest import table_digest
from smlmbatch.analyse.fingerprint import EMBEDDING_NAMES, table_path
from smlmbatch.campaign import load_plan
from smlmbatch.upkeep import verify_campaign
from tests.in_process import call

MADE, TABLES = "regions compared", "tables   "


@pytest.fixture(scope="module")
def output(small_campaign, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "out"
    call("run", small_campaign, output)
    return output


def digests(output):
    return {name: table_digest(table_path(output, name)) for name in EMBEDDING_NAMES}


def run(small_campaign, output, *options):
    """Which tables a run made again."""
    _, talk = call("run", small_campaign, output, *options)
    return [name for name, line in (("tables", TABLES), ("embeddings", MADE)) if any(line in one for one in talk.splitlines())]


def test_tables_are_members_of_the_digest_set(output):
    verdict = verify_campaign(load_plan(output))
    assert not verdict.damaged
    assert {f"tables/{name}.parquet" for name in EMBEDDING_NAMES} <= set(verdict.members)


def test_embeddings_are_those_of_the_kept_rois(output):
    rois = pq.ParquetFile(table_path(output, "rois")).read()
    table = pq.ParquetFile(table_path(output, "embeddings")).read()
    enough = [bool(kept and n >= 50) for kept, n in zip(rois["kept"].to_pylist(), rois["n_locs"].to_pylist(), strict=True)]
    wanted = rois.filter(enough)
    for name in ("key", "roi", "channel", "n_locs", "condition", "replicate"):
        assert table[name].to_pylist() == wanted[name].to_pylist(), name
    assert len(table) > 0


def test_what_makes_them_again(small_campaign, output, tmp_path):
    before = digests(output)
    assert run(small_campaign, output) == []
    (quality := tmp_path / "quality.toml").write_text("[quality]\nrois_amber = 6\n")
    assert run(small_campaign, output, "--config", quality, "--update") == ["tables"]
    (own := tmp_path / "own.toml").write_text("[quality]\nrois_amber = 6\n[embeddings]\nrepeats = 2\n")
    assert run(small_campaign, output, "--config", own, "--update") == ["embeddings"]
    assert digests(output)["embeddings"] == before["embeddings"]
    assert digests(output)["embedding_scores"] != before["embedding_scores"]
    assert run(small_campaign, output, "--reference", "control", "--update") == ["tables", "embeddings"]
    table_path(output, "embedding_flags").unlink()
    assert run(small_campaign, output) == ["embeddings"]


def test_another_process_makes_the_same(small_campaign, output, tmp_path):
    """Parts in any order, then the end: the same tables."""
    other = tmp_path / "out"
    call("plan", small_campaign, other)
    for part in ("2/2", "1/2"):
        call("run", small_campaign, other, "--part", part)
    call("run", small_campaign, other)
    again = tmp_path / "again"
    call("run", small_campaign, again)
    assert digests(other) == digests(again)
