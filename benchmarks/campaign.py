"""Whole-campaign figures: workers, second run, inodes, start of the command line. Each in processes of their own."""

import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def smlmbatch(*arguments: object) -> float:
    """Wall seconds of one call of the command line."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "smlmbatch", *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - start


def measure_help(repeats: int = 7) -> dict[str, Any]:
    """`smlmbatch --help`, median wall seconds."""
    return {"seconds": statistics.median(smlmbatch("--help") for _ in range(repeats))}


def measure_second_run(folder: Path, fields: int = 100) -> dict[str, Any]:
    """A campaign of small fields, run twice; the second run's wall seconds (median of 5)."""
    smlmbatch("simulate", folder / "many", "--replicates", fields // 2, "--cell-um", 7, "--density", 40)
    first = smlmbatch("run", folder / "many" / "input", folder / "many-out", "--workers", 2)
    again = [smlmbatch("run", folder / "many" / "input", folder / "many-out") for _ in range(5)]
    return {"fields": fields, "first_s": first, "second_s": statistics.median(again)}


def measure_inodes(folder: Path) -> dict[str, Any]:
    """Inodes of one field of about 10^5 locs over all stages, its folder included, and of the rest of the store per field."""
    smlmbatch("simulate", folder / "one", "--replicates", 1, "--cell-um", 18, "--density", 400)
    smlmbatch("run", folder / "one" / "input", folder / "one-out")
    fields = list((folder / "one-out" / "store" / "fields").iterdir())
    return {"per_field": max(1 + sum(1 for _ in field.iterdir()) for field in fields), "fields": len(fields)}


def measure_report(folder: Path, fields: int = 200) -> dict[str, Any]:
    """`report` of a campaign with all its pages, from nothing: seconds, the index page's size, and how long that takes to open."""
    smlmbatch("simulate", folder / "many", "--replicates", fields // 2)
    output = folder / "many-out"
    smlmbatch("run", folder / "many" / "input", output, "--workers", 2, "--skip", "report")
    cpu, start = _children_cpu_s(), time.perf_counter()
    smlmbatch("report", output)
    seconds, cpu_s = time.perf_counter() - start, _children_cpu_s() - cpu
    index = output / "report" / "index.html"
    pages = sorted((output / "report" / "fields").iterdir())
    return {
        "fields": fields,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "index_mb": index.stat().st_size / 1e6,
        "page_mb": statistics.mean(page.stat().st_size for page in pages) / 1e6,
        "open_s": _opens_in(index, folder) if shutil.which("chromium") else float("nan"),
    }


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _opens_in(page: Path, folder: Path) -> float:
    """Seconds of headless Chromium to load and lay out the page, beyond those for an empty one; median of 5."""
    empty = folder / "empty.html"
    empty.write_text("<!DOCTYPE html><title>empty</title>")
    seconds = {path: statistics.median(_chromium(path, folder) for _ in range(5)) for path in (empty, page)}
    return seconds[page] - seconds[empty]


def _chromium(page: Path, folder: Path) -> float:
    start = time.perf_counter()
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
        f"--screenshot={folder / 'page.png'}",
    )
    subprocess.run(["chromium", *options, "--window-size=1200,4000", page.as_uri()], check=True, capture_output=True)
    return time.perf_counter() - start


def measure_workers(folder: Path, fields: int = 24) -> dict[str, Any]:
    """The measure stage alone, 2 workers against this process alone: wall seconds of the same work, alternating."""
    smlmbatch("simulate", folder / "big", "--replicates", fields // 2, "--cell-um", 40, "--density", 700)
    output = folder / "big-out"
    smlmbatch("plan", folder / "big" / "input", output)
    smlmbatch("quality", output, "--workers", 2)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2, 2, 1):
        for unit in output.rglob("measure-*.zarr.zip"):
            unit.unlink()
        seconds[workers].append(smlmbatch("measure", output, "--workers", workers))
    one, two = min(seconds[1]), min(seconds[2])
    shutil.rmtree(folder / "big")
    return {"fields": fields, "one_s": one, "two_s": two, "speedup": one / two}
