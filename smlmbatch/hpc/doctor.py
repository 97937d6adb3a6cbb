"""What this machine offers: what a facility asks first when results or speed surprise it."""

import os
import platform
from pathlib import Path
from typing import Any

from smlmbatch.hpc.numerics import has_avx2, usable_cores
from smlmbatch.provenance import software


def examine() -> dict[str, Any]:
    """Versions, processor, cores, memory limit, free scratch; JSON-ready."""
    return {
        "machine": platform.platform(),
        "cores usable": usable_cores(),
        "memory MiB": memory_limit_bytes() >> 20,
        "numerics": "pinned to AVX2, one thread" if has_avx2() else "NOT pinned: no AVX2; results repeat on this kind of machine only",
        "temporary folder": f"{os.environ.get('TMPDIR', '/tmp')} ({_free_mib(Path(os.environ.get('TMPDIR', '/tmp')))} MiB free)",
        "versions": software(),
    }


def memory_limit_bytes() -> int:
    """What this process may use: the smaller of the machine's memory and its cgroup's limit (v2 or v1)."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _free_mib(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize >> 20
