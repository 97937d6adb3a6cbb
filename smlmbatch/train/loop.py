"""The training loop of all methods: plain steps over global batches, by one process or many.

What is random is keyed by (seed, epoch) or (seed, step), never drawn from a running stream, so going on from a checkpoint needs no more
than the step. Periodic checkpoints are the guarantee; a signal only makes one more. The stop flag is shared among the ranks.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smlmbatch.errors import ConfigError, Interrupted
from smlmbatch.methods.devices import average_gradients, compute_on
from smlmbatch.methods.layers import set_ranks, set_step
from smlmbatch.methods.method import Alone, Method, Ranks
from smlmbatch.methods.ranks import any_raised, told_by_first, wait_for_all
from smlmbatch.train.checkpoint import CHECKPOINTS, load_checkpoint, recipe_sha256, save_checkpoint
from smlmbatch.train.material import Batch, Material, epoch_batches, make_material, material_folder, validation_batches
from smlmbatch.train.metrics import MetricsLog

Talk = Callable[[str], None]
_LOOK_EVERY = 4  # steps between looks at the stop flag, where it takes a message among ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How to train; nothing here changes the weights.

    Attributes
    ----------
    folder : model folder; checkpoints and material lie in it until training has ended
    device : where to compute
    checkpoint_s : seconds between checkpoints
    should_stop : asked every step; True = checkpoint and raise Interrupted
    stop_after_steps : end (as if interrupted) after so many steps; 0 = never. For tests and trials
    """

    folder: Path
    device: torch.device
    checkpoint_s: float = 120.0
    should_stop: Callable[[], bool] = lambda: False
    stop_after_steps: int = 0
    double: bool = False  # float64 throughout: for comparing numbers of ranks


@dataclass(slots=True)
class Progress:
    """Where training stands; all of it is in a checkpoint."""

    epoch: int = 0
    batch: int = 0  # of the epoch, next to do
    step: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)  # of this epoch's figures so far, of each rank
    best: float = math.inf
    best_epoch: int = -1
    learning_rate: float = 0.0
    plateau_best: float = math.inf
    plateau_since: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """The end of training: the network with its best weights, and the figures of its epochs."""

    model: nn.Module
    progress: Progress
    history: list[dict[str, float]]


def train(method: Method, config: Any, options: LoopOptions, ranks: Ranks, talk: Talk) -> Trained:
    """Train, from the newest checkpoint if there is one.

    Raises
    ------
    Interrupted
        asked to stop; a checkpoint was made
    ConfigError
        settings that leave nothing to learn from, or under which the loss is no number any more
    """
    run = start(method, config, options, ranks, talk)
    try:
        return run.to_the_end()
    finally:
        run.close()


def start(method: Method, config: Any, options: LoopOptions, ranks: Ranks, talk: Talk) -> "Run":
    """A run at its beginning, or where its newest checkpoint left it; its training material is made.

    Raises
    ------
    Interrupted
        asked to stop before all was made; what was made stays
    """
    talk(f"draws what is missing of {config.samples:,} training samples")
    folder = material_folder(options.folder, recipe_sha256(method.name, config))
    material = make_material(method, config, folder, ranks, should_stop=options.should_stop)
    if any_raised(ranks, options.should_stop(), device=options.device)[0]:  # one waits here for all
        raise Interrupted("training stopped in order before a step was done; run it again to go on")
    return Run(method, config, options, ranks, talk, material)


