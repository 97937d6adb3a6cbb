"""Frame, photons and precision of the locs of a simulated field: what a camera would have noted beside their places.

A molecule is first seen in a frame of its own, then on and off: of its blinks half follow in the next frame, others after a dark time
whose mean differs from field to field. A loc's precision is the error it was drawn with; where molecules are seen once and without error,
one is drawn. Photons follow from it, but for a tenth (error ~ 1 / sqrt(photons), Thompson et al. 2002). All is keyed by (seed, number)
with a purpose of its own, so fields are what they are without.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.clusters import ClusterField

_PURPOSE: Final = 0x3121  # of the generator's key
_FRAMES: Final = 20_000  # of an acquisition
_AT_ONCE: Final = 0.5  # share of blinks in the frame after the one before
_DARK_FRAMES: Final = (3.0, 300.0)  # mean of a field, log-uniform
_ERROR_NM: Final = (8.0, 0.3)  # median and sd of the logarithm, where places have none
_PHOTONS: Final = 1000.0  # of a loc of 10 nm
_SCATTER: Final = 0.1  # of their logarithm


def draw_columns(field: ClusterField, seed: int, number: int) -> dict[str, NDArray[np.generic]]:
    """Columns of the locs of field `number` of a family drawn with `seed`.

    Returns
    -------
    frame : (n,) i4, from 0
    photons, precision_nm : (n,) f4

    Raises
    ------
    ConfigError
        the field doesn't say which molecule its locs are of
    """
    if field.molecule is None or field.precision_nm is None:
        raise ConfigError("fields of this kind don't say which molecule a loc is of: wanted those of simulate.clusters")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSE, number)))
    precision_nm = field.precision_nm.astype(np.float64)
    if not field.blinking:
        precision_nm = _ERROR_NM[0] * np.exp(_ERROR_NM[1] * rng.normal(size=len(precision_nm)))
    photons = _PHOTONS * (10.0 / precision_nm) ** 2 * np.exp(_SCATTER * rng.normal(size=len(precision_nm)))
    return {
        "frame": draw_frames(rng, field.molecule),
        "photons": photons.astype(np.float32),
        "precision_nm": precision_nm.astype(np.float32),
    }


def draw_frames(rng: np.random.Generator, molecule: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of each loc its frame, (n,) i4 from 0: its molecule's first one and the gaps between that molecule's blinks."""
    n = len(molecule)
    dark = np.exp(rng.uniform(*np.log(_DARK_FRAMES)))
    gap = 1 + np.where(rng.random(n) < _AT_ONCE, 0, rng.geometric(1.0 / dark, n))
    order = np.argsort(molecule, kind="stable")
    first = np.ones(n, dtype=bool)
    first[1:] = molecule[order][1:] != molecule[order][:-1]
    gap[first] = 0
    begun = rng.integers(0, _FRAMES, n)  # of which each molecule takes one
    elapsed = np.cumsum(gap)
    starts = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    frame = np.empty(n, dtype=np.int32)
    frame[order] = begun[starts][group] + elapsed - elapsed[starts][group]
    return frame
