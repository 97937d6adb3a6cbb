"""The grid against closed forms and brute force: coverage, distances, counts, judgement."""

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.tile.grid import REASONS, count_locs, grid_shape, judge, lay_grid
from tests.tile.conftest import write_ingest

SIDE_NM = 3000.0
KEPT, LITTLE_COVERED, FEW_LOCS = range(3)


def star(seed: int, n: int, radius_nm: float) -> shapely.Polygon:
    """A jagged polygon about (20, 30) um."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(n) + rng.uniform(0, 0.8, n)) / n
    radii = radius_nm * rng.uniform(0.2, 1, n)
    return shapely.Polygon(np.column_stack([2e4 + radii * np.cos(angle), 3e4 + radii * np.sin(angle)]))


# ---- coverage


def test_a_half_plane_cuts_squares_as_it_should():
    """The line from (0, 1000) to (6000, 3000): a square's area is its side times the mean of the heights at its sides."""
    grid = lay_grid(shapely.Polygon([(0, 0), (6000, 0), (6000, 3000), (0, 1000)]), side_nm=SIDE_NM)
    assert grid.origin_nm.tolist() == [[0, 0], [3000, 0]]
    assert grid.coverage == pytest.approx([(1000 + 2000) / 2 / 3000, (2000 + 3000) / 2 / 3000], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(3, 40), radius_nm=st.floats(10, 30_000), side_nm=st.sampled_from([500.0, 3000.0, 7001.3])
)
def test_covered_areas_add_up_to_the_polygon(seed, n, radius_nm, side_nm):
    polygon = star(seed, n, radius_nm)
    grid = lay_grid(polygon, side_nm=side_nm)
    assert grid.coverage.sum() * side_nm**2 == pytest.approx(polygon.area, rel=1e-9)
    assert (grid.coverage > 0).all()
    assert (grid.coverage <= 1).all()


def test_squares_wholly_inside_are_covered_wholly():
    circle = shapely.Point(2e4, 2e4).buffer(15_000, quad_segs=32)
    grid = lay_grid(circle, side_nm=SIDE_NM)
    corners = grid.origin_nm[:, None] + SIDE_NM * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    farthest = np.hypot(*(corners - 2e4).transpose(2, 0, 1)).max(axis=1)
    assert (grid.coverage[farthest < 14_990] == 1).all()
    assert (grid.coverage[farthest > 15_010] < 1).all()
    assert (farthest < 14_990).sum() > 50


def test_a_square_that_is_the_polygon():
    grid = lay_grid(shapely.box(100, 200, 3100, 3200), side_nm=SIDE_NM)
    assert grid.origin_nm.tolist() == [[100, 200]]
    assert grid.coverage.tolist() == [1.0]
    assert grid.distance_to_edge_nm == pytest.approx([1500])


def test_a_polygon_smaller_than_a_square():
    grid = lay_grid(shapely.box(10, 20, 310, 220), side_nm=SIDE_NM)
    assert grid.origin_nm.tolist() == [[10, 20]]
    assert grid.coverage == pytest.approx([300 * 200 / SIDE_NM**2], rel=1e-12)
    assert grid.distance_to_edge_nm == pytest.approx([-np.hypot(1200, 1300)])


# ---- squares


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 40), radius_nm=st.floats(10, 30_000))
def test_the_grid_covers_the_bounding_box_and_nothing_else(seed, n, radius_nm):
    polygon = star(seed, n, radius_nm)
    rows, columns = grid_shape(polygon, side_nm=SIDE_NM)
    x0, y0, x1, y1 = polygon.bounds
    assert x1 - SIDE_NM * (1 + 1e-6) < x0 + (columns - 1) * SIDE_NM < x1
    assert x0 + columns * SIDE_NM >= x1 - 1e-5
    assert y0 + rows * SIDE_NM >= y1 - 1e-5
    assert y0 + (rows - 1) * SIDE_NM < y1
    grid = lay_grid(polygon, side_nm=SIDE_NM)
    steps = (grid.origin_nm - (x0, y0)) / SIDE_NM
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    index = np.round(steps)[:, ::-1]
    assert sorted(index.tolist()) == index.tolist(), "row by row from below"
    assert len(np.unique(index, axis=0)) == len(index)


def test_squares_that_the_polygon_does_not_touch_are_left_out():
    corner = shapely.Polygon([(0, 0), (9000, 0), (9000, 1000), (1000, 1000), (1000, 9000), (0, 9000)])
    assert lay_grid(corner, side_nm=SIDE_NM).origin_nm.tolist() == [[0, 0], [3000, 0], [6000, 0], [0, 3000], [0, 6000]]


