"""Checkpoints: all that training needs to go on as if it had never stopped, to the bit at the same number of ranks.

One file per checkpoint, which appears whole; the last two are kept, so that one that a disk damaged is no loss (torch doesn't look at the
checksums in its own files, so one of ours stands before them). Read with `weights_only`: a checkpoint can hold tensors and plain values
and nothing that runs.
"""

import dataclasses
import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.store.units import appears_whole

CHECKPOINTS = "checkpoints"  # folder in the model's
_KEPT = 2
_SUM_BYTES = hashlib.sha256().digest_size


def recipe_sha256(method: str, config: Any) -> str:
    """Hash of the method's name and all its settings: training goes on only with the same."""
    text = json.dumps([method, dataclasses.asdict(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> Path:
    """Write the state as checkpoint number `state["step"]`; only the one before it stays, later ones can't have been read."""
    path = folder / f"step_{state['step']:08d}.pt"
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    data = buffer.getvalue()
    with appears_whole(path) as partial:
        partial.write_bytes(hashlib.sha256(data).digest() + data)
    kept = sorted(found for found in folder.glob("step_*.pt") if found.name <= path.name)[-_KEPT:]
    for other in set(folder.glob("step_*.pt")) - set(kept):
        other.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path, *, recipe: str, world: int) -> dict[str, Any] | None:
    """The newest checkpoint that can be read; None if there is none.

    Raises
    ------
    ConfigError
        it was made with other settings, or by another number of ranks
    InputError
        there are checkpoints and none can be read
    """
    paths = sorted(folder.glob("step_*.pt"), reverse=True)
    for path in paths:
        state = _read(path)
        if state is None:
            continue
        if state["recipe"] != recipe:
            raise ConfigError(f"{path}: was made with other settings; give another --out, or the same settings")
        if state["world"] != world:
            raise ConfigError(f"{path}: was made by {state['world']} ranks, this is {world}: go on with as many, or give another --out")
        return state
    if paths:
        raise InputError(paths[0], "can't be read, nor any before it", "a checkpoint of training", f"delete {folder} to begin again")
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """The state in a file; None if it is damaged, or none of ours."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[_SUM_BYTES:]).digest() != data[:_SUM_BYTES]:
            return None
        state = torch.load(io.BytesIO(data[_SUM_BYTES:]), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) and {"recipe", "world", "step"} <= state.keys() else None
