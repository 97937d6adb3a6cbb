"""Tile order: against a plain lexsort, and the same by way of the disk as in memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.ingest.sort import MAX_TILES, Spool, grid_of

KINDS = {"x_nm": "f8", "y_nm": "f8", "frame": "i4", "photons": "f4", "row": "i8"}


def field(n, *, seed, span_nm, frames, with_frame=True, ascending=False):
    rng = np.random.default_rng(seed)
    frame = rng.integers(frames, size=n)
    columns = {
        "x_nm": rng.uniform(-span_nm, span_nm, n),
        "y_nm": rng.uniform(-span_nm / 3, span_nm, n),
        "frame": np.sort(frame) if ascending else frame,
        "photons": rng.random(n),
        "row": np.arange(n),
    }
    return {name: columns[name].astype(kind) for name, kind in KINDS.items() if name != "frame" or with_frame}


def sort(columns, folder, *, limit_rows, tile_nm=1000.0):
    """Sorted records by the spool, the batch cut into uneven pieces; and the grid."""
    dtype = np.dtype([(name, values.dtype) for name, values in columns.items()])
    spool = Spool(dtype, scratch=folder, limit_rows=limit_rows)
    n = len(columns["row"])
    for start in range(0, n, 777):
        spool.append({name: values[start : start + 777] for name, values in columns.items()})
    assert spool.n == n
    grid = grid_of((columns["x_nm"].min(), columns["y_nm"].min()), (columns["x_nm"].max(), columns["y_nm"].max()), tile_nm)
    return np.concatenate(list(spool.sorted_blocks(grid))), grid


def lexsorted(columns, grid):
    """The plain answer."""
    column, row = (np.floor(columns[name] / grid.tile_nm).astype(int) for name in ("x_nm", "y_nm"))
    order = np.lexsort((columns["row"], columns.get("frame", columns["row"]), column, row))
    return {name: values[order] for name, values in columns.items()}


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 4000),
    seed=st.integers(0, 2**32),
    span_nm=st.sampled_from([0.5, 900.0, 5e3, 4e5]),
    frames=st.sampled_from([1, 7, 70_000, 2**31 - 1]),
    with_frame=st.booleans(),
    ascending=st.booleans(),
    limit_rows=st.sampled_from([3, 100, 1500, 10**6]),
    tile_nm=st.sampled_from([137.5, 1000.0]),
)
def test_against_lexsort(tmp_path_factory, n, seed, span_nm, frames, with_frame, ascending, limit_rows, tile_nm):
    columns = field(n, seed=seed, span_nm=span_nm, frames=frames, with_frame=with_frame, ascending=ascending)
    if limit_rows == 3:
        columns = {name: values[:300] for name, values in columns.items()}
    folder = tmp_path_factory.getbasetemp()
    records, grid = sort(columns, folder, limit_rows=limit_rows, tile_nm=tile_nm)
    for name, values in lexsorted(columns, grid).items():
        np.testing.assert_array_equal(records[name], values)
    assert not list(folder.glob("*.bin"))


@pytest.mark.parametrize("frames", [1, 1000])
def test_more_locs_in_one_tile_than_memory_holds(tmp_path, frames):
    columns = field(20_000, seed=4, span_nm=100.0, frames=frames)
    columns["x_nm"] = np.abs(columns["x_nm"])
    columns["y_nm"] = np.abs(columns["y_nm"])
    records, grid = sort(columns, tmp_path, limit_rows=500)
    assert (grid.rows, grid.columns) == (1, 1)
    np.testing.assert_array_equal(records["row"], np.lexsort((columns["row"], columns["frame"])))


def test_tiles_are_aligned_and_hold_every_loc():
    rng = np.random.default_rng(2)
    for _ in range(200):
        tile_nm = float(rng.choice([0.1, 137.0, 1000.0]))
        xy = rng.uniform(-1e6, 1e6, 2) + rng.uniform(0, 300 * tile_nm, (50, 2))
        xy[::7] = np.floor(xy[::7] / tile_nm) * tile_nm  # on the edges
        grid = grid_of(tuple(xy.min(0)), tuple(xy.max(0)), tile_nm)
        records = np.rec.fromarrays(xy.T, names="x_nm,y_nm")
        tile = grid.tile_of(records)
        assert tile.min() >= 0
        assert tile.max() < grid.rows * grid.columns
        for axis, cells in enumerate((tile % grid.columns, tile // grid.columns)):
            low = grid.origin_nm[axis] + cells * grid.tile_nm
            assert (xy[:, axis] >= low - 1e-9).all()
            assert (xy[:, axis] < low + grid.tile_nm + 1e-9).all()
            assert abs(grid.origin_nm[axis] / tile_nm - round(grid.origin_nm[axis] / tile_nm)) < 1e-6


def test_a_far_outlier_makes_tiles_coarser_by_powers_of_two():
    grid = grid_of((-5.0, 0.0), (9e9, 8e4), 1000.0)
    assert grid.rows * grid.columns <= MAX_TILES
    assert grid.tile_nm == 1000.0 * 2 ** round(np.log2(grid.tile_nm / 1000.0))
    finer = grid.tile_nm / 2
    assert (np.floor(9e9 / finer) + 2) * (np.floor(8e4 / finer) + 1) > MAX_TILES
