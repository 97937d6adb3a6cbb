"""What this machine offers, and who limits it: what a facility asks first when results or speed surprise it."""

import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.image import image_of
from smlmbatch.hpc.limits import core_limit, memory_limit
from smlmbatch.hpc.numerics import has_avx2
from smlmbatch.hpc.place import Place, read_place
from smlmbatch.provenance import software


def examine(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Versions, processor, place in SLURM, cores and memory with who sets the limit, free scratch; JSON-ready."""
    return {
        "machine": platform.platform(),
        "place": _or_trouble(lambda: _place(environ)),
        "cores usable": _or_trouble(lambda: _cores(environ)),
        "memory": _or_trouble(lambda: _memory(environ)),
        "numerics": "pinned to AVX2, one thread" if has_avx2() else "NOT pinned: no AVX2; results repeat on this kind of machine only",
        "temporary folder": _or_trouble(lambda: _scratch(environ)),
        "image": " ".join(image_of(environ).values()) or "none",
        "versions": software(),
    }


def _or_trouble(look: Callable[[], str]) -> str:
    """A broken variable or a lost disk is what the doctor is asked about: it is told, and the rest goes on."""
    try:
        return look()
    except (ConfigError, OSError) as error:
        return f"BROKEN: {error}"


def _place(environ: Mapping[str, str]) -> str:
    place = read_place(environ)
    said = {
        "launcher": place.launcher,
        "rank": f"{place.rank} of {place.world}" if place.world > 1 else "",
        "job": place.job,
        "array task": f"{place.task} of array {place.array_job}" if place.array_job else "",
        "part": f"{place.part} of {place.parts}" if not place.no_part else "",
        "restart": str(place.restart) if place.job else "",
        "nodes": " ".join(place.hosts),
        "this node": place.host,
        "waited for": " ".join(place.ended_jobs),
    }
    return ", ".join(f"{name} {value}" for name, value in said.items() if value)


def _cores(environ: Mapping[str, str]) -> str:
    limit = core_limit(environ)
    return f"{limit.value} ({limit.source})"


def _memory(environ: Mapping[str, str]) -> str:
    limit = memory_limit(environ)
    return f"{limit.value / 2**30:.1f} GiB ({limit.source})"


def _scratch(environ: Mapping[str, str]) -> str:
    folder = environ.get("TMPDIR") or "/tmp"
    stat = os.statvfs(folder)
    return f"{folder} ({stat.f_bavail * stat.f_frsize >> 20} MiB free)"


# ---- several ranks

# Title of a column of the table → key of a rank's row
_COLUMNS = {
    "rank": "rank",
    "host": "host",
    "device": "device",
    "GiB": "device_gib",
    "cores": "cores",
    "memory GiB": "memory_gib",
    "torch": "torch",
    "backend": "backend",
    "network": "network",
}
_ALIKE = {"device": "device", "device_gib": "memory of the device", "torch": "torch", "backend": "backend", "numerics": "numerics"}


def examine_rank(place: Place, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """One rank's row, but for what torch knows: rank, host, cores, memory_gib, numerics, versions; JSON-ready."""
    return {
        "rank": place.rank,
        "host": place.host,
        "cores": core_limit(environ).value,
        "memory_gib": round(memory_limit(environ).value / 2**30, 1),
        "numerics": "AVX2" if has_avx2() else "not pinned",
        "versions": software(),
    }


def differences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not alike on all ranks and should be, and GPUs that several ranks share: a sentence each."""
    found = []
    alike = [{title: row[key] for key, title in _ALIKE.items()} | row["versions"] for row in rows]
    for title in {title: None for features in alike for title in features}:
        seen: dict[str, list[int]] = {}
        for row, features in zip(rows, alike, strict=True):
            seen.setdefault(_shown(features.get(title)), []).append(row["rank"])
        if len(seen) > 1:
            found.append(f"ranks differ in {title}: " + "; ".join(f"{value} on {_some(ranks)}" for value, ranks in seen.items()))
    cards = Counter((row["host"], row["card"]) for row in rows if row["card"])
    for (host, card), count in cards.items():
        if count > 1:
            shared = _some([row["rank"] for row in rows if (row["host"], row["card"]) == (host, card)])
            found.append(f"ranks {shared} share one GPU of {host}: ask for one a rank (--gpus-per-task=1)")
    return found


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ranks as a table, a line each."""
    cells = [list(_COLUMNS), *([_shown(row[key]) for key in _COLUMNS.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)


def _some(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks[:8])) + (f" and {len(ranks) - 8} more" if len(ranks) > 8 else "")
