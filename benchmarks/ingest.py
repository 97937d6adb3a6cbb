"""What ingest and validate cost: CPU time against a bare parse of the same file, peak memory, inodes.

Every measurement runs in a process of its own; CPU time is the process's user + system time over all its threads,
counted from after the imports. Ours does everything a field goes through: sha256 of the input, parse, sort, write with
digest, publish. The bare parse streams six columns as float32 and throws them away.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HEADER = (
    '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]","bkgstd [photon]","chi2","uncertainty_xy [nm]"\n'
)
BARE_COLUMNS = ("frame", "x [nm]", "y [nm]", "sigma [nm]", "intensity [photon]", "uncertainty_xy [nm]")
LOCS_PER_FRAME = 200
SIDE_NM = 80_000.0


def measure_ingest_cpu(n_rows: int = 5_000_000, *, repeats: int = 3) -> dict[str, Any]:
    """CPU time of a whole ingest over that of a bare parse, in pairs; the median pair is given.

    Returns
    -------
    ratio, ours_cpu_s, bare_cpu_s, ours_wall_s, peak_rss_bytes, ratios (of all pairs)
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv = write_csv(folder / "field.csv", n_rows)
        pairs = []
        for _ in range(repeats):
            bare, ours = child("bare", csv), child("ours", csv, folder / "output", 2 << 30)
            pairs.append((ours["cpu_s"] / bare["cpu_s"], ours, bare))
    ratio, ours, bare = sorted(pairs, key=lambda pair: pair[0])[len(pairs) // 2]
    return {
        "n_rows": n_rows,
        "ratio": ratio,
        "ours_cpu_s": ours["cpu_s"],
        "bare_cpu_s": bare["cpu_s"],
        "ours_wall_s": ours["wall_s"],
        "peak_rss_bytes": ours["peak_rss_bytes"],
        "ratios": [pair[0] for pair in pairs],
    }


def measure_ingest_memory(n_rows: int = 50_000_000, memory_bytes: int = 1 << 30) -> dict[str, Any]:
    """Peak resident memory of an ingest under a memory limit, and the files its unit takes.

    Returns
    -------
    peak_rss_bytes, inodes, cpu_s, wall_s, unit_bytes
    """
    with tempfile.TemporaryDirectory() as name:
        csv = write_csv(Path(name) / "field.csv", n_rows)
        return {"n_rows": n_rows, "memory_bytes": memory_bytes} | child("ours", csv, Path(name) / "output", memory_bytes)


def measure_validate(n_rows: int = 2_500_000, *, repeats: int = 3) -> dict[str, Any]:
    """CPU time of `validate` on a ThunderSTORM CSV of 200 MB, and over that of a bare parse, in pairs; the median pair is given.

    Returns
    -------
    mb_per_s (of CPU time), ratio, ours_cpu_s, bare_cpu_s, file_mb, peak_rss_bytes, ratios (of all pairs)
    """
    with tempfile.TemporaryDirectory() as name:
        csv = write_csv(Path(name) / "field.csv", n_rows)
        pairs = []
        for _ in range(repeats):
            bare, ours = child("bare", csv), child("validate", csv)
            pairs.append((ours["cpu_s"] / bare["cpu_s"], ours, bare))
        file_mb = csv.stat().st_size / 1e6
    ratio, ours, bare = sorted(pairs, key=lambda pair: pair[0])[len(pairs) // 2]
    return {
        "n_rows": n_rows,
        "file_mb": file_mb,
        "mb_per_s": file_mb / ours["cpu_s"],
        "ratio": ratio,
        "ours_cpu_s": ours["cpu_s"],
        "bare_cpu_s": bare["cpu_s"],
        "peak_rss_bytes": ours["peak_rss_bytes"],
        "ratios": [pair[0] for pair in pairs],
    }


def write_csv(path: Path, n_rows: int, *, seed: int = 0) -> Path:
    """A ThunderSTORM 2D file of `n_rows` locs, uniform over 80 x 80 um, three decimals, frames ascending."""
    import pyarrow as pa
    import pyarrow.csv

    with path.open("wb") as file:
        file.write(HEADER.encode())
        for start in range(0, n_rows, 500_000):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start,)))
            columns = _columns(rng, start, min(500_000, n_rows - start))
            table = pa.table(columns, names=[f"{i}" for i in range(len(columns))])
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False))
    return path


