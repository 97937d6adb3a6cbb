"""One rank of a small training run, started by the tests under several ranks: writes gradients of the first step and the first losses.

`python -m tests.train.trial FOLDER STEPS`; the rank, the world and where to meet come as torchrun sets them.
"""

import sys
from pathlib import Path

import torch

from smlmbatch.hpc.place import read_place
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.layers import set_step
from smlmbatch.methods.ranks import joined
from smlmbatch.train.loop import LoopOptions, start

CONFIG = ContrastiveConfig(samples=64, shard_samples=32, side_px=64, batch=8, epochs=10, validation_share=0.5)


def main(folder: Path, n_steps: int) -> None:
    place, device = read_place(), torch.device("cpu")
    torch.set_num_threads(1)
    with joined(place, device) as ranks:
        run = start(Contrastive(), CONFIG, LoopOptions(folder=folder, device=device, double=True), ranks, lambda said: None)
        gradients, losses = None, []
        while len(losses) < n_steps:
            for batch in run.batches():
                set_step(run.model, seed=CONFIG.seed, step=run.progress.step)
                losses.append(ranks.sum(run.step(batch)) / ranks.world)
                gradients = gradients or {name: p.grad.clone() for name, p in run.model.named_parameters()}
                if len(losses) == n_steps:
                    break
            run.progress.epoch, run.progress.batch = run.progress.epoch + 1, 0
        if ranks.rank == 0:
            torch.save({"gradients": gradients, "losses": torch.stack(losses)}, folder / "trial.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
