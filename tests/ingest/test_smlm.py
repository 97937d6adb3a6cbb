"""Files of the .smlm format, made here after its specification and as Locan and ThunderSTORM's plugin write it."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.errors import InputError
from tests.ingest.reading import damage_is_told, read

HEADERS = ["frame", "x", "y", "z", "intensity", "uncertainty_xy", "patch"]
DTYPES = ["uint32", "float32", "float32", "uint16", "float64", "float32", "uint8"]
SHAPES = [1, 1, 1, 1, 1, 1, [2, 3]]
UNITS = ["frame", "nm", "nm", "nm", "photon", "nm", ""]


def records(n=30, seed=0):
    fields = [
        (h, np.dtype(d).newbyteorder("<"), tuple(s) if isinstance(s, list) else ()) for h, d, s in zip(HEADERS, DTYPES, SHAPES, strict=True)
    ]
    table = np.zeros(n, dtype=fields)
    rng = np.random.default_rng(seed)
    for name in HEADERS[:6]:
        table[name] = rng.integers(1, 2000, n)
    return table


def manifest(tables, **form):
    entry = {"type": "table", "mode": "binary", "columns": 7, "headers": HEADERS, "dtype": DTYPES, "shape": SHAPES, "units": UNITS} | form
    files = []
    for name, table, extra in tables:
        files.append({"name": name, "type": "table", "format": "f", "channel": "default", "rows": len(table), "offset": {}} | extra)
    return {"format_version": "0.2", "formats": {"f": entry}, "files": [*files, {"name": "wide.png", "type": "image"}]}


@pytest.fixture
def smlm(tmp_path):
    def put(*tables, told=None, name="field.smlm", compression=zipfile.ZIP_DEFLATED, **form):
        path = tmp_path / name
        tables = [
            (f"table-{k}.bin", *table) if isinstance(table, tuple) else (f"table-{k}.bin", table, {}) for k, table in enumerate(tables)
        ]
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("manifest.json", json.dumps(told if told is not None else manifest(tables, **form)))
            for member, table, _ in tables:
                file.writestr(member, table.tobytes())
        return path

    return put


def test_one_table(smlm, ingest):
    table = records()
    found = ingest(smlm(table))
    got = found.by_row()
    for ours, theirs in {"x_nm": "x", "y_nm": "y", "z_nm": "z", "photons": "intensity", "precision_nm": "uncertainty_xy"}.items():
        np.testing.assert_allclose(got[ours], table[theirs], atol=1e-3)
    np.testing.assert_array_equal(got["frame"], table["frame"].astype(int) - 1)
    attrs = found.attrs
    assert (attrs["format"], attrs["unit"], attrs["frame_base"], attrs["members"]) == ("smlm", "nm", 1, [["table-0.bin", 0]])


def test_several_tables_are_channels_and_join_by_member(smlm, ingest):
    tables = [records(n, seed) for seed, n in enumerate((20, 0, 33))]
    path = smlm((tables[0], {"channel": "red"}), (tables[1], {"channel": "red"}), (tables[2], {"channel": "green"}))
    found = ingest(path)
    got = found.by_row()
    assert found.attrs["members"] == [["table-0.bin", 0], ["table-1.bin", 20], ["table-2.bin", 20]]
    assert (found.attrs["channel_names"], found.attrs["n_per_channel"]) == (["green", "red"], [33, 20])
    starts = [start for _, start in found.attrs["members"]]
    for row, x, channel in zip(got["row"], got["x_nm"], got["channel"], strict=True):
        member = max(k for k, start in enumerate(starts) if start <= row)
        assert x == pytest.approx(tables[member]["x"][row - starts[member]], abs=1e-3)
        assert channel == (0 if member == 2 else 1)


def test_offsets_are_added_in_wide_numbers(smlm):
    table = records()
    table["z"] = 65_000
    found = read(smlm((table, {"offset": {"z": -66_000, "x": "1e6", "frame": 0}})))
    assert set(found.z_nm) == {-1000}
    np.testing.assert_allclose(found.x_nm, table["x"].astype(float) + 1e6)


def test_numbers_as_strings_and_no_units(smlm):
    """As Locan's own file has them."""
    headers = ["original_index", "position_x", "position_y", "frame", "local_background"]
    dtypes = ["int8", "float32", "float32", "int8", "float32"]
    table = np.array([(i, i + 0.5, 2 * i, 0, 7) for i in range(10)], dtype=list(zip(headers, dtypes, strict=True)))
    path = smlm((table, {"rows": "10"}), headers=headers, dtype=dtypes, shape=["1"] * 5, units=[""] * 5)
    found = read(path)
    np.testing.assert_allclose(found.x_nm, np.arange(10) + 0.5)
    assert set(found.background) == {7}
    assert found.source.resolved.unit == "nm"
    np.testing.assert_allclose(read(path, unit="um").x_nm, np.arange(10) * 1e3 + 500)  # the user's word, where the file has none
    assert read(path).tally.frame.pair() == [0, 0]


def test_units_per_column(smlm):
    table = records()
    found = read(smlm(table, units=["", "um", "px", "nm", "", "nm", ""]), pixel_size_nm=100)
    np.testing.assert_allclose(found.x_nm, table["x"] * 1e3)
    np.testing.assert_allclose(found.y_nm, table["y"] * 100)
    np.testing.assert_allclose(found.z_nm, table["z"])


def _entry(**changes):
    return lambda told: told["files"][0].update(changes)


