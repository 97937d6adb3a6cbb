"""One rank that trains, is stopped in the middle of an epoch, and goes on: `python -m tests.train.parts FOLDER WHOLE|PARTS`.

Each rank has a folder of its own, so only rank 0 sees checkpoints: as on a node that is told late of new files. Rank 0 writes its history.
"""

import contextlib
import json
import sys
from pathlib import Path

import torch

from smlmbatch.errors import Interrupted
from smlmbatch.hpc.place import read_place
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.method import Alone
from smlmbatch.methods.ranks import joined
from smlmbatch.train.checkpoint import recipe_sha256
from smlmbatch.train.loop import LoopOptions, train
from smlmbatch.train.material import make_material, material_folder

CONFIG = ContrastiveConfig(samples=96, shard_samples=32, batch=8, epochs=2, validation_share=0.34)
STOPS = {"whole": (0,), "parts": (3, 2, 0)}


class Own(Contrastive):
    """With a figure that each rank has of its own samples alone."""

    def loss(self, model, batch, config, ranks):
        loss, figures = super().loss(model, batch, config, ranks)
        return loss, figures | {"own": batch["parameters"].mean()}


def main(folder: Path, stops: tuple[int, ...]) -> None:
    torch.set_num_threads(1)
    with joined(read_place(), torch.device("cpu")) as ranks:
        own = folder / f"rank{ranks.rank}"
        make_material(Own(), CONFIG, material_folder(own, recipe_sha256("contrastive", CONFIG)), Alone())
        for stop in stops:
            options = LoopOptions(folder=own, device=torch.device("cpu"), stop_after_steps=stop)
            with contextlib.suppress(Interrupted):
                trained = train(Own(), CONFIG, options, ranks, lambda said: None)
        if ranks.rank == 0:
            (folder / "history.json").write_text(json.dumps(trained.history))


if __name__ == "__main__":
    main(Path(sys.argv[1]), STOPS[sys.argv[2]])
