"""Which ROIs enter what can't take all: drawn evenly over conditions, by a generator keyed by what it is for."""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

# purposes of draws: the first number of a generator's key
SAMPLE, KMEANS, WARD, BOOTSTRAP, DISTANCE, MAP, ORDER, THIN, ACCURACY, PERMUTE = range(10)
_WORD: Final = np.dtype("<u4")


def generator(seed: int, purpose: int, *names: object) -> np.random.Generator:
    """A generator that depends on nothing but the seed, the purpose and the names (of a channel, a label, a field ...)."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *np.frombuffer(digest, _WORD).tolist())))


def seed_of(seed: int, purpose: int, *names: object) -> int:
    """A seed of 31 bits for libraries that want a number."""
    return int(generator(seed, purpose, *names).integers(1 << 31))


def draw_evenly(code: NDArray[np.integer], limit: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Sorted rows of at most `limit` of all, as evenly over codes as their numbers allow; all where there are no more.

    >>> rows = draw_evenly(np.array([0] * 90 + [1] * 10), 40, np.random.default_rng(0))
    >>> int((rows < 90).sum()), int((rows >= 90).sum())
    (30, 10)
    """
    if len(code) <= limit:
        return np.arange(len(code), dtype=np.intp)
    order = rng.permutation(len(code))
    place = np.empty(len(code), dtype=np.int64)  # of each row among its own code
    by_code = order[np.argsort(code[order], kind="stable")]
    sizes = np.bincount(code)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place[by_code] = np.arange(len(code)) - starts
    turn = order[np.argsort(place[order], kind="stable")]  # first of each code, then second of each ...
    return np.sort(turn[:limit])
