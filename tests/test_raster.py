"""Counts against numpy's own histogram, and what happens on edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.raster import render_counts


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 300), rows=st.integers(1, 9), columns=st.integers(1, 9), lattice=st.booleans())
def test_counts_equal_numpys_histogram(seed: int, n: int, rows: int, columns: int, lattice: bool) -> None:
    """Half the points lie beyond the raster; on the lattice they lie on edges (exact: powers of two)."""
    rng = np.random.default_rng(seed)
    xy_nm = rng.uniform(-160, 480, (n, 2)).astype(np.float32)
    if lattice:
        xy_nm = np.round(xy_nm / 16) * 16
    found = render_counts(*xy_nm.T, origin_nm=(32.0, -64.0), pixel_nm=32.0, shape=(rows, columns))
    edges = [-64 + 32 * np.arange(rows + 1), 32 + 32 * np.arange(columns + 1)]
    np.testing.assert_array_equal(found, np.histogram2d(xy_nm[:, 1], xy_nm[:, 0], bins=edges)[0])
    assert found.dtype == np.uint32
    assert found.shape == (rows, columns)


@pytest.mark.parametrize(("x_nm", "column"), [(-0.001, None), (0.0, 0), (9.999, 0), (10.0, 1), (19.999, 1), (20.0, 1), (20.001, None)])
def test_edges(x_nm: float, column: int | None) -> None:
    found = render_counts(np.array([x_nm]), np.array([5.0]), origin_nm=(0.0, 0.0), pixel_nm=10.0, shape=(1, 2))
    wanted = [0, 0] if column is None else np.eye(2)[column].tolist()
    assert found[0].tolist() == wanted


def test_positions_are_taken_in_float64() -> None:
    """Just below 1e6 nm float32 steps are 1/16 nm: dividing in float32 would round into the next pixel."""
    below = np.nextafter(np.float32(1e6), np.float32(0))
    found = render_counts(np.array([below]), np.array([0], np.float32), origin_nm=(0.0, 0.0), pixel_nm=1e5, shape=(1, 20))
    assert np.flatnonzero(found[0]).tolist() == [9]


def test_no_locs() -> None:
    nothing = np.empty(0, np.float32)
    assert not render_counts(nothing, nothing, origin_nm=(0.0, 0.0), pixel_nm=10.0, shape=(3, 4)).any()
