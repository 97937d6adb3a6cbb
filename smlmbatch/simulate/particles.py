"""Populations of particles with known radius, height and rotation: what the ordering of particles is learned from and judged by.

Three of them, like the PC-VAE paper's sets in number and size: nuclear pores from above, whose radius varies; pores in 3D, whose radius and
height vary independently; tetrahedra, whose height varies above one base.
A particle is a template of sites, of which some are labelled; a labelled site is seen a geometric number of times, each time with an error
of its own, twice as large along the microscope's axis. The particle is turned about that axis, tilted a little (not in the plane), and
picked a little beside its middle. A site's place is linear in radius and height, which the estimator that knows all this makes use of.

Particle k is a function of (population, seed, k), and its locs come in random order: the first fifth of them is a random fifth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError

Floats = NDArray[np.float64]

AXIAL_TIMES: Final = 2.0  # error along the microscope's axis over the error in the plane
_CORNERS: Final = 8
_OFF_NM: Final = 1.5  # of a site from its corner, along each axis in which a corner has two


@dataclass(frozen=True, slots=True)
class Template:
    """Where sites are: `radius * outward + height * upward + offset`, each (s, 3); offset in nm."""

    outward: Floats
    upward: Floats
    offset_nm: Floats

    def __len__(self) -> int:
        return len(self.outward)

    def sites_nm(self, radius_nm: float, height_nm: float) -> Floats:
        """Sites about the particle's middle, not turned: (s, 3) f8."""
        return np.asarray(radius_nm * self.outward + height_nm * self.upward + self.offset_nm)


def _pore_template(*, layers: tuple[float, ...], offsets: tuple[tuple[float, float], ...]) -> Template:
    """Corners on a circle, in layers at shares of the height, with sites at offsets (radial, tangential)."""
    sites = [(corner * 2 * np.pi / _CORNERS, layer, *offset) for corner in range(_CORNERS) for layer in layers for offset in offsets]
    angle, layer, radial_nm, tangential_nm = np.array(sites).T
    return _template(angle, np.ones(len(angle)), layer, radial_nm, tangential_nm)


def _tetrahedron_template() -> Template:
    """Three corners a quarter of the height below the middle, one three quarters above; six sites each, so that none is missing."""
    corners = [(0.0, 1.0, -0.25), (2 * np.pi / 3, 1.0, -0.25), (4 * np.pi / 3, 1.0, -0.25), (0.0, 0.0, 0.75)]
    sites = [(*corner, *offset) for corner in corners for offset in _OBLONG]
    return _template(*np.array(sites).T)


def _template(angle: Floats, reach: Floats, upward: Floats, radial_nm: Floats, tangential_nm: Floats) -> Template:
    cosine, sine, none = np.cos(angle), np.sin(angle), np.zeros(len(angle))
    outward, along = np.column_stack([cosine, sine, none]), np.column_stack([-sine, cosine, none])
    offset_nm = radial_nm[:, None] * outward + tangential_nm[:, None] * along
    return Template(reach[:, None] * outward, np.column_stack([none, none, upward]), offset_nm)


