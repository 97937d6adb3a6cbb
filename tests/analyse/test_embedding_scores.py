import numpy as np
import pytest

from smlmbatch.analyse.embedding_scores import (
    ARI_KMEANS,
    ARI_WARD,
    Representation,
    agreement_scores,
    labels_of_scores,
)
from smlmbatch.config import EmbeddingsConfig

NAMES = ("a", "b", "ctrl")
CONFIG = EmbeddingsConfig(bootstrap=200)


def drawn(*, apart=(0.0, 5.0, 50.0), n: int = 30, draws: int = 1, **more) -> Representation:
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(len(apart)), n)
    vectors = [np.column_stack([np.array(apart)[code], np.zeros((len(code), 3))]) + rng.normal(size=(len(code), 4)) for _ in range(draws)]
    return Representation(name="embedding", draws=vectors, rows=np.arange(len(code)), code=code, names=NAMES[: len(apart)], **more)


def scores(rois: Representation, *, reference: str = "", config: EmbeddingsConfig = CONFIG):
    return agreement_scores(rois, labels_of_scores(rois.names, reference=reference), channel=0, config=config)


def test_perfect_and_hopeless():
    for score in scores(drawn()):
        assert (score.value, score.low, score.high) == pytest.approx((1, 1, 1), abs=0.1)
        assert (score.groups, score.k, score.n_rois, score.repeats, score.note) == (3, 3, 90, 1, "")
    for score in scores(drawn(apart=(0.0, 0.0, 0.0))):
        assert abs(score.value) < 0.1
        assert score.low < score.value < score.high


def test_without_the_reference_fewer_clusters_of_fewer_rois():
    """What the reference makes look good falls away: a and b can't be told apart."""
    found = {(s.label, s.measure): s for s in scores(drawn(apart=(0.0, 0.0, 50.0)), reference="ctrl")}
    assert {label for label, _ in found} == {"condition", "condition without ctrl"}
    without = found["condition without ctrl", ARI_KMEANS]
    assert (without.groups, without.k, without.n_rois) == (2, 2, 60)
    assert found["condition", ARI_KMEANS].value > 0.4 > 0.1 > without.value


def test_reference_of_two_conditions_or_none_is_not_left_out():
    assert [label.text for label in labels_of_scores(("a", "ctrl"), reference="ctrl")] == ["condition"]
    assert [label.text for label in labels_of_scores(NAMES, reference="nobody")] == ["condition"]


def test_value_over_draws_is_their_mean():
    rois = drawn(apart=(0.0, 2.0, 4.0), draws=4)
    each = [scores(Representation(name="embedding", draws=[d], rows=rois.rows, code=rois.code, names=NAMES))[0].value for d in rois.draws]
    score = scores(rois)[0]
    assert score.value == pytest.approx(np.mean(each))
    assert score.repeat_sd == pytest.approx(np.std(each, ddof=1))
    assert score.repeats == 4
    assert score.low < min(each) + 0.1
    assert score.high > max(each) - 0.1


def test_what_is_lost_is_counted_by_condition():
    score, *_, without = scores(drawn(lost=(5, 0, 2), n_locs=900), reference="ctrl")
    assert score.n_lost == 7
    assert score.note == "lost: 5 of 35 of a, 0 of 30 of b, 2 of 32 of ctrl"
    assert (without.n_lost, without.note) == (5, "lost: 5 of 35 of a, 0 of 30 of b")


@pytest.mark.parametrize(
    ("rois", "why"),
    [
        (drawn(apart=(0.0,)), "one condition: nothing to tell apart"),
        (drawn(n=2), "6 ROIs are too few for 3 clusters (fewer than 3 each)"),
        (
            Representation(name="log N", draws=[np.ones((9, 1))], rows=np.arange(9), code=np.repeat([0, 1], [5, 4]), names=("a", "b")),
            "fewer",
        ),
        (Representation(name="e", draws=[np.empty((0, 0))], rows=np.arange(0), code=np.empty(0, int), names=NAMES), "no ROI is left"),
    ],
)
def test_what_can_t_be_had_is_said(rois, why):
    for score in scores(rois):
        assert np.isnan([score.value, score.low, score.high]).all()
        assert score.note.startswith(why)


def test_conditions_that_lost_all_their_rois_are_named():
    rois = Representation(name="e", draws=[np.eye(12)], rows=np.arange(12), code=np.repeat([0, 2], 6), names=NAMES, lost=(0, 9, 0))
    assert "no ROI left of b" in scores(rois)[0].note
    assert scores(rois)[0].groups == 2


def test_clusters_may_be_another_number():
    score = scores(drawn(), config=EmbeddingsConfig(clusters=2, bootstrap=200))[0]
    assert (score.k, score.groups) == (2, 3)
    assert score.value < 0.8


def test_the_same_again_whatever_else_is_scored():
    rois = drawn(apart=(0.0, 1.0, 2.0))
    alone = agreement_scores(rois, labels_of_scores(NAMES, reference=""), channel=0, config=CONFIG, measures=(ARI_WARD,))
    assert alone == [score for score in scores(rois, reference="a") if (score.label, score.measure) == ("condition", ARI_WARD)]
