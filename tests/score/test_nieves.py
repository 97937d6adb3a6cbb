"""The benchmark's harness on a made-up folder of its layout: what is tuned on is never reported, and methods are told apart."""

import json

import numpy as np
import pytest

from benchmarks import nieves
from benchmarks.nieves import BASELINE, FewShotMiro, GeneralMiro, TunedDbscan, document, means, measure, read_set
from smlmbatch.methods.miro import tuning
from smlmbatch.methods.miro.recipe import Miro
from smlmbatch.methods.model import model_sha256, save_model
from tests.methods.miro.fields import fresh, tiny

TRAINED_ON = [5, 1, 12]


class SmallGrid(TunedDbscan):
    EPS_NM = (5, 40)
    MIN_LOCS = (5, 200)


class AllNoise(TunedDbscan):
    def tune(self, fields):
        return {}

    def labels(self, field, settings):
        return np.full(len(field.truth), -1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 fields of 10 clusters of 20 locs and 100 strays."""
    path = tmp_path_factory.mktemp("benchmark")
    rng = np.random.default_rng(0)
    x_nm, y_nm = (
        np.concatenate([rng.uniform(0, 2000, (12, 10, 1)) + rng.normal(0, 12, (12, 10, 20))], axis=1).reshape(12, -1) for _ in range(2)
    )
    stray = rng.uniform(0, 2000, (2, 12, 100))
    columns = {"x_nm": np.concatenate([x_nm, stray[0]], axis=1), "y_nm": np.concatenate([y_nm, stray[1]], axis=1)}
    labels = np.tile(np.r_[np.repeat(np.arange(1, 11), 20), np.zeros(100)], (12, 1))
    fov = np.repeat(np.arange(1, 13), labels.shape[1])
    columns = {name: values.ravel().astype(np.float32) for name, values in columns.items()}
    np.savez(path / "sc02_gt.npz", **columns, label=labels.ravel().astype(np.int16), fov=fov.astype(np.int16))
    manifest = {"sc02_gt.npz": {"fovs": list(range(1, 13)), "paper_training_fovs": TRAINED_ON}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_four_fields_are_tuned_on_and_the_other_eight_reported(folder):
    tuning, reported = read_set(folder, "sc02_gt")
    assert [field.number for field in tuning] == [1, 2, 5, 12]
    assert [field.number for field in reported] == [3, 4, 6, 7, 8, 9, 10, 11]
    assert {len(field.truth) for field in (*tuning, *reported)} == {300}
    assert len({float(field.x_nm[0]) for field in (*tuning, *reported)}) == 12


def test_tuning_takes_what_finds_the_clusters(folder):
    found = measure(SmallGrid(), folder, "sc02_gt")
    assert found["settings"] == {"eps_nm": 40, "min_locs": 5}
    assert found["tuned_on"] == [1, 2, 5, 12]
    assert list(found["fields"]) == ["3", "4", "6", "7", "8", "9", "10", "11"]
    assert means(found)["ari_c"] > 0.8
    results = {BASELINE: {"sc02_gt": found}, "nothing": {"sc02_gt": measure(AllNoise(), folder, "sc02_gt")}}
    kept = json.loads(json.dumps(results).replace("NaN", "null"))  # as the file holds it
    text = document(kept)
    assert "| sc02_gt | dbscan | 40, 5 |" in text
    assert "nothing: above dbscan in 0 of 4 means of a set (ari_dagger, iou, ji_c, ari_c), 0 of 32 of fields." in text


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that never learned anything."""
    path = tmp_path_factory.mktemp("model")
    save_model(path, Miro(), tiny(), fresh(tiny()))
    return path


def test_the_general_model_sees_no_truth_and_fewshot_that_of_the_papers_fields(folder, model, monkeypatch):
    for name, value in (("_FIELD_LOCS", 200), ("_LEARNED_LOCS", 0), ("_EPOCHS", 1), ("_SHARD", 4), ("_SETTLED", 1)):
        monkeypatch.setattr(tuning, name, value)
    general, fewshot = (measure(method(model), folder, "sc02_gt") for method in (GeneralMiro, FewShotMiro))
    assert (general["settings"], general["tuned_on"]) == ({}, [])
    assert fewshot["tuned_on"] == sorted(TRAINED_ON)
    assert set(fewshot["settings"]) == {"cpu_min"}
    assert list(fewshot["fields"]) == list(general["fields"]) == ["3", "4", "6", "7", "8", "9", "10", "11"]
    assert general["made_with"] == fewshot["made_with"] == model_sha256(model)


def test_blinking_is_told_by_the_sets_name(folder):
    one = read_set(folder, "sc02_gt")[0][0]
    assert (one.blinking, nieves.Field("sc02_blink", 1, one.x_nm, one.y_nm, one.truth).blinking) == (False, True)


def test_what_was_measured_with_this_model_is_left_out(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(nieves, "KEPT", tmp_path / "nieves.json")
    monkeypatch.setattr(nieves, "PAGE", tmp_path / "NIEVES.md")
    monkeypatch.setattr(TunedDbscan, "EPS_NM", (40,))
    monkeypatch.setattr(TunedDbscan, "MIN_LOCS", (5,))
    measured = []
    monkeypatch.setattr(nieves, "measure", lambda method, *place: measured.append(method) or measure(method, *place))

    def run(*words):
        monkeypatch.setattr("sys.argv", ["nieves", str(folder), *words])
        nieves.main()
        return len(measured)

    assert run("--sets", "sc02_gt") == 1
    known = ("--sets", "sc02_gt", "--method", "miro", "--model", str(model))
    assert run(*known) == 2
    assert run(*known, "--missing") == 2
    assert run(*known, "--kind", "blink") == 2
    again = tmp_path / "again"
    again.mkdir()
    save_model(again, Miro(), tiny(), fresh(tiny(), seed=1))
    assert run(*known[:-1], str(again), "--missing") == 3
    assert set(json.loads((tmp_path / "nieves.json").read_text())) == {"dbscan", "miro"}
    assert "| sc02_gt | miro | - |" in (tmp_path / "NIEVES.md").read_text()
