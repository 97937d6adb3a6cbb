"""The stage as a whole: what is stored is what the file says, whatever the memory."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from tests.ingest.conftest import ingest_file

N = 60_000


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(7)
    return {
        "frame": rng.integers(1, 5000, N),
        "x [nm]": rng.uniform(-3e4, 9e4, N).round(4),
        "y [nm]": rng.uniform(1e6, 1.05e6, N).round(4),
        "intensity [photon]": rng.gamma(2, 800, N).round(3),
        "uncertainty [nm]": rng.gamma(4, 3, N).round(3) + 1,
    }


@pytest.fixture(scope="module")
def csv_file(truth, tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "field.csv"
    pyarrow.csv.write_csv(pa.table(truth), path)
    return path


@pytest.fixture(scope="module")
def stored(csv_file, tmp_path_factory):
    return ingest_file(csv_file, tmp_path_factory.mktemp("stored"))


def test_positions_are_one_rounding_away(stored, truth):
    for name, column, origin in zip(("x_nm", "y_nm"), ("x [nm]", "y [nm]"), stored.attrs["origin_nm"], strict=True):
        exact = truth[column][stored.row] - origin
        np.testing.assert_array_equal(stored.arrays[name], exact.astype(np.float32))


def test_other_columns_and_attributes(stored, truth):
    np.testing.assert_array_equal(stored.frame, truth["frame"][stored.row] - 1)
    np.testing.assert_array_equal(stored.photons, truth["intensity [photon]"].astype("f4")[stored.row])
    assert sorted(stored.row) == list(range(N))
    assert not stored.channel.any()
    attrs = stored.attrs
    assert attrs["extent_nm"] == [[truth[c].min() for c in ("x [nm]", "y [nm]")], [truth[c].max() for c in ("x [nm]", "y [nm]")]]
    assert attrs["frame_extent"] == [truth["frame"].min() - 1, truth["frame"].max() - 1]
    assert attrs["precision_median_nm"] == np.median(truth["uncertainty [nm]"].astype("f4").astype("f8"))
    assert (attrs["channels"], attrs["channel_names"], attrs["n_per_channel"]) == ([0], ["channel 0"], [N])
    assert (attrs["dims"], attrs["z_extent_nm"], attrs["n"], attrs["n_read"]) == (2, None, N, N)


def test_tiles_index_the_locs(stored, truth):
    rows, columns = stored.attrs["tile_grid"]
    assert len(stored.tile_start) == rows * columns + 1
    assert (stored.tile_start[0], stored.tile_start[-1]) == (0, N)
    tile_nm = stored.attrs["tile_nm"]
    tile = np.repeat(np.arange(rows * columns), np.diff(stored.tile_start))
    x, y = truth["x [nm]"][stored.row], truth["y [nm]"][stored.row]
    first = np.array(stored.attrs["origin_nm"]) / tile_nm
    assert (first == np.floor([truth["x [nm]"].min() / tile_nm, truth["y [nm]"].min() / tile_nm])).all()
    np.testing.assert_array_equal(tile, (y // tile_nm - first[1]) * columns + x // tile_nm - first[0])
    np.testing.assert_array_equal(np.lexsort((stored.row, stored.frame, tile)), np.arange(N))


@pytest.mark.parametrize("memory_bytes", [0, 402 << 20])
def test_memory_changes_nothing(stored, csv_file, tmp_path, memory_bytes):
    assert ingest_file(csv_file, tmp_path, memory_bytes=memory_bytes).digest == stored.digest


def test_tile_side_is_the_configurations(csv_file, stored, tmp_path):
    found = ingest_file(csv_file, tmp_path, config={"tile_nm": 2500.0})
    assert found.attrs["tile_nm"] == 2500.0
    assert found.digest != stored.digest
    for name in ("x_nm", "frame", "photons"):
        np.testing.assert_array_equal(np.sort(found.by_row()[name]), np.sort(stored.by_row()[name]))


def test_frames_in_order_take_the_same_way(truth, stored, tmp_path):
    """Files as acquired skip the sort by frame; what is stored must not tell."""
    order = np.argsort(truth["frame"], kind="stable")
    pyarrow.csv.write_csv(pa.table({name: values[order] for name, values in truth.items()}), tmp_path / "field.csv")
    found = ingest_file(tmp_path / "field.csv", tmp_path / "work")
    for name in ("x_nm", "y_nm", "frame", "photons", "precision_nm", "tile_start"):
        np.testing.assert_array_equal(found.arrays[name], stored.arrays[name])
    np.testing.assert_array_equal(order[found.row], stored.row)


def test_one_loc(write, ingest):
    found = ingest(write("f.csv", "frame,x [nm],y [nm]\n5,-0.25,1999.5\n"))
    assert found.attrs["origin_nm"] == [-1000.0, 1000.0]
    assert found.attrs["tile_grid"] == [1, 1]
    assert (found.x_nm[0], found.y_nm[0], found.frame[0]) == (999.75, 999.5, 4)
    assert found.tile_start.tolist() == [0, 1]
