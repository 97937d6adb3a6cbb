"""What a loc can't know from its neighbourhood: the field's densities, and a hint of how its clusters look.

Computed once per field, before any cut. Densities are quantiles of the distances to neighbours. The hint says how large the field's
clusters are and how many locs they hold: from a first pass of the network without a hint, or from the user. In training it is the
truth with some error, and left out in a part of the fields, so that the network can do without.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.graph import NEIGHBOURS, UNIT_NM

_QUANTILES: Final = (0.1, 0.5, 0.9)
_OF: Final = tuple(NEIGHBOURS.index(k) for k in (1, 4, 16, 32))
N_HINT: Final = 5
N_CONTEXT: Final = len(_QUANTILES) * len(_OF) + N_HINT
_LOCS_UNIT: Final = 30.0  # locs of a cluster, for their logarithm to lie around 0
_WIDEST: Final = 0.7  # sd of log radius: clusters so different that a typical one would mislead

NO_HINT: Final = np.zeros(N_HINT, dtype=np.float32)
NO_HINT.setflags(write=False)


def density_context(local: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantiles of the logarithmic distances to neighbours over a field: (12,) f4 of its local features; 0 for a field without locs."""
    if len(local) == 0:
        return np.zeros(len(_QUANTILES) * len(_OF), dtype=np.float32)
    return np.quantile(local[:, _OF].astype(np.float64), _QUANTILES, axis=0).T.ravel().astype(np.float32)


def cluster_hint(rms_nm: NDArray[np.floating], n_locs: NDArray[np.integer]) -> NDArray[np.float32]:
    """(1, median and sd of log radius, median and sd of log count) of a field's clusters: (N_HINT,) f4.

    No hint at all where there are no clusters, or where they are so different that a typical one would mislead.
    """
    if len(rms_nm) == 0:
        return NO_HINT
    radius, count = np.log(np.maximum(rms_nm, 1.0) / UNIT_NM), np.log(n_locs / _LOCS_UNIT)
    if radius.std() > _WIDEST:
        return NO_HINT
    return np.array([1.0, np.median(radius), radius.std(), np.median(count), count.std()], dtype=np.float32)


def inexact_hint(hint: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A hint as a first pass would give it: typical values off by some 15 %, spreads by a quarter."""
    error = rng.normal(size=N_HINT)
    factor, shift = np.array([1.0, 1.0, 1.25, 1.0, 1.25]) ** error, np.array([0.0, 0.15, 0.0, 0.25, 0.0]) * error
    return (hint * factor + shift).astype(np.float32) if hint[0] else hint
