"""The order in which samples are learned: a function of (seed, epoch) alone.

An epoch's samples stand in a line: its shards in a random order, their rows as they lie on disk. A round is a stretch of the line of some
16 shards. It is cut into as many equal lanes as a batch has samples; each lane is shuffled in itself, and batch j takes the j-th of each
lane. So a batch holds samples of all shards of its round, and a rank, which owns lanes that lie side by side, needs one stretch of
the line and nothing else: it reads a few shards from one row to another, and global batches are the same for any number of ranks.
What doesn't fill a batch at the end of a round begins the next one; at the end of the epoch it waits for another epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError

_ORDER = 0x0DE7  # first number of the key of the shuffles
ROUND_SHARDS = 16  # at most; a batch mixes samples of so many, and a process keeps its share of them in memory


@dataclass(frozen=True, slots=True)
class Round:
    """Positions first ... first + steps * batch - 1 of the epoch's line, which make batches `step` ... `step + steps - 1`."""

    number: int
    first: int
    step: int
    steps: int


def rounds(n_shards: int, shard_samples: int, batch: int) -> Iterator[Round]:
    """The rounds of an epoch, of about equally many shards: a last round of one shard would make batches of that alone."""
    first, n_rounds = 0, -(-n_shards // ROUND_SHARDS)
    for number in range(n_rounds):
        end = (number + 1) * n_shards // n_rounds * shard_samples
        steps = (end - first) // batch
        if steps:
            yield Round(number, first, first // batch, steps)
        first += steps * batch


def shard_order(n_shards: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The shards of the epoch's line."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch))).permutation(n_shards)


def lanes_of(rank: int, world: int, batch: int) -> tuple[int, int]:
    """First and last + 1 of the lanes of a rank.

    Raises
    ------
    ConfigError
        a batch that can't be cut evenly
    """
    if batch % world:
        raise ConfigError(f"batch = {batch}: wanted a multiple of the {world} ranks")
    return rank * batch // world, (rank + 1) * batch // world


def round_order(part: Round, *, batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions in the round, counted from its first: (steps, batch) i8, a row for each global batch."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch, part.number)))
    lanes = np.arange(batch * part.steps).reshape(batch, part.steps)
    return rng.permuted(lanes, axis=1).T
