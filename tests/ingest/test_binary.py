"""Picasso, SMAP and Parquet files, and their traps."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest.binary import AVERAGED
from tests.ingest.reading import damage_is_told, read

PICASSO = [
    ("frame", "u4"),
    ("x", "f4"),
    ("y", "f4"),
    ("photons", "f4"),
    ("sx", "f4"),
    ("sy", "f4"),
    ("bg", "f4"),
    ("lpx", "f4"),
    ("lpy", "f4"),
    ("z", "f4"),
    ("d_zcalib", "f4"),
    ("group", "i4"),
]


def locs(n=5, without=(), **values):
    records = np.zeros(n, dtype=[(name, kind) for name, kind in PICASSO if name not in without])
    defaults = {"frame": np.arange(n), "x": np.arange(n) * 2.5, "y": np.arange(n) * 1.25, "lpx": 0.05, "lpy": 0.07, "sx": 1.0, "sy": 1.5}
    for name, value in (defaults | {"z": np.arange(n) * 10.0 - 7, "d_zcalib": 3.0, "group": 4} | values).items():
        if name in records.dtype.names:
            records[name] = value
    return records


def test_picasso_pixels_become_nanometres(ingest, picasso):
    found = ingest(picasso(locs(), yaml="Pixelsize: 130\n---\nBox: 9\n---\nPixelsize: 117\n"))
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], (np.arange(5) * 2.5 + 0.5) * 117, atol=1e-4)
    np.testing.assert_allclose(got["y_nm"], (np.arange(5) * 1.25 + 0.5) * 117, atol=1e-4)
    np.testing.assert_allclose(got["precision_nm"], 0.06 * 117, rtol=1e-6)
    np.testing.assert_allclose(got["psf_nm"], 1.25 * 117)
    np.testing.assert_array_equal(got["z_nm"], np.arange(5) * 10.0 - 7)
    assert got["frame"].tolist() == [0, 1, 2, 3, 4]
    assert got["group"].tolist() == [4] * 5
    attrs = found.attrs
    assert (attrs["format"], attrs["pixel_size_nm"], attrs["pixel_offset_px"], attrs["frame_base"]) == ("picasso", 117, 0.5, 0)
    assert "precision_z_nm" not in found.arrays  # d_zcalib is no precision
    assert attrs["columns"]["precision_nm"] == "lpx, lpy"


def test_picasso_axial_precision_is_in_nanometres(ingest, picasso):
    records = np.zeros(3, dtype=[("frame", "f8"), ("x", "f8"), ("y", "f8"), ("z", "f8"), ("lpx", "f8"), ("lpy", "f8"), ("lpz", "f8")])
    records["z"], records["lpz"], records["lpx"], records["lpy"] = 5, 20, 0.1, 0.1
    assert ingest(picasso(records)).precision_z_nm.tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    "yaml", [None, "Box: 7\n", "Pixelsize: null\n", "a: [1,\n", "Pixelsize: big\n", "Pixelsize: -1\n", "- 1\n- 2\n", ""]
)
def test_picasso_without_a_pixel_size(ingest, picasso, yaml):
    path = picasso(locs(), yaml)
    with pytest.raises(InputError, match=r"field_locs\.yaml") as caught:
        ingest(path)
    assert "pixel_size_nm" in caught.value.mend
    assert ingest(path, pixel_size_nm=100).attrs["pixel_size_nm"] == 100
    assert ingest(path, config={"pixel_size_nm": 100.0}).attrs["extent_nm"][0] == [50, 50]


def test_picasso_sheet_wins_over_the_sidecar(ingest, picasso):
    assert ingest(picasso(locs()), pixel_size_nm=100).attrs["pixel_size_nm"] == 100


def test_a_pixel_size_for_all_files_is_for_those_that_say_none(ingest, picasso):
    assert ingest(picasso(locs()), config={"pixel_size_nm": 100.0}).attrs["pixel_size_nm"] == 117


def test_picasso_yaml_runs_no_code(ingest, picasso, tmp_path):
    with pytest.raises(InputError, match="is not YAML"):
        ingest(picasso(locs(), f"Pixelsize: !!python/object/apply:os.system ['touch {tmp_path}/ran']\n"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("extra", [["std_frame", "n"], []])
def test_picasso_molecule_map_has_no_frames(ingest, picasso, extra):
    """Averaged molecules have no whole frames: they are read without, and the report says so."""
    records = np.zeros(20, dtype=[(name, "f4") for name in ("frame", "x", "y", "lpx", "lpy", *extra)])
    records["x"], records["lpx"], records["lpy"] = np.arange(20), 0.02, 0.03
    records["frame"] = 8009 if extra else 8009.4  # std_frame tells also where all mean frames happen to be whole
    found = ingest(picasso(records))
    np.testing.assert_allclose(found.by_row()["x_nm"], (np.arange(20) + 0.5) * 117, atol=1e-3)
    np.testing.assert_allclose(found.precision_nm, 0.025 * 117, rtol=1e-6)
    assert "frame" not in found.arrays
    assert (found.attrs["n"], found.attrs["frame_base"]) == (20, None)
    assert found.attrs["warnings"] == {AVERAGED: 1}


def test_picasso_frames_as_floats(ingest, picasso):
    """Whole numbers are frames in any type; the few that are broken are malformed."""
    records = locs(40).astype([(name, "f8") for name, _ in PICASSO])
    records["frame"][7] = 3.5
    found = ingest(picasso(records))
    assert found.attrs["dropped"] == {"malformed": 1}
    assert found.by_row()["row"].tolist() == [row for row in range(40) if row != 7]


def test_picasso_bad_values(ingest, picasso):
    found = ingest(picasso(locs(x=[1, np.nan, np.inf, 3, 4], lpx=[0, 1, 1, 0.1, 0.1], lpy=[0, 1, 1, 0.1, 0.1])))
    assert found.attrs["dropped"] == {"coordinate not finite": 2}
    assert found.attrs["warnings"] == {"precision not a positive number": 1}
    assert found.by_row()["row"].tolist() == [0, 3, 4]


@pytest.mark.parametrize("n_kept", [10, 400, 3000])
def test_picasso_cut_off(ingest, picasso, n_kept):
    path = picasso(locs(2000))
    path.write_bytes(path.read_bytes()[:n_kept])
    with pytest.raises(InputError, match=r"cut off|binary"):
        ingest(path)
    with pytest.raises(InputError, match="cut off"):
        ingest(path, format="picasso")


def test_picasso_without_locs(ingest, picasso):
    with pytest.raises(InputError, match="no localisations"):
        ingest(picasso(locs(0)))
    with pytest.raises(InputError, match="no columns for x and y"):
        ingest(picasso(locs(without=["x"])), format="picasso")


def test_compressed_and_chunked(ingest, tmp_path):
    records = locs(150_000)
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file.create_dataset("locs", data=records, chunks=(7_001,), compression="gzip")
    (tmp_path / "f.yaml").write_text("Pixelsize: 100")
    got = ingest(tmp_path / "f.hdf5").by_row()
    np.testing.assert_array_equal(got["frame"], records["frame"])


# ---- SMAP


def test_smap(ingest, smap):
    n = 40
    z = np.linspace(-200, 300, n)
    z[:12] = -500
    columns = {
        "xnm": np.arange(n) * 9.0 + 100,
        "ynm": np.arange(n) * 5.0,
        "znm": z,
        "frame": np.arange(n) + 1.0,
        "phot": 900.0 + np.arange(n),
    }
    found = ingest(smap(**columns, locprecnm=np.full(n, 8.0), channel=np.arange(n) % 3, PSFxnm=np.full(n, 120), empty=["groupindex"]))
    got = found.by_row()
    np.testing.assert_array_equal(got["x_nm"], columns["xnm"])
    np.testing.assert_array_equal(got["frame"], np.arange(n))
    np.testing.assert_array_equal(got["z_nm"], z.astype("f4"))
    assert got["psf_nm"].tolist() == [120] * n
    assert "group" not in got
    assert found.attrs["warnings"] == {"z at the limit of the fit": 12}
    assert (found.attrs["channels"], found.attrs["n_per_channel"]) == ([0, 1, 2], [14, 13, 13])
    assert (found.attrs["format"], found.attrs["frame_base"], found.attrs["dims"]) == ("smap", 1, 3)


def test_smap_columns_of_different_lengths(ingest, smap):
    with pytest.raises(InputError, match="frame has 2 entries, xnm has 3"):
        ingest(smap(xnm=[1, 2, 3], ynm=[1, 2, 3], frame=[1, 2]))


def test_smap_empty(ingest, smap):
    with pytest.raises(InputError, match="no columns for x and y"):
        ingest(smap(empty=["xnm", "ynm", "frame"]))


# ---- Parquet


def test_parquet_by_map(ingest, tmp_path):
    table = pa.table(
        {
            "X": pa.array([1.5, 2.5, None, 4.5], pa.float32()),
            "Y": pa.array([1, 2, 3, 4], pa.int16()),
            "C": pa.array(["b", "a", "b", "b"]).dictionary_encode(),
            "t": pa.array([1, 2, 3, 4], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "f.parquet", row_group_size=2)
    found = ingest(tmp_path / "f.parquet", map="x=X,y=Y,channel=C,frame=t,unit=um,frame_base=1")
    got = found.by_row()
    assert got["x_nm"].tolist() == [1500, 2500, 4500]
    assert got["channel"].tolist() == [1, 0, 1]
    assert got["frame"].tolist() == [0, 1, 3]
    assert got["row"].tolist() == [0, 1, 3]
    assert found.attrs["channel_names"] == ["a", "b"]
    assert found.attrs["dropped"] == {"coordinate not finite": 1}


def test_parquet_of_our_own_names(ingest, tmp_path):
    pq.write_table(pa.table({"x_nm": [1.0, 2.0], "y_nm": [3.0, 4.0], "channel": [0.0, 3.0]}), tmp_path / "f.parquet")
    found = ingest(tmp_path / "f.parquet")
    assert found.by_row()["channel"].tolist() == [0, 3]
    assert found.attrs["channel_names"] == ["channel 0", "channel 3"]


def test_values_beyond_float32(ingest, tmp_path):
    table = {"x_nm": [1.0, 2.0], "y_nm": [3.0, 1e300], "photons": [1e300, 5.0], "precision_nm": [1e300, 5.0], "frame": [1, 2]}
    pq.write_table(pa.table(table), tmp_path / "f.parquet")
    found = ingest(tmp_path / "f.parquet")
    assert found.attrs["dropped"] == {"coordinate out of range": 1}
    assert found.attrs["warnings"] == {"precision not a positive number": 1}
    assert np.isposinf(found.photons).all()


def test_parquet_words_for_x(ingest, tmp_path):
    pq.write_table(pa.table({"X": ["1", "2"], "Y": [3.0, 4.0]}), tmp_path / "f.parquet")
    with pytest.raises(InputError, match="column X holds string, no numbers"):
        ingest(tmp_path / "f.parquet", map="x=X,y=Y,unit=nm")


def test_parquet_cut_off(ingest, tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"x_nm": np.arange(1000.0), "y_nm": np.arange(1000.0)}), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut off|can't be read"):
        ingest(path)


# Codes 0, 1, 0, 1 of one bit each, bit-packed, become a run of four codes 10 of 8 bits.
@pytest.mark.parametrize(("good", "bad"), [(b"second", b"sec\xffnd"), (b"\x01\x03\x0a", b"\x08\x08\x0a")])
def test_parquet_damaged_dictionary(ingest, tmp_path, good, bad):
    """Words that are no UTF-8, and codes of words that aren't there: damage, no fault of ours."""
    table = pa.table({"x_nm": np.arange(4.0), "y_nm": np.arange(4.0), "channel": pa.array(["first", "second"] * 2).dictionary_encode()})
    path = tmp_path / "f.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=["channel"], write_statistics=False)
    assert path.read_bytes().count(good) == 1
    path.write_bytes(path.read_bytes().replace(good, bad))
    with pytest.raises(InputError, match="Parquet file can't be read"):
        ingest(path)


