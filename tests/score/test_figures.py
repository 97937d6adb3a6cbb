"""All figures of a field: the paper's worked example to its printed digits, and fields at the edge of what can be scored."""

import dataclasses

import numpy as np
import pytest

from smlmbatch.score.figures import FIGURES, Scores, score_field
from tests.score.worked import confusion_a, confusion_b, field_of


@pytest.mark.parametrize(
    ("table", "published"),
    [
        (confusion_a(), {"ari": 0.62, "ari_dagger": 0.67, "ami": 0.70, "ari_c": 0.80, "ji_c": 1.0, "rmsre_n": 0.1}),
        (confusion_b(), {"ari": 0.65, "ari_dagger": 0.47, "ami": 0.67, "ari_c": 0.46, "ji_c": 0.67, "rmsre_n": 0.34}),
    ],
)
def test_the_worked_example(table, published):
    xy_nm, true, found = field_of(table)
    scores = score_field(*xy_nm.T, true, found, truth_noise=0, labels_noise=0)
    assert {name: round(getattr(scores, name), 2) for name in published} == published
    assert (scores.n_locs, scores.n_true, scores.n_found) == (2000, 20, table.shape[1] - 1)


def clumps():
    """Three clusters of 20 locs and 40 strays, -1 = noise."""
    rng = np.random.default_rng(5)
    centre = np.repeat([[0, 0], [600, 0], [0, 600]], 20, axis=0)
    xy_nm = np.concatenate([centre + rng.normal(0, 20, (60, 2)), rng.uniform(-200, 800, (40, 2))])
    return xy_nm, np.repeat([0, 1, 2, -1], [20, 20, 20, 40])


def test_the_truth_is_perfect():
    xy_nm, truth = clumps()
    scores = score_field(*xy_nm.T, truth, np.array([4, 9, 7, -1])[truth])
    assert scores == Scores(
        ari_dagger=1,
        iou=1,
        ji_c=1,
        rmsre_n=0,
        rmse_xy_nm=0,
        sqrt_mean_d=0,
        ami=1,
        ari_c=1,
        ari=1,
        n_locs=100,
        n_true=3,
        n_found=3,
        n_paired=3,
    )


def test_noise_has_the_number_it_is_given():
    xy_nm, truth = clumps()
    same = score_field(*xy_nm.T, np.where(truth < 0, 99, truth), truth + 1, truth_noise=99, labels_noise=0)
    assert same.ji_c == same.iou == 1
    assert score_field(*xy_nm.T, truth, truth + 1).n_found == 4  # noise taken for a cluster


def test_nothing_found():
    """All noise: nothing is paired or covered, and agreement is that of chance."""
    xy_nm, truth = clumps()
    scores = score_field(*xy_nm.T, truth, np.full(100, -1))
    assert (scores.ari, scores.ari_dagger, scores.ari_c, scores.iou, scores.ji_c, scores.n_found) == (0, 0, 0, 0, 0, 0)
    assert scores.ami == pytest.approx(0, abs=1e-12)
    assert np.isnan([scores.rmsre_n, scores.rmse_xy_nm, scores.sqrt_mean_d]).all()


def test_no_true_cluster():
    xy_nm, truth = clumps()
    scores = score_field(*xy_nm.T, np.full(100, -1), truth)
    assert (scores.ari, scores.ji_c, scores.iou, scores.n_true) == (0, 0, 0, 0)
    assert np.isnan(scores.ari_c)
    nothing = score_field(*xy_nm.T, np.full(100, -1), np.full(100, -1))
    assert nothing.ari == nothing.ami == 1  # rightly nothing
    assert np.isnan([nothing.ji_c, nothing.iou, nothing.ari_c]).all()


def test_one_true_cluster_found_whole_is_perfect_among_its_locs():
    xy_nm, truth = clumps()
    one = np.where(truth == 0, 0, -1)
    assert score_field(*xy_nm.T, one, one).ari_c == 1
    split = one.copy()
    split[:10] = 5
    assert score_field(*xy_nm.T, one, split).ari_c == 0


def test_no_locs():
    scores = dataclasses.asdict(score_field([], [], [], []))
    assert np.isnan([scores[name] for name in FIGURES]).all()
    assert scores["n_locs"] == scores["n_true"] == 0


def test_duplicates_and_lines_are_clusters_without_area():
    xy_nm = np.array([[0.0, 0]] * 5 + [[100 + 10.0 * i, 50] for i in range(5)])
    truth = np.repeat([0, 1], 5)
    scores = score_field(*xy_nm.T, truth, truth)
    assert (scores.ji_c, scores.rmse_xy_nm, scores.ari) == (1, 0, 1)
    assert np.isnan(scores.iou)


def test_locs_of_different_number_are_our_mistake():
    with pytest.raises(ValueError, match="4 truths"):
        score_field(np.zeros(4), np.zeros(4), np.zeros(4, int), np.zeros(3, int))


def test_overlap_can_be_left_out():
    xy_nm, truth = clumps()
    whole, part = (score_field(*xy_nm.T, truth, truth, overlap=overlap).to_dict() for overlap in (True, False))
    assert np.isnan(part.pop("iou"))
    assert whole.pop("iou") == 1
    assert part == whole
