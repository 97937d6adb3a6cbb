"""Small valid files of every reader in every container, from which the fuzzer makes damaged ones.

A seed that is packed (gzip, zip, a compressed MATLAB element) also has its contents, so that damage goes behind the checksum.
"""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import scipy.io

from tests.ingest.vendor_tables import SAMPLES, Sample

N_RECORDS = 12
I = np.arange(N_RECORDS)  # noqa: E741
X, Y, Z, FRAME = 500 + 80.5 * I, 900 + 33.25 * I, 10.0 * I - 30, I // 3
Members = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Seed:
    """A valid file.

    Attributes
    ----------
    container : what the table of formats calls it
    name : the file's name
    row : what the sample sheet must say
    members, pack : contents, and how they are packed again; `content` is what they pack to
    sidecar : name and content of the file beside it
    """

    reader: str
    container: str
    name: str
    content: bytes
    row: dict = field(default_factory=dict)
    members: Members = ()
    pack: Callable[[Members], bytes] | None = None
    sidecar: tuple[str, bytes] | None = None


def packed(reader, container, name, members, pack, **more):
    return Seed(reader, container, name, pack(members), members=members, pack=pack, **more)


def gzipped(members):
    return gzip.compress(members[0][1], 1, mtime=0)


def zipped(members, *, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name or "f.csv", (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            archive.writestr(info, content, compresslevel=1)
    return file.getvalue()


def stored_zip(members):
    return zipped(members, compression=zipfile.ZIP_STORED)


# ---- tables


def text_seeds(key: str) -> list[Seed]:
    sample: Sample = SAMPLES[key]
    text = sample.text(sample.records()[:N_RECORDS])
    row = dict(sample.row)
    seeds = [
        Seed(sample.format, "text", "f.csv", text, row),
        packed(sample.format, "gzip", "f.csv.gz", (("f.csv", text),), gzipped, row=row),
        packed(sample.format, "zip", "f.csv.zip", (("f.csv", text),), zipped, row=row),
    ]
    if not (sample.header or sample.lead or sample.tail):
        seeds.append(Seed(sample.format, "Parquet", "f.parquet", parquet_of(text, sample.delimiter), row))
    return seeds


def parquet_of(text: bytes, delimiter: str) -> bytes:
    table = pyarrow.csv.read_csv(io.BytesIO(text), parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))
    return parquet_bytes(table)


def parquet_bytes(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def own_table() -> pa.Table:
    channel = pa.array(["green", "red"] * (N_RECORDS // 2))
    return pa.table({"x_nm": X, "y_nm": Y, "z_nm": Z, "frame": FRAME, "photons": X.astype("f4"), "channel": channel})


def own_seeds() -> list[Seed]:
    table = own_table()
    text, feather, lz4 = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pyarrow.csv.write_csv(table, text)
    pyarrow.feather.write_feather(table, feather, compression="uncompressed")
    pyarrow.feather.write_feather(table, lz4, compression="lz4", chunksize=5)
    csv = text.getvalue()
    mapped = {"map": "x=x_nm,y=y_nm,frame=frame,unit=nm"}
    return [
        Seed("table", "text", "f.csv", csv),
        Seed("table", "text", "f.csv", csv.replace(b",", b"\t").replace(b"\n", b"\r\n"), mapped),
        Seed("table", "text", "f.csv", csv.replace(b",", b";").replace(b".", b",")),
        packed("table", "gzip", "f.csv.gz", (("f.csv", csv),), gzipped),
        packed("table", "zip", "f.csv.zip", (("f.csv", csv),), zipped),
        packed("table", "zip", "f.npy.zip", (("f.npy", npy_bytes(own_records())),), zipped),
        Seed("table", "Parquet", "f.parquet", parquet_bytes(table), mapped),
        Seed("table", "Feather", "f.feather", feather.getvalue()),
        Seed("table", "Feather", "f.feather", lz4.getvalue()),
        Seed("table", "npy", "f.npy", npy_bytes(own_records())),
        Seed("table", "HDF5", "f.h5", hdf5_bytes({"group/table": own_records()})),
        *mat5_seeds("table", {"data": {"x": X, "y": Y, "frame": FRAME}, "note": "hello"}, {"unit": "nm"}),
        *mat5_seeds("table", {"locs": np.stack([X, Y, Z], axis=1)}, {"map": "x=locs:1,y=locs:2,z=locs:3,unit=nm"}),
    ]


def own_records() -> np.ndarray:
    records = np.zeros(N_RECORDS, dtype=[("x_nm", "f8"), ("y_nm", ">f4"), ("frame", "u2"), ("patch", "f4", (2, 2))])
    records["x_nm"], records["y_nm"], records["frame"] = X, Y, FRAME
    return records


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# ---- HDF5


def hdf5_bytes(datasets: dict, *, attrs: dict | None = None, userblock: bytes = b"", **options) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512 if userblock else 0) as out:
        for name, values in datasets.items():
            out.create_dataset(name, data=values, **(options if np.ndim(values) else {}))
        for name, value in (attrs or {}).items():
            out.require_group("meta").attrs[name] = value
    raw = file.getvalue()
    return userblock + raw[len(userblock) :]


def picasso_seeds() -> list[Seed]:
    names = ("x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy", "z", "group")
    records = np.zeros(N_RECORDS, dtype=[("frame", "u4"), *((name, "f4") for name in names)])
    records["frame"], records["x"], records["y"], records["lpx"], records["lpy"] = FRAME, X / 100, Y / 100, 0.1, 0.1
    molecules = np.zeros(N_RECORDS, dtype=[(name, "f4") for name in ("frame", "std_frame", "x", "y", "lpx", "lpy")])
    molecules["x"], molecules["y"] = X / 100, Y / 100
    sidecar = ("f.yaml", b"Frames: 5\nGenerated by: Picasso\nHeight: 64\nWidth: 64\n---\nPixelsize: 130\n---\nBox: 7\nPixelsize: 117\n")
    return [
        Seed("picasso", "HDF5", "f.hdf5", hdf5_bytes({"locs": records}), sidecar=sidecar),
        Seed("picasso", "HDF5", "f.hdf5", hdf5_bytes({"locs": records}, chunks=(5,), compression="gzip"), sidecar=sidecar),
        Seed("picasso", "HDF5", "f.hdf5", hdf5_bytes({"locs": molecules}), sidecar=sidecar),
    ]


def smap_seeds() -> list[Seed]:
    columns = {"xnm": X, "ynm": Y, "znm": Z, "frame": FRAME + 1.0, "locprecnm": I + 5.0, "channel": I % 2 + 0.0}
    block = b"MATLAB 7.3 MAT-file, Platform: GLNXA64"
    new = hdf5_bytes({f"saveloc/loc/{name}": values[None] for name, values in columns.items()}, userblock=block)
    return [
        Seed("smap", "MATLAB 7.3", "f_sml.mat", new),
        *mat5_seeds("smap", {"saveloc": {"loc": columns, "file": {"info": {"cam_pixelsize_um": 0.1}}}}, {}),
    ]


def decode_seeds() -> list[Seed]:
    xyz = np.stack([X / 100, Y / 100, Z], axis=1).astype("f4")
    data = {"data/xyz": xyz, "data/xyz_sig": np.full((N_RECORDS, 3), 0.1, "f4"), "data/frame_ix": FRAME, "data/phot": X.astype("f4")}
    meta = {"xy_unit": "px", "px_size": (127.0, 117.0)}
    return [
        Seed("decode", "HDF5", "f.h5", hdf5_bytes(data, attrs=meta)),
        Seed("decode", "HDF5", "f.h5", hdf5_bytes(data | {"data/bg": h5py.Empty("f4")}, attrs=meta, chunks=True)),
    ]


# ---- MATLAB 5, .smlm, .npy, Insight3


def mat5_seeds(reader: str, variables: dict, row: dict) -> list[Seed]:
    """Plain, and with every variable compressed: what is in a variable is a member."""
    file = io.BytesIO()
    scipy.io.savemat(file, variables, oned_as="row")
    raw = b"MATLAB 5.0 MAT-file, Platform: posix".ljust(116) + file.getvalue()[116:]  # without the date
    return [
        Seed(reader, "MATLAB 5", "f.mat", raw, row),
        packed(reader, "MATLAB 5", "f.mat", ((raw[:128].decode("latin-1"), raw[128:]),), _mat5_packed, row=row),
    ]


def _mat5_packed(members: Members) -> bytes:
    (head, content), *_ = members
    shrunk = zlib.compress(content, 1)
    return head.encode("latin-1", "replace")[:128].ljust(128) + struct.pack("<II", 15, len(shrunk)) + shrunk


def particle_seeds() -> list[Seed]:
    cells = np.empty((1, 3), dtype=object)
    for k, n in enumerate((4, 1, 3)):
        cells[0, k] = {"points": np.linspace(-1, 1, 2 * n).reshape(n, 2), "sigma": np.full((n, 1), 0.05)}
    return mat5_seeds("particles", {"particles": cells}, {"pixel_size_nm": "130"})


def smlm_seeds() -> list[Seed]:
    kinds = {"frame": "uint32", "x": "float32", "y": "float32", "z": "uint16", "intensity": "float64", "patch": "uint8"}
    table = np.zeros(N_RECORDS, dtype=[(name, np.dtype(kind).newbyteorder("<")) for name, kind in kinds.items()])
    for name, values in {"frame": FRAME + 1, "x": X, "y": Y, "z": I, "intensity": X}.items():
        table[name] = values
    form = {"type": "table", "mode": "binary", "columns": 6, "headers": list(kinds), "dtype": list(kinds.values())}
    form |= {"shape": [1] * 6, "units": ["frame", "nm", "nm", "nm", "photon", ""]}
    entries = [
        {"name": f"table-{k}.bin", "type": "table", "format": "f", "channel": channel, "rows": N_RECORDS, "offset": {"z": -5}}
        for k, channel in enumerate(("red", "green"))
    ]
    manifest = json.dumps({"format_version": "0.2", "formats": {"f": form}, "files": entries}).encode()
    members = (("manifest.json", manifest), ("table-0.bin", table.tobytes()), ("table-1.bin", table.tobytes()))
    return [packed("smlm", "zip", "f.smlm", members, zipped), packed("smlm", "zip", "f.smlm", members, stored_zip)]


def minflux_seeds() -> list[Seed]:
    place = np.stack([1e-6 + I * 1e-8, -2e-6 - I * 1e-8, Z * 1e-9], axis=1)
    step = [("itr", "<i4"), ("loc", "<f8", (3,)), ("eco", "<i4")]
    nested = np.zeros(N_RECORDS, dtype=[("itr", step, (2,)), ("tim", "<f8"), ("tid", "<i4"), ("vld", "?")])
    nested["itr"]["loc"][:, -1], nested["tid"], nested["vld"] = place, I // 4, True
    flat = np.zeros(N_RECORDS, dtype=[("vld", "?"), ("tid", "<u4"), ("itr", "<i4"), ("loc", "<f8", (3,)), ("eco", "<u4")])
    flat["loc"], flat["tid"], flat["vld"], flat["itr"] = place, I // 4, True, I % 4
    arrays = [npy_bytes(nested), npy_bytes(flat)]
    return [
        *(Seed("minflux", "npy", "f.npy", raw) for raw in arrays),
        packed("minflux", "zip", "f.npy.zip", (("f.npy", arrays[0]),), zipped),
    ]


def insight3_seeds() -> list[Seed]:
    names = ("x", "y", "xc", "yc", "h", "a", "w", "phi", "ax", "bg", "i")
    kinds = [(name, "<f4") for name in names] + [(name, "<i4") for name in ("c", "fi", "fr", "tl", "lk")] + [("z", "<f4"), ("zc", "<f4")]
    records = np.zeros(N_RECORDS, dtype=kinds)
    for name, values in {"xc": X / 100, "yc": Y / 100, "zc": Z, "w": 300, "c": 1, "fr": FRAME + 1}.items():
        records[name] = values
    raw = struct.pack("<4s3i", b"M425", 1, 6, N_RECORDS) + records.tobytes()
    return [Seed("insight3", "Insight3", "f_mlist.bin", raw, {"pixel_size_nm": "160"})]


@cache
def all_seeds() -> dict[str, tuple[Seed, ...]]:
    """Reader → its seeds."""
    seeds = [seed for key in SAMPLES for seed in text_seeds(key)] + own_seeds()
    for make in (picasso_seeds, smap_seeds, decode_seeds, smlm_seeds, minflux_seeds, insight3_seeds, particle_seeds):
        seeds += make()
    found: dict[str, tuple[Seed, ...]] = {}
    for seed in seeds:
        found[seed.reader] = (*found.get(seed.reader, ()), seed)
    return found


def containers_of(reader: str) -> tuple[str, ...]:
    """What the reader's seeds are kept in."""
    return tuple(dict.fromkeys(seed.container for seed in all_seeds()[reader]))
