"""What array jobs cost: many parts against one, a task's start, plans and status of large campaigns."""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.campaign import smlmbatch
from smlmbatch.hpc.records import UnitRecord, read_records


def cost_of(*arguments: object) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MiB) of one call of the command line, children included."""
    start = time.perf_counter()
    command = [sys.executable, "-c", _WATCH, sys.executable, "-m", "smlmbatch", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu_s, peak_mib = map(float, done.stdout.split())
    return time.perf_counter() - start, cpu_s, peak_mib


def measure_parts(folder: Path, parts: int = 40, *, cell_um: int, density: int) -> dict[str, Any]:
    """CPU of as many simulated fields as parts, one a part, against all in 1 part, beyond Python's own start."""
    smlmbatch("simulate", folder / "parts", "--replicates", parts // 2, "--cell-um", cell_um, "--density", density)
    start_s = statistics.median(_cpu_of_start() for _ in range(5))
    cpu = {}
    for n in (1, parts):
        output = folder / f"parts-out{n}"
        smlmbatch("plan", folder / "parts" / "input", output)
        cpu[n] = sum(cost_of("run", folder / "parts" / "input", output, "--part", f"{i}/{n}")[1] - start_s for i in range(1, n + 1))
    locs = statistics.mean(record.locs for record in read_records(output / "logs") if record.stage == "ingest")
    shutil.rmtree(folder / "parts")
    return {
        "parts": parts,
        "locs": round(locs),
        "start_s": start_s,
        "one_cpu_s": cpu[1],
        "many_cpu_s": cpu[parts],
        "ratio": cpu[parts] / cpu[1],
    }


_WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def _cpu_of_start() -> float:
    """CPU seconds of an interpreter that does nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", ""], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_task_start(folder: Path, repeats: int = 5) -> dict[str, Any]:
    """Wall seconds from the start of a part's process to the end of its first unit, a field of 2,000 locs: an upper bound."""
    smlmbatch("simulate", folder / "start", "--replicates", repeats, "--cell-um", 7, "--density", 40)
    output = folder / "start-out"
    smlmbatch("plan", folder / "start" / "input", output)
    found: dict[str, list[float]] = {}
    for stage in ("ingest", "tile", "measure"):
        for i in range(1, repeats + 1):
            begun = time.time()
            smlmbatch(stage, output, "--part", f"{i}/{2 * repeats}")
            done = [r.started + r.wall_s for r in read_records(output / "logs") if r.stage == stage and r.started > begun]
            found.setdefault(stage, []).append(min(done) - begun)
    medians = {stage: statistics.median(seconds) for stage, seconds in found.items()}
    return {"seconds": max(medians.values()), "by_stage": medians}


_TABLE = "x [nm],y [nm],frame,intensity [photon],uncertainty [nm]\n" + "".join(
    f"{i * 37 % 9000}.5,{i * 91 % 8000}.25,{i // 5},900,11.5\n" for i in range(200)
)


def measure_large_plan(folder: Path, fields: int = 10_000) -> dict[str, Any]:
    """`submit` (which plans) of 10,000 small fields, from nothing to scripts: wall seconds and peak memory."""
    for number in range(fields):
        path = folder / "large-plan" / f"condition{number % 10}" / f"day{number // 10 % 10}" / f"field{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_TABLE)
    (folder / "site.toml").write_text("")
    wall, _, peak_mib = cost_of("submit", folder / "large-plan", folder / "large-plan-out", "--profile", folder / "site.toml")
    shutil.rmtree(folder / "large-plan")
    return {"fields": fields, "seconds": wall, "peak_mib": peak_mib}


def measure_large_status(folder: Path, fields: int = 20_000) -> dict[str, Any]:
    """`status` of as many published units as 10,000 fields x 6 stages (20,000 x 3), with a record each: wall seconds."""
    seed = folder / "seed"
    smlmbatch("simulate", seed, "--replicates", 1, "--cell-um", 7, "--density", 40)
    (one := seed / "input" / "one.csv").write_text(_TABLE)
    source, output = folder / "large-status", folder / "large-status-out"
    source.mkdir()
    for number in range(fields):
        os.link(one, source / f"field{number}.csv")
    smlmbatch("plan", source, output)
    _pretend_done(output)
    wall, cpu, peak_mib = cost_of("status", output)
    shutil.rmtree(source)
    shutil.rmtree(output)
    return {"units": 3 * fields, "seconds": wall, "cpu_s": cpu, "peak_mib": peak_mib}


def _pretend_done(output: Path) -> None:
    """Give every unit of a planned campaign a (hollow) file and a record, as a finished run would have left them."""
    import dataclasses

    from smlmbatch.campaign import load_plan
    from smlmbatch.stages import Inputs, unit_keys

    plan = load_plan(output)
    (output / "logs").mkdir()
    with (output / "logs" / "units-node-1.jsonl").open("w") as log:
        for field in plan.fields:
            sha256 = plan.store.input_sha256(field.key, plan.root / field.path)
            for key in unit_keys(field, Inputs(sha256), plan.config).values():
                plan.store.unit_path(key).touch()
                record = UnitRecord(field=field.key, stage=key.stage, fingerprint=key.fingerprint, locs=200, wall_s=0.1, peak_mib=200)
                log.write(json.dumps(dataclasses.asdict(record)) + "\n")
