"""Figures of training as JSON lines and as TensorBoard events, one entry per epoch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from smlmbatch.store.units import write_whole


class MetricsLog:
    """Writes `metrics.jsonl` and `tensorboard/` in the model's folder, from `history` on: entries of a life that was lost go."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        self._path = folder / "metrics.jsonl"
        write_whole(self._path, "".join(json.dumps(dict(figures)) + "\n" for figures in history).encode())
        last_step = int(history[-1]["step"]) if history else 0
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
