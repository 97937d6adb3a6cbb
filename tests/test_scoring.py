"""`smlmbatch score`: tables in, figures out, for people and machines."""

import csv
import json

import numpy as np
import pytest

from smlmbatch.clustering.dbscan import dbscan_labels
from tests.conftest import smlmbatch


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Truth, a good and a bad clustering of five fields; true noise is 0."""
    root = tmp_path_factory.mktemp("score")
    for folder in ("truth", "good", "bad"):
        (root / folder).mkdir()
    for k in range(5):
        rng = np.random.default_rng(k)
        centre = rng.uniform(0, 3000, (12, 2)).repeat(30, axis=0)
        xy_nm = np.concatenate([centre + rng.normal(0, 15, centre.shape), rng.uniform(0, 3000, (200, 2))])
        truth = np.r_[np.arange(1, 13).repeat(30), np.zeros(200, int)]
        write(root / "truth" / f"f{k}.csv", xy_nm, truth)
        for folder, eps_nm in (("good", 25.0), ("bad", 8.0)):
            write(root / folder / f"f{k}.csv", xy_nm, dbscan_labels(*xy_nm.T, eps_nm=eps_nm, min_locs=8))
    return root


def write(path, xy_nm, labels):
    rows = [f"{x:.3f},{y:.3f},{label}" for (x, y), label in zip(xy_nm.tolist(), labels.tolist(), strict=True)]
    path.write_text("\n".join(["x_nm,y_nm,label", *rows, ""]))


def test_one_field(folders):
    arguments = ("score", folders / "truth" / "f0.csv", folders / "good" / "f0.csv", "--truth-noise", "0")
    found = json.loads(smlmbatch(*arguments, "--json").stdout)
    (field,) = found["fields"]
    assert (field["field"], field["n_true"]) == ("f0", 12)
    assert field["ari"] > 0.9
    assert found["averages"][0]["sd"] is None
    done = smlmbatch(*arguments)
    assert done.stderr == ""
    assert "ARI†" in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) == 2


def test_two_clusterings_of_the_same_fields(folders, tmp_path):
    arguments = ("score", folders / "truth", folders / "good", "--truth-noise", "0", "--against", folders / "bad")
    found = json.loads(smlmbatch(*arguments, "--json", "--csv", tmp_path / "all.csv", "--plot", tmp_path / "boxes.svg").stdout)
    assert len(found["fields"]) == len(found["against"]) == 5
    by_figure = {row["figure"]: row for row in found["comparison"]}
    assert by_figure["ari_c"]["better"] == "first"
    assert by_figure["ari_c"]["n_better"] == 5
    assert by_figure["ari_c"]["p_ranks"] == 2 / 2**5
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["labels"], row["field"]) for row in rows] == [(str(folders / m), f"f{k}") for m in ("good", "bad") for k in range(5)]
    assert float(rows[0]["iou"]) == found["fields"][0]["iou"]
    assert (tmp_path / "boxes.svg").read_bytes().lstrip().startswith(b"<?xml")
    text = smlmbatch(*arguments).stdout
    assert "5 of 5" in text
    assert sum(line.startswith("mean ") for line in text.splitlines()) == 2


def test_a_forgotten_noise_label_is_warned_of(folders):
    done = smlmbatch("score", folders / "truth", folders / "good", "--against", folders / "bad")
    assert done.stderr.count("5 fields have no true noise (-1)") == 1
    done = smlmbatch("score", folders / "truth", folders / "truth", "--truth-noise", "0", "--against", folders / "good")
    assert f"{folders / 'truth'}: no noise (-1) was found" in done.stderr
    assert "--truth-noise" not in done.stderr
    assert str(folders / "good") not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("truth", "nowhere"), "no such file"),
        (("truth", "good/f0.csv"), "one is a folder"),
        (("truth/f0.csv", "good/f1.csv"), "lie elsewhere"),
        (("truth", "good", "--plot", "boxes.pdf"), "wanted a name ending in .svg or .png"),
        (("truth", "good", "--csv", "bad"), "--csv bad: is a folder"),
        (("truth/f0.csv", "good/f0.csv", "--labels-column", "nobody"), "--labels-column"),
    ],
)
def test_mistakes_are_named_and_cost_2(folders, arguments, word):
    done = smlmbatch("score", *arguments, expect=2, cwd=folders)
    assert word in done.stderr
    assert "Traceback" not in done.stderr
