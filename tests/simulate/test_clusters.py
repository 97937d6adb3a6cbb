"""Simulated fields of clusters: shapes against their closed forms, truth against the locs, and what a field must show."""

import dataclasses

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cluster_shapes import SHAPES, unit_members
from smlmbatch.simulate.clusters import ClusterFields, draw_cluster_field

N = 200_000


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("form", [0.0, 0.5, 1.0])
def test_shapes_have_their_centroid_at_0_and_an_rms_distance_of_1(name, form):
    xy = unit_members(np.random.default_rng(1), np.full(N, list(SHAPES).index(name)), np.full(N, form))
    # the standard error of a mean is 1 / sqrt(N) = 0.002
    np.testing.assert_allclose(xy.mean(axis=0), 0.0, atol=0.01)
    assert (xy**2).sum(axis=1).mean() == pytest.approx(1.0, abs=0.02)


def test_shapes_are_what_they_are_called():
    """A ring and a C are hollow, the C open on one side; a disc has an edge; a fibre is straight."""
    rng, drawn = np.random.default_rng(0), {}
    for number, name in enumerate(SHAPES):
        drawn[name] = unit_members(rng, np.full(5000, number), np.ones(5000))
    away = {name: np.hypot(*xy.T) for name, xy in drawn.items()}
    assert away["ring"].min() > 0.5
    assert away["disc"].max() <= np.sqrt(2.0)
    assert away["spot"].max() > 2.5
    for name, ratio in (("spot", 1.0), ("ellipse", 4.0), ("fibre", np.sqrt(1 / 3) / 0.15)):
        low, high = np.sqrt(np.linalg.eigvalsh(np.cov(drawn[name].T)))
        assert high / low == pytest.approx(ratio, rel=0.05)
    angle = np.arctan2(*(drawn["c"] - _middle_of(drawn["c"])).T[::-1])
    assert np.abs(angle).max() == pytest.approx(0.85 * np.pi, rel=0.03)


def _middle_of(c):
    """The centre of the circle that a C lies on, by least squares (Kåsa)."""
    a = np.column_stack([2 * c, np.ones(len(c))])
    return np.linalg.lstsq(a, (c**2).sum(axis=1), rcond=None)[0][:2]


def test_a_field_is_a_function_of_seed_and_number():
    one, again = draw_cluster_field(3, 7), draw_cluster_field(3, 7)
    assert all(np.array_equal(getattr(one, f.name), getattr(again, f.name)) for f in dataclasses.fields(one))
    assert all(not np.array_equal(one.xy_nm, draw_cluster_field(*key).xy_nm) for key in ((3, 8), (4, 7)))


@pytest.fixture(scope="module")
def fields():
    return [draw_cluster_field(0, number) for number in range(300)]


def test_truth_is_that_of_the_locs(fields):
    for field in fields[:60]:
        n = len(field.rms_nm)
        assert np.array_equal(np.unique(field.cluster[field.cluster > 0]), np.arange(1, n + 1))
        assert len(field.centre_nm) == len(field.shape) == len(field.parent) == n
        for k in range(n):
            members = field.xy_nm[field.cluster == k + 1].astype(float)
            assert len(members) == field.size[k] >= 3
            np.testing.assert_allclose(field.centre_nm[k], members.mean(axis=0), rtol=1e-4)
            spread = np.sqrt(((members - members.mean(axis=0)) ** 2).sum(axis=1).mean())
            assert field.rms_nm[k] == pytest.approx(spread, rel=1e-3)


def test_fields_are_as_varied_as_stated(fields):
    """Shares within four standard errors; locs, sizes and sides over their ranges."""
    n_locs, blinks = np.array([len(f.xy_nm) for f in fields]), np.array([f.blinking for f in fields])
    assert 150 < n_locs.min() < 350
    assert 4000 < n_locs[~blinks].max() < 6500
    assert 7000 < n_locs[blinks].max() < 20_000, "twice as many where molecules blink, and more where faint clusters were filled up"
    assert blinks.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(300))
    sizes = np.array([np.median(f.rms_nm) for f in fields if len(f.rms_nm)])
    assert np.percentile(sizes, 5) < 20
    assert np.percentile(sizes, 95) > 90
    unlike = np.array([np.log(f.rms_nm).std() for f in fields if len(f.rms_nm) >= 4])
    assert 0.2 < (unlike > 0.25).mean() < 0.7, "graded sizes"
    background = np.array([(f.cluster == 0).mean() for f in fields])
    assert np.percentile(background, 10) < 0.2
    assert np.percentile(background, 90) > 0.7
    assert len({int(s) for f in fields for s in f.shape}) == len(SHAPES)


def test_clusters_are_denser_than_the_background(fields):
    """Locs within the rms distance of a centre (63 % of a spot's) against what the background alone would put there."""
    for field in fields:
        if len(field.rms_nm) == 0 or field.blinking:
            continue
        extent = np.ptp(field.xy_nm.astype(float), axis=0)
        background = (field.cluster == 0).sum() / extent.prod()
        of_its_own = field.size / (np.pi * field.rms_nm.astype(float) ** 2)
        assert np.median(of_its_own / max(background, 1e-12)) > 2.5


def test_blinking_molecules_scatter_by_the_error():
    """Every loc has others of its molecule around it, as far as the error goes."""
    family = ClusterFields(blinking=1.0, empty=1.0, blinks=(6.0, 6.0), error_nm=(10.0, 10.0), side_um=(4.0, 4.0))
    sparse = dataclasses.replace(family, locs=(300, 300))
    xy = draw_cluster_field(0, 0, sparse).xy_nm.astype(float)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    near = apart[(apart > 0) & (apart < 80)]
    # two locs of a molecule differ by sqrt(2) x 10 nm per axis, with a spread of errors of 25 %: mean distance 10 sqrt(pi) x 1.06
    assert np.median(near) == pytest.approx(10 * np.sqrt(2) * np.sqrt(2 * np.log(2)), rel=0.25)


def test_empty_and_nested_fields():
    empty = draw_cluster_field(0, 1, ClusterFields(empty=1.0))
    assert not empty.cluster.any()
    assert len(empty.rms_nm) == 0
    nested = [draw_cluster_field(0, k, ClusterFields(nested=1.0, empty=0.0)) for k in range(30)]
    grouped = [f for f in nested if f.parent.any()]
    assert len(grouped) > 10
    for field in grouped:
        for parent in np.unique(field.parent):
            children = field.centre_nm[field.parent == parent].astype(float)
            if len(children) > 3:
                assert np.hypot(*(children - children.mean(axis=0)).T).max() < 2.5 * 5 * field.rms_nm.mean() + 200


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"locs": (500, 300)}, "locs"),
        ({"blinking": 1.5}, "blinking"),
        ({"blinks": (0.5, 2.0)}, "blinks"),
        ({"background_share": (0.2, 1.0)}, "background_share"),
    ],
)
def test_impossible_families_are_refused(change, finding):
    with pytest.raises(ConfigError, match=finding):
        ClusterFields(**change)


def test_a_family_that_holds_no_field_says_so(monkeypatch):
    monkeypatch.setattr("smlmbatch.simulate.clusters._TRIES", 50)
    with pytest.raises(ConfigError, match="hardly any field can be drawn"):
        draw_cluster_field(0, 0, ClusterFields(side_um=(1e3, 1e3), empty=0.0))
