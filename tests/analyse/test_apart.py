"""Tests of replicates and batches that stand apart: their rates of false alarms, and that they see what is there."""

import numpy as np
import pytest
from scipy import stats

from smlmbatch.analyse.apart import farthest_replicate, groups_differ
from tests.analyse.drawn_embeddings import draw


def outlier_of(d):
    return farthest_replicate(d.vectors, condition=d.condition, replicate=d.replicate)


def difference_of(d):
    return groups_differ(d.vectors, condition=d.condition, replicate=d.replicate, key=d.key, group=d.group)


def test_in_one_dimension_it_is_the_outlier_test_of_regression():
    """Externally studentised residual of a one-way analysis of variance, by deleting the replicate and predicting it."""
    d = draw(3, (5, 4), features=1, fields=1, rois=6)
    found = outlier_of(d)
    means = {(c, r): d.vectors[(d.condition == c) & (d.replicate == r), 0].mean() for c, r in zip(d.condition, d.replicate, strict=True)}
    best = 0.0
    for left in means:
        rest = {key: value for key, value in means.items() if key != left}
        groups = [np.array([v for (c, _), v in rest.items() if c == name]) for name in ("c0", "c1")]
        freedom = len(rest) - 2
        variance = sum(((g - g.mean()) ** 2).sum() for g in groups) / freedom
        own = groups[int(left[0][1])]
        best = max(best, (means[left] - own.mean()) ** 2 / (variance * (1 + 1 / len(own))))
    assert found.p == pytest.approx(min(1.0, len(means) * stats.f.sf(best, 1, len(means) - 3)), rel=1e-9)


@pytest.mark.parametrize(("replicates", "axes"), [((3, 3), 1), ((4, 4), 2), ((3, 3, 3), 1), ((6, 6), 16)])
def test_false_alarms_for_a_replicate(replicates, axes):
    """At most 5 %: of 200 campaigns 20 would be more than chance allows (p = 0.003)."""
    alarms = sum(outlier_of(draw(seed, replicates, axes=axes, fields=1, rois=10)).p < 0.05 for seed in range(200))
    assert alarms < 20


def test_a_replicate_that_stands_apart_is_named():
    found = [outlier_of(draw(seed, (4, 4), axes=3, outlier=5.0)) for seed in range(20)]
    assert sum(one.p < 0.05 and (one.condition, one.replicate) == ("c0", "c0r0") for one in found) >= 18
    assert 4.0 < np.median([one.distance for one in found]) < 6.0
    assert 0.5 < np.median([one.usual for one in found]) < 2.0  # sqrt(3) axes x 0.5, with the scatter of means


def test_a_replicate_of_few_rois_is_no_outlier():
    """Its mean lies off by chance; 3 ROIs among replicates of 60."""
    alarms = 0
    for seed in range(100):
        d = draw(seed, (5, 5), rois=60, fields=1, between=0.05, axes=2)
        keep = np.ones(len(d.key), dtype=bool)
        keep[np.flatnonzero(d.replicate == "c0r0")[3:]] = False
        alarms += farthest_replicate(d.vectors[keep], condition=d.condition[keep], replicate=d.replicate[keep]).p < 0.05
    assert alarms <= 11


@pytest.mark.parametrize("replicates", [(2, 2), (1, 5), (3,), (1,)])
def test_too_few_replicates(replicates):
    assert (outlier_of(draw(0, replicates)) is None) == (replicates != (1, 5))


def test_equal_vectors_are_no_outliers():
    d = draw(0, (4, 4))
    found = farthest_replicate(np.zeros_like(d.vectors), condition=d.condition, replicate=d.replicate)
    assert found.distance == 0
    assert found.p == 1.0


def test_false_alarms_for_batches():
    """Batches of whole replicates: fields of a replicate are alike, and must not be taken for independent."""
    alarms = sum(difference_of(draw(seed, (6, 6), between=1.0)).p < 0.05 for seed in range(100))
    assert alarms <= 11


def test_false_alarms_for_batches_within_replicates():
    alarms = sum(difference_of(draw(seed, (3, 3), fields=4, rois=16, group=lambda c, r, f: f % 2)).p < 0.05 for seed in range(100))
    assert alarms <= 11


def test_a_batch_that_stands_apart():
    found = difference_of(draw(1, (6, 6), group_effect=2.0))
    assert found.p < 0.01
    assert found.distance == pytest.approx(2.0, rel=0.4)
    within = difference_of(draw(1, (3, 3), fields=4, rois=16, group=lambda c, r, f: f % 2, group_effect=1.5))
    assert within.p < 0.01
    assert within.units == 24


def test_conditions_are_no_batches():
    """What goes with the condition can't be told from it; and a condition's own effect is no batch's."""
    assert difference_of(draw(0, (4, 4), group=lambda c, r, f: c, effect=5.0)) is None
    assert sum(difference_of(draw(seed, (6, 6), effect=20.0)).p < 0.05 for seed in range(20)) <= 4


@pytest.mark.parametrize(("replicates", "smallest"), [((2, 2), 0.5), ((4,), 1 / 3), ((4, 4), 2 / 36), ((8, 8), 1 / 2000)])
def test_the_smallest_p_that_a_design_can_give(replicates, smallest):
    found = difference_of(draw(0, replicates, group_effect=50.0))
    assert found.smallest == pytest.approx(smallest)
    assert abs(found.p - smallest) < 4 * np.sqrt(smallest / 2000)  # that many standard deviations of 1,999 draws


def test_the_order_of_rows_does_not_matter():
    d = draw(2, (6, 6), group_effect=0.5)
    mixed = np.random.default_rng(0).permutation(len(d.key))
    names = {"condition": d.condition[mixed], "replicate": d.replicate[mixed]}
    again = groups_differ(d.vectors[mixed], **names, key=d.key[mixed], group=d.group[mixed])
    assert again.p == difference_of(d).p
    assert farthest_replicate(d.vectors[mixed], **names).p == pytest.approx(outlier_of(d).p)
