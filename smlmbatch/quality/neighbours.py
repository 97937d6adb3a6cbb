"""What pairs of locs close in space and time tell: precision (NeNA), blinks that go on, crowding, duplicates.

Looked at in blocks with a margin as wide as the longest reach, so that a block's own locs see all their neighbours. Of big fields
every k-th block is looked at, and of a block that is too full every k-th interval of frames: shares need no more than a million
locs. Which ones follows from the locs alone.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.blinks.nena import LEAST_FRAMES, REACH_NM, Nena, far_lag, far_looks_nm, nena_of_distances
from smlmbatch.blinks.pairs import ByFrame, sort_by_frame
from smlmbatch.locs import Locs

MAX_LOCS: Final = 1_000_000
CROWDED_NM: Final = 500.0  # where the file has no width of the spots: 4 sigma of 125 nm
LARGEST_CROWDED_NM: Final = 1000.0
LEAST_LOCS: Final = 200  # shares of fewer are noise
_TOO_FEW: Final = f"fewer than {LEAST_LOCS} locs"
_CROWDED_SIGMAS = 4.0  # nearer to each other, one spot pulls the other's fit
_DUPLICATE_NM = 1.0  # no two molecules are told apart so near in one image
_INTERVAL_FRAMES = 1000
_BLINK_PRECISIONS = 3.0  # 90 % of the distances between two sightings of a molecule are within 3 s

_MOST_CHANCE = 0.5  # of the pairs
_LEAST_CHANCE = 0.2  # of the locs; a blink that goes on where a pair is by chance is not seen, so that less hides a fifth at most


def crowded_nm(psf_nm: float) -> float:
    """How near two spots of one frame disturb each other, from the spots' width (sigma); NaN = not known."""
    return min(_CROWDED_SIGMAS * psf_nm, LARGEST_CROWDED_NM) if np.isfinite(psf_nm) else CROWDED_NM


@dataclass(slots=True)
class Neighbours:
    """Counts of one channel, block after block.

    Attributes
    ----------
    recording : the channel's first and last frame
    crowded_nm : reach within a frame
    """

    recording: tuple[int, int]
    crowded_nm: float
    n: int = 0
    n_crowded: int = 0
    n_duplicates: int = 0
    _near: list[NDArray[np.float32]] = field(default_factory=list)
    _far: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, locs: Locs, own: NDArray[np.bool_]) -> None:
        """Look from the locs that are the block's `own` (n,) to all of `locs`, which reach over its edges."""
        frame, interval = locs.frame, 0
        assert frame is not None
        if len(locs) > MAX_LOCS:
            interval = _INTERVAL_FRAMES
            chosen = (frame - self.recording[0]) // interval % -(-len(locs) // MAX_LOCS) == 0
            locs, frame, own = locs.take(chosen), frame[chosen], own[chosen]
        by_frame = sort_by_frame(locs.x_nm, locs.y_nm, frame)
        own = own[by_frame.order]
        same_nm = by_frame.nearest_nm(0, reach_nm=self.crowded_nm)[own]
        self.n += len(same_nm)
        self.n_crowded += int((same_nm < self.crowded_nm).sum())
        self.n_duplicates += int((same_nm < _DUPLICATE_NM).sum())
        self._add_next(by_frame, own, interval)

    def _add_next(self, locs: ByFrame, own: NDArray[np.bool_], interval: int) -> None:
        lag = far_lag(self.recording[1] - self.recording[0] + 1)
        if lag:
            self._near.append(locs.nearest_nm(1, reach_nm=REACH_NM)[own])
            self._far.append(far_looks_nm(locs, lag=lag, recording=self.recording, interval=interval)[own])

    def share(self, count: int) -> tuple[float, str]:
        """A count as a share of the locs looked at; NaN with the reason where they are too few."""
        return (count / self.n, "") if self.n >= LEAST_LOCS else (np.nan, _TOO_FEW)

    @property
    def next_frame_nm(self) -> NDArray[np.float32]:
        """(n,) f4, nm, to the nearest loc of the next frame; infinite where none is within reach."""
        return np.concatenate([np.empty(0, np.float32), *self._near])

    @property
    def far_frames_nm(self) -> NDArray[np.float32]:
        """(n, 2) f4, nm, to the nearest locs of two frames far away."""
        return np.concatenate([np.empty((0, 2), np.float32), *self._far])

    def nena(self) -> Nena:
        return nena_of_distances(self.next_frame_nm, self.far_frames_nm)

    def blinks(self, *, precision_nm: float, merged: bool = False) -> tuple[float, str]:
        """Share of locs that have one in the next frame within 3 precisions, beyond chance; NaN with the reason where unknown.

        Where blinks were `merged`, pairs no more than chance gives are what merging leaves, not a sign of locs that stay.
        """
        near_nm = self.next_frame_nm
        if not len(near_nm):
            return np.nan, f"the recording has fewer than {LEAST_FRAMES} frames"
        if len(near_nm) < LEAST_LOCS:
            return np.nan, _TOO_FEW
        reach_nm = min(_BLINK_PRECISIONS * precision_nm, REACH_NM)
        chance, pairs = (self.far_frames_nm < reach_nm).sum() / 2, (near_nm < reach_nm).sum()
        if not merged and chance > max(_MOST_CHANCE * pairs, _LEAST_CHANCE * len(near_nm)):
            return np.nan, "locs stay at the same places throughout (beads, or very dense): blinks can't be told from chance"
        return max(0.0, float(pairs - chance) / len(near_nm)), ""
