"""Measures the cost model behind plans on simulated fields and writes it where they read it:  python -m benchmarks.costs [order]

(`smlmbatch/hpc/costs.json`; `order`: only what the order of particles costs, the rest stays as it is. Processor seconds: a slow disk
adds to them. A campaign's own records scale it to the machine at hand.)
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.campaign import smlmbatch
from benchmarks.cluster import cost_of
from smlmbatch.hpc.costs import fit_cost
from smlmbatch.hpc.records import UnitRecord, read_records

COSTS = Path(__file__).parents[1] / "smlmbatch" / "hpc" / "costs.json"
SIZES = (("small", 7, 40), ("large", 40, 700))  # about 2,000 and 700,000 locs a field
PORES = (("few", 20), ("many", 400))  # a field; 120 and 2,400 in all, of 154 locs each; of a bin 6, and 100 of 120
ORDERING = """[pick]
source = "group"
[order]
axes = "pc1"
"""


def measure_costs(folder: Path) -> dict[str, Any]:
    """Fit the cost model through small and large simulated fields and write it where plans read it from."""
    records = {name: _run_simulated(folder / name, cell_um, density) for name, cell_um, density in SIZES}
    of_fields = ("ingest", "tile", "quality", "measure", "embed", "cluster", "pick")
    stages = {stage: fit_cost(_point(records[name], stage) for name, _, _ in SIZES) for stage in of_fields}
    stages["ingest"]["most_mib"] = 2048  # --memory bounds it
    stages |= _order_costs(folder)
    stages["report"] = fit_cost(_report_point(folder / f"report{fields}", fields) for fields in (10, 200))
    bytes_per_loc = _bytes_per_loc(folder / "large" / "out", records["large"])
    COSTS.write_text(json.dumps({"stages": stages, "bytes_per_loc": bytes_per_loc}, indent=1) + "\n")
    return {"stages": stages, "bytes_per_loc": bytes_per_loc}


def measure_order_costs(folder: Path) -> dict[str, Any]:
    """Fit the cost of `order` and `register` alone, and write it beside what is known of the others."""
    known = json.loads(COSTS.read_text())
    found = _order_costs(folder)
    known["stages"] |= found
    COSTS.write_text(json.dumps(known, indent=1) + "\n")
    return found


def _order_costs(folder: Path) -> dict[str, Any]:
    """Of simulated pores: `order` of all of them, with its imports, as it is always the first of its process; a bin without."""
    records = {name: _run_pores(folder / name, count) for name, count in PORES}
    return {stage: fit_cost(_point(own, stage) for own in records.values()) for stage in ("order", "register")}


def _run_pores(folder: Path, count: int) -> list[UnitRecord]:
    """Records of the campaign's own units; the first bin of a process pays its imports and is left out."""
    smlmbatch("simulate", folder, "--particles", "pores", "--count", count, "--replicates", 3)
    (folder / "settings.toml").write_text(ORDERING)
    smlmbatch("run", folder / "input", folder / "out", "--config", folder / "settings.toml", "--only", "ingest,pick,order,register")
    records = list(read_records(folder / "out" / "logs"))
    first = next(record for record in records if record.stage == "register")
    return [record for record in records if record is not first]


def _run_simulated(folder: Path, cell_um: float, density: float) -> list[UnitRecord]:
    """Records of warm units: the first field of a process pays its imports and is left out."""
    smlmbatch("simulate", folder, "--replicates", 3, "--cell-um", cell_um, "--density", density)
    smlmbatch("run", folder / "input", folder / "out")
    records = list(read_records(folder / "out" / "logs"))
    return [record for record in records if record.field != records[0].field]


def _point(records: list[UnitRecord], stage: str) -> tuple[float, float, float]:
    own = [record for record in records if record.stage == stage]
    return statistics.mean(r.locs for r in own), statistics.mean(r.cpu_s for r in own), max(r.peak_mib for r in own)


def _report_point(folder: Path, fields: int) -> tuple[float, float, float]:
    smlmbatch("simulate", folder, "--replicates", fields // 2)  # of the usual size: its pages show every field's locs
    smlmbatch("plan", folder / "input", folder / "out")
    smlmbatch("pick", folder / "out")
    _, cpu_s, peak_mib = cost_of("report", folder / "out")
    return fields, cpu_s, peak_mib


def _bytes_per_loc(output: Path, records: list[UnitRecord]) -> dict[str, float]:
    """File bytes per localisation by format, of simulated files; text tables for all others."""
    import csv

    with (output / "samples.csv").open(newline="") as file:
        formats = {row["key"]: row["format"] for row in csv.DictReader(file)}
    found = {formats[r.field]: round(r.bytes / r.locs, 1) for r in records if r.stage == "ingest"}
    return {"": max(found.values())} | found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="smlmbatch-bench-") as scratch:
        (measure_order_costs if sys.argv[1:] == ["order"] else measure_costs)(Path(scratch))