def _columns(rng: np.random.Generator, start: int, n: int) -> list[Any]:
    row = np.arange(start, start + n)
    drawn = [
        rng.uniform(0, SIDE_NM, n),
        rng.uniform(0, SIDE_NM, n),
        rng.normal(130, 20, n),
        rng.gamma(2, 800, n),
        rng.gamma(2, 50, n),
        rng.gamma(9, 1, n),
        rng.gamma(9, 1e5, n),
        rng.gamma(4, 3, n) + 1,
    ]
    return [row + 1, row // LOCS_PER_FRAME + 1, *(np.round(values, 3) for values in drawn)]


# ---- in the child


def child(*arguments: object, module: str = "benchmarks.ingest") -> dict[str, Any]:
    """What `module` measures in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    return dict(json.loads(done.stdout))


def usage() -> tuple[float, float]:
    """CPU and wall seconds of this process up to now."""
    import time

    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()


def _bare(csv: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.csv

    before = usage()
    stream = pyarrow.csv.open_csv(
        csv,
        read_options=pyarrow.csv.ReadOptions(block_size=1 << 20, use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(BARE_COLUMNS), column_types={name: pa.float32() for name in BARE_COLUMNS}
        ),
    )
    n = sum(batch.num_rows for batch in stream)
    return spent(before) | {"n": n}


def _ours(csv: Path, output: Path, memory_bytes: int) -> dict[str, Any]:
    import pyarrow.csv  # noqa: F401  imported where used, counted in neither

    from smlmbatch.config import Config
    from smlmbatch.ingest.stage import run
    from smlmbatch.provenance import fingerprint
    from smlmbatch.samples import field_of_row
    from smlmbatch.store.arrays import unit_writer
    from smlmbatch.store.units import Store, UnitKey
    from smlmbatch.work import Work

    before = usage()
    field = field_of_row({}, path=csv.name, format_name="")
    store = Store(output / "store")
    key = UnitKey(field.key, "ingest", fingerprint(source=store.input_sha256(field.key, csv, check=True)))
    with store.attempt() as attempt:
        with unit_writer(attempt.unit, "ingest") as out:
            run(
                Work(
                    field=field,
                    source=csv,
                    outline=None,
                    config=Config(),
                    upstream={},
                    out=out,
                    scratch=attempt.folder,
                    memory_bytes=memory_bytes,
                )
            )
        store.publish(key, attempt)
    unit = store.unit_path(key)
    found = spent(before) | {"unit_bytes": unit.stat().st_size, "inodes": sum(1 for _ in unit.parent.glob("ingest-*"))}
    unit.unlink()
    return found


def _validate(csv: Path) -> dict[str, Any]:
    import pyarrow.csv  # noqa: F401  imported where used, counted in neither

    from smlmbatch.config import Config
    from smlmbatch.ingest.validate import validate_file
    from smlmbatch.samples import field_of_row

    before = usage()
    report = validate_file(csv, field=field_of_row({}, path=csv.name, format_name=""), config=Config())
    return spent(before) | {"n": report.n}


def spent(before: tuple[float, float]) -> dict[str, Any]:
    """CPU and wall seconds since `before`, and this process's peak memory."""
    cpu_s, wall_s = (after - start for after, start in zip(usage(), before, strict=True))
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_rss_bytes": _peak_rss_bytes()}


def _peak_rss_bytes() -> int:
    """getrusage would give the parent's, if that was larger when it started this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    if sys.argv[1] in ("bare", "validate"):
        print(json.dumps({"bare": _bare, "validate": _validate}[sys.argv[1]](Path(sys.argv[2]))))
    else:
        print(json.dumps(_ours(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
