"""Groups of contracted locs: against a plain implementation of the rule, and where contraction is complete."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.group import Grouping, group_locs


def plainly(xy_nm, belonging, radius_nm, rule):
    """The rule by all pairs, for locs of which no two share a nm."""
    part = np.flatnonzero(belonging >= rule.least_belonging)
    labels = np.full(len(xy_nm), -1)
    if len(part) == 0:
        return labels
    xy, reach = xy_nm[part], rule.reach * np.clip(radius_nm[part], *rule.radius_nm)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    linked = apart < np.minimum(reach[:, None], reach[None])
    core = linked.sum(axis=1) >= rule.core_locs
    _, of = connected_components(csr_array(linked & core[:, None] & core[None]))
    found = np.where(core, of, -1)
    for i in np.flatnonzero(~core):
        nearest = np.where(linked[i] & core, apart[i], np.inf)
        if np.isfinite(nearest).any():
            found[i] = found[nearest.argmin()]
    number = 0
    for i in range(len(part)):
        same = found == found[i]
        least = max(rule.least_sum, rule.least_mean * same.sum())
        if found[i] >= 0 and labels[part[i]] < 0 and belonging[part][same].sum() >= least:
            labels[part[same]] = number
            number += 1
    return labels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 120), st.floats(20, 600))
def test_it_is_the_rule(seed, n, side_nm):
    """One loc at most in each nm, in float64."""
    rng = np.random.default_rng(seed)
    xy = np.unique(rng.integers(0, int(side_nm), (n, 2)), axis=0) + 0.5
    xy = rng.permutation(xy) + rng.uniform(-0.4, 0.4, (len(xy), 2))
    belonging, radius = rng.uniform(0.2, 1, len(xy)), np.exp(rng.uniform(np.log(3), np.log(150), len(xy)))
    assert (group_locs(xy, belonging, radius) == plainly(xy, belonging, radius, Grouping())).all()


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_arrays_does_not_matter(seed):
    """Rows do: locs in another order with their rows get the same labels."""
    rng = np.random.default_rng(seed)
    xy = np.concatenate([rng.normal(c, 3.0, (50, 2)) for c in rng.uniform(0, 400, (6, 2))])
    belonging, radius = rng.uniform(0.3, 1, len(xy)), rng.uniform(5, 40, len(xy))
    order = rng.permutation(len(xy))
    moved = group_locs(xy[order], belonging[order], radius[order], row=order)
    assert (moved == group_locs(xy, belonging, radius)[order]).all()


def test_clusters_are_numbered_by_their_smallest_rows():
    centre = np.array([[900.0, 0], [0, 0], [500, 500]])
    which = np.tile([2, 0, 1], 20)
    labels = group_locs(centre[which], np.ones(60), np.full(60, 30.0), row=100 + 3 * np.arange(60))
    assert (labels == np.tile([0, 1, 2], 20)).all()


def test_ten_thousands_of_locs_in_one_nm_are_no_work():
    """All pairs of 300,000 would be 10^11."""
    xy = np.random.default_rng(0).normal(500.0, 0.2, (300_000, 2))
    xy[::2] += 40.0
    labels = group_locs(xy, np.ones(len(xy)), np.full(len(xy), 20.0))
    assert (labels == np.arange(len(xy)) % 2).all()


def test_small_and_large_clusters_side_by_side():
    """A reach of one size for all would join the small ones, or break the large one up."""
    rng = np.random.default_rng(0)
    small = np.concatenate([rng.normal((k * 12.0, 0), 0.7, (20, 2)) for k in range(5)])
    large = rng.normal((400.0, 0), 12.0, (150, 2))
    xy, radius = np.concatenate([small, large]), np.repeat([8.0, 60.0], [100, 150])
    labels = group_locs(xy, np.ones(250), radius)
    assert (labels[:100] == np.repeat(np.arange(5), 20)).all()
    assert (labels[100:] == 5).mean() > 0.95


def test_weak_clusters_and_improbable_locs_are_none():
    xy = np.repeat([[0.0, 0.0], [300.0, 0.0]], 5, axis=0)
    labels = group_locs(xy, np.repeat([0.59, 0.61], 5), np.full(10, 30.0))
    assert (labels == [-1] * 5 + [0] * 5).all()
    assert (group_locs(xy, np.full(10, 0.49), np.full(10, 30.0)) == -1).all()
    assert group_locs(np.empty((0, 2)), np.empty(0), np.empty(0)).shape == (0,)


def test_links_must_be_longer_than_what_is_taken_as_one_place():
    with pytest.raises(ConfigError, match="links longer than"):
        Grouping(reach=0.2)
