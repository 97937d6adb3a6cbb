"""What the formats cost: rows per CPU-second of every text format, and whether memory grows with a file that is streamed.

Text tables are the tests' own (`tests/ingest/vendor_tables.py`), their records repeated. Rows are counted from opening a
file to the last cleaned batch. Peaks are those of `validate`, each in a process of its own.
"""

import gzip
import json
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ingest

N_ROWS = 300_000
PIECE_ROWS = 100_000


def measure_text_formats(folder: Path, *, n_rows: int = N_ROWS, repeats: int = 3) -> dict[str, Any]:
    """Rows per CPU-second of each text format, the best of `repeats`.

    Returns
    -------
    slowest : the slowest's name
    rows_per_s : its rows per CPU-second
    all : name → rows per CPU-second
    """
    from tests.ingest.vendor_tables import SAMPLES

    found = {}
    for name, sample in SAMPLES.items():
        records = sample.records()
        path = folder / "field.txt"
        path.write_bytes(sample.text(records * -(-n_rows // len(records))))
        n, cpu_s = min((_cleaned(path, sample.row) for _ in range(repeats)), key=lambda pair: pair[1])
        found[name] = n / cpu_s
    slowest = min(found, key=lambda name: found[name])
    return {"slowest": slowest, "rows_per_s": found[slowest], "all": found, "n_rows": n_rows}


def _cleaned(path: Path, row: dict[str, Any]) -> tuple[int, float]:
    from smlmbatch.config import Config
    from smlmbatch.ingest.clean import Tally, clean_batches
    from smlmbatch.ingest.columns import overrides_of
    from smlmbatch.ingest.readers import open_source
    from smlmbatch.ingest.recognise import recognised_format
    from smlmbatch.samples import field_of_row

    field = field_of_row({name: str(value) for name, value in row.items()}, path=path.name, format_name="")
    overrides, tally, start = overrides_of(field, Config().ingest), Tally(), time.process_time()
    for _ in clean_batches(open_source(path, recognised_format(path, overrides=overrides), overrides), tally):
        pass
    return tally.n_read, time.process_time() - start


def measure_streaming_memory(folder: Path) -> dict[str, Any]:
    """Peak memory at ten times the records over that of a file of about 20 MB, for every container that is streamed.

    Returns
    -------
    worst : the container whose ratio is largest
    ratio : its ratio
    peaks_mib : container → the two peaks
    """
    peaks = {}
    for name, (write, n_rows) in WRITERS.items():
        pair = []
        for rows in (n_rows, 10 * n_rows):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                path = write(Path(place), rows)
                pair.append(ingest.child("memory", path, module="benchmarks.formats")["peak_rss_bytes"] / (1 << 20))
        peaks[name] = pair
    worst = max(peaks, key=lambda name: peaks[name][1] / peaks[name][0])
    return {"worst": worst, "ratio": peaks[worst][1] / peaks[worst][0], "peaks_mib": peaks}


def measure_csv_export(folder: Path, *, n_rows: int = 2_000_000, repeats: int = 5) -> dict[str, Any]:
    """Localisations per second of a field's export as our CSV, and over pyarrow.csv's of the same numbers; the median pair is given.

    Both read the published field and write a file; compiling is left out. Rates are of CPU time, `wall_rows_per_s` of time.

    Returns
    -------
    rows_per_s, wall_rows_per_s, ratio, bare_rows_per_s, ratios (of all pairs), file_mb
    """
    from smlmbatch.export.text import write_own_csv
    from tests.export.conftest import ingested

    unit = ingested(ingest.write_csv(folder / "field.csv", n_rows), folder / "unit")
    _exported(unit, folder / "ours.csv", write_own_csv)
    pairs = []
    for _ in range(repeats):
        bare, ours = _exported(unit, folder / "bare.csv", _bare_csv), _exported(unit, folder / "ours.csv", write_own_csv)
        pairs.append((bare[0] / ours[0], ours, bare))
    ratio, ours, bare = sorted(pairs, key=lambda pair: pair[0])[len(pairs) // 2]
    return {
        "n_rows": n_rows,
        "ratio": ratio,
        "rows_per_s": n_rows / ours[0],
        "wall_rows_per_s": n_rows / ours[1],
        "bare_rows_per_s": n_rows / bare[0],
        "ratios": [pair[0] for pair in pairs],
        "file_mb": (folder / "ours.csv").stat().st_size / 1e6,
    }


def _exported(unit: Path, path: Path, write: Callable[[Path, Any], None]) -> tuple[float, float]:
    """CPU and wall seconds."""
    from smlmbatch.export.stored_field import StoredField
    from smlmbatch.store.arrays import UnitReader

    cpu, wall = time.process_time(), time.perf_counter()
    with UnitReader(unit) as reader:
        write(path, StoredField(reader))
    return time.process_time() - cpu, time.perf_counter() - wall


def _bare_csv(path: Path, field: Any) -> None:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("wb") as file:
        for piece in field.pieces():
            csv.write_csv(pa.table({name: piece[name] for name in field.names}), file)


# ---- files of any size


def _text(folder: Path, n: int) -> Path:
    return ingest.write_csv(folder / "field.csv", n)


def _gzip(folder: Path, n: int) -> Path:
    with _text(folder, n).open("rb") as source, gzip.open(folder / "field.csv.gz", "wb", compresslevel=1) as out:
        shutil.copyfileobj(source, out)
    return folder / "field.csv.gz"


def _zip(folder: Path, n: int) -> Path:
    with zipfile.ZipFile(folder / "field.csv.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        out.write(_text(folder, n), "field.csv")
    return folder / "field.csv.zip"


def _parquet(folder: Path, n: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict(zip(("x_nm", "y_nm", "photons"), _positions(0, n), strict=True))
    pq.write_table(pa.table(columns), folder / "field.parquet", row_group_size=n)  # all in one, as some programs write it
    return folder / "field.parquet"


def _positions(start: int, n: int) -> Any:
    return np.random.default_rng(np.random.SeedSequence(0, spawn_key=(start,))).uniform(0, 5e4, (3, n)).astype(np.float32)


def _records(n: int, kinds: list[tuple[str, str]], first: tuple[str, str]) -> Any:
    """Records with positions under the names `first`, a piece at a time."""
    for start in range(0, n, PIECE_ROWS):
        records = np.zeros(min(PIECE_ROWS, n - start), dtype=kinds)
        records[first[0]], records[first[1]], _ = _positions(start, len(records)) / 100
        yield records


def _picasso(folder: Path, n: int) -> Path:
    import h5py

    kinds = [("frame", "u4"), *((name, "f4") for name in ("x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy"))]
    with h5py.File(folder / "field.hdf5", "w") as file:
        table, start = file.create_dataset("locs", shape=(n,), dtype=kinds), 0
        for records in _records(n, kinds, ("x", "y")):
            table[start : start + len(records)] = records
            start += len(records)
    (folder / "field.yaml").write_text("Pixelsize: 100\n")
    return folder / "field.hdf5"


def _insight3(folder: Path, n: int) -> Path:
    kinds = [(name, "<f4") for name in ("x", "y", "xc", "yc", "h", "a", "w", "phi", "ax", "bg", "i")]
    kinds += [(name, "<i4") for name in ("c", "fi", "fr", "tl", "lk")] + [("z", "<f4"), ("zc", "<f4")]
    with (folder / "field.bin").open("wb") as file:
        file.write(struct.pack("<4s3i", b"M425", 1, 6, n))
        for records in _records(n, kinds, ("xc", "yc")):
            file.write(records.tobytes())
    return folder / "field.bin"


def _npy(folder: Path, n: int) -> Path:
    kinds = [("x_nm", "f8"), ("y_nm", "f8"), ("frame", "i4")]
    head = f"{{'descr': {kinds!r}, 'fortran_order': False, 'shape': ({n},), }}".encode().ljust(117) + b"\n"
    with (folder / "field.npy").open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
        for records in _records(n, kinds, ("x_nm", "y_nm")):
            file.write(records.tobytes())
    return folder / "field.npy"


def _smlm(folder: Path, n: int) -> Path:
    form = {"type": "table", "mode": "binary", "columns": 3, "headers": ["x", "y", "frame"], "dtype": ["float32", "float32", "uint32"]}
    form |= {"shape": [1, 1, 1], "units": ["nm", "nm", ""]}
    entry = {"name": "t.bin", "type": "table", "format": "f", "channel": "default", "rows": n, "offset": {}}
    with zipfile.ZipFile(folder / "field.smlm", "w") as file:
        file.writestr("manifest.json", json.dumps({"format_version": "0.2", "formats": {"f": form}, "files": [entry]}))
        with file.open("t.bin", "w", force_zip64=True) as out:
            for records in _records(n, [("x", "<f4"), ("y", "<f4"), ("frame", "<u4")], ("x", "y")):
                out.write(records.tobytes())
    return folder / "field.smlm"


# Container → how a file is written, and the records of the smaller one: several pieces of the reader's, about 20 MB.
WRITERS: dict[str, tuple[Callable[[Path, int], Path], int]] = {
    "text": (_text, N_ROWS),
    "gzip": (_gzip, N_ROWS),
    "zip": (_zip, N_ROWS),
    "Parquet": (_parquet, 5 * N_ROWS),
    "Picasso HDF5": (_picasso, 3 * N_ROWS),
    "Insight3": (_insight3, 2 * N_ROWS),
    "npy": (_npy, 4 * N_ROWS),
    ".smlm": (_smlm, 5 * N_ROWS),
}


def _memory(path: Path) -> dict[str, Any]:
    from smlmbatch.config import Config
    from smlmbatch.ingest.validate import validate_file
    from smlmbatch.samples import field_of_row

    before = ingest.usage()
    validate_file(path, field=field_of_row({"pixel_size_nm": "100"}, path=path.name, format_name=""), config=Config())
    return ingest.spent(before)


if __name__ == "__main__":
    print(json.dumps(_memory(Path(sys.argv[2]))))
