"""Tables of particles in order against formulas done by others: scipy's correlations, numpy's means."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from smlmbatch.analyse.fingerprint import ORDER_NAMES
from smlmbatch.analyse.heterogeneity import Ordered, _axes, group_particles
from smlmbatch.analyse.order_columns import ESTIMATES, ORDER_AXIS_COLUMNS, ORDER_BIN_COLUMNS, ORDER_COLUMNS
from smlmbatch.campaign import load_plan
from smlmbatch.config import OrderConfig
from smlmbatch.errors import ConfigError
from smlmbatch.ordering import order_state
from smlmbatch.store.arrays import UnitReader
from smlmbatch.upkeep import standing


@pytest.fixture(scope="module")
def tables(ordered_output):
    return {name: pq.read_table(ordered_output / "tables" / f"{name}.parquet") for name in ORDER_NAMES}


@pytest.fixture(scope="module")
def unit(ordered_output):
    plan = load_plan(ordered_output)
    state = order_state(plan, standing(plan, trust_cache=True))
    with UnitReader(plan.store.unit_path(state.order)) as opened:
        yield opened


def column(table, name):
    return table[name].to_numpy().astype(np.float64)


def test_a_row_for_every_particle(tables, unit, ordered_output):
    order = tables["order"]
    assert order.num_rows == unit.attrs["n_particles"] == 60
    assert [name for name in order.column_names if name not in ORDER_COLUMNS] == unit.attrs["directions"]
    np.testing.assert_array_equal(np.column_stack([column(order, name) for name in unit.attrs["directions"]]), unit.read("place"))
    particles = pq.read_table(ordered_output / "tables" / "particles.parquet")
    both = ("key", "particle")
    assert order.select(both).to_pylist() == particles.select(both).to_pylist()
    assert order["condition"].to_pylist() == ["a"] * 30 + ["b"] * 30
    assert order["layer_height_nm"].null_count == order["supervised"].null_count == 60, "in the plane, and nothing known"


def test_bins_are_described_by_their_own_particles(tables, unit):
    rows = [row for row in tables["order_bins"].to_pylist() if row["direction"] == "pc1"]
    assert list(tables["order_bins"].column_names) == list(ORDER_BIN_COLUMNS)
    number = unit.read("bin")[:, unit.attrs["directions"].index("pc1")]
    place, radius = unit.read("place")[:, unit.attrs["directions"].index("pc1")], unit.read("circle_radius_nm")
    assert [row["n"] for row in rows] == np.bincount(number).tolist()
    for row in rows:
        own = number == row["bin"]
        assert row["place_median"] == np.median(place[own])
        known = radius[own & np.isfinite(radius)]
        assert row["circle_radius_nm"] == pytest.approx(known.mean())
        assert row["circle_radius_nm_precision"] == pytest.approx(2.354820045 * known.std(ddof=1) / np.sqrt(len(known)), rel=1e-8)
        assert row["super_radius_nm"] == pytest.approx(known.mean(), abs=3.0), "all its locs together tell the same radius"
        assert 0 < row["overlap"] <= 1 + 1e-9
        assert row["n_registered"] == row["n"]
    assert all(row["n_registered"] is None for row in tables["order_bins"].to_pylist() if row["direction"] != "pc1")


def test_directions_are_held_against_what_is_estimated(tables, unit):
    found = {(row["direction"], row["quantity"]): row for row in tables["order_axes"].to_pylist()}
    assert list(tables["order_axes"].column_names) == list(ORDER_AXIS_COLUMNS)
    radius, places = unit.read("circle_radius_nm"), unit.read("place")
    known = np.isfinite(radius)
    for direction, place in zip(unit.attrs["directions"], places.T, strict=True):
        row = found[direction, "circle_radius_nm"]
        assert row["pearson"] == pytest.approx(stats.pearsonr(place[known], radius[known])[0], abs=1e-9)
        assert row["spearman"] == pytest.approx(stats.spearmanr(place[known], radius[known])[0], abs=1e-9)
        assert found[direction, "level_height_nm"]["pearson"] is None
    chosen = [direction for (direction, quantity), row in found.items() if quantity == "circle_radius_nm" and row["chosen"]]
    assert [name[:2] for name in chosen] == ["un", "pc"]


def drawn(n=200):
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(n, 2))
    latents[: n // 2, 0] += 8.0
    truth = latents[:, 1] + rng.normal(0, 0.3, n)
    quantities = {name: np.full(n, np.nan) for name in ESTIMATES} | {"n_points": np.arange(n) * 1.0, "value": truth}
    return Ordered(
        names=("unit1", "unit2", "pc1"),
        places=np.column_stack([latents, latents[:, 0]]),
        bins=np.zeros((n, 3), np.int16),
        latents=latents,
        quantities=quantities,
        nats=np.array([1.0, 0.01]),
        shares=(None, None, 0.9),
        thinned=np.ones((2, 3)),
        field=np.zeros(n, np.int32),
        number=np.arange(n, dtype=np.int32),
        keys=("a",),
        channel=0,
    )


def test_the_best_is_chosen_on_one_half_and_reported_on_the_other():
    ordered = drawn()
    rows = {(row["direction"], row["quantity"]): row for row in _axes(ordered, seed=4)}
    order = np.random.default_rng(np.random.SeedSequence(4, spawn_key=(0x0A1F,))).permutation(200)
    first, other = order[:100], order[100:]
    row = rows["unit2", "value"]
    assert row["chosen"]
    assert not rows["unit1", "value"]["chosen"]
    place, value = ordered.latents[:, 1], ordered.quantities["value"]
    assert row["half1_pearson"] == pytest.approx(np.corrcoef(place[first], value[first])[0, 1])
    assert row["half2_pearson"] == pytest.approx(np.corrcoef(place[other], value[other])[0, 1])


def test_groups_are_found_among_units_that_are_alive():
    ordered = drawn()
    for group in group_particles(ordered, OrderConfig(groups=2)).values():
        assert np.unique(group[:100]).tolist() == [2], "the higher place along pc1"
        assert np.unique(group[100:]).tolist() == [1]
    by_other = group_particles(ordered, OrderConfig(groups=2, grouped_by="unit2"))["kmeans"]
    assert len(np.unique(by_other[:100])) == 2
    with pytest.raises(ConfigError, match="not 'unit9'"):
        group_particles(ordered, OrderConfig(grouped_by="unit2,unit9"))


def test_conditions_are_compared_by_replicates(tables):
    rows = {row["descriptor"]: row for row in tables["order_comparisons"].to_pylist()}
    radius = rows["circle_radius_nm"]
    values = {name: [] for name in "ab"}
    for row in tables["order"].to_pylist():
        values[row["condition"]].append(row["circle_radius_nm"])
    assert radius["difference"] == pytest.approx(np.mean(values["b"]) - np.mean(values["a"]))
    assert radius["verdict"] == "too few replicates"
    assert rows["pc1"]["ratio"] is None
    assert {"pc1", "circle_radius_nm", "mean_radius_nm", "median_radius_nm", "n_points"} <= set(rows)


def test_nothing_in_order_is_no_row(small_output):
    for name in ORDER_NAMES:
        assert pq.read_table(small_output / "tables" / f"{name}.parquet").num_rows == 0
