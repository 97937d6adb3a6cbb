"""MIRO tuned to marked clusters: where it begins, what its recipe holds, that it is the same every time, and that it helps."""

import dataclasses

import numpy as np
import pytest
import torch

from smlmbatch.errors import ConfigError, Interrupted
from smlmbatch.hpc.place import Place
from smlmbatch.methods.method import Alone
from smlmbatch.methods.miro import tuning
from smlmbatch.methods.miro.context import acquisition, cluster_hint
from smlmbatch.methods.miro.group import Grouping
from smlmbatch.methods.miro.infer import Contracted, find_clusters
from smlmbatch.methods.miro.network import FIRST_CLASS, LOGIT
from smlmbatch.methods.miro.recipe import Miro
from smlmbatch.methods.miro.tuned import hint_from, tuned_of
from smlmbatch.methods.miro.tuning import TunedMiro
from smlmbatch.methods.model import load_model, read_settings, save_model
from smlmbatch.simulate.templates import templates_of
from smlmbatch.train.loop import LoopOptions, train
from smlmbatch.train.session import train_model
from tests.in_process import call
from tests.methods.miro.fields import fresh, tiny

FEW = {"samples": 8, "shard_samples": 4, "epochs": 2, "validation_share": 0.5}


def quiet(said):
    """What training says."""


def marked(seed=0, clusters=6):
    """Spots of 30 locs and 15 nm on a background of 60."""
    rng = np.random.default_rng(seed)
    centre_nm = rng.uniform(0, 1500, (clusters, 1, 2))
    xy_nm = np.concatenate([(centre_nm + rng.normal(0, 15, (clusters, 30, 2))).reshape(-1, 2), rng.uniform(0, 1500, (60, 2))])
    return xy_nm, np.r_[np.repeat(np.arange(1, clusters + 1), 30), np.zeros(60, int)]


@pytest.fixture
def few_locs(monkeypatch):
    monkeypatch.setattr(tuning, "_FIELD_LOCS", 200)
    monkeypatch.setattr(tuning, "_JUDGED", 2)
    monkeypatch.setattr(tuning, "_SETTLED", 2)
    monkeypatch.setattr(tuning, "_SETTLED_LOCS", 200)


@pytest.fixture
def start(tmp_path):
    """A small model with classes, in a folder."""
    config = tiny(classes=7)
    (tmp_path / "start").mkdir()
    save_model(tmp_path / "start", Miro(), config, fresh(config))
    return load_model(tmp_path / "start")


@pytest.fixture
def method(start, few_locs):
    return TunedMiro(templates_of("clusters.csv", [marked()]), start)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def run(method, config, folder, **changes):
    return train(method, config, LoopOptions(folder=folder, device=torch.device("cpu"), **changes), Alone(), quiet)


def test_the_recipe_says_what_it_is_of(method, start):
    recipe = method.recipe(blinking="no")
    assert (recipe.templates, recipe.start, recipe.tuned_blinking, recipe.classes) == (method.templates.sha256, start.sha256, "no", 0)
    assert (recipe.hidden, recipe.steps) == (start.config.hidden, start.config.steps)
    own = tuned_of(method.build(recipe))
    np.testing.assert_allclose(own.hint, cluster_hint(method.templates.rms_nm, method.templates.size))
    np.testing.assert_array_equal(own.taken, acquisition(blinking=False))
    assert own.rule.least_sum == pytest.approx(0.25 * 30)
    assert own.rule == Grouping(least_sum=0.25 * 30)
    assert tuned_of(start.network) is None
    assert method.recipe(blinking="no") == recipe
    other = TunedMiro(templates_of("", [marked(seed=1)]), start).recipe(blinking="no")
    assert other.templates != recipe.templates


def test_training_takes_about_as_long_whatever_the_fields(start):
    """So many locs over all epochs; a field has from 200 to 1,300 here."""
    for clusters in (4, 40):
        method = TunedMiro(templates_of("", [marked(clusters=clusters)]), start)
        recipe = method.recipe()
        n_locs = np.mean([len(method._draw(0, 1000 + k, "").xy_nm) for k in range(60)])
        assert recipe.samples * recipe.epochs * n_locs == pytest.approx(tuning._LEARNED_LOCS, rel=0.25)


def test_it_begins_with_the_weights_of_the_start(method, start):
    began = method.build(method.recipe()).state_dict()
    assert set(began) == {*start.network.state_dict(), "linking"}
    for name, given in start.network.state_dict().items():
        assert torch.equal(began[name], given[:FIRST_CLASS] if name.startswith("head") else given), name


