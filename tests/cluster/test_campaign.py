"""Clusters in a campaign: from files to tables, in parts, by another method, with one's own model, labels joined back to the source."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.methods.folders import model_sha256, shipped
from smlmbatch.store.arrays import UnitReader
from smlmbatch.upkeep import find_rubbish
from tests.cluster.fields import Blobs, draw_blobs, still_model
from tests.in_process import call, unit_of, units_made

ONLY = ("--only", "ingest,tile,cluster")
WHOLE = ("--outline", "field", "--roi-nm", "1000", "--min-locs", "1")
FIELDS = {"a.csv": 1, "b.csv": 2, "c.csv": 3}
ORIGIN_NM = np.array([20_000.0, 70_000.0])  # of the source's frame


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return still_model(tmp_path_factory.mktemp("models") / "still")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Three fields of 16 blobs in each of two channels, and a sheet."""
    folder = tmp_path_factory.mktemp("source")
    for name, seed in FIELDS.items():
        write_csv(folder / name, draw_blobs(channels=(0, 1), seed=seed))
    (folder / "sheet.csv").write_text("path,condition,blinking\na.csv,x,yes\nb.csv,x,no\nc.csv,y,\n")
    return folder


def write_csv(path: Path, blobs: Blobs, *, order: np.ndarray | None = None) -> None:
    order = np.arange(len(blobs.blob)) if order is None else order
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x_nm", "y_nm", "channel"])
        for i in order:
            writer.writerow([*(f"{value:.3f}" for value in blobs.xyz_nm[i] + ORIGIN_NM), blobs.channel[i]])


def plan(source: Path, output: Path, *more: object) -> None:
    call("plan", source / "sheet.csv", output, *WHOLE, *more)


@pytest.fixture(scope="module")
def output(source, model, tmp_path_factory) -> Path:
    """OUTPUT of the model in one go, with tables."""
    output = tmp_path_factory.mktemp("out") / "out"
    call(
        "run",
        source / "sheet.csv",
        output,
        *WHOLE,
        "--cluster-model",
        model,
        "--model",
        "none",
        "--only",
        "ingest,tile,quality,measure,cluster,report",
    )
    return output


def digests(output: Path) -> list[str]:
    found = []
    for number in range(len(FIELDS)):
        with UnitReader(unit_of(output, "cluster", number=number)) as unit:
            assert unit.recompute_digest() == unit.digest
            found.append(unit.digest)
    return found


def test_every_loc_has_its_blobs_label_by_its_record(output) -> None:
    for number, seed in enumerate(FIELDS.values()):
        blobs = draw_blobs(channels=(0, 1), seed=seed)
        with UnitReader(unit_of(output, "ingest", number=number)) as ingest, UnitReader(unit_of(output, "cluster", number=number)) as unit:
            label = np.empty(len(blobs.blob), int)
            label[ingest.read("row")] = unit.read("label")
        assert (label == -1).tolist() == (blobs.blob == -1).tolist()
        pairs = set(zip(label.tolist(), blobs.blob.tolist(), strict=True)) - {(-1, -1)}
        assert len(pairs) == 32, "one label to a blob, one blob to a label"


