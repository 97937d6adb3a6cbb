"""One simulated field: densities, shape, planted differences, independence of how it is made."""

import numpy as np
import pytest
import shapely

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cell import PRESETS, SimulateConfig, simulate_field

SMALL = SimulateConfig(cell_length_um=5.0, cell_width_um=4.0, variation=0.0)


def _spread_nm(made):
    """Root mean square distance to the cluster's mean per axis, measured positions, errors subtracted."""
    index = made.cluster[made.cluster > 0] - 1
    xy_nm = np.column_stack([made.locs.x_nm, made.locs.y_nm])[made.cluster > 0]
    size = np.bincount(index)
    centre_nm = np.column_stack([np.bincount(index, xy_nm[:, axis]) / size for axis in (0, 1)])
    variance_nm2 = ((xy_nm - centre_nm[index]) ** 2).sum() / (2 * (size - 1).sum())
    return np.sqrt(variance_nm2 - np.mean(made.locs.precision_nm[made.cluster > 0] ** 2))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("blinking", [False, True])
def test_all_conditions_have_the_density_asked_for(preset, blinking):
    config = SimulateConfig(conditions=preset, cell_length_um=5.0, cell_width_um=4.0, variation=0.0, blinking=blinking)
    for condition in config.architectures:
        made = [simulate_field(config, condition=condition, replicate=0, field=k) for k in range(25)]
        inside = np.array([one.in_cell.sum() / (shapely.Polygon(one.outline_nm).area / 1e6) for one in made])
        around = np.array([(~one.in_cell).sum() / ((one.side_nm**2 - shapely.Polygon(one.outline_nm).area) / 1e6) for one in made])
        assert inside.mean() == pytest.approx(400, abs=4.5 * inside.std(ddof=1) / 5)
        assert around.mean() == pytest.approx(8, abs=4.5 * around.std(ddof=1) / 5)


def test_a_default_field_is_a_quick_one_with_a_cell_of_the_size_asked_for():
    made = simulate_field(SimulateConfig(), condition="control", replicate=0, field=0)
    area_um2 = shapely.Polygon(made.outline_nm).area / 1e6
    assert area_um2 == pytest.approx(np.pi / 4 * 12 * 10, rel=0.02)
    assert 25_000 < len(made.locs) < 60_000
    assert made.side_nm == 16_000


@pytest.mark.parametrize(("length_um", "width_um"), [(12.0, 10.0), (60.0, 4.0), (1.0, 1.0)])
def test_the_cell_lies_within_its_field(length_um, width_um):
    config = SimulateConfig(cell_length_um=length_um, cell_width_um=width_um, density_per_um2=1.0)
    for k in range(20):
        made = simulate_field(config, condition="control", replicate=k, field=0)
        assert made.outline_nm.min() > 0
        assert made.outline_nm.max() < made.side_nm
        assert shapely.Polygon(made.outline_nm).is_valid
        assert ((made.locs.x_nm >= 0) & (made.locs.x_nm < made.side_nm)).all()


def test_truth_tells_where_a_molecule_is():
    made = simulate_field(SMALL, condition="treated", replicate=1, field=0)
    assert np.array_equal(shapely.contains_xy(shapely.Polygon(made.outline_nm), made.true_xy_nm), made.in_cell)
    error = (made.locs.x_nm - made.true_xy_nm[:, 0]) / made.locs.precision_nm
    assert error.std() == pytest.approx(1.0, rel=4.5 / np.sqrt(2 * len(error)))
    assert not made.cluster[~made.in_cell].any()


def test_the_planted_difference_is_there_and_null_has_none():
    for preset, expected_nm in (("clusters", (30.0, 60.0)), ("null", (30.0, 30.0))):
        config = SimulateConfig(conditions=preset, variation=0.0)
        spreads_nm = [_spread_nm(simulate_field(config, condition=name, replicate=0, field=0)) for name in ("control", "treated")]
        assert spreads_nm == pytest.approx(expected_nm, rel=0.025)  # some 22,000 locs in 240 clusters, rim clusters cut


def test_conditions_of_null_are_alike_but_not_the_same_draw():
    config = SimulateConfig(conditions="null")
    control, treated = (simulate_field(config, condition=name, replicate=0, field=0) for name in ("control", "treated"))
    assert not np.array_equal(control.locs.x_nm[:100], treated.locs.x_nm[:100])


def test_presets_hold_what_they_are_called():
    def share(preset, condition, column):
        made = simulate_field(SimulateConfig(conditions=preset), condition=condition, replicate=0, field=0)
        return (getattr(made, column)[made.in_cell] > 0).mean()

    assert share("csr", "control", "cluster") == pytest.approx(0.6, abs=0.1)
    assert share("csr", "treated", "cluster") == 0
    assert share("fibres", "treated", "fibre") == pytest.approx(0.3, abs=0.1)
    assert share("fibres", "treated", "cluster") == pytest.approx(0.3, abs=0.1)
    assert share("fibres", "control", "fibre") == 0


def test_replicates_vary_moderately_and_their_fields_share_it():
    config = SimulateConfig(cell_length_um=2.0, cell_width_um=2.0, variation=0.1)
    drawn = [simulate_field(config, condition="control", replicate=k, field=0).drawn for k in range(200)]
    logs = np.log([one["density_per_um2"] / 400 for one in drawn])
    assert logs.std(ddof=1) == pytest.approx(0.1, rel=4.5 / np.sqrt(400))
    sigma_logs = np.log([one["cluster_sigma_nm"] / 30 for one in drawn])
    assert sigma_logs.std(ddof=1) == pytest.approx(0.05, rel=4.5 / np.sqrt(400))
    assert np.mean([one["density_per_um2"] for one in drawn]) == pytest.approx(400, rel=4.5 * 0.1 / np.sqrt(200))
    assert simulate_field(config, condition="control", replicate=3, field=1).drawn == drawn[3]


def test_seed_condition_replicate_and_field_each_change_the_draw():
    one = simulate_field(SMALL, condition="control", replicate=0, field=0).locs.x_nm[:50]
    other_seed = SimulateConfig(cell_length_um=5.0, cell_width_um=4.0, variation=0.0, seed=1)
    for config, place in (
        (SMALL, ("treated", 0, 0)),
        (SMALL, ("control", 1, 0)),
        (SMALL, ("control", 0, 1)),
        (other_seed, ("control", 0, 0)),
    ):
        condition, replicate, field = place
        other = simulate_field(config, condition=condition, replicate=replicate, field=field).locs.x_nm[:50]
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "wish",
    [
        {"conditions": "rings"},
        {"replicates": 0},
        {"formats": ()},
        {"formats": ("thunderstorm", "tiff")},
        {"density_per_um2": 0.0},
        {"cell_length_um": 5.0, "cell_width_um": 6.0},
        {"seed": -1},
        {"variation": -0.1},
    ],
)
def test_impossible_settings_are_refused(wish):
    with pytest.raises(ConfigError, match=r"simulate: .*wanted"):
        SimulateConfig(**wish)
