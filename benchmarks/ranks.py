"""Training by 2 ranks on 2 cores against 1 rank on 1: images per second, and where the time goes; and how fast the loader feeds.

Two processes of one thread each are started and take turns at four things, several rounds of each, so that a busy machine slows all alike:

    one      rank 0 trains alone, whole batches; rank 1 waits
    apart    both do that, each for itself: what the machine takes from two busy cores
    mute     each computes its half of the batches and sends nothing: what it "hears" are copies of its own values
    joined   both train together

Efficiency is images per second of `joined` over twice those of `one`. What a step of `joined` takes longer than one of `mute` is
communication: messages, and waiting for the other. Medians over rounds.

    python -m benchmarks.ranks FOLDER RECIPE        # one rank; started by `measure`, with RANK and so on set as torchrun does
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from smlmbatch.train.loop import Run

WORLD: Final = 2
STEPS: Final[Mapping[str, int]] = {"default": 40, "paper": 4}  # of each thing in a round: a second or two
ROUNDS: Final = 7
FED_EPOCHS: Final = 5
LONGEST_S: Final = 1800.0  # of a recipe, drawing its pairs included


@dataclass(frozen=True)
class Mute:
    """Ranks that send nothing: the other's values are taken to be one's own."""

    rank: int
    world: int = WORLD

    def gather(self, values: "torch.Tensor") -> "torch.Tensor":
        return values.repeat(self.world, *[1] * (values.dim() - 1))

    def sum(self, values: "torch.Tensor") -> "torch.Tensor":
        return values * self.world


def measure(folder: Path) -> dict[str, Any]:
    """Recipe → images per second of each thing, efficiency, milliseconds of a step, and of its communication."""
    return {recipe: _recipe(folder / recipe, recipe) for recipe in STEPS}


def _recipe(folder: Path, recipe: str) -> dict[str, float]:
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": WORLD, "OMP_NUM_THREADS": 1}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ranks", str(folder), recipe],
            env=os.environ | {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()},
        )
        for rank in range(WORLD)
    ]
    try:
        codes = [rank.wait(timeout=LONGEST_S) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    if any(codes):
        raise RuntimeError(f"benchmarks.ranks {recipe}: a rank failed")
    found: dict[str, float] = json.loads((folder / "found.json").read_text())
    return found


def shown(found: Mapping[str, float]) -> str:
    """For the table."""
    rates = f"{found['joined_per_s']:,.0f} against {found['one_per_s']:,.0f} images/s"
    spent = f"compute {found['compute_ms']:.1f}, communication and waiting {found['communication_ms']:.1f}"
    return f"{found['efficiency']:.2f} ({rates}; of a step's {found['joined_ms']:.1f} ms: {spent})"


# ---- one rank


def rank_main(folder: Path, recipe: str) -> None:
    """One rank's turns; rank 0 writes what was found to FOLDER/found.json."""
    import torch

    from smlmbatch.hpc.heap import keep_freed_memory
    from smlmbatch.hpc.place import read_place
    from smlmbatch.methods.contrastive.recipe import Contrastive
    from smlmbatch.methods.method import Alone
    from smlmbatch.methods.ranks import joined, wait_for_all
    from smlmbatch.train.loop import LoopOptions, Run, start

    torch.set_num_threads(1)
    keep_freed_memory()
    place = read_place()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[place.rank % len(cores)]})  # as srun binds tasks; else both may be put on one
    cpu, method = torch.device("cpu"), Contrastive()
    full = method.recipes[recipe]
    config = replace(full, samples=full.shard_samples * 8)
    with joined(place, cpu) as ranks:
        options = LoopOptions(folder=folder, device=cpu, checkpoint_s=1e9)
        together = start(method, config, options, ranks, _silent)
        alone, mute = (Run(method, config, options, kind, _silent, together.material) for kind in (Alone(), Mute(place.rank)))
        mute.learner = mute.model  # a run's learner is made for ranks that train together
        runs = {"one": alone, "apart": alone, "mute": mute, "joined": together}
        steppers = {name: _stepper(run, looks=name == "joined") for name, run in runs.items()}
        taken = _take_turns(steppers, STEPS[recipe], meet=lambda: wait_for_all(ranks), rank=place.rank)
        for run in (together, alone, mute):
            run.close()
    if place.rank == 0:
        found = _found(taken, config.batch) | {"fed_per_s": _fed_per_s(together)}
        (folder / "found.json").write_text(json.dumps(found))


def _silent(_: str) -> None:
    """What runs say."""


def _stepper(run: "Run", *, looks: bool) -> Callable[[], object]:
    """A function that does one step as the training loop does it, reading and (as it takes a message) the look at flags included."""

    def endless() -> Iterator[Any]:
        while True:
            yield from run.batches()
            run.progress.epoch, run.progress.batch = run.progress.epoch + 1, 0

    batches = endless()

    def step() -> None:
        run.step(next(batches))
        if looks:
            run.save_if_due()

    run.model.train()
    return step


def _take_turns(
    steppers: Mapping[str, Callable[[], object]], n_steps: int, *, meet: Callable[[], None], rank: int
) -> dict[str, list[float]]:
    """Seconds a step of each thing, a number for each round but the first; all ranks do as many steps."""
    taken: dict[str, list[float]] = {name: [] for name in steppers}
    for turn in range(ROUNDS + 1):
        for name, step in steppers.items():
            meet()
            if name == "one" and rank != 0:
                continue
            begun_s = time.perf_counter()
            for _ in range(n_steps):
                step()
            if turn:
                taken[name].append((time.perf_counter() - begun_s) / n_steps)
    meet()
    return taken


def _found(taken: Mapping[str, list[float]], batch: int) -> dict[str, float]:
    step_s = {name: statistics.median(seconds) for name, seconds in taken.items()}
    images = 2 * batch
    return {
        "one_per_s": images / step_s["one"],
        "joined_per_s": images / step_s["joined"],
        "efficiency": step_s["one"] / (WORLD * step_s["joined"]),
        "apart": step_s["one"] / step_s["apart"],
        "one_ms": 1e3 * step_s["one"],
        "joined_ms": 1e3 * step_s["joined"],
        "compute_ms": 1e3 * step_s["mute"],
        "communication_ms": 1e3 * (step_s["joined"] - step_s["mute"]),
    }


def _fed_per_s(run: "Run") -> float:
    """Images a second that the loader hands to one rank, with nobody learning from them; files are in the system's cache."""
    from smlmbatch.methods.method import Alone
    from smlmbatch.train.material import epoch_batches

    begun_s, n_images = time.perf_counter(), 0
    for epoch in range(FED_EPOCHS):
        for batch in epoch_batches(run.material, seed=0, epoch=epoch, batch=run.config.batch, ranks=Alone()):
            n_images += 2 * run.material.size(batch)
    return n_images / (time.perf_counter() - begun_s)


if __name__ == "__main__":
    rank_main(Path(sys.argv[1]), sys.argv[2])
