"""Training material on disk, and the order in which it is learned.

Shards are made once, by whoever comes first (rank r makes every world-th), and read by memory map. An epoch goes through the shards in
a random order, some at a time: samples are shuffled among these, so reading stays almost sequential. The order is a function of
(seed, epoch) alone, so a global batch holds the same samples for any number of ranks; each takes its own rows of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.method import Method, Ranks
from smlmbatch.store.units import appears_whole

MATERIAL = "material"
_ORDER = 0x0DE7  # first number of the key of the shuffles
_SHUFFLED_SHARDS = 16  # shuffled together
_OPEN_SHARDS = 4 * _SHUFFLED_SHARDS  # kept mapped: opening 16 files a batch took 6 % of a step of a small network


@dataclass(frozen=True, slots=True)
class Material:
    """Shards of a method's training material in `folder`, the first `n_train` to learn from, the others to validate."""

    folder: Path
    names: tuple[str, ...]
    n_shards: int
    n_train: int
    shard_samples: int
    _opened: dict[int, Mapping[str, NDArray[Any]]] = field(default_factory=dict, repr=False, compare=False)

    def shard(self, number: int) -> Mapping[str, NDArray[Any]]:
        """The arrays of a shard, mapped; those opened first are closed when there are many."""
        if number not in self._opened:
            if len(self._opened) >= _OPEN_SHARDS:
                self._opened.pop(next(iter(self._opened)))
            # asarray: a row of a memmap costs ten times that of a plain view of it
            self._opened[number] = {name: np.asarray(np.load(_path(self.folder, number, name), mmap_mode="r")) for name in self.names}
        return self._opened[number]

    def rows(self, shards: NDArray[np.int64], rows: NDArray[np.int64], *, device: torch.device) -> dict[str, torch.Tensor]:
        """These samples (shard, row in it) as tensors: floats as they are, whole numbers as float32."""
        batch = {}
        for name in self.names:
            values = np.stack([self.shard(s)[name][r] for s, r in zip(shards.tolist(), rows.tolist(), strict=True)])
            tensor = torch.from_numpy(values if values.dtype.kind == "f" else values.astype(np.float32))
            batch[name] = tensor.to(device, non_blocking=True)
        return batch


def material_folder(model: Path, recipe_sha256: str) -> Path:
    """Where the material of a recipe lies in a model's folder: shards that other settings left there are none of it."""
    return model / MATERIAL / recipe_sha256[:12]


def make_material(method: Method, config: Any, folder: Path, ranks: Ranks) -> Material:
    """Make what is missing of the material; the caller waits for the other ranks before he reads.

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
        if all(_path(folder, number, name).exists() for name in method.shard_arrays):
            continue
        for name, values in method.shard(config, number).items():
            with appears_whole(_path(folder, number, name)) as partial, partial.open("wb") as file:
                np.save(file, _smallest(values), allow_pickle=False)
    return Material(folder, method.shard_arrays, n_shards, n_train, config.shard_samples)


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Counts in the smallest type that holds them: 15,000 pairs of 128 px are half a gigabyte instead of one."""
    return values.astype(np.min_scalar_type(values.max())) if values.dtype.kind == "u" and values.size else values


def _path(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:06d}.{name}.npy"


def epoch_batches(
    material: Material, *, seed: int, epoch: int, batch: int, ranks: Ranks
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """This rank's (shards, rows) of each global batch of an epoch; samples that don't fill a last batch wait for another epoch.

    Raises
    ------
    ConfigError
        a batch that can't be cut evenly
    """
    if batch % ranks.world:
        raise ConfigError(f"batch = {batch}: wanted a multiple of the {ranks.world} ranks")
    share = batch // ranks.world
    for shards, rows in _global_batches(material, seed=seed, epoch=epoch, batch=batch):
        mine = slice(ranks.rank * share, (ranks.rank + 1) * share)
        yield shards[mine], rows[mine]


def _global_batches(material: Material, *, seed: int, epoch: int, batch: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch)))
    order = rng.permutation(material.n_train)
    left = np.empty((0, 2), dtype=np.int64)
    for first in range(0, len(order), _SHUFFLED_SHARDS):
        together = order[first : first + _SHUFFLED_SHARDS]
        rows = np.tile(np.arange(material.shard_samples), len(together))
        samples = np.column_stack([np.repeat(together, material.shard_samples), rows])
        samples = np.concatenate([left, samples[rng.permutation(len(samples))]])
        n_whole = len(samples) // batch * batch
        for start in range(0, n_whole, batch):
            yield samples[start : start + batch, 0], samples[start : start + batch, 1]
        left = samples[n_whole:]


def validation_batches(material: Material, *, batch: int, ranks: Ranks) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Whole batches of the validation shards, every world-th for this rank: each sample once on one rank, nothing padded."""
    shards = np.repeat(np.arange(material.n_train, material.n_shards), material.shard_samples)
    rows = np.tile(np.arange(material.shard_samples), material.n_shards - material.n_train)
    starts = range(0, len(shards), batch)
    for start in starts[ranks.rank :: ranks.world]:
        yield shards[start : start + batch], rows[start : start + batch]