def test_the_network_is_told_what_the_recipe_holds(method):
    recipe = method.recipe(blinking="yes")
    own, shard = tuned_of(method.build(recipe)), method.shard(recipe, 1)
    assert shard["context"].shape[0] == recipe.shard_samples
    np.testing.assert_array_equal(shard["context"][:, -9:], np.tile(np.r_[own.taken, own.hint], (recipe.shard_samples, 1)))


@pytest.mark.parametrize("change", [{"network": "paper"}, {"parents_from": 2}, {"templates": "0" * 64}])
def test_not_every_model_can_be_tuned(start, change):
    with pytest.raises(ConfigError, match="wanted a general model"):
        TunedMiro(templates_of("", [marked()]), dataclasses.replace(start, config=dataclasses.replace(start.config, **change))).recipe()


def test_a_recipe_of_other_clusters_or_told_otherwise_is_refused(method, start):
    recipe = method.recipe(blinking="yes")
    method.check(recipe, blinking="yes")
    with pytest.raises(ConfigError, match="of other clusters"):
        method.build(dataclasses.replace(recipe, templates="0" * 64))
    with pytest.raises(ConfigError, match="begins with another model"):
        method.shard(dataclasses.replace(recipe, start="0" * 64), 0)
    with pytest.raises(ConfigError, match="--blinking no: the recipe says tuned_blinking = 'yes'"):
        method.check(recipe, blinking="no")


def test_the_same_to_the_bit_again_and_after_a_stop(method, tmp_path):
    recipe = dataclasses.replace(method.recipe(), **FEW)
    whole = weights(run(method, recipe, tmp_path / "whole").model)
    with pytest.raises(Interrupted):
        run(method, recipe, tmp_path / "cut", stop_after_steps=3)
    cut = run(method, recipe, tmp_path / "cut").model.state_dict()
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    assert not torch.equal(whole["head.weight"], method.start.network.state_dict()["head.weight"][:FIRST_CLASS])


def test_written_with_a_card_and_found_by_its_own_knowledge(method, tmp_path):
    recipe = dataclasses.replace(method.recipe(blinking="no"), **FEW)
    assert train_model(method, recipe, tmp_path / "m", place=Place(), device="cpu", judge_seeds=1, talk=quiet)
    card = (tmp_path / "m" / "card.md").read_text()
    assert "trained on fields drawn from 6 marked clusters of 180 locs, with the background of 1 field\n" in card
    assert "no measured data" not in card
    assert "| the model it began with |" in card
    assert f'templates = "{method.templates.sha256}"' in card
    network = load_model(tmp_path / "m").network
    xy_nm = marked(seed=5)[0]
    found = find_clusters(network, xy_nm, taken=acquisition(blinking=True))
    np.testing.assert_array_equal(found.hint, hint_from(recipe))
    again = find_clusters(network, xy_nm)
    np.testing.assert_array_equal(found.contracted.belonging, again.contracted.belonging)
    assert not train_model(method, recipe, tmp_path / "m", place=Place(), device="cpu", judge_seeds=1, talk=quiet)


def test_the_card_s_material_names_the_conditions(start):
    templates = dataclasses.replace(templates_of("", [marked()]), conditions=("ctrl",))
    assert TunedMiro(templates, start).material.endswith('1 field; conditions of the marked clusters: ["ctrl"]')


def test_the_probability_that_finds_most_becomes_one_half(method, monkeypatch):
    recipe = method.recipe()
    model = method.build(recipe)
    xy_nm = marked()[0]
    before = find_clusters(model, xy_nm).contracted.belonging.astype(float)
    asked = []

    def goodness(field, contracted, *, odds, rule):
        asked.append(odds)
        return float(odds == 0.25)

    monkeypatch.setattr(tuning, "_goodness", goodness)
    method.settle(model, recipe)
    assert {odds for odds in asked if asked.count(odds) == 2} == {*tuning._ODDS} - {0.25}  # once for each field; links at the best
    after = find_clusters(model, xy_nm).contracted.belonging.astype(float)
    np.testing.assert_allclose(after / (1 - after), before / (1 - before) / 0.25, rtol=1e-4)


def test_goodness_is_that_of_the_labels_at_these_odds(method):
    """Locs of a true cluster have probability 0.3, others 0.1: at odds between the two all is right, above nothing is found."""
    field = method._draw(0, 0, "no")
    inside = field.cluster > 0
    at_nm = np.where(inside[:, None], np.vstack([np.zeros((1, 2)), field.centre_nm])[field.cluster], field.xy_nm).astype(np.float32)
    n = len(inside)
    contracted = Contracted(at_nm, np.where(inside, 0.3, 0.1).astype(np.float32), np.full(n, 5.0, np.float32))
    rule = Grouping()
    assert tuning._goodness(field, contracted, odds=0.25, rule=rule) == pytest.approx(1.0)
    assert tuning._goodness(field, contracted, odds=1.0, rule=rule) == pytest.approx(0.0, abs=1e-9)


