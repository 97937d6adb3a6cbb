"""What a loc can't know from its neighbourhood: the densities around it, and a hint of how the field's clusters look.

Densities are quantiles of the distances to neighbours: over the whole of a small field, as in training, and over some um about each loc of
a wider one (`windows`). All else is told once per field, before any cut. The hint says how large the field's clusters are and how many
locs they hold: from a first pass of the network without a hint, or from the user. In training it is the truth with some error, and left
out in a part of the fields, so that the network can do without.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.graph import NEIGHBOURS, UNIT_NM

DENSITY_QUANTILES: Final = (0.1, 0.5, 0.9)
DENSITY_NEIGHBOURS: Final = (1, 4, 16, 32)
N_DENSITY: Final = len(DENSITY_QUANTILES) * len(DENSITY_NEIGHBOURS)
_OF: Final = tuple(NEIGHBOURS.index(k) for k in DENSITY_NEIGHBOURS)
N_HINT: Final = 5
N_ACQUISITION: Final = 4
N_CONTEXT: Final = N_DENSITY + N_ACQUISITION + N_HINT
_ERROR_UNIT_NM: Final = 10.0
LOCS_UNIT: Final = 30.0  # locs of a cluster, for their logarithm to lie around 0
_WIDEST: Final = 0.7  # sd of log radius: clusters so different that a typical one would mislead
# How hints of first passes differ from the truth, over 400 simulated fields: sd in log radius and log count, which go together (the root
# of their correlation), the mean in log count, and mean and sd of the spreads' differences
_OFF: Final = (0.4, 0.6)
_TOGETHER: Final = 0.86
_MORE: Final = 0.18
_WIDER: Final = np.array([0.07, 0.17])
_OFF_SPREAD: Final = np.array([0.18, 0.3])

NO_HINT: Final = np.zeros(N_HINT, dtype=np.float32)
NO_HINT.setflags(write=False)


def density_context(local: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantiles of the logarithmic distances to neighbours over a small field, (N_DENSITY,) f4; 0 for one without locs."""
    if len(local) == 0:
        return np.zeros(N_DENSITY, dtype=np.float32)
    return np.quantile(local[:, _OF].astype(np.float64), DENSITY_QUANTILES, axis=0).T.ravel().astype(np.float32)


def with_densities(densities: NDArray[np.float32], *told: NDArray[np.float32]) -> NDArray[np.float32]:
    """A whole context: densities (N_DENSITY,) of a field, or (n, N_DENSITY) of its locs, and what is told of all of them."""
    known = np.concatenate(told)
    return np.concatenate([densities, np.broadcast_to(known, (*densities.shape[:-1], len(known)))], axis=-1)


def acquisition(*, blinking: bool | None, error_nm: float | None = None) -> NDArray[np.float32]:
    """What is known of how a field was taken: (known, molecules seen several times, error known, log error) (4,) f4; None = not known."""
    blinks = (0.0, 0.0) if blinking is None else (1.0, float(blinking))
    error = (1.0, np.log(error_nm / _ERROR_UNIT_NM)) if blinking and error_nm else (0.0, 0.0)
    return np.array([*blinks, *error], dtype=np.float32)


def seen_once(taken: NDArray[np.float32]) -> bool:
    """Whether it is known, by what `acquisition` gave, that no molecule is seen several times."""
    known, blinking = taken[:2]
    return bool(known and not blinking)


def cluster_hint(rms_nm: NDArray[np.floating], n_locs: NDArray[np.integer]) -> NDArray[np.float32]:
    """(1, median and sd of log radius, median and sd of log count) of a field's clusters: (N_HINT,) f4.

    No hint at all where there are no clusters, or where they are so different that a typical one would mislead.
    """
    if len(rms_nm) == 0:
        return NO_HINT
    radius, count = np.log(np.maximum(rms_nm, 1.0) / UNIT_NM), np.log(n_locs / LOCS_UNIT)
    if radius.std() > _WIDEST:
        return NO_HINT
    return np.array([1.0, np.median(radius), radius.std(), np.median(count), count.std()], dtype=np.float32)


def inexact_hint(hint: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A hint as a first pass would give it: false members and merged clusters make it larger, and the same ones do both."""
    if not hint[0]:
        return hint
    of_both, of_radius, of_count, *of_spreads = rng.normal(size=5)
    radius = _OFF[0] * (_TOGETHER * of_both + np.sqrt(1 - _TOGETHER**2) * of_radius)
    count = _OFF[1] * (_TOGETHER * of_both + np.sqrt(1 - _TOGETHER**2) * of_count)
    spread = np.maximum(hint[[2, 4]] + _WIDER + _OFF_SPREAD * of_spreads, 0.0)
    return np.array([1.0, hint[1] + radius, spread[0], hint[3] + _MORE + count, spread[1]], dtype=np.float32)
