"""Localisation precision from the data alone: nearest neighbours in following frames (NeNA).

A molecule that is bright in two frames running is seen twice at one place; how far apart is the precision. The distances d from each
loc to the nearest of the next frame follow (Endesfelder, Malkusch, Fricke, Heilemann, Histochem Cell Biol 141:629, 2014, eq. 1)

    p(d) = A1 d / (2 s^2) exp(-d^2 / 4 s^2)  +  A2 exp(-(d - c)^2 / 2 w^2) / sqrt(2 pi w^2)  +  A3 d

the same molecule, neighbours along a structure, and chance; s is the precision along one axis. The range of the histogram follows
the data (10 s), since precisions go from 1 to 50 nm. Whether blinks go on at all is held against frames far apart, which have the
same structure and no blink in common: merged data or beads alone give no precision, and the reason is said.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.blinks.pairs import ByFrame, sort_by_frame

REACH_NM: Final = 500.0  # looked this far for a neighbour: 6 s of a precision of 80 nm
FAR_FRAMES: Final = 100  # two frames so far apart share hardly a blink; a quarter of shorter recordings
LEAST_FRAMES: Final = 8
LEAST_PAIRS: Final = 100  # beyond chance; s is then good to about 6 %
MAX_LOCS: Final = 1_000_000
_INTERVAL_FRAMES = 1000  # a sample is made of such intervals: long against FAR_FRAMES
_SIGNIFICANCE = 5.0  # standard deviations beyond chance
_LEAST_EXCESS = 0.1  # of chance, which bleaching and drift make uncertain by some percent
_BINS = 100
_RANGE = 10.0  # of the histogram, in s: the first term ends at 6
_LEAST_ALONG = 5.0  # of the middle term's place, in s: 0.2 % of the first term's pairs are farther apart
_LEAST_CHANGE = 0.5  # s is known to some 10 % before the fit, from the pairs' median distance
_LEAST_INNER = 0.5  # of the pairs that the fit has nearer than s


@dataclass(frozen=True, slots=True)
class Nena:
    """The precision found, or why there is none.

    Attributes
    ----------
    precision_nm : s, nm; NaN where none was found
    reason : why not; "" where it was
    n_pairs : pairs of locs in following frames beyond what chance gives
    bound_nm : (b + 1,) f8, bounds of the histogram
    pairs : (b,) i8, distances per bin
    terms : A1, s, A2, c, w, A3 of the fit, pairs per nm; all NaN where there is no fit
    """

    precision_nm: float
    reason: str
    n_pairs: int
    bound_nm: NDArray[np.float64]
    pairs: NDArray[np.int64]
    terms: tuple[float, ...]

    def fit(self, bound_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fitted pairs in each bin of `bound_nm`; (b,) f8, NaN where there is no fit."""
        return _pairs_per_nm((bound_nm[1:] + bound_nm[:-1]) / 2, *self.terms) * np.diff(bound_nm)


def nena_nm(x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], frame: NDArray[np.integer], *, max_locs: int = MAX_LOCS) -> Nena:
    """Precision of one channel's locs.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm, finite, in any order
    frame : (n,) integer
    max_locs : of more, every k-th interval of 1000 frames is looked at

    Source: Endesfelder et al. 2014, eq. 1.
    """
    if not len(frame):
        return _none("no loc")
    first, last = int(frame.min()), int(frame.max())
    interval = last - first + 1
    lag = far_lag(interval)
    if not lag:
        return _none(f"fewer than {LEAST_FRAMES} frames")
    if len(frame) > max_locs:
        interval = _INTERVAL_FRAMES
        chosen = (frame - first) // interval % -(-len(frame) // max_locs) == 0
        x_nm, y_nm, frame = x_nm[chosen], y_nm[chosen], frame[chosen]
    locs = sort_by_frame(x_nm, y_nm, frame)
    far = far_looks_nm(locs, lag=lag, recording=(first, last), interval=interval)
    return nena_of_distances(locs.nearest_nm(1, reach_nm=REACH_NM), far)


