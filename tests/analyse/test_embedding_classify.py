"""Accuracy with whole replicates left out: against scikit-learn, at chance without an effect, high with one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from smlmbatch.analyse.embedding_classify import all_channel_scores, cell_scores, roi_scores
from tests.analyse.drawn_embeddings import draw


def scores_of(d, **more):
    return {s.measure: s for s in roi_scores(d.vectors, condition=d.condition, replicate=d.replicate, channel=0, **more)}


def test_as_scikit_learn_with_groups_left_out():
    """Two conditions of the same replicates: each fold leaves out one replicate of both."""
    d = draw(0, (4, 4), effect=1.0, paired=True)
    by = {"accuracy nearest": KNeighborsClassifier(5), "accuracy logistic": LogisticRegression(class_weight="balanced", max_iter=2000)}
    for measure, model in by.items():
        found = []
        for left in sorted(set(d.replicate)):
            out = d.replicate == left
            scaler = StandardScaler().fit(d.vectors[~out]) if measure == "accuracy logistic" else None
            known, asked = (scaler.transform(v) if scaler else v for v in (d.vectors[~out], d.vectors[out]))
            model.fit(known, d.condition[~out].tolist())
            found.append(balanced_accuracy_score(d.condition[out].tolist(), model.predict(asked)))
        score = scores_of(d)[measure]
        assert score.value == pytest.approx(np.mean(found), abs=1e-12)
        half = 3.182446305 * np.std(found, ddof=1) / 2  # t with 3 degrees of freedom
        assert (score.low, score.high) == (pytest.approx(np.mean(found) - half), pytest.approx(min(1, np.mean(found) + half)))
        assert (score.chance, score.groups, score.n_rois) == (0.5, 2, len(d.vectors))


@pytest.mark.parametrize("paired", [False, True])
def test_chance_without_an_effect(paired):
    """Replicates differ, conditions don't: leaving out ROIs instead of replicates would tell them apart in most campaigns."""
    found = [scores_of(draw(seed, (3, 3), between=1.0, paired=paired)) for seed in range(40)]
    for measure in ("accuracy nearest", "accuracy logistic"):
        assert np.mean([f[measure].value for f in found]) == pytest.approx(0.5, abs=0.08)
        assert np.mean([f[measure].low <= 0.5 <= f[measure].high for f in found]) > 0.75


def test_an_effect_is_found():
    for score in scores_of(draw(0, (3, 3, 3), effect=4.0, between=0.3)).values():
        assert score.value > 0.8
        assert 1 / 3 < score.low < score.value
        assert score.chance == pytest.approx(1 / 3)


def test_conditions_of_unequal_size_count_alike():
    d = draw(0, (3, 3), effect=0.0, between=0.0)
    few = (d.condition == "c0") | (np.arange(len(d.key)) % 6 == 0)
    thin = roi_scores(d.vectors[few], condition=d.condition[few], replicate=d.replicate[few], channel=0)
    for score in thin:
        assert 0.2 < score.value < 0.8


@pytest.mark.parametrize(
    ("replicates", "says"), [((3,), "one condition"), ((3, 1), "only one replicate of c1"), ((1, 1), "only one replicate of c0, c1")]
)
def test_what_is_not_possible_is_said(replicates, says):
    for score in scores_of(draw(0, replicates)).values():
        assert np.isnan(score.value)
        assert says in score.note


def test_nothing_embedded():
    none = np.array([], dtype=object)
    for score in roi_scores(np.zeros((0, 4)), condition=none, replicate=none, channel=None):
        assert np.isnan(score.value)
        assert score.note == "no ROI is left"


def test_perfect_without_interval():
    score = scores_of(draw(0, (2, 2), effect=100.0))["accuracy nearest"]
    assert score.value == 1.0
    assert np.isnan(score.low)
    assert "no interval" in score.note


def test_cells_count_and_tell():
    """Means over ROIs scatter less: cells are told better than their ROIs."""
    d = draw(4, (4, 4), effect=1.5, between=0.1, rois=60)
    cells = cell_scores(d.vectors, cell=d.key, condition=d.condition, replicate=d.replicate, channel=0)
    assert {s.n_rois for s in cells} == {24}
    assert {s.representation for s in cells} == {"cell means"}
    for rois, cell in zip(scores_of(d).values(), cells, strict=True):
        assert cell.value > rois.value


def test_channels_side_by_side_tell_what_none_tells_alone():
    """Channel 0 holds x, channel 1 holds x + sign: only their difference says the condition."""
    rng = np.random.default_rng(0)
    rows = [(c, r, f, rng.normal(0, 5)) for c in range(2) for r in range(4) for f in range(6)]
    vectors = np.array([[x + 3 * c * channel + rng.normal(0, 0.2)] for channel in (0, 1) for c, r, f, x in rows])
    names = {
        "condition": np.array([f"c{c}" for _ in (0, 1) for c, *_ in rows], dtype=object),
        "replicate": np.array([f"c{c}r{r}" for _ in (0, 1) for c, r, *_ in rows], dtype=object),
        "cell": np.array([f"{c}/{r}/{f}" for _ in (0, 1) for c, r, f, _ in rows], dtype=object),
    }
    channel = np.repeat([0, 1], len(rows))
    both = {s.measure: s for s in all_channel_scores(vectors, **names, channel=channel)}
    alone = {s.measure: s for s in cell_scores(vectors[channel == 0], **{n: v[channel == 0] for n, v in names.items()}, channel=0)}
    assert both["accuracy logistic"].value > 0.85
    assert alone["accuracy logistic"].value < 0.7
    assert both["accuracy nearest"].n_rois == len(rows)
    some = ~((channel == 1) & (names["cell"] == "0/0/0"))
    thinner = all_channel_scores(vectors[some], **{n: v[some] for n, v in names.items()}, channel=channel[some])
    assert {(s.n_rois, s.n_lost) for s in thinner} == {(len(rows) - 1, 1)}
    assert all_channel_scores(vectors[channel == 0], **{n: v[channel == 0] for n, v in names.items()}, channel=channel[channel == 0]) == []


def test_channels_of_different_conditions_have_no_common_cell():
    d = draw(0, (2, 2))
    twice = {"cell": np.tile(d.key, 2), "replicate": np.tile(d.replicate, 2), "condition": np.concatenate([d.condition, d.condition + "x"])}
    for score in all_channel_scores(np.tile(d.vectors, (2, 1)), **twice, channel=np.repeat([0, 1], len(d.key))):
        assert np.isnan(score.value)
        assert (score.n_rois, score.n_lost) == (0, 12)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123"), st.sampled_from("xy"), st.integers(0, 2)), max_size=24),
    st.integers(1, 3),
    st.booleans(),
)
def test_odd_campaigns_raise_nothing(rows, features, equal):
    names = [np.array([row[i] for row in rows], dtype=object) for i in range(3)]
    vectors = np.zeros((len(rows), features)) if equal else np.random.default_rng(len(rows)).normal(size=(len(rows), features))
    for scores in (
        roi_scores(vectors, condition=names[0], replicate=names[1], channel=0),
        cell_scores(vectors, cell=names[2], condition=names[0], replicate=names[1], channel=0),
        all_channel_scores(
            vectors, cell=names[2], condition=names[0], replicate=names[1], channel=np.array([row[3] for row in rows], dtype=int)
        ),
    ):
        for score in scores:
            assert np.isnan(score.value) == (not 0 <= score.value <= 1)
            assert np.isfinite(score.value) or score.note
