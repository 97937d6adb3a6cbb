"""Figures of training as JSON lines and as TensorBoard events, one entry per epoch."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from smlmbatch.store.units import write_whole


class MetricsLog:
    """Writes `metrics.jsonl` and `tensorboard/` in the model's folder. Entries after `last_step` are of a life that was lost, and go."""

    def __init__(self, folder: Path, *, last_step: int) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if _step(line) <= last_step]
        write_whole(self._path, "".join(line + "\n" for line in kept).encode())
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1)

    def write(self, figures: Mapping[str, float], *, per_s: float) -> None:
        """Add one epoch's figures; speed goes to TensorBoard alone, so that the lines are the same on any machine."""
        with self._path.open("a") as file:
            file.write(json.dumps(dict(figures)) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, int(figures["step"]))
        self._board.add_scalar("samples_per_s", per_s, int(figures["step"]))
        self._board.flush()

    def close(self) -> None:
        self._board.close()


def _step(line: str) -> float:
    """The step of an entry; of one that a kill cut off, a step nobody has reached."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
