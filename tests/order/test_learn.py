"""The parts of the unit `order`: directions, bins, values; what the settings may name."""

import re
from pathlib import Path

import numpy as np
import pytest

from smlmbatch.config import Config, OrderConfig
from smlmbatch.errors import ConfigError
from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.stored import StoredParticles
from smlmbatch.order.learn import VALUE, _extras, _value, base_recipe, bin_numbers, estimate_all, find_directions
from smlmbatch.samples import Field
from smlmbatch.simulate.particles import draw_pores_2d, draw_pores_3d
from smlmbatch.work import Campaign, FieldResult
from tests.methods.pcvae.drawn import as_set


def latents(n: int = 200, units: int = 3) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.normal(size=(n, units)) * [3.0, 1.0, 0.3] + [5.0, 0, 0]).astype(np.float32)


def halved(whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latents of two halves: noise of one size along each direction."""
    rng = np.random.default_rng(6)
    return whole + 0.1 * rng.normal(size=whole.shape), whole + 0.1 * rng.normal(size=whole.shape)


def test_directions_are_units_and_principal_axes():
    found = find_directions(latents(), halved(latents()), None, seed=0)
    assert found.names == ["unit1", "unit2", "unit3", "pc1", "pc2", "pc3"]
    places = found.places(latents())
    np.testing.assert_array_equal(places[:, :3], latents().astype(np.float64))
    assert places[:, 3:].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert np.abs(np.diag(np.corrcoef(places.T)[:3, 3:])) == pytest.approx(np.ones(3), abs=0.05)
    variances = latents().var(axis=0)
    assert found.share[:3] == [None] * 3
    assert found.share[3:] == pytest.approx(variances / variances.sum(), abs=0.02)


def test_direction_of_a_value_is_found_on_one_half():
    x = latents()
    rng = np.random.default_rng(1)
    value = x @ [0.2, -1.0, 0.0] + rng.normal(0, 0.05, len(x))
    value[::4] = np.nan
    found = find_directions(x, halved(x), value, seed=3)
    assert found.names[-1] == VALUE
    place, known = found.places(x)[:, -1], np.isfinite(value)
    assert np.corrcoef(place[known], value[known])[0, 1] > 0.99
    kept = np.sort(np.random.default_rng(np.random.SeedSequence(3, spawn_key=(0x0A1F,))).permutation(known.sum())[: known.sum() // 2])
    changed = value.copy()
    rest = np.setdiff1d(np.flatnonzero(known), np.flatnonzero(known)[kept])
    changed[rest] = -changed[rest]
    np.testing.assert_array_equal(find_directions(x, halved(x), changed, seed=3).vector, found.vector)


@pytest.mark.parametrize("value", [np.full(200, np.nan), np.r_[np.arange(10.0), np.full(190, np.nan)], np.full(200, 3.0)])
def test_a_value_of_too_few_or_of_one_size_gives_no_direction(value):
    assert VALUE not in find_directions(latents(), halved(latents()), value, seed=0).names


@pytest.mark.parametrize(
    ("n", "bins", "wanted"),
    [(218, 20, [11] * 19 + [9]), (1400, 20, [70] * 20), (60, 20, [8] * 6 + [12]), (153, 20, [8] * 18 + [9]), (5, 20, [5])],
)
def test_bins_hold_equal_counts(n, bins, wanted):
    place = np.random.default_rng(0).permutation(n) / 7.0
    number = bin_numbers(place, bins)
    assert np.bincount(number).tolist() == wanted
    assert all(place[number == b].max() < place[number == b + 1].min() for b in range(len(wanted) - 1))


def test_estimates_are_near_the_truth():
    flat, deep = draw_pores_2d(3, count=40), draw_pores_3d(3, count=40)
    found = estimate_all(as_set(flat))
    assert np.median(np.abs(found["circle_radius_nm"] - flat.radius_nm)) < 2
    assert np.isnan(found["layer_height_nm"]).all()
    found = estimate_all(as_set(deep))
    assert np.nanmedian(np.abs(found["layer_height_nm"] - deep.height_nm)) < 8


def test_particles_turn_as_the_settings_say():
    found = base_recipe(OrderConfig(turns="space", seed=7), axes=3)
    assert (found.rotation, found.axes, found.seed) == ("space", 3, 7)
    with pytest.raises(ConfigError, match="these particles have no z"):
        base_recipe(OrderConfig(turns="space"), axes=2)


def test_extras_are_named_in_the_settings():
    assert _extras(OrderConfig(extras="photons, psf_nm")) == ("photons", "psf_nm")
    with pytest.raises(ConfigError, match="colour is none of them"):
        _extras(OrderConfig(extras="photons,colour"))


def known(name: str, *labels: str):
    """What each of the particles of some fields is known to be, whose sample sheet has these cells in the column `dose`."""
    fields = [
        FieldResult(field=Field(path=f"{n}.csv", name="", condition="", replicate="", format="", labels=(("dose", text),)), units={})
        for n, text in enumerate(labels)
    ]
    campaign = Campaign(output=Path("out"), config=Config(order=OrderConfig(value=name)), fields=tuple(fields))
    field = np.repeat(np.arange(len(labels), dtype=np.int32), 2)
    stored = StoredParticles(ParticleSet(np.zeros((0, 2), np.float32), np.zeros(1, np.int64)), field, field, field, 0, {}, False)
    return _value(campaign, stored, {"circle_radius_nm": np.arange(4.0)})


def test_a_value_is_a_column_of_the_sheet_or_an_estimate():
    np.testing.assert_array_equal(known("dose", "2.5", ""), [2.5, 2.5, np.nan, np.nan])
    np.testing.assert_array_equal(known(" circle_radius_nm ", "2.5", ""), np.arange(4.0))
    assert known("", "2.5", "") is None


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("dose", "the sample sheet says 'high' there; wanted numbers"),
        ("dosis", "wanted a column of the sample sheet (dose) or one of mean_"),
    ],
)
def test_a_value_that_is_none_is_refused(name, finding):
    with pytest.raises(ConfigError, match=re.escape(finding)):
        known(name, "2.5", "high")
