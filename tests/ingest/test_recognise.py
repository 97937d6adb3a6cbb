"""Field, companion or unreadable: by content, not by name."""

import gzip
import io
import os
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.readers import open_source
from smlmbatch.ingest.recognise import recognise, recognised_format

TS = '"id","frame","x [nm]","y [nm]"\n' + "".join(f"{i},1,{i}.5,2\n" for i in range(9))
XYZ = "x,y,z\n1.5,2,3\n4,5,6\n"

FIELDS = {
    "table.csv": (TS, "thunderstorm"),
    "no suffix": (TS, "thunderstorm"),
    "wrong.tif": (TS, "thunderstorm"),
    "header only.csv": (TS.partition("\n")[0], "thunderstorm"),
    "list.bin": (b"M425" + bytes(100), "insight3"),
    "own.txt": ("x_nm\ty_nm\n1\t2\n3\t4\n", "table"),
    "rapid.txt": (
        '# <localizations insequence="true"><field identifier="Position-0-0" /><field identifier="Position-1-0" /></localizations>\n1 2\n',
        "rapidstorm",
    ),
    "storm.txt": ("Channel Name\tX\tY\tXc\tYc\tFrame\n647\t1\t2\t1\t2\t1\n", "nstorm"),
    "elyra.txt": ("Index\tFirst Frame\tPosition X [nm]\tPosition Y [nm]\n1\t1\t5.5\t6.5\n\x00\nROI List\n", "elyra"),
    "oni.csv": ("Channel,Frame,X (nm),Y (nm),Z (nm)\n0,1,5.5,6.5,0\n", "nimos"),
    "codi.csv": ("# x[nm],y[nm],frameIndex[],channelIndex[]\n1,2,3,0\n", "codi"),
    "smap.csv": ("ID,frame,xnm,ynm \n1,1,5,6\n", "smap_csv"),
    "fit3d.csv": ("frame,x_pix,y_pix,x_nm,y_nm,crlb_xnm \n1,1,5,6,7,8\n", "fit3dcspline"),
    "bstore.dat": ("x [nm], y [nm], frame, sigma [nm]\n1,2,3,4\n", "bstore"),
    "spaced without uncertainty.csv": ("frame, x [nm], y [nm], sigma [nm], bkgstd [photon]\n1,2,3,4,5\n", "thunderstorm"),
    "spaced ThunderSTORM.csv": ("x [nm], y [nm], frame, sigma [nm], uncertainty [nm]\n1,2,3,4,5\n", "thunderstorm"),
    "packed.csv.gz": (gzip.compress(TS.encode()), "thunderstorm"),
    "packed.dat": (gzip.compress(b"Channel,Frame,X (nm),Y (nm),Z (nm)\n0,1,5.5,6.5,0\n"), "nimos"),
}
IGNORED = {
    "README": "This folder holds 12 fields, taken on 2024-05-01, 3 replicates.\n" * 5,
    "protocol.txt": "Buffer: 50 mM Tris, 10 mM NaCl, pH 8.0\nLaser: 642 nm, 100 mW\nExposure: 20 ms, 10000 frames\n",
    "settings.yaml": "Pixelsize: 117\nFrames: 100\n",
    "meta.json": '{"x [nm]": 1}',
    "stack.tif": b"II*\x00" + bytes(range(200)),
    "paper.pdf": b"%PDF-1.4 1 2 3\n",
    "picture.csv": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "analysis.py": "x, y = 1, 2\n1, 2\n3, 4\n",
    "macro.ijm": "1,2\n3,4\n",
    "run": "#!/bin/sh\n1,2\n",
    "notes.txt": "",
    "weights.bin": bytes(range(256)) * 10,
    "conditions.csv": "file,drug\na.csv,none\nb.csv,LatA\nc.csv,none\n",
    "stack.tif.gz": gzip.compress(b"II*\x00" + bytes(100)),
    "settings.yaml.gz": gzip.compress(b"a: 1\n"),
    "cut.txt.bak.gz": b"\x1f\x8b" + bytes(100),
    "book.xlsx": b"PK\x03\x04" + bytes(40),
}
UNREADABLE = {
    "xyz.csv": (XYZ, "doesn't say in which unit x and y are; found x, y, z"),
    "abc.csv": ("a,b,c\n1.5,2,3\n4,5,6\n", "columns no reader knows; found a, b, c"),
    "bare.txt": ("1.5\t2\t3\n4\t5\t6\n", "without a header"),
    "empty.csv": ("", "empty"),
    "rubbish.csv": (bytes(range(256)) * 10, "binary of no known kind"),
    "excel.csv": (TS.encode("utf-16"), "UTF-16"),
    "track.txt": ("# <localizations><localizations></localizations></localizations>\n1 2\n", "track file"),
    "visp.3d": ("1.5\t2\t3\t4\t5\n4\t5\t6\t4\t5\n", "ViSP"),
    "visp.3dlp": ("1.5\t2\t3\t1\t1\t1\t4\t5\n4\t5\t6\t1\t1\t1\t4\t5\n", "ViSP"),
    "old.mat": (b"MATLAB 5.0 MAT-file, Platform: PCWIN64" + bytes(100), "damaged"),
    "minflux.npy": (b"\x93NUMPY\x01\x00" + bytes(100), "NumPy"),
    "cut.hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "cut off"),
    "cut.parquet": (b"PAR1" + bytes(100), "can't be read"),
    "cut.csv.gz": (gzip.compress(TS.encode())[:40], "can't be unpacked"),
    "rubbish.csv.gz": (b"\x1f\x8b" + bytes(100), "can't be unpacked"),
    "binary.hdf5.gz": (gzip.compress(bytes(range(256))), "holds no text"),
    "xyz.csv.gz": (gzip.compress(XYZ.encode()), "in which unit x and y are"),
}