# ---- HDF5 that is damaged or holds its values elsewhere


def test_picasso_overlapping_columns(ingest, picasso):
    """A float of 4 bytes whose damaged fields make h5py take it for one of 8, over the next column: reading it crashed."""
    path = picasso(locs(without=[name for name, _ in PICASSO if name not in ("frame", "x", "y")]))
    raw = path.read_bytes()
    at = raw.index(b"x\x00", raw.index(b"frame\x00") + 6)
    single = bytes([0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0])  # offset, precision, exponent, mantissa and bias of a float32
    start = raw.index(single, at)
    assert start - at < 60
    path.write_bytes(raw[:start] + bytes([0, 0, 32, 0, 20, 11, 0, 20, 255, 3, 0, 0]) + raw[start + 12 :])  # 11 bits of exponent
    with pytest.raises(InputError, match=r"columns of /locs overlap"):
        ingest(path)


def _soft(file, other):
    file["locs"] = h5py.SoftLink("/elsewhere")
    file["elsewhere"] = h5py.ExternalLink(other.name, "locs")


def _external(file, other):
    file["locs"] = h5py.ExternalLink(other.name, "locs")


def _virtual(file, other):
    layout = h5py.VirtualLayout(shape=(5,), dtype=locs().dtype)
    layout[:] = h5py.VirtualSource(other, "locs", shape=(5,))
    file.create_virtual_dataset("locs", layout)