@pytest.mark.parametrize(("width_nm", "columns"), [(2999.9, 1), (3000, 1), (3000.000001, 1), (3000.1, 2), (9000, 3), (0.1 + 0.2, 1)])
def test_how_many_columns(width_nm, columns):
    """A millionth of a nanometre beyond is rounding, not a column."""
    assert grid_shape(shapely.box(0.7, 0, 0.7 + width_nm, 10), side_nm=SIDE_NM) == (1, columns)


def test_a_size_beyond_all_memory_is_only_a_number():
    assert np.prod(grid_shape(shapely.box(0, 0, 1e30, 1e30), side_nm=1.0)) == pytest.approx(1e60)


# ---- distance


def test_distance_to_the_edge():
    """A box of 15 x 9 um: the centre of square (column, row) is known distances from its sides."""
    grid = lay_grid(shapely.box(0, 0, 15_000, 9000), side_nm=SIDE_NM)
    x, y = (grid.origin_nm + SIDE_NM / 2).T
    assert grid.distance_to_edge_nm == pytest.approx(np.min([x, 15_000 - x, y, 9000 - y], axis=0))


def test_distance_is_negative_outside():
    """A circle: radius minus the distance from its centre, either sign. 64 segments a quarter: 0.01 % of the radius off."""
    grid = lay_grid(shapely.Point(2e4, 2e4).buffer(7000, quad_segs=64), side_nm=SIDE_NM)
    wanted = 7000 - np.hypot(*(grid.origin_nm + SIDE_NM / 2 - 2e4).T)
    assert grid.distance_to_edge_nm == pytest.approx(wanted, abs=1.5)
    assert (wanted < 0).any()


# ---- counts


@pytest.fixture(scope="module")
def lattice(tmp_path_factory) -> tuple[UnitReader, np.ndarray, np.ndarray]:
    """Locs of which half lie on multiples of 500 nm, so on squares' edges; three channels."""
    rng = np.random.default_rng(3)
    xy_nm = rng.uniform(0, 12_000, (4000, 2)).astype(np.float32).astype(np.float64)
    xy_nm[::2] = np.round(xy_nm[::2] / 500) * 500
    channel = rng.choice([0, 3, 7], len(xy_nm)).astype(np.uint8)
    return write_ingest(tmp_path_factory.mktemp("grid") / "ingest.zip", xy_nm, channel), xy_nm, channel


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x0=st.integers(-8, 8), y0=st.integers(-8, 8), side_nm=st.sampled_from([500.0, 1500.0, 3000.0]), keep_rows=st.sampled_from([0, 10_000])
)
def test_counts_equal_brute_force(lattice, x0, y0, side_nm, keep_rows):
    unit, xy_nm, channel = lattice
    origin_nm = np.array([(500.0 * x0 + i * side_nm, 500.0 * y0 + j * side_nm) for j in range(3) for i in range(4)])
    found = count_locs(FieldLocs(unit, keep_rows=keep_rows), origin_nm, side_nm=side_nm, channels=[0, 3, 7])
    inside = ((xy_nm >= origin_nm[:, None]) & (xy_nm < origin_nm[:, None] + side_nm)).all(axis=2)
    wanted = [[np.count_nonzero(inside[roi] & (channel == number)) for number in (0, 3, 7)] for roi in range(len(origin_nm))]
    assert found.tolist() == wanted


def test_a_channel_without_locs_counts_nothing(lattice):
    found = count_locs(FieldLocs(lattice[0]), np.zeros((1, 2)), side_nm=20_000.0, channels=[5, 255])
    assert found.tolist() == [[0, 0]]


def test_no_squares(lattice):
    assert count_locs(FieldLocs(lattice[0]), np.empty((0, 2)), side_nm=SIDE_NM, channels=[0, 3]).shape == (0, 2)


# ---- judgement


def test_why_squares_are_dropped():
    coverage = np.array([1.0, 0.9, 0.9 - 1e-12, 0.8999, 0.5, 0.95, 0.95])
    n_locs = np.array([50, 1000, 50, 1000, 3, 49, 50])
    reason = judge(coverage, n_locs, min_coverage=0.9, min_locs=50)
    assert reason.tolist() == [KEPT, KEPT, KEPT, LITTLE_COVERED, LITTLE_COVERED, FEW_LOCS, KEPT]
    assert reason.dtype == np.uint8
    assert [text.split()[0] for text in REASONS] == ["kept", "coverage", "fewer"]


def test_nothing_to_judge():
    assert judge(np.empty(0), np.empty(0, np.int64), min_coverage=0.9, min_locs=50).shape == (0,)
