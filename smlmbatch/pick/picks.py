"""What a source of particles gives, whichever it is: channel and locs of each, what it is called there, and how many were left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PickConfig
from smlmbatch.pick.choice import REASONS, ClusterTable, judge
from smlmbatch.pick.gather import Floats, Gathered, Ints

LEAST_LOCS: Final = 3  # fewer have no area
_TOO_FEW: Final = REASONS.index("too few locs")
_LOOSE_REASONS: Final = REASONS[_TOO_FEW:]  # groups and picks have neither level nor shape
_FLAG_LEAST: Final = 5  # particles of a channel that tell what is usual
_FLAG_SIZE: Final = 3.0  # radius of gyration over the channel's median: two neighbours in one pick are 1.5 to 2 times as large
_FLAG_LOCS: Final = 10.0  # locs over the channel's median: beads, whole fields


@dataclass(frozen=True, slots=True)
class Picks:
    """k particles.

    Attributes
    ----------
    channel : (k,) u1
    own : their locs
    points : what is kept of them: `own`, and what lies around
    dropped : reason → how many are no particle
    facts : attributes of the unit: how many there were, and what else is to be said
    numbers : array of the store → (k,), what each particle is called by its source
    core : those of `own` that centres are found of; None = all
    given_nm : (k, 2 or 3), centres that are to be kept; None = they are found
    """

    channel: NDArray[np.uint8]
    own: Gathered
    points: Gathered
    dropped: Mapping[str, int]
    facts: Mapping[str, Any]
    numbers: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    core: Gathered | None = None
    given_nm: Floats | None = None


@dataclass(frozen=True, slots=True)
class Sifted:
    """Which of several groups (or picks) are particles.

    Attributes
    ----------
    kept : (groups,) bool
    dropped : reason → how many
    outsized : particles, by their number among those kept, that are wildly larger than the others of their channel
    """

    kept: NDArray[np.bool_]
    dropped: Mapping[str, int]
    outsized: list[int]


def sift(own: Gathered, channel: NDArray[np.uint8], n_locs: Ints, config: PickConfig, *, centre_nm: Floats | None = None) -> Sifted:
    """Judge groups or picks by their number of locs, size, and room.

    Parameters
    ----------
    own : their locs; those of groups of fewer than `LEAST_LOCS` may be left out
    channel, n_locs : (groups,)
    centre_nm : (groups, d) from which distances count; their centroids where not given
    """
    count = len(n_locs)
    sums = [np.bincount(own.particle, weights=places, minlength=count) for places in own.place_nm[:, :2].T]
    gathered = np.maximum(np.bincount(own.particle, minlength=count), 1)
    centroid = np.stack(sums, axis=1) / gathered[:, None]
    away2 = ((own.place_nm[:, :2] - centroid[own.particle]) ** 2).sum(axis=1)
    gyration_nm = np.sqrt(np.bincount(own.particle, weights=away2, minlength=count) / gathered)
    enough = n_locs >= LEAST_LOCS
    nearest_nm = _nearest(centroid if centre_nm is None else centre_nm, np.where(enough, channel.astype(np.int64), -1))
    nothing = np.zeros(count, np.int32)
    table = ClusterTable(channel, n_locs, gyration_nm, nearest_nm, nothing.astype(np.uint8), nothing - 1, nothing, (), with_parents=False)
    reason = np.where(enough, judge(table, config), _TOO_FEW)
    kept: NDArray[np.bool_] = reason == 0
    counts = Counter(REASONS[code] for code in reason.tolist())
    return Sifted(kept, {name: counts[name] for name in _LOOSE_REASONS}, _outsized(channel[kept], n_locs[kept], gyration_nm[kept]))


def _nearest(centre_nm: Floats, channel: Ints) -> Floats:
    """To the nearest other of the channel; NaN where there is none, or the channel is -1."""
    from scipy.spatial import cKDTree

    nearest_nm = np.full(len(centre_nm), np.nan)
    for one in np.unique(channel[channel >= 0]):
        own = np.flatnonzero(channel == one)
        if len(own) > 1:
            nearest_nm[own] = cKDTree(centre_nm[own]).query(centre_nm[own], k=2)[0][:, 1]
    return nearest_nm


def _outsized(channel: NDArray[np.uint8], n_locs: Ints, gyration_nm: Floats) -> list[int]:
    found: list[int] = []
    for one in np.unique(channel):
        own = np.flatnonzero(channel == one)
        if len(own) >= _FLAG_LEAST:
            large = gyration_nm[own] > _FLAG_SIZE * np.median(gyration_nm[own])
            found += own[large | (n_locs[own] > _FLAG_LOCS * np.median(n_locs[own]))].tolist()
    return found
