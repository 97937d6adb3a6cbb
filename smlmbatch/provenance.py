"""Fingerprints: what a unit's result depends on, as one hash; and the record of a run.

A fingerprint is the sha256 of canonical JSON. It never holds a clock, host, path or number of workers.
"""

import hashlib
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import smlmbatch


def fingerprint(**parts: Any) -> str:
    """Hash of named parts (JSON values), independent of their order.

    >>> fingerprint(a=1, b="x") == fingerprint(b="x", a=1)
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, read once in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def software() -> dict[str, str]:
    """Versions of everything that may touch a number."""
    names = ["numpy", "scipy", "numba", "pyarrow", "h5py", "zarr", "numcodecs", "dask", "distributed", "scikit-learn"]
    versions = {"smlmbatch": smlmbatch.__version__, "python": platform.python_version()}
    for name in [*names, "matplotlib", "torch", "torch-geometric", "umap-learn", "pyperlin"]:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def run_record(*, input_path: Path) -> dict[str, Any]:
    """What `smlmbatch.json` says of a run; outside the digest set."""
    return {
        "smlmbatch": smlmbatch.__version__,
        "input": str(input_path),
        "command": sys.argv,
        "software": software(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
    }
