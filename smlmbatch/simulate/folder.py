"""The folder of a simulation: whether it is there already, and whether something else is."""

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from smlmbatch.errors import ConfigError


def parameters_path(folder: Path) -> Path:
    """What the simulation was made with; written last."""
    return folder / "truth" / "parameters.json"


def is_there(folder: Path, files: Set[str], settings: Mapping[str, Any]) -> bool:
    """Whether exactly this simulation is complete in `folder`.

    Parameters
    ----------
    files : all that it consists of, relative to `folder`
    settings : what its parameters must hold

    Raises
    ------
    ConfigError
        `folder` holds another simulation, or files that are none of this one's
    """
    found = {path.relative_to(folder).as_posix() for name in ("input", "truth") for path in (folder / name).rglob("*") if path.is_file()}
    try:
        known = json.loads(parameters_path(folder).read_text())
    except FileNotFoundError:
        known = {}
    except ValueError as error:
        raise ConfigError(f"{parameters_path(folder)}: can't be read ({error}); delete {folder} or name another folder") from error
    if known and {name: known.get(name) for name in settings} != json.loads(json.dumps(settings)):
        raise ConfigError(f"{folder}: holds a simulation with other settings; delete it or name another folder")
    strange = sorted(path for path in found - files if not path.rpartition("/")[2].startswith("."))
    if strange:
        raise ConfigError(f"{folder}: holds {strange[0]}, which is no part of this simulation; delete it or name another folder")
    return bool(known) and files <= found
