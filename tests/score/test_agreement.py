"""ARI and AMI against scikit-learn, ARI-dagger against its definition written out, and what happens at the edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from smlmbatch.score.agreement import adjusted_mutual_information, adjusted_rand, adjusted_rand_dagger
from smlmbatch.score.contingency import contingency


@st.composite
def labelings(draw):
    """Two labelings of the same locs, unrelated or alike, any numbers as labels."""
    n, seed = draw(st.integers(1, 120)), draw(st.integers(0, 2**32 - 1))
    classes, found_classes, changed = draw(st.tuples(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.0, 0.1, 1.0])))
    rng = np.random.default_rng(seed)
    truth = rng.integers(-1, classes, n) * 5
    return truth, np.where(rng.random(n) < changed, rng.integers(0, found_classes, n), truth + 2)


def pairs_of(counts):
    return counts * (counts - 1) / 2


def dagger_by_definition(truth, labels):
    """Adjusted Wallace index of each class of two locs or more, plain mean in each direction, harmonic mean of both."""
    means = []
    for own, other in ((truth, labels), (labels, truth)):
        chance = sum(pairs_of(np.sum(other == k)) for k in np.unique(other)) / pairs_of(len(own))
        indices = []
        for k in np.unique(own):
            members = other[own == k]
            if len(members) > 1:
                together = sum(pairs_of(np.sum(members == m)) for m in np.unique(members)) / pairs_of(len(members))
                indices.append((together - chance) / (1 - chance))
        means.append(np.mean(indices))
    return 2 * means[0] * means[1] / sum(means), means


@settings(max_examples=300, deadline=None)
@given(both=labelings())
def test_ari_and_ami_are_those_of_scikit_learn(both):
    met = contingency(*both)
    assert adjusted_rand(met) == pytest.approx(adjusted_rand_score(*both), abs=1e-12)
    assert adjusted_mutual_information(met) == pytest.approx(adjusted_mutual_info_score(*both), abs=1e-9)


def test_ami_of_a_large_field_with_a_class_of_half_of_it():
    rng = np.random.default_rng(4)
    truth = rng.integers(-300, 300, 40_000).clip(-1)
    labels = np.where(rng.random(40_000) < 0.2, -1, truth)
    assert adjusted_mutual_information(contingency(truth, labels)) == pytest.approx(adjusted_mutual_info_score(truth, labels), abs=1e-10)


@settings(max_examples=200, deadline=None)
@given(both=labelings())
def test_dagger_follows_its_definition(both):
    met = contingency(*both)
    if met.equal or len(met.true_size) == 1 or len(met.found_size) == 1 or max(met.true_size) == 1 or max(met.found_size) == 1:
        return
    value, means = dagger_by_definition(*both)
    if sum(means) > 0:
        assert adjusted_rand_dagger(met) == pytest.approx(max(value, -1), abs=1e-12)
    else:
        assert adjusted_rand_dagger(met) == 0


@settings(max_examples=100, deadline=None)
@given(both=labelings(), seed=st.integers(0, 2**32 - 1))
def test_names_of_classes_and_order_of_locs_do_not_matter(both, seed):
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(both[0])), rng.permutation(200) - 50
    before, after = contingency(*both), contingency(names[both[0][order]], both[1][order])
    for figure in (adjusted_rand, adjusted_rand_dagger, adjusted_mutual_information):
        assert figure(after) == pytest.approx(figure(before), abs=1e-12)


FIGURES = pytest.mark.parametrize("figure", [adjusted_rand, adjusted_rand_dagger, adjusted_mutual_information])


@FIGURES
def test_equal_partitions_have_one_whatever_they_are(figure):
    for same in ([0, 0, 1, 1], [3, 3, 3], [0, 1, 2], [5]):
        assert figure(contingency(same, np.array(same) + 7)) == 1


@FIGURES
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_one_class_or_all_apart_say_nothing_of_the_truth(figure, labels):
    assert figure(contingency([0, 0, 1, 1], labels)) == pytest.approx(0, abs=1e-12)
    assert figure(contingency(labels, [0, 0, 1, 1])) == pytest.approx(0, abs=1e-12)


@FIGURES
def test_no_locs_have_no_agreement(figure):
    assert np.isnan(figure(contingency([], [])))


def test_cells_are_counted_sparsely():
    """10^5 classes in each: a dense table would take 80 GB."""
    labels = np.arange(100_000)
    met = contingency(labels, labels[::-1])
    assert met.equal
    assert met.n == len(met.count) == 100_000