def _raw(file, other):
    kind = locs().dtype
    (other.parent / "raw").write_bytes(locs().tobytes())
    file.create_dataset("locs", shape=(5,), dtype=kind, external=[(other.parent / "raw", 0, 5 * kind.itemsize)])


@pytest.mark.parametrize("link", [_external, _soft, _virtual, _raw])
def test_picasso_values_in_another_file(ingest, picasso, tmp_path, link):
    other = picasso(locs(), name="other")
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        link(file, other)
    for options in ({}, {"format": "picasso"}):
        with pytest.raises(InputError, match="another file"):
            ingest(tmp_path / "f.hdf5", pixel_size_nm=100, **options)


def test_smap_values_in_another_file(ingest, smap):
    path = smap(xnm=[1, 2], ynm=[1, 2])
    other = path.rename(path.with_name("other.mat"))
    for name in ("saveloc", "saveloc/loc", "saveloc/loc/xnm"):
        smap(**({"ynm": [1, 2]} if name.endswith("xnm") else {}))
        with h5py.File(path, "r+") as file:
            file[name] = h5py.ExternalLink(other.name, name)
        with pytest.raises(InputError, match="another file"):
            ingest(path, format="smap")


def test_a_dataset_that_claims_more_than_the_file_holds(tmp_path):
    """Storage that was never written reads as zeros, as many as the header likes."""
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file.create_dataset("locs", shape=(10**12,), dtype=locs().dtype, chunks=(1000,), compression="gzip")
    for options in ({}, {"format": "picasso", "pixel_size_nm": 100}):
        with pytest.raises(InputError, match="/locs would unpack from 0 to"):
            read(tmp_path / "f.hdf5", **options)


