"""IoU of hulls against closed forms and against counting points."""

import numpy as np
import pytest

from smlmbatch.score.overlap import hull_overlap

NOTHING = np.empty((0, 2)), np.empty(0, np.int64)


def square(x_nm, y_nm, side_nm):
    corners = np.array([[0, 0], [side_nm, 0], [side_nm, side_nm], [0, side_nm], [side_nm / 2, side_nm / 3]])
    return corners + np.array([x_nm, y_nm])


def clusters(*parts):
    return np.concatenate(parts).astype(float), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def test_squares():
    whole = clusters(square(0, 0, 10))
    assert hull_overlap(*whole, *whole) == pytest.approx(1)
    assert hull_overlap(*whole, *clusters(square(5, 0, 10))) == pytest.approx(50 / 150)
    assert hull_overlap(*whole, *clusters(square(20, 0, 10))) == 0
    assert hull_overlap(*whole, *clusters(square(0, 0, 5), square(5, 5, 5))) == pytest.approx(0.5)


def test_area_covered_twice_counts_once():
    twice = clusters(square(0, 0, 10), square(5, 0, 10), square(0, 0, 10))
    assert hull_overlap(*twice, *clusters(square(0, 0, 10))) == pytest.approx(100 / 150)
    assert hull_overlap(*clusters(square(0, 0, 10)), *twice) == pytest.approx(100 / 150)


def test_what_has_no_area_covers_nothing():
    """Two locs, locs on a line, one place many times."""
    flat = clusters([[0, 0], [9, 9]], [[0, 0], [1, 2], [2, 4], [3, 6]], [[5, 5]] * 4)
    whole = clusters(square(0, 0, 10))
    assert hull_overlap(*whole, *flat) == hull_overlap(*whole, *NOTHING) == 0
    assert np.isnan(hull_overlap(*flat, *NOTHING))
    both = clusters(square(0, 0, 10), [[50, 50], [60, 70]])
    assert hull_overlap(*whole, *both) == pytest.approx(1)


def test_against_counting_points():
    """A raster of 2 nm, as the published evaluation has it, is within its own error."""
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(8)
    true, found = (clusters(*(rng.uniform(0, 800, (6, 1, 2)) + rng.normal(0, 60, (6, 30, 2)))) for _ in range(2))
    grid = np.stack(np.meshgrid(*[np.arange(-300, 1100, 2.0)] * 2), axis=-1).reshape(-1, 2)
    inside = [np.any([Delaunay(xy[codes == code]).find_simplex(grid) >= 0 for code in range(6)], axis=0) for xy, codes in (true, found)]
    counted = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
    assert hull_overlap(*true, *found) == pytest.approx(counted, abs=0.003)
