"""What the training loop and the inference stages ask of a method. All three have the same four files:
`data` (what it learns from), `network`, `loss`, `recipe` (the settings, and the Method itself).

Shape letters: B samples of a batch; every array of a batch that is not ragged has B as its first axis.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Arrays = Mapping[str, NDArray[Any]]
Batch = Mapping[str, "torch.Tensor"]


class Ranks(Protocol):
    """The processes that train together, as a loss or a layer sees them: differentiable, and plain with one rank."""

    rank: int
    world: int

    def gather(self, values: "torch.Tensor") -> "torch.Tensor":
        """All ranks' rows one after the other, in the order of ranks.

        Each rank must make the same of them (a loss over all rows): gradients are then what the sum of all ranks' results gives, without
        a message back.
        """
        ...

    def sum(self, values: "torch.Tensor") -> "torch.Tensor":
        """Sum over ranks, with gradient."""
        ...


class Alone:
    """One rank."""

    rank, world = 0, 1

    def gather(self, values: "torch.Tensor") -> "torch.Tensor":
        return values

    def sum(self, values: "torch.Tensor") -> "torch.Tensor":
        return values


class TrainSettings(Protocol):
    """The part of a method's settings that the loop itself reads."""

    seed: int
    samples: int  # training samples and validation samples together
    validation_share: float
    shard_samples: int
    batch: int  # samples of a global batch, over all ranks
    epochs: int
    learning_rate: float
    weight_decay: float


class Method(Protocol):
    """A learned method.

    Attributes
    ----------
    name : as in `smlmbatch train NAME`
    title, about, material, figures_caption : for the card: what it is, what it does, what it learned from, what the figures mean
    Config : frozen dataclass of all settings, TrainSettings among them
    recipes : settings by name: "default", and others worth a name
    shard_arrays : names of the arrays of a shard
    ragged : those of them whose samples have different numbers of rows. A shard gives such an array as a list of one array a sample;
        a batch holds NAME, the samples' rows one below the other (whole numbers as int64), and NAME_sizes, how many each has: (B,) i8
    only_in_training : what the names of weights begin with that inference drops; a model's folder doesn't hold them
    """

    name: str
    title: str
    about: str
    material: str
    figures_caption: str
    Config: type[Any]
    recipes: Mapping[str, Any]
    shard_arrays: tuple[str, ...]
    ragged: tuple[str, ...]
    only_in_training: tuple[str, ...]

    def shard(self, config: Any, number: int) -> Mapping[str, Any]:
        """Training material number `number`: arrays of `config.shard_samples` samples, a function of (config, number) alone."""
        ...

    def build(self, config: Any) -> "torch.nn.Module":
        """The network with fresh weights, drawn from torch's global generator (the loop seeds it)."""
        ...

    def loss(self, model: "torch.nn.Module", batch: Batch, config: Any, ranks: Ranks) -> tuple["torch.Tensor", dict[str, "torch.Tensor"]]:
        """(mean over this rank's samples, figures to log: means over this rank's samples too)."""
        ...

    def settle(self, model: "torch.nn.Module", config: Any) -> None:
        """Set what is chosen of a network after it has learned, in its weights; on the CPU, a function of both alone."""
        ...

    def judge(self, model: "torch.nn.Module", config: Any, *, seeds: int) -> Mapping[str, Mapping[str, float]]:
        """Task → figure → value: how good a model is, mean over so many draws (1 or more) of data it has never seen."""
        ...

    def infer(self, model: "torch.nn.Module", batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Result arrays of a batch, first axis B."""
        ...