def _form(**changes):
    return lambda told: told["formats"]["f"].update(changes)


BAD = {
    "rows beyond the file": (_entry(rows=31), "promises 31 rows"),
    "absurd rows": (_entry(rows=10**15), "promises 1000000000000000 rows"),
    "negative rows": (_entry(rows=-1), "rows of table-0.bin: -1"),
    "rows are words": (_entry(rows="many"), "rows of table-0.bin: 'many'"),
    "rows are missing": (_entry(rows=None), "rows of table-0.bin: 'None'"),
    "infinite offset": (_entry(offset={"x": "inf"}), "offset of x"),
    "slip": (_entry(name="../../etc/passwd"), "not in the archive"),
    "absolute": (_entry(name="/etc/passwd"), "not in the archive"),
    "no such format": (_entry(format="g"), "is no binary table"),
    "text table": (_form(mode="text"), "is no binary table"),
    "unknown type": (_form(dtype=["object", *DTYPES[1:]]), "has the type 'object'"),
    "lists of different lengths": (_form(dtype=DTYPES[:3]), "no lists of one length"),
    "headers are no list": (_form(headers="x,y"), "no lists of one length"),
    "a header twice": (_form(headers=["x", *HEADERS[1:]]), "is empty or there twice"),
    "huge shape": (_form(shape=[1, 1, 1, 1, 1, 1, [10**9, 10**9]]), "more than 8 MiB"),
    "shape of nothing": (_form(shape=[0, *SHAPES[1:]]), "has the shape"),
    "unknown unit": (_form(units=["", "ell", "ell", "nm", "", "nm", ""]), "has the unit 'ell'"),
    "pixels": (_form(units=["", "px", "px", "nm", "", "nm", ""]), "no pixel size"),
    "no x": (_form(headers=["frame", "u", *HEADERS[2:]]), "no columns x and y"),
    "no files": (lambda told: told.pop("files"), "no list of files"),
    "no tables": (lambda told: told.update(files=[]), "names no table"),
    "no formats": (lambda told: told.update(formats=[]), "has no formats"),
}


@pytest.mark.parametrize("name", BAD)
def test_manifests_that_lie(smlm, name):
    change, words = BAD[name]
    table = records()
    told = manifest([("table-0.bin", table, {})])
    change(told)
    with pytest.raises(InputError, match=words):
        read(smlm(table, told=told))


def test_manifests_that_are_none(smlm):
    for text in ("[" * 100_000, "[]", "null", '{"formats": 1}'):
        path = smlm(records())
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("manifest.json", text)
            file.writestr("table-0.bin", b"")
        with pytest.raises(InputError, match=r"is not JSON|has no formats"):
            read(path)


def test_an_archive_without_a_manifest(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.smlm", "w") as file:
        file.writestr("table.bin", b"")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        read(tmp_path / "f.smlm")


def test_tables_of_different_kinds(smlm):
    table = records()
    told = manifest([("table-0.bin", table, {}), ("table-1.bin", table, {"format": "g"})])
    told["formats"]["g"] = told["formats"]["f"] | {"units": ["", "um", "um", "nm", "", "nm", ""]}
    with pytest.raises(InputError, match="different columns or units"):
        read(smlm(table, table, told=told))


def test_a_bomb_is_refused(smlm, tmp_path):
    n = 9_000_000
    path = tmp_path / "bomb.smlm"
    told = manifest([("table-0.bin", range(n), {})])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", json.dumps(told))
        with file.open("table-0.bin", "w", force_zip64=True) as out:
            for _ in range(10):
                out.write(bytes(n // 10 * records(1).dtype.itemsize))
    with pytest.raises(InputError, match="would unpack from"):
        read(path)


def test_a_broken_record_in_the_middle(smlm):
    table = records()
    table["y"][11], table["frame"][12] = np.nan, 2**32 - 1
    found = read(smlm(table))
    assert found.row.tolist() == [row for row in range(30) if row not in (11, 12)]
    np.testing.assert_allclose(found.x_nm, table["x"][found.row])


def test_a_broken_byte_is_noticed(smlm):
    """A zip archive has a checksum of every member."""
    path = smlm(records(3000), compression=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    with pytest.raises(InputError, match="zip archive can't be read"):
        read(path)


def test_random_damage(smlm):
    damage_is_told(smlm(records(300)), np.random.default_rng(2))


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(7)), left_out=st.sets(st.sampled_from(["frame", "z", "intensity", "uncertainty_xy", "patch"])))
def test_any_order_and_presence_of_columns(tmp_path_factory, order, left_out):
    table = records()
    kept = [k for k in order if HEADERS[k] not in left_out]
    names = [HEADERS[k] for k in kept]
    packed = np.zeros(len(table), dtype=[(name, table.dtype[name]) for name in names])
    for name in names:
        packed[name] = table[name]
    form = {
        key: [values[k] for k in kept] for key, values in (("headers", HEADERS), ("dtype", DTYPES), ("shape", SHAPES), ("units", UNITS))
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("manifest.json", json.dumps(manifest([("t.bin", table, {})], **form)))
        file.writestr("t.bin", packed.tobytes())
    path = tmp_path_factory.mktemp("order") / "f.smlm"
    path.write_bytes(content.getvalue())
    found = read(path)
    np.testing.assert_array_equal(found.x_nm, table["x"])
    assert ("z_nm" in found.columns) == ("z" not in left_out)
    assert ("frame" in found.columns) == ("frame" not in left_out)