def test_the_shift_is_of_the_logit_alone(method, monkeypatch):
    recipe = method.recipe()
    model = method.build(recipe)
    before = weights(model)
    monkeypatch.setattr(tuning, "_goodness", lambda *_, odds, rule: float(odds == 2.0))
    method.settle(model, recipe)
    after = weights(model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.bias"}  # links stay as they are where none is better
    shift = (after["head.bias"] - before["head.bias"]).numpy()
    np.testing.assert_allclose(shift, -np.log(2.0) * np.eye(1, len(shift), k=LOGIT)[0], rtol=1e-5)


@pytest.mark.parametrize(("reach", "core_locs"), [(0.1, 20), (0.4, 10), (0.15, 4)])
def test_links_that_find_most_lie_with_the_weights(method, monkeypatch, tmp_path, reach, core_locs):
    recipe = method.recipe()
    model = method.build(recipe)
    monkeypatch.setattr(tuning, "_goodness", lambda *_, odds, rule: float((rule.reach, rule.core_locs) == (reach, core_locs)))
    method.settle(model, recipe)
    (tmp_path / "m").mkdir()
    save_model(tmp_path / "m", method, recipe, model)
    rule = tuned_of(load_model(tmp_path / "m").network).rule
    assert (rule.reach, rule.core_locs) == (pytest.approx(reach), core_locs)
    assert rule.radius_nm == (pytest.approx(max(4.0, 1.5 / reach)), 60.0)


# ---- as typed


@pytest.fixture
def files(tmp_path):
    """A start and a table of clusters."""
    config = tiny(classes=7)
    (tmp_path / "start").mkdir()
    save_model(tmp_path / "start", Miro(), config, fresh(config))
    xy_nm, cluster = marked()
    rows = [f"{x:.2f},{y:.2f},{k}" for (x, y), k in zip(xy_nm, cluster, strict=True)]
    (tmp_path / "clusters.csv").write_text("\n".join(["x_nm,y_nm,cluster", *rows]))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("miro", "--blinking", "yes"), "give --templates too"),
        (("contrastive", "--start", "start"), "only miro can begin"),
        (("contrastive", "--templates", "clusters.csv"), "only miro can be tuned, not contrastive"),
        (("miro", "--templates", "nosuch.csv", "--start", "start"), "nosuch.csv: there is no such file"),
        (("miro", "--templates", "clusters.csv", "--start", "nosuch"), "nosuch: config.toml is missing"),
        (("miro", "--templates", "clusters.csv", "--start", "start", "--recipe", "other.toml"), "of other clusters"),
        (("miro", "--recipe", "other.toml"), "is of a model tuned to marked clusters: name them with --templates"),
    ],
)
def test_wrong_words_are_named(files, arguments, finding):
    other = '[miro]\ntemplates = "00"\n'
    (files / "other.toml").write_text(f'method = "miro"\n{other}')
    placed = [str(files / word) if (files / word).exists() or word.startswith("nosuch") else word for word in arguments]
    assert finding in call("train", *placed, "--out", files / "m", expect=2)[1]


def test_the_command_and_its_job_have_one_recipe(files, few_locs):
    profile = files / "site.toml"
    profile.write_text('[software]\nenvironment = "/opt/smlm"\n')
    changes = [word for key, value in FEW.items() for word in ("--set", f"{key}={value}")]
    tuned = ("--templates", files / "clusters.csv", "--start", files / "start")
    call("train", "miro", *tuned, "--blinking", "no", *changes, "--out", files / "job", "--profile", profile)
    job = files / "job" / "jobs" / "0001"
    assert f"--templates {files / 'clusters.csv'}" in (job / "submit.sh").read_text()
    assert f"--start {files / 'start'}" in (job / "submit.sh").read_text()
    call("train", "miro", *tuned, "--recipe", job / "recipe.toml", "--judge-seeds", "0", "--out", files / "m")
    assert read_settings(files / "m" / "config.toml", whole=True)[1] == read_settings(job / "recipe.toml", whole=True)[1]
    assert load_model(files / "m").config.tuned_blinking == "no"


def test_tuning_lowers_the_loss_on_fields_it_does_not_learn_from(method, tmp_path):
    recipe = dataclasses.replace(method.recipe(), samples=32, shard_samples=8, epochs=3, validation_share=0.25, learning_rate=5e-3)
    losses = [epoch["loss"] for epoch in run(method, recipe, tmp_path / "m").history]
    assert losses[-1] < 0.97 * losses[0]
