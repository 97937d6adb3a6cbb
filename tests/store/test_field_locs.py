"""Rectangles of a field against a brute-force mask, kept whole or read band by band."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.field_locs import FieldLocs

TILE_NM = 1000.0


def write_unit(path: Path, xy_nm: np.ndarray, *, channel: np.ndarray | None = None, with_z: bool = False, **more: np.ndarray) -> Path:
    """An ingest unit of these points and further columns, sorted by tile as ingest sorts them."""
    x, y = xy_nm.astype(np.float32).T
    column, row = (np.floor(values / TILE_NM).astype(np.int64) for values in (x, y))
    rows, columns = int(row.max(initial=0)) + 1, int(column.max(initial=0)) + 1
    tile = row * columns + column
    order = np.argsort(tile, kind="stable")
    with unit_writer(path, "ingest") as out:
        out.write("x_nm", x[order])
        out.write("y_nm", y[order])
        out.write("channel", (np.zeros(len(x)) if channel is None else channel)[order])
        out.write("row", order)
        if with_z:
            out.write("z_nm", (x + y)[order])
        for name, values in more.items():
            out.write(name, values[order])
        out.write("tile_start", np.searchsorted(tile[order], np.arange(rows * columns + 1)))
        out.attrs.update(tile_nm=TILE_NM, tile_grid=[rows, columns])
    return path


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> UnitReader:
    """4000 locs on 9 x 6 um, a third of them on a 250 nm lattice so that edges are hit exactly."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, (9000, 6000), (4000, 2))
    xy[::3] = np.round(xy[::3] / 250) * 250
    return UnitReader(write_unit(tmp_path_factory.mktemp("unit") / "u.zip", xy, channel=rng.integers(0, 3, 4000), with_z=True))


def brute(unit: UnitReader, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    x, y = unit.read("x_nm").astype(float), unit.read("y_nm").astype(float)
    return np.flatnonzero((x >= x0) & (x < x1) & (y >= y0) & (y < y1))


coordinate = st.one_of(st.floats(-3000, 12000), st.integers(-8, 40).map(lambda i: i * 250.0))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    boxes=st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), min_size=1, max_size=4),
    keep_rows=st.sampled_from([0, 10_000]),
)
def test_rectangle_equals_a_mask(field: UnitReader, boxes: list[tuple[float, float, float, float]], keep_rows: int) -> None:
    locs = FieldLocs(field, columns=("z_nm",), keep_rows=keep_rows)
    for box in boxes:  # one FieldLocs for several boxes: a band kept from the last must not spoil the next
        found, wanted = locs.rectangle(*box), brute(field, *box)
        for name in ("x_nm", "y_nm", "channel", "row", "z_nm"):
            np.testing.assert_array_equal(getattr(found, name), field.read(name)[wanted])


def test_bounds_are_compared_in_float64(tmp_path: Path) -> None:
    just_below = np.nextafter(np.float32(1000.1), np.float32(0))
    unit = UnitReader(write_unit(tmp_path / "u.zip", np.array([[just_below, 1], [np.float32(1000.1), 2]], dtype=np.float32)))
    bound = (float(just_below) + float(np.float32(1000.1))) / 2  # rounds to one of the two in float32
    assert FieldLocs(unit).rectangle(bound, 0, 5000, 5000).y_nm.tolist() == [2]
    assert FieldLocs(unit).rectangle(0, 0, bound, 5000).y_nm.tolist() == [1]


def test_a_loc_rounded_into_the_next_tile_is_found(tmp_path: Path) -> None:
    """999.99994 nm / 1000 may round to tile 1; the rectangle that ends at 1000 nm holds it all the same."""
    path = tmp_path / "u.zip"
    with unit_writer(path, "ingest") as out:
        for name, values in {"x_nm": [999.99994], "y_nm": [5.0], "channel": [0], "row": [0], "tile_start": [0, 0, 1]}.items():
            out.write(name, np.array(values))
        out.attrs.update(tile_nm=TILE_NM, tile_grid=[1, 2])
    assert len(FieldLocs(UnitReader(path)).rectangle(0, 0, 1000, 1000)) == 1


@pytest.mark.parametrize("keep_rows", [0, 10_000])
def test_pieces_are_the_whole_field_in_order(field: UnitReader, keep_rows: int) -> None:
    pieces = list(FieldLocs(field, keep_rows=keep_rows).pieces(700))
    assert [len(p) for p in pieces] == [700] * 5 + [500]
    np.testing.assert_array_equal(np.concatenate([p.row for p in pieces]), field.read("row"))
    assert pieces[0].z_nm is None


@pytest.mark.parametrize("keep_rows", [0, 10_000])
def test_extent_and_tile_counts(field: UnitReader, keep_rows: int) -> None:
    locs = FieldLocs(field, keep_rows=keep_rows)
    x, y = field.read("x_nm"), field.read("y_nm")
    assert locs.extent == (x.min(), y.min(), x.max(), y.max())
    assert locs.n == locs.tile_counts().sum() == 4000
    wanted = np.zeros_like(locs.tile_counts())
    np.add.at(wanted, (np.floor(y / TILE_NM).astype(int), np.floor(x / TILE_NM).astype(int)), 1)
    np.testing.assert_array_equal(locs.tile_counts(), wanted)


def test_a_row_of_rectangles_reads_its_band_once(field: UnitReader, monkeypatch: pytest.MonkeyPatch) -> None:
    locs = FieldLocs(field, keep_rows=0)
    reads: list[tuple[str, int, int | None]] = []
    read = field.read
    monkeypatch.setattr(field, "read", lambda name, start=0, stop=None: reads.append((name, start, stop)) or read(name, start, stop))
    for x0 in range(0, 9000, 1000):
        locs.rectangle(x0, 2100, x0 + 1000, 2900)
    assert sorted(name for name, _, _ in reads) == ["channel", "row", "x_nm", "y_nm"]
    assert all(stop - start < 1000 for _, start, stop in reads), "one tile row of six holds about 700 of 4000 locs"


def test_an_empty_field_and_empty_rectangles(tmp_path: Path, field: UnitReader) -> None:
    nothing = FieldLocs(UnitReader(write_unit(tmp_path / "u.zip", np.empty((0, 2)))))
    assert (nothing.n, nothing.extent, list(nothing.pieces())) == (0, (0.0, 0.0, 0.0, 0.0), [])
    assert len(nothing.rectangle(0, 0, 10, 10)) == 0
    assert len(FieldLocs(field).rectangle(3000, 0, 1000, 5000)) == 0


def test_an_unknown_column_is_refused(field: UnitReader) -> None:
    with pytest.raises(KeyError, match="radius"):
        FieldLocs(field, columns=("radius",))