def far_lag(n_frames: int) -> int:
    """How many frames apart no blink is shared, for a recording of `n_frames`; 0 where it is too short to tell."""
    return min(FAR_FRAMES, n_frames // 4) if n_frames >= LEAST_FRAMES else 0


def far_looks_nm(locs: ByFrame, *, lag: int, recording: tuple[int, int], interval: int = 0) -> NDArray[np.float32]:
    """Distance to the nearest loc `lag` frames later and to that of `lag` frames earlier: what chance and structure give.

    Both ways, since bleaching makes later frames emptier; at the recording's ends the one way there is, twice.

    Parameters
    ----------
    recording : its first and last frame
    interval : frames of the intervals that `locs` is a sample of; 0 = all are there

    Returns
    -------
    (n, 2) f4, nm, in the order of `locs`; infinite where no loc lies within reach.
    """
    first, last = recording
    length = interval or last - first + 1
    place = (locs.frame - first) % length
    later, earlier = (locs.nearest_nm(way, reach_nm=REACH_NM) for way in (lag, -lag))
    no_later, no_earlier = (place + lag >= length) | (locs.frame + lag > last), place < lag
    return np.stack([np.where(no_later, earlier, later), np.where(no_earlier, later, earlier)], axis=1)


def nena_of_distances(near_nm: NDArray[np.floating], far_nm: NDArray[np.floating]) -> Nena:
    """Precision from distances to the nearest loc of the next frame and to those of two frames far away.

    Parameters
    ----------
    near_nm, far_nm : (n,) and (n, 2) floating, nm, infinite where there is none within reach
    """
    near, far = (np.sort(distances[np.isfinite(distances)]) for distances in (near_nm, far_nm))
    chance = np.searchsorted(far, near, side="right") / 2
    excess = np.arange(1, len(near) + 1) - chance
    n_pairs = int(excess.max(initial=0))
    if n_pairs < LEAST_PAIRS:
        return _none(f"{n_pairs} pairs of locs in following frames beyond chance, fewer than {LEAST_PAIRS}", n_pairs)
    peak = int(excess.argmax())
    if n_pairs < max(_SIGNIFICANCE * np.sqrt(peak + 1 + chance[peak]), _LEAST_EXCESS * chance[peak]):
        return _none("locs are no nearer to those of the next frame than to those of frames far away", n_pairs)
    # half of the pairs are nearer than 2 s sqrt(ln 2)
    start_nm = float(near[np.searchsorted(np.maximum.accumulate(excess), n_pairs / 2)]) / (2 * np.sqrt(np.log(2)))
    return _fit(near, n_pairs, max(start_nm, 1e-3))


def _fit(near: NDArray[np.floating], n_pairs: int, start_nm: float) -> Nena:
    bound_nm = np.linspace(0, min(_RANGE * start_nm, REACH_NM), _BINS + 1)
    pairs = np.diff(np.searchsorted(near, bound_nm)).astype(np.int64)
    terms = _fit_terms(bound_nm, pairs, n_pairs, start_nm)
    found = Nena(terms[1], "", n_pairs, bound_nm, pairs, terms)
    reason = ""
    if not _LEAST_CHANGE * start_nm < found.precision_nm < start_nm / _LEAST_CHANGE:
        reason = "the distances don't follow the function of NeNA"
    elif np.searchsorted(near, found.precision_nm) < _LEAST_INNER * found.fit(np.linspace(0, found.precision_nm, _BINS)).sum():
        reason = "the nearest pairs are missing: blinks look merged already"
    return replace(found, precision_nm=np.nan, reason=reason, terms=_NO_TERMS) if reason else found


def _fit_terms(bound_nm: NDArray[np.float64], pairs: NDArray[np.int64], n_pairs: int, s_nm: float) -> tuple[float, ...]:
    """Least squares with every bin as certain as its count.

    The middle term stays out of the first one's reach: where precisions differ among molecules it would take up to half of its pairs,
    and s would come out a third too low. Where it vanishes its place and width wander: steps are limited, and s has long settled.
    """
    from scipy.optimize import least_squares

    width_nm, range_nm = float(bound_nm[1]), float(bound_nm[-1])
    rest = max(float(pairs.sum()) - n_pairs, 1.0)
    along_nm = min(_LEAST_ALONG * s_nm, 0.6 * range_nm)
    start = np.array([n_pairs, s_nm, 0.1 * rest, 0.7 * range_nm, range_nm / 8, rest / range_nm**2])
    low = np.array([0.0, s_nm / 4, 0.0, along_nm, s_nm / 4, 0.0])
    high = np.array([np.inf, s_nm * 4, np.inf, range_nm, range_nm / 2, np.inf])
    scale = np.array([n_pairs, s_nm, rest, range_nm, range_nm, rest / range_nm**2])
    middle_nm, roots = (bound_nm[1:] + bound_nm[:-1]) / 2, np.sqrt(pairs + 0.375)

    def misfit(terms: NDArray[np.float64]) -> NDArray[np.float64]:  # Anscombe's roots: equal noise in all bins
        expected = _pairs_per_nm(middle_nm, *terms) * width_nm
        return np.asarray(2 * (np.sqrt(expected + 0.375) - roots))

    found = least_squares(misfit, start, bounds=(low, high), x_scale=scale, ftol=1e-7, xtol=1e-7, max_nfev=200).x
    return tuple(float(term) for term in found)


def _pairs_per_nm(d: NDArray[np.float64], a1: float, s: float, a2: float, c: float, w: float, a3: float) -> NDArray[np.float64]:
    """Equation 1, its terms scaled to numbers of pairs."""
    same = a1 * d / (2 * s**2) * np.exp(-(d**2) / (4 * s**2))
    along = a2 / np.sqrt(2 * np.pi * w**2) * np.exp(-((d - c) ** 2) / (2 * w**2))
    return np.asarray(same + along + a3 * d)


_NO_TERMS = (np.nan,) * 6


def _none(reason: str, n_pairs: int = 0) -> Nena:
    return Nena(np.nan, reason, n_pairs, np.empty(0), np.empty(0, dtype=np.int64), _NO_TERMS)
