"""How a registration climbs: from coarse to fine, with rotations tried all round.

Expectation-maximisation climbs to the nearest hill only, so

- it begins with one particle, blurred to a quarter of its size, as the mixture; several such beginnings are tried and the best goes on,
- before each level, and again once variances are free, every particle is held against the mixture in rotations all round; of the best of
  these and of the pose so far, each improved against the blurred and then the sharp mixture, the most likely is taken,
- it ends when the likelihood stands still.

Components' shares differ, as labelling does; a part of the locs may belong to an even background.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.registration.mixture import Mixture, Poses, Sums, expect, maximise, rasterise
from smlmbatch.registration.ragged import Ragged
from smlmbatch.registration.rotations import best_rotations, degrees_between, plane_rotations, space_rotations

Floats = NDArray[np.float64]

TURNS: Final = ("plane", "space")
_BLURS: Final = (0.25, 0.12)  # of the particles' radius of gyration, before variances are free
_COARSE_STEPS: Final = 8
_POLISH: Final = 3
_CANDIDATES: Final = 3  # poses of each particle that are polished
_STILL: Final = 1e-5  # nats per loc and step: 0.1 nats over a bin of 10^4 locs
MOST_LOOKED_UP: Final = 256  # locs of a particle held against all rotations
GRID_STEPS: Final = {2: 256, 3: 96}  # steps per axis
_BEGIN_BACKGROUND: Final = 0.05
_APART_DEG: Final = {"plane": 12.0, "space": 40.0}  # candidates nearer than this climb to the same pose


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterConfig:
    """How particles are registered."""

    turns: str = "plane"  # particles turn about z ("plane") or about any axis ("space")
    components: int = 48  # of the mixture; a pore has 32 sites
    starts: int = 3  # particles to begin with
    angles: int = 72  # rotations tried in the plane
    rotations: int = 576  # rotations tried in space
    steps: int = 30  # of the last level, at most
    least_sd_nm: float = 0.0  # of a component; 0 = from the data

    def __post_init__(self) -> None:
        if self.turns not in TURNS:
            raise ConfigError(f'turns = "{self.turns}": wanted one of {", ".join(TURNS)}')
        for name in ("components", "starts", "angles", "rotations", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: wanted 1 or more")
        if not 0 <= self.least_sd_nm < math.inf:
            raise ConfigError(f"least_sd_nm = {self.least_sd_nm}: wanted a length in nm, or 0 to find it")


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the iteration stands."""

    poses: Poses
    mixture: Mixture
    sums: Sums