def test_the_table(output) -> None:
    """Places in the source's frame, a row for each blob; the fields' row says the same in short."""
    clusters = pq.read_table(output / "tables" / "clusters.parquet").to_pylist()
    fields = pq.read_table(output / "tables" / "fields.parquet").to_pylist()
    assert [row["field"] for row in clusters] == [name for name in FIELDS for _ in range(32)]
    for field, seed in zip(fields, FIELDS.values(), strict=True):
        blobs, own = draw_blobs(channels=(0, 1), seed=seed), [row for row in clusters if row["key"] == field["key"]]
        expected = np.array([blobs.xyz_nm[blobs.blob == k].mean(axis=0) for k in range(32)]) + ORIGIN_NM
        found = np.array([(row["x_nm"], row["y_nm"]) for row in own])
        order = np.lexsort((expected[:, 0].round(-2), expected[:, 1].round(-2), np.arange(32) // 16))
        ours = np.lexsort((found[:, 0].round(-2), found[:, 1].round(-2), [row["channel"] for row in own]))
        np.testing.assert_allclose(found[ours], expected[order], atol=0.01)
        assert [row["cluster"] for row in own] == list(range(32))
        assert {row["condition"] for row in own} == {"y" if seed == 3 else "x"}
        assert all(row["shape"] is row["parent"] is row["n_molecules"] is row["z_nm"] is None for row in own)
        assert (field["cluster_method"], field["n_clusters"]) == ("miro", [16, 16])
        share = [(blobs.blob[blobs.channel == c] >= 0).mean() for c in (0, 1)]
        np.testing.assert_allclose(field["clustered_share"], share)
        np.testing.assert_allclose(field["clusters_per_um2"], [16 / field["cell_area_um2"]] * 2)
        n_locs = [np.median([row["n_locs"] for row in own if row["channel"] == c]) for c in (0, 1)]
        assert field["cluster_locs"] == n_locs
        in_roi = sum(row["roi"] is not None for row in own)
        assert 0 < in_roi <= 32


def test_parts_in_any_order(source, output, model, tmp_path) -> None:
    plan(source, tmp_path / "out", "--cluster-model", model)
    for part in ("2/3", "3/3", "1/3"):
        call("run", source / "sheet.csv", tmp_path / "out", "--part", part, *ONLY)
    assert digests(tmp_path / "out") == digests(output)


def test_the_order_of_records_changes_numbers_only(source, output, model, tmp_path) -> None:
    """The same locs in another order: the same clusters, by their places."""
    (tmp_path / "in").mkdir()
    for name, seed in FIELDS.items():
        blobs = draw_blobs(channels=(0, 1), seed=seed)
        write_csv(tmp_path / "in" / name, blobs, order=np.random.default_rng(seed).permutation(len(blobs.blob)))
    shutil.copy(source / "sheet.csv", tmp_path / "in")
    call("run", tmp_path / "in" / "sheet.csv", tmp_path / "out", *WHOLE, "--cluster-model", model, *ONLY)
    for number in range(len(FIELDS)):
        found = []
        for folder in (output, tmp_path / "out"):
            with UnitReader(unit_of(folder, "cluster", number=number)) as unit:
                rows = np.column_stack(
                    [unit.read(name) for name in ("cluster_channel", "n_locs", "x_nm", "y_nm", "area_nm2", "nearest_nm")]
                )
                found.append(rows[np.lexsort(rows.T)])
        np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-6)


def test_another_method_makes_clusters_again_and_nothing_else(source, output, model, tmp_path) -> None:
    own = Path(shutil.copytree(output, tmp_path / "out"))
    arguments = ("run", source / "sheet.csv", own, *WHOLE)
    _, stderr = call(*arguments, "--cluster-method", "dbscan", "--eps-nm", "24", *ONLY, expect=2)
    assert "holds a campaign with other settings" in stderr
    _, stderr = call(*arguments, "--cluster-method", "dbscan", "--eps-nm", "24", "--update", *ONLY)
    assert {line.split()[1] for line in stderr.splitlines() if " rows " in line} == {"cluster"}
    for number in range(len(FIELDS)):
        with UnitReader(unit_of(output, "cluster", number=number)) as first, UnitReader(unit_of(own, "cluster", number=number)) as second:
            assert first.read("label").tolist() == second.read("label").tolist()
            assert second.attrs["method"] == "dbscan"
    rubbish = {item.path.name: item.reason for item in find_rubbish(load_plan(own))}
    assert f"still-{model_sha256(model)[:12]}" not in rubbish, "the settings still name it"
    _, stderr = call(*arguments, "--cluster-method", "dbscan", "--eps-nm", "24", *ONLY)
    assert units_made(stderr) == 0


def test_what_of_the_settings_counts(source, output, model, tmp_path) -> None:
    """A setting of the other method, and the same model elsewhere, change nothing; a word in the sheet does."""
    own = Path(shutil.copytree(output, tmp_path / "out"))
    elsewhere = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    _, stderr = call("run", source / "sheet.csv", own, *WHOLE, "--eps-nm", "99", "--cluster-model", elsewhere, "--update", *ONLY)
    assert units_made(stderr) == 0
    (tmp_path / "sheet.csv").write_text("path,condition,blinking\na.csv,x,yes\nb.csv,x,\nc.csv,y,\n")
    for name in FIELDS:
        shutil.copy(source / name, tmp_path / name)
    _, stderr = call("run", tmp_path / "sheet.csv", own, *WHOLE, "--eps-nm", "99", "--update", *ONLY)
    assert units_made(stderr) == 1


def test_words_that_are_none(source, tmp_path) -> None:
    (tmp_path / "sheet.csv").write_text("path,blinking\na.csv,maybe\n")
    shutil.copy(source / "a.csv", tmp_path)
    _, stderr = call("plan", tmp_path / "sheet.csv", tmp_path / "out", expect=2)
    assert "blinking is 'maybe'" in stderr
    assert "one of yes, no, or nothing" in stderr


# ---- the verb


@pytest.fixture(scope="module")
def clustered(source, model, tmp_path_factory) -> Path:
    """OUTPUT of the verb, by the model, with its particles."""
    output = tmp_path_factory.mktemp("verb") / "out"
    plan(source, output, "--cluster-model", model, "--model", "none", "--pick", "cluster")
    call("pick", output)
    return output


def test_the_verb_takes_another_method(clustered, source, model, tmp_path) -> None:
    """What is said with it stays said, and only clusters, then what is picked from them, are made again; and back, by one's own model."""
    own = Path(shutil.copytree(clustered, tmp_path / "out"))
    before = digests(own)
    _, stderr = call("cluster", own, "--method", "dbscan", "--eps-nm", "24", "--min-locs", "13")
    assert [line.split()[1] for line in stderr.splitlines() if " rows " in line] == ["cluster"] * len(FIELDS)
    for number, seed in enumerate(FIELDS.values()):
        size = np.bincount(draw_blobs(channels=(0, 1), seed=seed).blob + 1)[1:]
        with UnitReader(unit_of(own, "cluster", number=number)) as unit:
            assert sorted(unit.read("n_locs")) == sorted(size[size >= 13]), "blobs of 12 have no loc with 13 around"
    _, stderr = call("pick", own)
    assert {line.split()[1] for line in stderr.splitlines() if " rows " in line} == {"pick"}
    _, stderr = call("cluster", own)
    assert units_made(stderr) == 0
    said = load_plan(own).config.cluster
    assert (said.method, said.eps_nm, said.min_locs, said.model) == ("dbscan", 24.0, 13, "still")
    elsewhere = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    _, stderr = call("cluster", own, "--method", "miro", "--model", elsewhere)
    assert units_made(stderr) == 0, "the same model, whatever it is called: its units still stand"
    assert digests(own) == before


def test_the_verb_takes_another_model(source, model, tmp_path) -> None:
    """It is copied into OUTPUT, so the folder may go."""
    plan(source, tmp_path / "out", "--cluster-method", "none")
    mine = Path(shutil.copytree(model, tmp_path / "mine"))
    call("cluster", tmp_path / "out", "--method", "miro", "--model", mine, "--field", "a.csv")
    shutil.rmtree(mine)
    _, stderr = call("cluster", tmp_path / "out")
    assert {line.split()[1] for line in stderr.splitlines() if " rows " in line} >= {"cluster"}
    with UnitReader(unit_of(tmp_path / "out", "cluster", number=2)) as unit:
        assert unit.length("cluster_channel") == 32


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--method", "dbscan", "--eps-nm", "0"), "cluster.eps_nm = 0.0: wanted a length above 0 nm"),
        (("--method", "dbscan", "--min-locs", "1"), "cluster.min_locs = 1: wanted at least 2"),
        (("--eps-nm", "30"), "cluster.eps_nm is for the method dbscan, and the campaign's is miro: say --method too"),
        (("--method", "dbscan", "--model", "auto"), "cluster.model is for the method miro"),
        (("--cluster-radius-nm", "20"), "more than 0 together with cluster_radius_nm"),
        (("--method", "none"), 'wanted cluster.method = "miro" or "dbscan" beside it'),
        (("--model", "no_folder"), "no_folder"),
        (("--model", shipped("contrastive")), "is a model of the method contrastive"),
        (("--method", "dbscan", "--part", "1/2"), "say new settings by `smlmbatch cluster OUTPUT …` alone"),
        (("--method", "dbscan", "--field", "nobody"), "nobody"),
    ],
)
def test_what_the_verb_refuses_changes_nothing(clustered, arguments, reason) -> None:
    before = (clustered / "config.toml").read_text()
    _, told = call("cluster", clustered, *arguments, expect=2)
    assert reason in told
    assert (clustered / "config.toml").read_text() == before


def test_clusters_are_in_the_tables_also_where_nothing_was_measured(source, output, model, tmp_path):
    """Whoever wants clusters alone leaves the other stages out."""
    alone = tmp_path / "out"
    call("run", source / "sheet.csv", alone, *WHOLE, "--cluster-model", model, "--model", "none", *ONLY[:1], ONLY[1] + ",report")
    tables = [pq.ParquetFile(folder / "tables" / "clusters.parquet").read() for folder in (alone, output)]
    assert tables[0].num_rows > 0
    assert tables[0].equals(tables[1])
    fields = [pq.ParquetFile(folder / "tables" / "fields.parquet").read() for folder in (alone, output)]
    assert fields[0]["status"].to_pylist() == ["unfinished"] * 3
    assert fields[0]["n_clusters"].equals(fields[1]["n_clusters"])
