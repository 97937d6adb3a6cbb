"""What this machine offers, and who limits it: what a facility asks first when results or speed surprise it."""

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.limits import core_limit, memory_limit
from smlmbatch.hpc.numerics import has_avx2
from smlmbatch.hpc.place import read_place
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