class Run:
    """One training run: network, optimiser, progress."""

    def __init__(self, method: Method, config: Any, options: LoopOptions, ranks: Ranks, talk: Talk, material: Material) -> None:
        self.method, self.config, self.options, self.ranks, self.talk, self.material = method, config, options, ranks, talk, material
        self.recipe, self.compute = recipe_sha256(method.name, config), compute_on(options.device)
        torch.manual_seed(config.seed)
        self.model = method.build(config)
        if options.double:
            self.model = self.model.double()
        self.model.to(options.device)
        set_ranks(self.model, ranks)
        # fused: one pass over a parameter instead of a dozen, a tenth of a small network's step
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.progress = Progress(learning_rate=config.learning_rate)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.steps_an_epoch = material.n_train * material.shard_samples // config.batch
        self.sums: dict[str, torch.Tensor] = {}  # of this epoch's figures so far, on the device: to fetch one is to wait for its step
        self._resume()
        # created after resuming: it copies rank 0's weights to the others
        self.learner = self.compute.learner(self.model, ranks)
        self.log = MetricsLog(options.folder, self.history) if ranks.rank == 0 else None
        self.saved_at = time.monotonic()
        self.steps_here = 0

    # ---- checkpoints

    def _resume(self) -> None:
        folder = self.options.folder / CHECKPOINTS
        state = told_by_first(self.ranks, lambda: load_checkpoint(folder, recipe=self.recipe, world=self.ranks.world))
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        self.sums = {name: self._float64(totals[self.ranks.rank]) for name, totals in self.progress.sums.items()}
        self.history, self.best = state["history"], state["best"]
        self.talk(f"goes on at step {self.progress.step:,} (epoch {self.progress.epoch + 1})")

    def _float64(self, value: float) -> torch.Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.options.device)

    def _fetch_sums(self) -> dict[str, list[float]]:
        """Of each rank, by one message; all ranks ask together."""
        totals = torch.stack([*self.sums.values(), self._float64(0.0)])[None]
        self.progress.sums = dict(zip(self.sums, self.ranks.gather(totals).T.tolist(), strict=False))
        return self.progress.sums

    def _save(self) -> None:
        self._fetch_sums()
        if self.ranks.rank == 0:
            state = {
                "step": self.progress.step,
                "recipe": self.recipe,
                "world": self.ranks.world,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
                "history": self.history,
                "best": self.best,
            }
            save_checkpoint(self.options.folder / CHECKPOINTS, state)
        wait_for_all(self.ranks)
        self.saved_at = time.monotonic()

    def save_if_due(self) -> None:
        """Once in a while, and soon when asked to stop; all ranks decide alike."""
        if self.ranks.world > 1 and self.progress.step % _LOOK_EVERY:
            return
        enough = 0 < self.options.stop_after_steps <= self.steps_here
        asked, old = self.options.should_stop() or enough, time.monotonic() - self.saved_at > self.options.checkpoint_s
        stop, due = any_raised(self.ranks, asked, old, device=self.options.device)
        if stop or due:
            self._save()
        if stop:
            raise Interrupted(f"training stopped in order at step {self.progress.step:,}; run it again to go on")

    def close(self) -> None:
        """Let go of what stays open beside the files: TensorBoard's writer is a thread."""
        if self.log:
            self.log.close()

    # ---- epochs

    def to_the_end(self) -> Trained:
        while self.progress.epoch < self.config.epochs and not self._has_stalled():
            self._epoch()
        if self.best:
            self.model.load_state_dict(self.best)
        return Trained(self.model, self.progress, self.history)

    def _has_stalled(self) -> bool:
        p = self.progress
        return bool(self.config.schedule == "plateau" and p.epoch - 1 - p.best_epoch >= self.config.stop_patience)

    def _epoch(self) -> None:
        self.model.train()
        begun_s, begun_step = time.monotonic(), self.progress.step
        for batch in self.batches():
            self.step(batch)
            self.save_if_due()
        p, n = self.progress, self.steps_an_epoch * self.ranks.world
        figures = {f"train_{name}": math.fsum(totals) / n for name, totals in self._fetch_sums().items()} | self._validate()
        if not math.isfinite(figures["loss"]):
            raise ConfigError(f"epoch {p.epoch + 1}: the validation loss is {figures['loss']}: lower learning_rate, or raise temperature")
        seconds = time.monotonic() - begun_s
        if figures["loss"] < p.best:
            p.best, p.best_epoch = figures["loss"], p.epoch
            self.best = copy.deepcopy({name: value.detach().cpu() for name, value in self.model.state_dict().items()})
        self.history.append({"epoch": p.epoch + 1, "step": p.step, "learning_rate": self._rate(), **figures})
        self._lower_rate(figures["loss"])
        p.epoch, p.batch, self.sums = p.epoch + 1, 0, {}
        if self.log:
            self.log.write(self.history[-1], per_s=(p.step - begun_step) * self.config.batch / max(seconds, 1e-9))
        said = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.talk(f"epoch {p.epoch} of {self.config.epochs}: {said} ({seconds:.0f} s)")
        self._save()

    def batches(self) -> Iterator[Batch]:
        """What is left of the epoch."""
        p, config = self.progress, self.config
        found = epoch_batches(self.material, seed=config.seed, epoch=p.epoch, batch=config.batch, ranks=self.ranks, done=p.batch)
        return self.compute.deliver(self._widened(found))

    def _widened(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield {name: v.double() if self.options.double and v.is_floating_point() else v for name, v in batch.items()}

    def step(self, batch: Batch) -> torch.Tensor:
        """One step of the optimiser; this rank's loss."""
        p = self.progress
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        set_step(self.model, seed=self.config.seed, step=p.step)
        loss, figures = self.method.loss(self.learner, batch, self.config, self.ranks)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.model, self.ranks)
        self.optimiser.step()
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().double()
        p.step, p.batch, self.steps_here = p.step + 1, p.batch + 1, self.steps_here + 1
        return loss.detach()

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Figures over the validation samples, each weighted by its batch's size; every rank looks at its own batches."""
        self.model.eval()
        # named by training: a rank whose share is no batch at all must take part in the sums, or the others wait for it
        sums = dict.fromkeys(self.sums, self._float64(0.0))
        for batch in self.compute.deliver(self._widened(validation_batches(self.material, batch=self.config.batch, ranks=self.ranks))):
            _, figures = self.method.loss(self.model, batch, self.config, Alone())
            for name, value in figures.items():
                sums[name] = sums[name] + value.double() * self.material.size(batch)
        n = (self.material.n_shards - self.material.n_train) * self.material.shard_samples
        return {name: float(self.ranks.sum(total)) / n for name, total in sums.items()}

    # ---- learning rate

    def _rate(self) -> float:
        if self.config.schedule == "plateau":
            return self.progress.learning_rate
        share = self.progress.step / max(1, self.config.epochs * self.steps_an_epoch)
        return float(self.config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))

    def _lower_rate(self, loss: float) -> None:
        """Halved after `plateau_patience` epochs without a lower validation loss."""
        p = self.progress
        if loss < p.plateau_best:
            p.plateau_best, p.plateau_since = loss, 0
            return
        p.plateau_since += 1
        if p.plateau_since >= self.config.plateau_patience:
            p.learning_rate, p.plateau_since = max(self.config.least_learning_rate, 0.5 * p.learning_rate), 0
