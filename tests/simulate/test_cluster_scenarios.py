"""Scenarios: sizes, counts and background against what the paper states."""

import dataclasses

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cluster_scenarios import PAIR_SIGMA_NM, SCENARIOS, draw_pairs, draw_scenario, mosaic
from smlmbatch.simulate.cluster_shapes import SHAPES


@pytest.mark.parametrize("name", SCENARIOS)
def test_fields_are_functions_of_seed_and_number(name):
    one, again, other = (draw_scenario(name, 1, k) for k in (4, 4, 5))
    assert all(np.array_equal(getattr(one, f.name), getattr(again, f.name)) for f in dataclasses.fields(one))
    assert not np.array_equal(one.xy_nm, other.xy_nm)


# name: clusters, locs of each, share of background, extent (nm), rms radius (nm) by the closed form
STATED = {
    "c_shaped": ((30, 60), (30, 60), 0.06, 6400, np.sqrt(250**2 + 50**2 - (250 * 2 / np.pi) ** 2)),
    "rings": ((60, 70), (60, 80), 0.07, 6400, np.hypot(250, 50)),
    "c_shaped_small": ((30, 60), (30, 60), 0.06, 1920, 0.3 * np.sqrt(250**2 + 50**2 - (250 * 2 / np.pi) ** 2)),
    "rings_small": ((60, 70), (60, 80), 0.07, 1920, 0.3 * np.hypot(250, 50)),
}


@pytest.mark.parametrize("name", STATED)
def test_what_the_paper_states(name):
    clusters, locs, background, side_nm, rms_nm = STATED[name]
    fields = [draw_scenario(name, 0, k) for k in range(6)]
    for field in fields:
        assert clusters[0] <= len(field.rms_nm) <= clusters[1]
        assert locs[0] <= field.size.min() <= field.size.max() <= locs[1]
        assert (field.cluster == 0).mean() == pytest.approx(background, abs=0.002)
        assert np.ptp(field.xy_nm, axis=0) == pytest.approx(side_nm, rel=0.12)
    assert np.mean(np.concatenate([field.rms_nm for field in fields])) == pytest.approx(rms_nm, rel=0.02)


@pytest.mark.parametrize(("name", "both"), [("spots_rings", "spot ring"), ("c_rings", "c ring"), ("spots_ellipses", "spot ellipse")])
def test_mixtures_hold_both_shapes(name, both):
    field = draw_scenario(name, 0, 0)
    count = dict(zip(SHAPES, np.bincount(field.shape, minlength=len(SHAPES)), strict=True))
    assert all(15 <= count[shape] <= 20 for shape in both.split())
    assert sum(count.values()) == sum(count[shape] for shape in both.split())


def test_ellipses_have_the_area_of_spots_and_three_times_their_width():
    """Moments of each ellipse about its own axes: standard deviations 30 sqrt(3) and 30 / sqrt(3) nm."""
    field, own = draw_scenario("spots_ellipses", 0, 1), []
    for k in np.flatnonzero(field.shape == tuple(SHAPES).index("ellipse")):
        own.append(np.sqrt(np.linalg.eigvalsh(np.cov(field.xy_nm[field.cluster == k + 1].T.astype(float)))))
    np.testing.assert_allclose(np.mean(own, axis=0), [30 / np.sqrt(3), 30 * np.sqrt(3)], rtol=0.12)


def test_two_scales():
    """Corners 40 (53) nm from their ring's middle; 5 to 9, or 75 % of 8."""
    field = draw_scenario("rings_of_spots", 0, 0)
    children = np.bincount(field.parent)[1:]
    assert 30 <= len(children) <= 60
    assert 5 <= children.min() <= children.max() <= 9
    assert np.concatenate([_reach(field, k) for k in range(1, len(children) + 1)]).mean() == pytest.approx(40, abs=2)
    pores = [draw_scenario("pores", 0, k) for k in range(4)]
    seen = np.concatenate([np.bincount(field.parent)[1:] for field in pores])
    assert seen.mean() == pytest.approx(6.0, abs=4 * np.sqrt(8 * 0.75 * 0.25 / len(seen)))
    sizes = np.concatenate([field.size for field in pores])
    assert sizes.mean() == pytest.approx(8.0, abs=4 * 8 / np.sqrt(len(sizes)))


def _reach(field, parent):
    """Distance of corners to their mean: for a whole regular ring its radius."""
    at = field.centre_nm[field.parent == parent].astype(float)
    return np.hypot(*(at - at.mean(axis=0)).T)


@pytest.mark.parametrize("separation", [1.0, 4.0])
def test_pairs_are_as_far_apart_as_asked(separation):
    field = draw_pairs(0, 0, separation=separation)
    assert len(field.rms_nm) == 32
    large = (field.size.reshape(-1, 2) > 40).all(axis=1)
    gap = np.hypot(*np.diff(field.centre_nm.reshape(-1, 2, 2).astype(float), axis=1)[:, 0].T)
    # each middle is known to sigma / sqrt(40) per axis
    np.testing.assert_allclose(gap[large], separation * PAIR_SIGMA_NM, atol=4 * np.sqrt(2 / 40) * PAIR_SIGMA_NM)
    assert field.size.mean() == pytest.approx(90, abs=4 * 90 / np.sqrt(32))


def test_a_mosaic_holds_its_fields_unchanged():
    fields = [draw_scenario("pores", 0, k) for k in range(4)]
    whole = mosaic(fields, side_nm=2000.0)
    assert len(whole.xy_nm) == sum(len(field.xy_nm) for field in fields)
    assert len(whole.rms_nm) == sum(len(field.rms_nm) for field in fields)
    assert whole.parent.max() == sum(field.parent.max() for field in fields)
    before = sum(len(field.rms_nm) for field in fields[:3])
    np.testing.assert_allclose(whole.centre_nm[before:], fields[3].centre_nm + 2000.0, rtol=1e-4)
    with pytest.raises(ConfigError, match="square"):
        mosaic(fields[:3], side_nm=2000.0)


def test_an_unknown_scenario_is_refused():
    with pytest.raises(ConfigError, match="wanted one of"):
        draw_scenario("stars", 0, 0)
