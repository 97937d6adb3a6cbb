"""A unit is one sealed file: round trip, digest, schema, and what happens to damaged ones."""

import contextlib
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.errors import SmlmbatchError
from smlmbatch.store.arrays import CHUNK_ROWS, SHARD_ROWS, UnitReader, sealed_digest, unit_writer
from smlmbatch.store.schema import SCHEMA, table_of_arrays


def write_ingest(path, x, pieces=None, **attrs):
    n = len(x)
    with unit_writer(path, "ingest") as out:
        column = out.column("x_nm", n)
        for piece in np.array_split(x, pieces or 1):
            column.append(piece)
        out.write("y_nm", x[::-1])
        out.write("channel", np.zeros(n))
        out.write("row", np.arange(n))
        out.write("tile_start", np.array([0, n]))
        out.attrs.update(attrs)


@pytest.mark.parametrize("n", [0, 1, CHUNK_ROWS, CHUNK_ROWS + 1, SHARD_ROWS, SHARD_ROWS + 12345])
def test_round_trip_and_slices(tmp_path, n):
    x = np.random.default_rng(n).normal(size=n).astype("f4")
    write_ingest(tmp_path / "u.zip", x, pieces=7, note="a")
    with UnitReader(tmp_path / "u.zip") as unit:
        assert unit.names() == ["x_nm", "y_nm", "channel", "row", "tile_start"]
        np.testing.assert_array_equal(unit.read("x_nm"), x)
        np.testing.assert_array_equal(unit.read("y_nm"), x[::-1])
        lo, hi = n // 3, n // 3 + n // 2
        np.testing.assert_array_equal(unit.read("x_nm", lo, hi), x[lo:hi])
        assert unit.read("channel").dtype == np.uint8
        assert unit.recompute_digest() == unit.digest == sealed_digest(tmp_path / "u.zip")
        assert dict(unit.attrs) == {"note": "a", "stage": "ingest"}


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_pieces_do_not_matter(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("u")
    x = np.arange(5000, dtype="f4")
    write_ingest(folder / "whole.zip", x)
    with unit_writer(folder / "cut.zip", "ingest") as out:
        column = out.column("x_nm", len(x))
        for piece in np.split(x, sorted(cuts)):
            column.append(piece)
        for name, values in (("y_nm", x[::-1]), ("channel", 0 * x), ("row", np.arange(5000)), ("tile_start", [0, 5000])):
            out.write(name, np.asarray(values))
    assert (folder / "whole.zip").read_bytes() == (folder / "cut.zip").read_bytes()


def test_zarr_reads_it_without_us(tmp_path):
    """The store stays open to any Zarr reader: plain zarr on the plain zip."""
    import zarr

    write_ingest(tmp_path / "u.zip", np.arange(100_000, dtype="f4"))
    group = zarr.open_group(zarr.storage.ZipStore(tmp_path / "u.zip", mode="r"), mode="r")
    np.testing.assert_array_equal(group["x_nm"][99_000:], np.arange(99_000, 100_000, dtype="f4"))
    assert group["x_nm"].attrs["unit"] == "nm"
    assert group["x_nm"].metadata.dimension_names == ("loc",)


@pytest.mark.parametrize(
    ("change", "same"),
    [("value", False), ("sign of zero", False), ("attribute", False), ("nothing", True)],
)
def test_digest_sees_every_change(tmp_path, change, same):
    x = np.zeros(1000, "f4")
    write_ingest(tmp_path / "a.zip", x, note=1)
    if change == "value":
        x[500] = 1e-30
    if change == "sign of zero":
        x[:] = -0.0
    write_ingest(tmp_path / "b.zip", x, note=2 if change == "attribute" else 1)
    assert (sealed_digest(tmp_path / "a.zip") == sealed_digest(tmp_path / "b.zip")) is same
    with UnitReader(tmp_path / "b.zip") as unit:
        assert unit.recompute_digest() == unit.digest


def test_schema_is_held(tmp_path):
    with pytest.raises(SmlmbatchError, match="not in the schema"), unit_writer(tmp_path / "a", "ingest") as out:
        out.write("nonsense", np.zeros(3))
    with pytest.raises(SmlmbatchError, match="axes"), unit_writer(tmp_path / "b", "ingest") as out:
        out.write("x_nm", np.zeros((3, 3)))
    with pytest.raises(SmlmbatchError, match="other arrays 3"), unit_writer(tmp_path / "c", "ingest") as out:
        out.write("x_nm", np.zeros(3))
        out.write("y_nm", np.zeros(4))
    with pytest.raises(SmlmbatchError, match="wrote no y_nm"), unit_writer(tmp_path / "d", "ingest") as out:
        out.write("x_nm", np.zeros(3))
    with pytest.raises(SmlmbatchError, match="2 rows written, 3 announced"), unit_writer(tmp_path / "e", "ingest") as out:
        out.column("x_nm", 3).append(np.zeros(2))
    with pytest.raises(SmlmbatchError, match="more rows than the 3 announced"), unit_writer(tmp_path / "f", "ingest") as out:
        out.column("x_nm", 3).append(np.zeros(4))
    for name in "abcdef":
        with pytest.raises(SmlmbatchError, match="clean --damaged"):
            UnitReader(tmp_path / name)


def test_damage_is_seen(tmp_path):
    x = np.random.default_rng(0).normal(size=200_000).astype("f4")
    write_ingest(tmp_path / "u.zip", x)
    content = bytearray((tmp_path / "u.zip").read_bytes())
    truncated = tmp_path / "short.zip"
    truncated.write_bytes(content[: len(content) // 2])
    with pytest.raises(SmlmbatchError, match="not a whole unit"):
        UnitReader(truncated)
    with zipfile.ZipFile(tmp_path / "u.zip") as file:
        start = file.getinfo("x_nm/c/0").header_offset
    content[start + 5000] ^= 0xFF  # one flipped bit in a compressed chunk
    (tmp_path / "u.zip").write_bytes(content)
    with UnitReader(tmp_path / "u.zip") as unit, contextlib.suppress(RuntimeError, ValueError):  # the codec may notice first
        assert unit.recompute_digest() != unit.digest


def test_documentation_is_generated():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    assert text == table_of_arrays(), "run: python -m smlmbatch.store.schema > docs/store.md"
    assert all(f"`{name}`" in text for arrays in SCHEMA.values() for name in arrays)
