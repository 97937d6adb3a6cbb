"""Which particles a population is of: one channel's, those that can be copies of one structure; what is left out is counted and said why.

A picked group may be two copies that touch or a bead: particles three times as large as most are left out. A loc far from its particle (a
stray one that a file put into the group) pulls at everything, so it is left out too, and its particle stays.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.stored import StoredParticles

LEAST_LOCS: Final = 3
_OUTSIZED: Final = 3.0  # times the median distance of the population's locs
_FAR: Final = 5.0  # the same, of a single loc

FEW, LARGE, SMALL, FAR = (
    "with fewer than 3 locs",
    "more than 3 times as large as most",
    "less than a third as large as most",
    "far from all others",
)


@dataclass(frozen=True, slots=True)
class Population:
    """What is put in order.

    Attributes
    ----------
    stored : the particles that are left
    left_out : reason → particles
    far_locs : locs that were left out of particles that stay
    """

    stored: StoredParticles
    left_out: dict[str, int]
    far_locs: int


def choose_population(stored: StoredParticles) -> Population:
    """Leave out what is no copy of what most are.

    Particles are judged by the median distance of their locs from their centre, against the median of that over all particles.
    """
    particles = stored.particles
    size_nm = median_distances_nm(particles)
    typical_nm = float(np.median(size_nm)) if len(size_nm) else 0.0
    distance_nm = np.sqrt((particles.points_nm.astype(np.float64) ** 2).sum(axis=1))
    near = distance_nm <= _FAR * typical_nm
    count = np.add.reduceat(near, particles.start[:-1]) if len(particles) else np.zeros(0, np.int64)
    reason = np.select(
        [particles.sizes < LEAST_LOCS, size_nm > _OUTSIZED * typical_nm, size_nm * _OUTSIZED < typical_nm, count < LEAST_LOCS],
        [1, 2, 3, 4],
        0,
    )
    left_out = {name: int((reason == code).sum()) for code, name in enumerate((FEW, LARGE, SMALL, FAR), start=1)}
    kept = np.flatnonzero(reason == 0)
    far = int((~near[particles.rows_of(kept)]).sum())
    return Population(stored.take(kept, near), {name: n for name, n in left_out.items() if n}, far)


def median_distances_nm(particles: ParticleSet) -> NDArray[np.float64]:
    """Median distance of each particle's points from its centre: (k,) f8, nm; 0 for one without points."""
    owner = np.repeat(np.arange(len(particles)), particles.sizes)
    distance = np.sqrt((particles.points_nm.astype(np.float64) ** 2).sum(axis=1))
    distance = distance[np.lexsort((distance, owner))]
    low, high = particles.start[:-1] + (particles.sizes - 1) // 2, particles.start[:-1] + particles.sizes // 2
    some = particles.sizes > 0
    found = np.zeros(len(particles))
    found[some] = (distance[low[some]] + distance[high[some]]) / 2
    return found
