"""One rank of a small training run, started by the tests under several ranks: writes gradients of the first step and the first losses.

`python -m tests.train.trial FOLDER STEPS [contrastive|pcvae]`; the rank, the world and where to meet come as torchrun sets them.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from smlmbatch.hpc.place import read_place
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.layers import set_step
from smlmbatch.methods.ranks import joined
from smlmbatch.train.loop import LoopOptions, start
from tests.methods.pcvae.drawn import random_set, tiny

CONFIG = ContrastiveConfig(samples=64, shard_samples=32, side_px=64, batch=8, epochs=10, validation_share=0.5)


def method_and_config(name: str) -> tuple[Any, Any]:
    """PC-VAE with its default encoder, whose means are standardised over the batch of all ranks."""
    return (Contrastive(), CONFIG) if name == "contrastive" else tiny(random_set([12, 30] * 32, axes=3), validation_share=0.5, epochs=10)


def main(folder: Path, n_steps: int, name: str = "contrastive") -> None:
    place, device = read_place(), torch.device("cpu")
    torch.set_num_threads(1)
    method, config = method_and_config(name)
    with joined(place, device) as ranks:
        run = start(method, config, LoopOptions(folder=folder, device=device, double=True), ranks, lambda said: None)
        gradients, losses = None, []
        while len(losses) < n_steps:
            for batch in run.batches():
                set_step(run.model, seed=config.seed, step=run.progress.step)
                losses.append(ranks.sum(run.step(batch)) / ranks.world)
                gradients = gradients or {name: p.grad.clone() for name, p in run.model.named_parameters()}
                if len(losses) == n_steps:
                    break
            run.progress.epoch, run.progress.batch = run.progress.epoch + 1, 0
        if ranks.rank == 0:
            torch.save({"gradients": gradients, "losses": torch.stack(losses)}, folder / "trial.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
