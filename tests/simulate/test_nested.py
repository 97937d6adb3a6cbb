"""Fields of children about parents: geometry against the closed forms, truth against the locs."""

import dataclasses

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.simulate import nested
from smlmbatch.simulate.clusters import ClusterFields
from smlmbatch.simulate.nested import draw_nested_field, measured_field, places_apart


@pytest.fixture(scope="module")
def fields():
    return [draw_nested_field(0, number) for number in range(60)]


def test_a_field_is_a_function_of_seed_and_number():
    one, again = draw_nested_field(3, 7), draw_nested_field(3, 7)
    assert all(np.array_equal(getattr(one, f.name), getattr(again, f.name)) for f in dataclasses.fields(one))
    assert all(not np.array_equal(one.xy_nm, draw_nested_field(*key).xy_nm) for key in ((3, 8), (4, 7)))


def test_truth_is_that_of_the_locs(fields):
    for field in fields[:20]:
        n = len(field.rms_nm)
        assert np.array_equal(np.unique(field.cluster[field.cluster > 0]), np.arange(1, n + 1))
        assert np.array_equal(np.unique(field.parent[field.parent > 0]), np.arange(1, field.parent.max() + 1))
        for k in range(n):
            members = field.xy_nm[field.cluster == k + 1].astype(float)
            np.testing.assert_allclose(field.centre_nm[k], members.mean(axis=0), rtol=1e-4)
            assert field.rms_nm[k] == pytest.approx(np.sqrt(((members - members.mean(axis=0)) ** 2).sum(axis=1).mean()), rel=1e-3)


def test_what_shows_too_little_is_background(fields):
    """Every parent has 2 children and 6 locs, every lone cluster 3 locs; corners of one or two locs of a parent are kept."""
    for field in fields:
        of_parent = np.bincount(field.parent, weights=field.size)[1:]
        assert (of_parent >= 6).all()
        assert (np.bincount(field.parent)[1:] >= 2).all()
        assert (field.size[field.parent == 0] >= 3).all()
    assert any((field.size < 3).any() for field in fields)


def test_fields_are_varied(fields):
    assert {field.blinking for field in fields} == {True, False}
    background = np.array([(field.cluster == 0).mean() for field in fields])
    assert background.min() < 0.1
    assert background.max() > 0.4
    assert any((field.parent == 0).any() for field in fields), "clusters without a parent"
    assert np.ptp([field.parent.max() for field in fields]) > 30


def test_corners_of_a_pore_lie_on_its_ring():
    """All of 8 regular corners: their centroid is the middle, all radii 45 to 65 nm, neighbours 2 R sin(pi / 8) apart."""
    rng = np.random.default_rng(0)
    kind = nested._pore(rng)
    seen_tight = False
    for _ in range(20):
        at = kind.lay(rng, 50, kind)
        radius = np.hypot(*at.transpose(2, 0, 1))
        if np.ptp(radius) > 1e-9:
            continue
        seen_tight = True
        assert radius == pytest.approx(kind.reach_nm)
        assert 45 <= kind.reach_nm <= 65
        gap = np.hypot(*(at - np.roll(at, 1, axis=1)).transpose(2, 0, 1))
        assert gap == pytest.approx(2 * kind.reach_nm * np.sin(np.pi / 8))
    assert seen_tight


@pytest.mark.parametrize("name", ["ring", "heap", "row"])
def test_other_kinds_reach_as_far_as_they_say(name):
    rng = np.random.default_rng(1)
    for _ in range(20):
        kind = nested._KINDS[name](rng)
        at = kind.lay(rng, 200, kind)
        assert at.shape == (200, kind.n_children, 2)
        far = np.hypot(*at.transpose(2, 0, 1)).max()
        assert 0.9 * kind.reach_nm < far < 1.25 * kind.reach_nm + 1.5 * kind.sigma_nm


def test_children_are_as_wide_as_planned_with_blinking_and_without():
    """What the localisation error adds is taken from where molecules lie."""
    rng = np.random.default_rng(2)
    for blinks, error_nm in ((1.0, 0.0), (3.0, 8.0)):
        plan = nested._Plan(nested._Kind(4, 10.0, 60.0, nested._on_ring), 1.0, 200.0, 5, 0, 0, 2000.0, blinks, error_nm)
        centre_nm, parent = nested._children(rng, plan)
        xy_nm, child = nested._locs(rng, plan, centre_nm, parent)
        away = xy_nm - centre_nm[child - 1]
        assert away.std() == pytest.approx(10.0, rel=0.06)
        assert np.bincount(child)[1:].mean() == pytest.approx(200 * np.exp(0.3**2 / 2), rel=0.5)


def test_places_keep_apart_and_those_without_room_are_left_out():
    places = places_apart(np.random.default_rng(0), 100, side_nm=1000.0, apart_nm=150.0)
    gap = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert gap[gap > 0].min() >= 150.0
    assert 15 < len(places) < 60, "a square of 1000 nm holds no hundred"


def test_measured_field_leaves_no_gaps():
    xy = np.array([[0.0, 0], [2, 0], [10, 0], [12, 0], [50, 50]])
    field = measured_field(xy, np.array([2, 2, 5, 5, 0]), shape=np.arange(5), parent=np.array([0, 7, 0, 0, 9]))
    assert field.cluster.tolist() == [1, 1, 2, 2, 0]
    assert field.parent.tolist() == [1, 2]
    assert field.shape.tolist() == [1, 4]
    np.testing.assert_allclose(field.centre_nm, [[1, 0], [11, 0]])
    np.testing.assert_allclose(field.rms_nm, 1.0)
    assert not field.blinking
    empty = measured_field(np.empty((0, 2)), np.empty(0, int), shape=np.empty(0, int), parent=np.empty(0, int))
    assert len(empty.rms_nm) == len(empty.cluster) == 0


def test_a_family_that_holds_no_field_says_so(monkeypatch):
    monkeypatch.setattr(nested, "_TRIES", 20)
    with pytest.raises(ConfigError, match="hardly any nested field"):
        draw_nested_field(0, 0, ClusterFields(least_contrast=1e12))