@dataclass(frozen=True, slots=True)
class Fitting:
    """What stays the same during a registration."""

    particles: Ragged
    config: RegisterConfig
    least_sd_nm: float
    size_nm: float
    reach_nm: float
    weight: Floats
    looked_up: Floats
    turns: Floats

    @classmethod
    def of(cls, particles: Ragged, config: RegisterConfig, least_sd_nm: float, weight: Floats | None = None) -> "Fitting":
        away = np.sqrt((particles.points_nm**2).sum(axis=1))
        looked_up = np.ones(len(away)) if weight is None else weight.copy()
        within = np.arange(len(away)) - particles.spread(particles.start[:-1])
        stride = particles.spread(-(-particles.counts // MOST_LOOKED_UP))
        looked_up[within % stride != 0] = 0
        turns = (
            plane_rotations(2 * np.pi * np.arange(config.angles) / config.angles)
            if config.turns == "plane"
            else space_rotations(config.rotations)
        )
        return cls(
            particles=particles,
            config=config,
            least_sd_nm=least_sd_nm,
            size_nm=max(float(np.sqrt(np.median(away**2))), least_sd_nm),
            reach_nm=1.5 * max(float(np.quantile(away, 0.995)), least_sd_nm),
            weight=np.ones(len(away)) if weight is None else weight,
            looked_up=looked_up,
            turns=turns,
        )

    @property
    def in_plane(self) -> bool:
        return self.config.turns == "plane"

    @property
    def z_apart(self) -> bool:
        return self.in_plane and self.particles.points_nm.shape[1] == 3

    def first_particles(self) -> list[int]:
        """Those to begin with: spread over the half with most locs, the fullest first."""
        k = len(self.particles.counts)
        ranks = np.linspace(k - 1, k // 2, min(self.config.starts, k - k // 2))
        return list(dict.fromkeys(int(rank) for rank in ranks.round()))

    def begin(self, number: int) -> Fit:
        """Particles as given, and one of them as the mixture."""
        own = self.particles.points_nm[self.particles.start[number] : self.particles.start[number + 1]]
        own = own[:: -(-len(own) // MOST_LOOKED_UP)]
        k, axes = len(self.particles.counts), own.shape[1]
        poses = Poses(np.tile(np.eye(axes), (k, 1, 1)), np.zeros((k, axes)))
        share = np.full(len(own), (1 - _BEGIN_BACKGROUND) / len(own))
        mixture = Mixture(own, np.full(own.shape, (_BLURS[0] * self.size_nm) ** 2), share, _BEGIN_BACKGROUND, self.reach_nm)
        return self.expect(poses, mixture)

    def expect(self, poses: Poses, mixture: Mixture) -> Fit:
        return Fit(poses, mixture, expect(self.particles, poses, mixture, self.weight))

    def anneal(self, fit: Fit) -> Fit:
        """From coarse to fine, with all rotations tried at each level."""
        for level, blur in enumerate(_BLURS):
            sd_nm = max(blur * self.size_nm, self.least_sd_nm)
            fit = self.search(self.expect(fit.poses, fit.mixture.blurred(sd_nm)), polish=level > 0)
            fit = self.expect(fit.poses, self.fresh_mixture(fit.poses, sd_nm))
            for _ in range(_COARSE_STEPS):
                fit = self.step(fit, sd_nm)
        return fit

    def finish(self, fit: Fit) -> tuple[Fit, int]:
        """Variances become free; once they are, all rotations are tried once more."""
        steps, searched = 0, False
        while steps < self.config.steps:
            before = float(fit.sums.log_likelihood.sum())
            fit = self.step(fit, self.least_sd_nm)
            steps += 1
            still = float(fit.sums.log_likelihood.sum()) - before < _STILL * self.weight.sum()
            if not searched and (still or steps == self.config.steps // 3):
                fit, searched = self.search(fit, polish=True), True
            elif still:
                break
        return fit, steps

    def step(self, fit: Fit, least_sd_nm: float) -> Fit:
        """Poses, then the mixture, then which loc belongs to which component."""
        poses = self.rigid(fit)
        mixture = maximise(fit.sums, poses, fit.mixture, least_sd_nm=least_sd_nm, z_apart=self.z_apart)
        return self.expect(poses, mixture)

    def rigid(self, fit: Fit) -> Poses:
        """The motion of each particle that brings its locs nearest to the components they belong to, by weighted least squares."""
        inverse = 1 / fit.mixture.variance_nm2
        weight = fit.sums.weight @ inverse  # (k, d)
        held = weight.min(axis=1) > 1e-9  # a particle all of background stays where it is
        weight = np.maximum(weight, 1e-9)
        first = fit.sums.first_nm * inverse
        mean = first.sum(axis=1) / weight
        target = fit.sums.weight @ (inverse * fit.mixture.centre_nm) / weight
        covariance = np.einsum("kcd,ce->kde", first, fit.mixture.centre_nm) - weight[:, :, None] * mean[:, :, None] * target[:, None, :]
        rotation = best_rotations(covariance, in_plane=self.in_plane)
        return fit.poses.where(held, Poses(rotation, target - np.einsum("kde,ke->kd", rotation, mean)))

    def search(self, fit: Fit, *, polish: bool) -> Fit:
        """Try rotations all round for each particle; keep the most likely pose."""
        coarse = fit.mixture.blurred(max(_BLURS[-1] * self.size_nm, self.least_sd_nm))
        flat = coarse.from_above() if self.in_plane else coarse
        raster = rasterise(flat, most_steps=GRID_STEPS[flat.axes])
        placed = np.ascontiguousarray(fit.poses.place(self.particles)[:, : flat.axes])
        found = raster.look_up(self.particles, placed, self.turns, self.looked_up)
        if not polish:
            return self.expect(fit.poses.then(self._turn(found.argmax(axis=1))), fit.mixture)
        poses, most = fit.poses, self.polish(fit.poses, fit.mixture).sums.log_likelihood
        for number in self._candidates(found):
            tried = self.polish(self.polish(fit.poses.then(self._turn(number)), coarse).poses, fit.mixture)
            better = tried.sums.log_likelihood > most + 1e-9
            poses, most = poses.where(better, tried.poses), np.maximum(most, tried.sums.log_likelihood)
        return self.expect(poses, fit.mixture)

    def polish(self, poses: Poses, mixture: Mixture) -> Fit:
        """Poses improved against a mixture that stays as it is."""
        fit = self.expect(poses, mixture)
        for _ in range(_POLISH):
            fit = self.expect(self.rigid(fit), mixture)
        return fit

    def _turn(self, number: NDArray[np.integer]) -> Floats:
        """Rotations tried, of each particle's number, as (k, d, d)."""
        turn = np.tile(np.eye(self.particles.points_nm.shape[1]), (len(number), 1, 1))
        axes = self.turns.shape[1]
        turn[:, :axes, :axes] = self.turns[number]
        return turn

    def _candidates(self, found: Floats) -> list[NDArray[np.int64]]:
        """The best rotations of each particle, none beside another; (k,) each."""
        left, chosen = found.copy(), []
        for _ in range(_CANDIDATES):
            chosen.append(left.argmax(axis=1))
            away = degrees_between(self.turns[None], self.turns[chosen[-1]][:, None])
            left = np.where(away > _APART_DEG[self.config.turns], left, -np.inf)
        return chosen

    def fresh_mixture(self, poses: Poses, sd_nm: float) -> Mixture:
        """Components spread over the placed locs anew."""
        centre, share = spread_centres(poses.place(self.particles), self.weight, cell_nm=sd_nm / 3, count=self.config.components)
        share = np.maximum(share, 1e-6) * (1 - _BEGIN_BACKGROUND) / np.maximum(share, 1e-6).sum()
        return Mixture(centre, np.full(centre.shape, sd_nm**2), share, _BEGIN_BACKGROUND, self.reach_nm)


def spread_centres(points_nm: Floats, weight: Floats, *, cell_nm: float, count: int) -> tuple[Floats, Floats]:
    """`count` places (or as many as there are cells) that stand for points, and the share of each; no chance, no order.

    As k-means++ picks (Arthur & Vassilvitskii 2007), but always the most wanted cell: weight times squared distance to the nearest
    centre so far, no farther than 3 cells counting, lest strays be picked; then Lloyd's steps.
    """
    from scipy.spatial import cKDTree

    cells, cell_of = np.unique(np.floor(points_nm / cell_nm).astype(np.int64), axis=0, return_inverse=True)
    mass = np.bincount(cell_of.ravel(), weight, minlength=len(cells))
    place = np.stack([np.bincount(cell_of.ravel(), weight * axis, minlength=len(cells)) for axis in points_nm.T], axis=1) / mass[:, None]
    near = np.full(len(cells), (3 * cell_nm) ** 2)
    chosen: list[int] = []
    for _ in range(min(count, len(cells))):
        chosen.append(int((mass * near).argmax()))
        near = np.minimum(near, ((place - place[chosen[-1]]) ** 2).sum(axis=1))
    centre = place[chosen]
    for _ in range(5):
        nearest = cKDTree(centre).query(place)[1]
        held = np.bincount(nearest, mass, minlength=len(centre))
        moved = np.stack([np.bincount(nearest, mass * axis, minlength=len(centre)) for axis in place.T], axis=1)
        centre = np.where(held[:, None] > 0, moved / np.maximum(held, 1e-12)[:, None], centre)
    return centre, held / mass.sum()
