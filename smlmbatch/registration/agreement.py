"""How well particles agree with what they share: whether a registration found a structure at all, and which particles aren't of it.

A mixture always fits the particles it was made of, so each is judged by the mixture of others: the particles are dealt into ten groups, and
components are found anew, by one M-step, without the group judged. Then

- a particle's `fit` is its log-likelihood per loc at its pose, and its `score` how far that lies from what particles usually have;
- its locs are cut in two halves by a line through its middle, one half says how the particle is turned, and the other is held against
  that. `gain` is what it fits better so than on average over all rotations. Halves know of each other even where there is nothing to
  register: few molecules make long shapes, and a centre balances them. So the same particles are registered once more with one half of each
  mirrored, which leaves all that (molecules anywhere stay molecules anywhere) and breaks a structure. `gain_z` is how much larger the gain
  is of the two, in standard errors; below `LEAST_Z` the registration has failed;
- the halves' own angles near the pose found tell how well it is known: half their difference has the spread of the whole's error, as long
  as errors of the two halves are independent.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.registration.fitting import GRID_STEPS, MOST_LOOKED_UP, RegisterConfig
from smlmbatch.registration.joint import Registered, register
from smlmbatch.registration.mixture import Mixture, Poses, Raster, Sums, expect, maximise, rasterise
from smlmbatch.registration.ragged import Ragged, arrange
from smlmbatch.registration.rotations import plane_rotations, space_rotations

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_Z: Final = 5.0
POOR_SCORE: Final = -4.0
_GROUPS: Final = 10
_ANGLES: Final = 180
_SD_OF_MEDIAN: Final = 1.4826  # sd of a normal distribution over its median absolute deviation


@dataclass(frozen=True, slots=True)
class Agreement:
    """What k particles say of each other.

    Attributes
    ----------
    fit : (k,) f8, nats per loc in the mixture of other particles
    score : (k,) f8, `fit` below or above the median, in robust standard deviations
    poor : (k,) bool, a score below `POOR_SCORE`: another structure, or none
    gain : (k,) f8, nats per loc that one half fits better in the other's rotation than in any
    mirrored_gain : the mean of the same with one half of each particle mirrored, registered anew
    gain_z : how far the mean gain is above that, in standard errors; 0 for a single particle
    rotation_sd_deg : of the angle in the plane, from the halves; NaN where particles turn in space
    """

    fit: Floats
    score: Floats
    poor: Bools
    gain: Floats
    mirrored_gain: float
    gain_z: float
    rotation_sd_deg: float

    @property
    def failed(self) -> bool:
        """Whether nothing was found that particles have in common beyond their outline."""
        return not self.gain_z >= LEAST_Z


def judge_agreement(
    start: NDArray[np.integer],
    points_nm: NDArray[np.floating],
    registered: Registered,
    *,
    config: RegisterConfig | None = None,
    source: str = "particles",
) -> Agreement:
    """Hold each particle against the others; costs one more registration, of mirrored halves.

    Parameters
    ----------
    start, points_nm : the particles that were registered
    config : with which they were
    """
    config = config or RegisterConfig()
    particles = arrange(start, points_nm, source=source)
    turns = plane_rotations(2 * np.pi * np.arange(_ANGLES) / _ANGLES) if registered.in_plane else space_rotations(config.rotations)
    held = _hold(particles, registered, turns)
    mirrored = arrange(particles.start, _mirror_halves(particles), source=source)
    by_chance = _hold(mirrored, register(mirrored.start, mirrored.points_nm, config=config, source=source), turns).gain
    back = np.argsort(particles.particle)
    score = _score(held.fit)[back]
    return Agreement(
        fit=held.fit[back],
        score=score,
        poor=score < POOR_SCORE,
        gain=held.gain[back],
        mirrored_gain=float(by_chance.mean()),
        gain_z=_errors_above(held.gain, by_chance),
        rotation_sd_deg=_rotation_sd_deg(*held.halves) if registered.in_plane else math.nan,
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """Particles held against others: nats per loc as in `Agreement`, and log-likelihoods of the halves in all rotations, (k, g) each."""

    fit: Floats
    gain: Floats
    halves: tuple[Floats, Floats]


def _hold(particles: Ragged, registered: Registered, turns: Floats) -> _Held:
    poses = Poses(registered.rotation[particles.particle], registered.shift_nm[particles.particle])
    first, second = _halves(particles)
    whole, halves = _held_against_others(particles, poses, registered, turns, (first, second))
    gain = (_gain(halves[0], halves[1], second, particles) + _gain(halves[1], halves[0], first, particles)) / 2
    return _Held(whole / particles.counts, gain, halves)


def _left(particles: Ragged) -> Bools:
    """Locs left of their particle's median x, before it was turned; (m,)."""
    rank = np.arange(len(particles.points_nm)) - particles.spread(particles.start[:-1])  # locs lie in the order of x
    left: Bools = rank < particles.spread(particles.counts // 2)
    return left


def _mirror_halves(particles: Ragged) -> Floats:
    """Places with y turned over in the left half of each particle."""
    mirrored = particles.points_nm.copy()
    mirrored[_left(particles), 1] *= -1
    return mirrored


def _errors_above(gain: Floats, by_chance: Floats) -> float:
    if len(gain) < 2:
        return 0.0
    error = math.sqrt((float(gain.var(ddof=1)) + float(by_chance.var(ddof=1))) / len(gain))
    return float(gain.mean() - by_chance.mean()) / error if error > 0 else 0.0


def _halves(particles: Ragged) -> tuple[Floats, Floats]:
    """Locs of the left and of the right halves: weight 1 where in the half, (m,) each; of many locs a part."""
    rank = np.arange(len(particles.points_nm)) - particles.spread(particles.start[:-1])
    used = rank % particles.spread(-(-particles.counts // MOST_LOOKED_UP)) == 0
    left = _left(particles)
    return (left & used).astype(np.float64), (~left & used).astype(np.float64)


def _held_against_others(
    particles: Ragged, poses: Poses, registered: Registered, turns: Floats, halves: tuple[Floats, Floats]
) -> tuple[Floats, tuple[Floats, Floats]]:
    """Log-likelihood of each particle, (k,), and of its halves in all rotations, (k, g) each, in the mixture of the other groups."""
    everything = np.ones(len(particles.points_nm))
    sums = expect(particles, poses, registered.mixture, everything)
    placed = poses.place(particles)
    group = np.arange(len(particles.counts)) % _GROUPS
    whole, one, other = np.empty(len(group)), np.empty((len(group), len(turns))), np.empty((len(group), len(turns)))
    for number in np.unique(group):
        mine = group == number
        mixture = _without(sums, poses, registered, mine) if not mine.all() else registered.mixture
        own, at = _some(particles, mine), particles.spread(mine)
        raster = _raster(mixture, in_plane=registered.in_plane)
        seen = np.ascontiguousarray(placed[at][:, : turns.shape[1]])
        whole[mine] = expect(own, Poses(poses.rotation[mine], poses.shift_nm[mine]), mixture, everything[at]).log_likelihood
        one[mine], other[mine] = (raster.look_up(own, seen, turns, half[at]) for half in halves)
    return whole, (one, other)


def _raster(mixture: Mixture, *, in_plane: bool) -> Raster:
    flat = mixture.from_above() if in_plane else mixture
    return rasterise(flat, most_steps=GRID_STEPS[flat.axes])


def _without(sums: Sums, poses: Poses, registered: Registered, mine: Bools) -> Mixture:
    """The mixture without some particles, by one M-step of the others' sums."""
    rest = Poses(poses.rotation[~mine], poses.shift_nm[~mine])
    left = Sums(
        weight=sums.weight[~mine],
        first_nm=sums.first_nm[~mine],
        square_nm2=sums.square_nm2[~mine],
        background=sums.background * float(sums.weight[~mine].sum() / sums.weight.sum()),
        log_likelihood=sums.log_likelihood[~mine],
    )
    z_apart = registered.in_plane and registered.mixture.axes == 3
    return maximise(left, rest, registered.mixture, least_sd_nm=registered.least_sd_nm, z_apart=z_apart)


def _some(particles: Ragged, mine: Bools) -> Ragged:
    at = particles.spread(mine)
    start = np.concatenate(([0], np.cumsum(particles.counts[mine])))
    return Ragged(start, particles.points_nm[at], particles.particle[mine], particles.loc[at])


def _gain(judging: Floats, judged: Floats, weight: Floats, particles: Ragged) -> Floats:
    """What the half judged fits better in the rotation that the other half likes best than on average; nats per loc, (k,)."""
    best = judged[np.arange(len(judged)), judging.argmax(axis=1)]
    locs = np.add.reduceat(weight, particles.start[:-1])
    gain: Floats = (best - judged.mean(axis=1)) / np.maximum(locs, 1)
    return gain


def _score(fit: Floats) -> Floats:
    away = fit - np.median(fit)
    spread = _SD_OF_MEDIAN * float(np.median(np.abs(away)))
    return away / spread if spread > 0 else np.zeros(len(fit))


def _rotation_sd_deg(first: Floats, second: Floats) -> float:
    """Spread of half the difference of the angles that the halves climb to from the pose found, degrees."""
    apart = (_nearest_top(first) - _nearest_top(second)) * 360 / _ANGLES
    return _SD_OF_MEDIAN * float(np.median(np.abs(apart - np.median(apart)))) / 2


def _nearest_top(likelihood: Floats) -> Floats:
    """Where each row climbs to from its first place, going round, in steps; refined by a parabola; (k,)."""
    rows, count = np.arange(len(likelihood)), likelihood.shape[1]
    at = np.zeros(len(likelihood), np.int64)
    for _ in range(count // 2):
        beside = np.stack([likelihood[rows, (at + step) % count] for step in (-1, 0, 1)])
        step = beside.argmax(axis=0) - 1
        step[beside[1] >= beside.max(axis=0)] = 0
        if not step.any():
            break
        at += step
    before, top, after = (likelihood[rows, (at + step) % count] for step in (-1, 0, 1))
    bend = before - 2 * top + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0.0)
    top_at: Floats = at + np.clip(shift, -0.5, 0.5)
    return top_at
