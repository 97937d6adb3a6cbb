"""Insight3 molecule lists, made here after the published layout."""

import struct

import numpy as np
import pytest

from smlmbatch.errors import InputError
from tests.ingest.reading import damage_is_told, read

FIELDS = [(name, "<f4") for name in ("x", "y", "xc", "yc", "h", "a", "w", "phi", "ax", "bg", "i")]
FIELDS += [(name, "<i4") for name in ("c", "fi", "fr", "tl", "lk")] + [("z", "<f4"), ("zc", "<f4")]


def molecules(n=50, **values):
    records = np.zeros(n, dtype=FIELDS)
    defaults = {"xc": np.arange(n) * 1.5 + 1, "yc": np.arange(n) * 0.5 + 1, "zc": np.arange(n) - 9.0, "w": 300, "bg": 12, "c": 1}
    for name, value in (defaults | {"fr": np.arange(n) // 3 + 1} | values).items():
        records[name] = value
    return records


@pytest.fixture
def insight3(write):
    def put(records, *, n=None, status=6, behind=b""):
        head = struct.pack("<4s3i", b"M425", 1, status, len(records) if n is None else n)
        return write("field_mlist.bin", head + records.tobytes() + behind)

    return put


def test_pixels_from_one_become_nanometres_from_the_corner(insight3, ingest):
    assert np.dtype(FIELDS).itemsize == 72
    found = ingest(insight3(molecules()), pixel_size_nm=160)
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], (np.arange(50) * 1.5 + 0.5) * 160, atol=1e-3)  # the first pixel's centre is 1
    np.testing.assert_allclose(got["y_nm"], (np.arange(50) * 0.5 + 0.5) * 160, atol=1e-3)
    np.testing.assert_array_equal(got["z_nm"], np.arange(50) - 9.0)
    np.testing.assert_array_equal(got["frame"], np.arange(50) // 3)
    assert set(got["psf_nm"]) == {150.0}
    assert set(got["channel"]) == {1}
    assert "photons" not in got
    attrs = found.attrs
    assert (attrs["format"], attrs["pixel_size_nm"], attrs["pixel_offset_px"], attrs["frame_base"]) == ("insight3", 160, -0.5, 1)


def test_pixel_size_is_demanded(insight3):
    with pytest.raises(InputError, match="no pixel size") as caught:
        read(insight3(molecules()))
    assert "pixel_size_nm" in caught.value.mend


def test_bad_z_is_none(insight3):
    found = read(insight3(molecules(c=np.arange(50) % 10)), pixel_size_nm=100)
    np.testing.assert_array_equal(np.isnan(found.z_nm), np.arange(50) % 10 == 9)
    assert found.tally.warnings["z not a finite number"] == 5


def test_only_the_master_list_is_read(insight3):
    copies = struct.pack("<i", 7) + molecules(7, xc=1e6).tobytes() + b"<?xml version='1.0'?>"
    assert len(read(insight3(molecules(), behind=copies), pixel_size_nm=100).row) == 50


def test_many_blocks(insight3):
    n = 150_001
    found = read(insight3(molecules(n, xc=np.arange(n))), pixel_size_nm=1)
    np.testing.assert_allclose(found.x_nm, np.arange(n) - 0.5)
    np.testing.assert_array_equal(found.row, np.arange(n))


@pytest.mark.parametrize("n", [51, 2**31 - 1, -1])
def test_a_promise_the_file_does_not_hold(insight3, n):
    with pytest.raises(InputError, match=f"promises {n} molecules, the file has room for 50"):
        read(insight3(molecules(), n=n), pixel_size_nm=100)


def test_never_closed(insight3):
    with pytest.raises(InputError, match="never closed"):
        read(insight3(molecules(), status=2), pixel_size_nm=100)


def test_a_broken_record_in_the_middle(insight3):
    records = molecules()
    records["xc"][20], records["fr"][21] = np.nan, -5
    found = read(insight3(records), pixel_size_nm=100)
    kept = [row for row in range(50) if row not in (20, 21)]
    assert found.row.tolist() == kept
    np.testing.assert_allclose(found.x_nm, (records["xc"][kept] - 0.5) * 100, rtol=1e-6)
    assert +found.tally.dropped == {"malformed": 1, "coordinate not finite": 1}
    assert found.source.malformed.first.startswith("record 21 ")


def test_random_damage(insight3):
    rng = np.random.default_rng(0)
    assert damage_is_told(insight3(molecules(200)), rng, pixel_size_nm=100) > 5
