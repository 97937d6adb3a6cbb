"""What the stage's test on a random field can't reach: clusters without a hull, regions outside the cell, few locs."""

import numpy as np
import pytest

from smlmbatch.config import MeasureConfig
from smlmbatch.measure.descriptors import Descriptors, describe


def described(xy_nm: list[list[float]], *, coverage: float = 1.0) -> Descriptors:
    x_nm, y_nm = np.array(xy_nm, dtype=np.float32).reshape(-1, 2).T
    config, radii_nm = MeasureConfig(dbscan_min_locs=3), np.array([100.0, 200.0])
    return describe(x_nm, y_nm, config=config, side_nm=1000.0, coverage=coverage, radii_nm=radii_nm, field_key="f", roi=0, channel=0)


SQUARE, LINE, STRAY = [[100, 100], [110, 100], [110, 110], [100, 110]], [[500, 500], [510, 500], [520, 500]], [[900, 100]]


def test_a_cluster_on_a_line_counts_but_not_in_the_area() -> None:
    row = described(SQUARE + LINE + STRAY)
    assert (row.n_clusters, row.locs_per_cluster, row.noise_fraction) == (2, 3.5, 1 / 8)
    assert row.cluster_area_nm2 == 100
    assert row.cluster_radius_nm == pytest.approx((np.sqrt(50) + np.sqrt(200 / 3)) / 2)


def test_only_clusters_without_area() -> None:
    row = described(LINE)
    assert row.n_clusters == 1
    assert np.isnan(row.cluster_area_nm2)


def test_a_region_outside_the_cell_has_no_density() -> None:
    assert described(SQUARE, coverage=0.5).density_per_um2 == pytest.approx(8)
    assert np.isnan(described(SQUARE, coverage=0.0).density_per_um2)


def test_one_loc() -> None:
    row = described(STRAY)
    assert (row.n_locs, row.n_clusters, row.noise_fraction, row.ripley_n) == (1, 0, 1, 1)
    assert np.isnan([row.nn_mean_nm, row.nn_median_nm, row.ripley_peak_nm, *row.ripley_k_nm2]).all()


def test_locs_further_apart_than_any_radius() -> None:
    row = described([[0, 0], [999, 999]])
    assert row.ripley_k_nm2.tolist() == [0, 0]
    assert (row.ripley_peak_nm, row.ripley_max_nm) == (100, -100)  # L = 0: the least negative is the first
    assert row.nn_mean_nm == pytest.approx(999 * np.sqrt(2))