def look(write, name, content, **overrides):
    return recognise(write(name, content), overrides=Overrides(**overrides))


@pytest.mark.parametrize("name", FIELDS)
def test_fields(write, name):
    content, format_name = FIELDS[name]
    found = look(write, name, content)
    assert (found.kind, found.format) == ("field", format_name)


@pytest.mark.parametrize("name", IGNORED)
def test_companions(write, name):
    found = look(write, name, IGNORED[name])
    assert (found.kind, found.format) == ("ignored", "")
    assert found.reason
    assert look(write, name, IGNORED[name], format="thunderstorm").kind == "ignored"


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(write, name):
    content, words = UNREADABLE[name]
    found = look(write, name, content)
    assert (found.kind, found.format) == ("unreadable", "")
    assert words in found.reason
    assert found.mend


def test_a_map_makes_a_table_readable(write):
    assert look(write, "xyz.csv", XYZ, map="x=x,y=y,unit=nm").format == "table"
    oni = FIELDS["oni.csv"][0]
    assert look(write, "oni.csv", oni, map="x=X (nm),y=Y (nm),unit=nm").format == "nimos"
    assert look(write, "oni.csv", oni, map="x=X (nm),y=Y (nm),unit=nm", map_wins=True).format == "table"
    assert look(write, "ts.csv", TS, map="x=x,y=y,unit=nm").format == "thunderstorm"
    assert look(write, "ts.csv", TS, map="x=x,y=y,unit=nm", map_wins=True).format == "table"


def test_a_unit_makes_a_bare_table_readable(write):
    assert look(write, "xyz.csv", XYZ, unit="nm").format == "xyz"
    assert look(write, "xyz.csv", XYZ, unit="nm", map="x=y,y=x").format == "table"
    assert look(write, "ts.csv", TS, unit="nm").format == "thunderstorm"
    assert look(write, "notes.csv", "x,y\ngood,bad\nbad,good\n", unit="nm").kind == "ignored"


def test_a_format_is_believed(write):
    assert look(write, "xyz.csv", XYZ, format="thunderstorm").format == "thunderstorm"


def test_hdf5_by_what_is_inside(picasso, smap, tmp_path):
    records = np.zeros(3, dtype=[("x", "f4"), ("y", "f4")])
    assert recognise(picasso(records).rename(tmp_path / "a.dat"), overrides=Overrides()).format == "picasso"
    assert recognise(smap(xnm=[1.0], ynm=[2.0]), overrides=Overrides()).format == "smap"
    cases = {"data/xyz": "field", "DataSetInfo": "unreadable", "exported_data": "unreadable", "t00000": "ignored"}
    for name, kind in cases.items():
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file[name] = np.zeros((3, 3))
        assert recognise(tmp_path / "b.h5", overrides=Overrides()).kind == kind, name


def _zip(at, damage):
    """A zip file whose central directory is damaged."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "hello")
    raw = bytearray(file.getvalue())
    start = raw.index(b"PK\x01\x02") + at
    raw[start : start + len(damage)] = damage
    return raw


def test_a_damaged_zip_is_ignored(write):
    bad_name = _zip(46, b"\xff")
    bad_name[bad_name.index(b"PK\x01\x02") + 9] = 0x08  # the flag that names are UTF-8
    for raw in (_zip(6, b"\x63\x00"), bad_name, _zip(0, b"QQ")):
        assert look(write, "stray.zip", bytes(raw)).reason == "damaged archive"


def test_a_damaged_parquet_name_is_unreadable(write, tmp_path):
    pq.write_table(pa.table({"x_nm": [1.0], "y_nm": [2.0]}), tmp_path / "f.parquet", store_schema=False)
    raw = (tmp_path / "f.parquet").read_bytes().replace(b"x_nm", b"x\xffnm")
    found = look(write, "f.parquet", raw)
    assert found.kind == "unreadable"
    assert "can't be read" in found.reason


def test_no_regular_file_is_waited_for(tmp_path):
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    for overrides in (Overrides(), Overrides(format="table")):
        assert recognise(path, overrides=overrides).kind == "ignored"
        with pytest.raises(InputError, match="is no regular file"):
            open_source(path, recognised_format(path, overrides=overrides), overrides)
