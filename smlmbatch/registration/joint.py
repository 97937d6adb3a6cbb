"""Joint registration: all particles at once to one mixture of Gaussians that they make themselves, no template and no pairs.

Each loc, moved with its particle, is a draw of the mixture; expectation-maximisation finds poses, centres, variances and shares together
(JRMPC: Evangelidis & Horaud, IEEE TPAMI 40:1397, 2018; of localisations: Wang, Heydarian et al., Opt. Express 30, 2022). `fitting` says
how it is kept from the hills beside the highest. No width is set by hand: a floor only keeps components from falling in on a single loc.
The result depends on the particles alone: not on the order in which they or their locs are given, and no chance is involved.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.registration.fitting import Fitting, RegisterConfig
from smlmbatch.registration.mixture import Mixture, Poses
from smlmbatch.registration.ragged import Ragged, arrange, nearest_distance_nm

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Registered:
    """Particles in one frame.

    Attributes
    ----------
    rotation : (k, d, d) f8, determinant 1
    shift_nm : (k, d) f8; the particle's point v goes to `rotation @ v + shift_nm`
    mixture : what they share
    log_likelihood : (k,) f8, nats per loc, in the mixture (of which each is a part)
    starts : (s,) f8, nats per loc that each beginning came to at the coarse levels, the best first
    steps : that the last level took
    least_sd_nm : the floor of the components' width
    in_plane : particles were only turned about z
    """

    rotation: Floats
    shift_nm: Floats
    mixture: Mixture
    log_likelihood: Floats
    starts: Floats
    steps: int
    least_sd_nm: float
    in_plane: bool

    @property
    def poses(self) -> Poses:
        """Its rotations and shifts."""
        return Poses(self.rotation, self.shift_nm)


def register(
    start: NDArray[np.integer],
    points_nm: NDArray[np.floating],
    *,
    config: RegisterConfig | None = None,
    precision_nm: NDArray[np.floating] | None = None,
    source: str = "particles",
) -> Registered:
    """Find the pose of each particle in which they are most alike.

    Parameters
    ----------
    start : (k + 1,), first loc of each particle, and m; each has 3 locs or more
    points_nm : (m, d), nm about the particle's centre, d = 2 or 3
    precision_nm : (m,), of the locs; its median is the floor of the components' width
    source : file or field they are of, for messages

    Raises
    ------
    InputError
        too few locs in a particle, or particles of the plane among particles of space
    ConfigError
        turns of space in the plane
    """
    config = config or RegisterConfig()
    particles = arrange(start, points_nm, source=source)
    if particles.points_nm.shape[1] == 2 and config.turns == "space":
        raise ConfigError('turns = "space": these particles have no z; take turns = "plane"')
    task = Fitting.of(particles, config, _least_sd(particles, config, precision_nm))
    fits = [task.anneal(task.begin(number)) for number in task.first_particles()]
    fits.sort(key=lambda fit: -float(fit.sums.log_likelihood.sum()))
    fit, steps = task.finish(fits[0])
    found = np.argsort(particles.particle)
    locs = len(particles.points_nm)
    return Registered(
        rotation=fit.poses.rotation[found],
        shift_nm=fit.poses.shift_nm[found],
        mixture=fit.mixture,
        log_likelihood=(fit.sums.log_likelihood / particles.counts)[found],
        starts=np.array([fit.sums.log_likelihood.sum() / locs for fit in fits]),
        steps=steps,
        least_sd_nm=task.least_sd_nm,
        in_plane=config.turns == "plane",
    )


def _least_sd(particles: Ragged, config: RegisterConfig, precision_nm: NDArray[np.floating] | None) -> float:
    """The floor of the components' width, nm: as set, else the precision's median, else from nearest neighbours."""
    if config.least_sd_nm:
        return config.least_sd_nm
    if precision_nm is not None:
        known = precision_nm[np.isfinite(precision_nm) & (precision_nm > 0)]
        if len(known):
            return float(np.median(known))
    size = float(np.sqrt((particles.points_nm**2).mean()))
    return max(nearest_distance_nm(particles), 1e-3 * size, 1e-3)