def test_random_damage_to_picasso(picasso):
    assert damage_is_told(picasso(locs(200)), np.random.default_rng(0), pixel_size_nm=100) > 5


# ---- tables of one's own in HDF5


@pytest.fixture
def own_hdf5(tmp_path):
    def put(**tables):
        with h5py.File(tmp_path / "own.h5", "w") as file:
            for name, table in tables.items():
                file[name.replace("__", "/")] = table
        return tmp_path / "own.h5"

    return put


def own_table(n=30):
    """As pandas writes a table by PyTables: an index, and a field per column."""
    records = np.zeros(n, dtype=[("index", "i8"), ("x", "f8"), ("y", "f8"), ("frame", "f8"), ("label", "S3")])
    records["x"], records["y"], records["frame"] = np.arange(n) * 1.5, np.arange(n), np.arange(n) // 4
    return records


def test_own_hdf5_by_a_map(own_hdf5):
    found = read(own_hdf5(Localizations__table=own_table()), map="x=x,y=y,frame=frame,unit=um")
    np.testing.assert_allclose(found.x_nm, np.arange(30) * 1500)
    np.testing.assert_array_equal(found.frame, np.arange(30) // 4)
    assert found.source.format == "table"


def test_own_hdf5_of_our_own_names(own_hdf5):
    assert read(own_hdf5(t=own_table().astype([("i", "i8"), ("x_nm", "f4"), ("y_nm", "f4"), ("f", "f4"), ("l", "S3")]))).tally.n == 30


def test_own_hdf5_without_a_map(own_hdf5):
    with pytest.raises(InputError, match="an HDF5 table whose columns no reader knows; found index, x, y, frame"):
        read(own_hdf5(t=own_table()))


def test_own_hdf5_of_several_tables(own_hdf5):
    with pytest.raises(InputError, match="tables in the HDF5 file: /a, /b"):
        read(own_hdf5(a=own_table(), b=own_table()), map="x=x,y=y,unit=nm", format="table")
