"""Training material: made once, read in stretches, handed out in batches.

Shards are made by whoever comes first (rank r makes every world-th). A rank reads the stretch of a round that its lanes lie in (see
`order`) by one request for each shard and array, keeps it in memory until the round is over, and picks its batches from there: nothing is
read by single samples, and nothing that another rank learns from. Going on in mid-epoch, rounds that are done are not read again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.method import Method, Ranks
from smlmbatch.train.order import ROUND_SHARDS, Round, lanes_of, round_order, rounds, shard_order
from smlmbatch.train.shards import has_shard, read_rows, sample_ends, shard_path, write_shard

MATERIAL = "material"
Batch = dict[str, torch.Tensor]  # in the host's memory


@dataclass(frozen=True, slots=True)
class Material:
    """Shards of a method's training material in `folder`, the first `n_train` to learn from, the others to validate."""

    folder: Path
    names: tuple[str, ...]
    n_shards: int
    n_train: int
    shard_samples: int
    ragged: tuple[str, ...] = ()  # those of the names whose samples have different numbers of rows

    def stretch(self, line: NDArray[np.int64], first: int, last: int) -> "Stretch":
        """Samples first ... last - 1 of a line of shards, read into memory."""
        n = self.shard_samples
        pieces = [
            (int(line[place]), max(first, place * n) - place * n, min(last, (place + 1) * n) - place * n)
            for place in range(first // n, -(-last // n))
        ]
        return Stretch({name: (self._ragged if name in self.ragged else self._dense)(name, pieces) for name in self.names})

    def size(self, batch: Mapping[str, torch.Tensor]) -> int:
        """How many samples a batch holds."""
        name = self.names[0]
        return len(batch[f"{name}_sizes" if name in self.ragged else name])

    def _dense(self, name: str, pieces: list[tuple[int, int, int]]) -> "Dense":
        # in a type that holds all: shards keep their counts in different ones
        return Dense(np.concatenate([read_rows(shard_path(self.folder, shard, name), start, stop) for shard, start, stop in pieces]))

    def _ragged(self, name: str, pieces: list[tuple[int, int, int]]) -> "Ragged":
        ends = [sample_ends(self.folder, shard, name, start, stop) for shard, start, stop in pieces]
        rows = [
            read_rows(shard_path(self.folder, shard, name), int(e[0]), int(e[-1])) for (shard, _, _), e in zip(pieces, ends, strict=True)
        ]
        sizes = np.concatenate([np.diff(e) for e in ends])
        return Ragged(np.concatenate(rows), sizes, np.cumsum(sizes) - sizes)


@dataclass(frozen=True, slots=True)
class Dense:
    """Samples of one shape: (samples, ...)."""

    values: NDArray[Any]

    def pick(self, name: str, samples: NDArray[np.int64]) -> Batch:
        """Floats as they are, whole numbers as float32."""
        values = self.values[samples]
        return {name: torch.from_numpy(values if values.dtype.kind == "f" else values.astype(np.float32))}


@dataclass(frozen=True, slots=True)
class Ragged:
    """Samples of different numbers of rows: (rows, ...), and each sample's number of rows and first one."""

    values: NDArray[Any]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]

    def pick(self, name: str, samples: NDArray[np.int64]) -> Batch:
        """The samples' rows one below the other, and how many each has; whole numbers as int64, for they may be indices."""
        sizes = self.sizes[samples]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        values = self.values[np.repeat(self.starts[samples], sizes) + within]
        tensor = torch.from_numpy(values.astype(np.int64) if values.dtype.kind in "iu" else values)
        return {name: tensor, f"{name}_sizes": torch.from_numpy(sizes)}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples that follow one another, in memory."""

    arrays: Mapping[str, Dense | Ragged]

    def batch(self, samples: NDArray[np.int64]) -> Batch:
        """These samples, counted from the stretch's first."""
        return {name: values for array, held in self.arrays.items() for name, values in held.pick(array, samples).items()}


def material_folder(model: Path, recipe_sha256: str) -> Path:
    """Where the material of a recipe lies in a model's folder: shards that other settings left there are none of it."""
    return model / MATERIAL / recipe_sha256[:12]


def make_material(method: Method, config: Any, folder: Path, ranks: Ranks, *, should_stop: Callable[[], bool] = lambda: False) -> Material:
    """Make what is missing of the material; the caller waits for the other ranks before he reads.

    Parameters
    ----------
    should_stop : asked before each shard; True = leave the rest unmade

    Raises
    ------
    ConfigError
        fewer samples to learn from than a batch holds
    """
    n_shards = config.samples // config.shard_samples
    n_train = n_shards - max(1, round(n_shards * config.validation_share))
    if n_train * config.shard_samples < config.batch:
        left = f"{max(0, n_train) * config.shard_samples} samples to learn from beside those of validation"
        raise ConfigError(f"samples = {config.samples} leaves {left}: wanted a batch ({config.batch}) or more")
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(ranks.rank, n_shards, ranks.world):
        if should_stop():
            break
        if not has_shard(folder, number, method.shard_arrays, ragged=method.ragged):
            write_shard(folder, number, method.shard(config, number), ragged=method.ragged)
    return Material(folder, method.shard_arrays, n_shards, n_train, config.shard_samples, method.ragged)


def epoch_batches(material: Material, *, seed: int, epoch: int, batch: int, ranks: Ranks, done: int = 0) -> Iterator[Batch]:
    """This rank's rows of each global batch of an epoch, without the first `done` batches; what doesn't fill a batch waits.

    Raises
    ------
    ConfigError
        a batch that can't be cut evenly
    """
    low, high = lanes_of(ranks.rank, ranks.world, batch)
    line = shard_order(material.n_train, seed=seed, epoch=epoch)
    for part in rounds(material.n_train, material.shard_samples, batch):
        if part.step + part.steps > done:
            order = round_order(part, batch=batch, seed=seed, epoch=epoch)[max(0, done - part.step) :, low:high]
            yield from _round_batches(material, line, part, order, first=low * part.steps, last=high * part.steps)


def _round_batches(
    material: Material, line: NDArray[np.int64], part: Round, order: NDArray[np.int64], *, first: int, last: int
) -> Iterator[Batch]:
    """A function of its own, so that a round's samples are let go before the next one's are read."""
    stretch = material.stretch(line, part.first + first, part.first + last)
    for samples in order:
        yield stretch.batch(samples - first)


def validation_batches(material: Material, *, batch: int, ranks: Ranks) -> Iterator[Batch]:
    """Whole batches of the validation shards, of which a rank's follow one another; the last may be smaller, nothing is padded."""
    line = np.arange(material.n_train, material.n_shards)
    n_samples = len(line) * material.shard_samples
    n_batches = -(-n_samples // batch)
    first, last = (min(n_samples, batch * (n_batches * rank // ranks.world)) for rank in (ranks.rank, ranks.rank + 1))
    held = max(batch, ROUND_SHARDS * material.shard_samples // batch * batch)
    for start in range(first, last, held):
        stop = min(last, start + held)
        stretch = material.stretch(line, start, stop)
        for begin in range(start, stop, batch):
            yield stretch.batch(np.arange(begin, min(stop, begin + batch)) - start)