_SQUARE: Final = tuple((radial, tangential) for radial in (-_OFF_NM, _OFF_NM) for tangential in (-_OFF_NM, _OFF_NM))
_OBLONG: Final = (*_SQUARE, (-_OFF_NM, 0.0), (_OFF_NM, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """How particles of one kind are drawn; ranges are uniform.

    Attributes
    ----------
    key : of its random draws
    axes : 2 or 3
    count : of particles
    fold : turned by 1 / fold of a whole turn, a particle is the same
    template : places of sites
    radius_nm, height_nm : ranges; of one value where it doesn't vary, 0 where there is none
    labelled : chance of a site to be
    blinks : mean locs of a labelled site, geometric
    precision_nm : range of the error of a loc in the plane, sd of each coordinate
    pick_nm : error of the particle's centre, sd of each coordinate
    tilt_rad : about each axis of the plane, sd
    """

    key: int
    axes: int
    count: int
    fold: int
    template: Template
    radius_nm: tuple[float, float]
    height_nm: tuple[float, float] = (0.0, 0.0)
    labelled: float = 0.6
    blinks: float = 8.0
    precision_nm: tuple[float, float] = (5.0, 8.0)
    pick_nm: float = 2.0
    tilt_rad: float = 0.0


PORES_2D: Final = Population(
    key=0x50BE2, axes=2, count=1400, fold=_CORNERS, template=_pore_template(layers=(0.0,), offsets=_SQUARE), radius_nm=(48.0, 66.0)
)
PORES_3D: Final = Population(
    key=0x50BE3,
    axes=3,
    count=3800,
    fold=_CORNERS,
    template=_pore_template(layers=(-0.5, 0.5), offsets=((0.0, -_OFF_NM), (0.0, _OFF_NM))),
    radius_nm=(50.0, 58.0),
    height_nm=(43.0, 53.0),
    blinks=4.1,  # 79 locs of a particle
    tilt_rad=float(np.radians(5.0)),
)
TETRAHEDRA: Final = Population(
    key=0x7E7A,
    axes=3,
    count=218,
    fold=3,
    template=_tetrahedron_template(),
    radius_nm=(55.0, 55.0),
    height_nm=(42.0, 107.0),
    labelled=0.8,
    blinks=64.6,  # 1,240 locs of a particle
    tilt_rad=float(np.radians(5.0)),
)


@dataclass(frozen=True, slots=True)
class DrawnParticles:
    """Particles with their truth; the locs of particle k are rows `start[k]` to `start[k + 1]`.

    Attributes
    ----------
    points_nm : (m, d) f4, nm about the picked centre
    precision_nm : (m,) f4, error of each loc in the plane; along the third axis it is `AXIAL_TIMES` as large
    site : (m,) u1, of the template: which was seen
    start : (k + 1,) i8
    radius_nm, height_nm : (k,) f8; height NaN in the plane
    rotation_rad : (k,) f8 from 0, within what the symmetry leaves to tell
    tilt_rad : (k, 2) f8, about x and y; 0 in the plane
    centre_nm : (k, d) f8, the particle's middle
    """

    points_nm: NDArray[np.float32]
    precision_nm: NDArray[np.float32]
    site: NDArray[np.uint8]
    start: NDArray[np.int64]
    radius_nm: Floats
    height_nm: Floats
    rotation_rad: Floats
    tilt_rad: Floats
    centre_nm: Floats

    def __len__(self) -> int:
        return len(self.radius_nm)


@dataclass(frozen=True, slots=True)
class _Particle:
    points_nm: Floats
    precision_nm: Floats
    site: NDArray[np.int64]
    radius_nm: float
    height_nm: float
    rotation_rad: float
    tilt_rad: Floats
    centre_nm: Floats


def draw_pores_2d(seed: int, *, count: int = PORES_2D.count, share: float = 1.0) -> DrawnParticles:
    """Nuclear pores from above, 8 corners of 4 sites, radius 48 to 66 nm, 154 locs each on average.

    Parameters
    ----------
    count : the first so many of the population
    share : of each particle's locs that are kept, above 0, rounded up; smaller shares keep a part of what larger ones do

    >>> pores = draw_pores_2d(1, count=20)
    >>> pores.points_nm.shape[1], len(pores), len(pores.start), bool((pores.rotation_rad < np.pi / 4).all())
    (2, 20, 21, True)
    """
    return draw_particles(PORES_2D, seed, count=count, share=share)


def draw_pores_3d(seed: int, *, count: int = PORES_3D.count, share: float = 1.0) -> DrawnParticles:
    """Nuclear pores of two rings of 16 sites, radius 50 to 58 nm, height 43 to 53 nm, 79 locs each; parameters as `draw_pores_2d`."""
    return draw_particles(PORES_3D, seed, count=count, share=share)


def draw_tetrahedra(seed: int, *, count: int = TETRAHEDRA.count, share: float = 1.0) -> DrawnParticles:
    """Tetrahedra of 4 corners of 6 sites, height 42 to 107 nm above a base of 55 nm radius, 1,240 locs each; as `draw_pores_2d`."""
    return draw_particles(TETRAHEDRA, seed, count=count, share=share)


def draw_particles(population: Population, seed: int | Sequence[int], *, count: int, share: float = 1.0) -> DrawnParticles:
    """The first particles of a population. A seed may be several numbers, as of a field and its campaign.

    Raises
    ------
    ConfigError
        a share that is not above 0 and up to 1, or a count below 0
    """
    if not 0 < share <= 1 or count < 0:
        raise ConfigError(f"share = {share}, count = {count}: wanted a share above 0 and up to 1, and 0 or more particles")
    drawn = [_draw_particle(population, seed, number) for number in range(count)]
    kept = [int(np.ceil(share * len(one.site))) for one in drawn]
    axes = population.axes
    return DrawnParticles(
        points_nm=_joined([one.points_nm[:n, :axes] for one, n in zip(drawn, kept, strict=True)], np.float32, axes),
        precision_nm=_joined([one.precision_nm[:n] for one, n in zip(drawn, kept, strict=True)], np.float32),
        site=_joined([one.site[:n] for one, n in zip(drawn, kept, strict=True)], np.uint8),
        start=np.concatenate([[0], np.cumsum(kept, dtype=np.int64)]),
        radius_nm=np.array([one.radius_nm for one in drawn]),
        height_nm=np.array([one.height_nm if axes == 3 else np.nan for one in drawn]),
        rotation_rad=np.array([one.rotation_rad for one in drawn]),
        tilt_rad=np.array([one.tilt_rad for one in drawn]).reshape(-1, 2),
        centre_nm=np.array([one.centre_nm[:axes] for one in drawn]).reshape(-1, axes),
    )


def _joined(parts: Sequence[NDArray[np.generic]], dtype: type, *shape: int) -> NDArray[Any]:
    return np.concatenate([np.empty((0, *shape)), *parts]).astype(dtype)


def _draw_particle(population: Population, seed: int | Sequence[int], number: int) -> _Particle:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(population.key, number)))
    radius_nm, height_nm = rng.uniform(*population.radius_nm), rng.uniform(*population.height_nm)
    rotation_rad = rng.uniform(0.0, 2 * np.pi / population.fold)
    tilt_rad, centre_nm = population.tilt_rad * rng.normal(size=2), population.pick_nm * rng.normal(size=3)
    template = population.template
    seen = rng.geometric(1.0 / population.blinks, len(template)) * (rng.random(len(template)) < population.labelled)
    site = rng.permutation(np.repeat(np.arange(len(template)), seen))
    turned_nm = template.sites_nm(radius_nm, height_nm) @ turn_matrix(rotation_rad, *tilt_rad).T + centre_nm
    precision_nm = rng.uniform(*population.precision_nm, len(site))
    error_nm = precision_nm[:, None] * rng.normal(size=(len(site), 3)) * [1.0, 1.0, AXIAL_TIMES]
    return _Particle(turned_nm[site] + error_nm, precision_nm, site, radius_nm, height_nm, rotation_rad, tilt_rad, centre_nm)


def turn_matrix(rotation_rad: float, about_x_rad: float, about_y_rad: float) -> Floats:
    """Turn about z, then about y, then about x: (3, 3) f8.

    >>> (turn_matrix(np.pi / 2, 0.0, 0.0) @ [1.0, 0.0, 0.0]).round(12).tolist()
    [0.0, 1.0, 0.0]
    """
    (cz, sz), (cx, sx), (cy, sy) = ((np.cos(angle), np.sin(angle)) for angle in (rotation_rad, about_x_rad, about_y_rad))
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    return np.asarray(about_x @ about_y @ about_z)
