"""Fields of given structures for reporting how well clusters are found: those of Pineda et al. (MIRO), and some beside them.

Sizes and counts are the paper's where it states them (its section "Simulated data"), and each function says what was chosen elsewhere.
Rings and C-shapes have a radius of 250 nm there, twice the largest that our networks are trained on; `_small` are the same at three tenths.
Clusters lie anywhere and may overlap unless said otherwise. Nothing learns from these fields, and nothing is tuned on the numbers that are
reported.

A field is a function of (scenario, seed, number).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cluster_shapes import SHAPES
from smlmbatch.simulate.clusters import ClusterField
from smlmbatch.simulate.nested import measured_field, places_apart

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Groups = tuple[str, Sequence[Floats]]  # shape, and the locs of each cluster of it about its middle

_PURPOSE: Final = 0x3130  # of the generator's key
_MARGIN: Final = 0.05  # of the side, without middles of clusters, as in the published generator
_SMALL: Final = 0.3
PAIR_SIGMA_NM: Final = 25.0


def draw_scenario(name: str, seed: int, number: int) -> ClusterField:
    """Field `number` of a scenario.

    Raises
    ------
    ConfigError
        no such scenario
    """
    if name not in SCENARIOS:
        raise ConfigError(f"scenario {name!r}: wanted one of {', '.join(SCENARIOS)}")
    return SCENARIOS[name](_generator(seed, number, tuple(SCENARIOS).index(name)))


def draw_pairs(seed: int, number: int, *, separation: float, n_pairs: int = 16) -> ClusterField:
    """Pairs of Gaussian spots `separation` sigma apart, of 25 nm and a geometric number of locs of mean 90, as in the paper.

    The pairs lie 600 nm from one another (chosen), turned at random, without background. A spot has 6 locs at least: fewer are no cluster
    for anybody.
    """
    rng = _generator(seed, number, len(SCENARIOS) + round(100 * separation))
    across = int(np.ceil(np.sqrt(n_pairs)))
    middle_nm = 600.0 * np.column_stack(np.divmod(np.arange(n_pairs), across)) + 300.0
    angle = rng.uniform(0.0, 2 * np.pi, n_pairs)
    half_nm = 0.5 * separation * PAIR_SIGMA_NM * np.column_stack([np.cos(angle), np.sin(angle)])
    centre_nm = np.stack([middle_nm - half_nm, middle_nm + half_nm], axis=1).reshape(-1, 2)
    locs = [_spot(rng, max(int(rng.geometric(1.0 / 90.0)), 6), sigma_nm=PAIR_SIGMA_NM) for _ in centre_nm]
    return _field(rng, [("spot", locs)], centre_nm, side_nm=600.0 * across, background=0.0)


def mosaic(fields: Sequence[ClusterField], *, side_nm: float) -> ClusterField:
    """Square fields side by side, as many in a row as in a column, `side_nm` from one to the next: one field with their clusters.

    Raises
    ------
    ConfigError
        their number is no square
    """
    across = round(np.sqrt(len(fields)))
    if across**2 != len(fields):
        raise ConfigError(f"a mosaic of {len(fields)} fields: wanted a square number")
    shift_nm = [side_nm * np.array(divmod(k, across)) for k in range(len(fields))]
    xy_nm = np.concatenate([field.xy_nm + by for field, by in zip(fields, shift_nm, strict=True)])
    clusters, parents = ([field.cluster for field in fields], [field.parent for field in fields])
    return measured_field(
        xy_nm,
        _numbered_on(clusters),
        shape=np.concatenate([field.shape for field in fields]).astype(np.int64),
        parent=_numbered_on(parents),
    )


def _numbered_on(numbers: Sequence[NDArray[np.integer]]) -> Ints:
    """Each array's numbers go on where the one's before it end; 0 stays 0."""
    before = np.cumsum([0, *(own.max(initial=0) for own in numbers[:-1])])
    return np.concatenate([np.where(own > 0, own + by, 0) for own, by in zip(numbers, before, strict=True)]).astype(np.int64)


def _generator(seed: int, number: int, which: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSE, which, number)))


# ---- one cluster about its middle, (n, 2) nm


def _spot(rng: np.random.Generator, n: int, *, sigma_nm: float) -> Floats:
    return rng.normal(0.0, sigma_nm, (n, 2))


def _ellipse(rng: np.random.Generator, n: int, *, sigma_nm: float, ratio: float) -> Floats:
    """Of the area of a spot of that sigma."""
    return _turned(rng, rng.normal(size=(n, 2)) * sigma_nm * np.sqrt([ratio, 1.0 / ratio]))


def _arc(rng: np.random.Generator, n: int, *, radius_nm: float, rim_nm: float, angle: float) -> Floats:
    at, radius = rng.uniform(0.0, angle, n), rng.normal(radius_nm, rim_nm, n)
    return _turned(rng, np.column_stack([radius * np.cos(at), radius * np.sin(at)]))


def _turned(rng: np.random.Generator, xy_nm: Floats) -> Floats:
    angle = rng.uniform(0.0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(xy_nm @ np.array([[cosine, sine], [-sine, cosine]]))


def _rings(rng: np.random.Generator, n: int, *, scale: float) -> Groups:
    """Circles of 250 nm, 50 nm wide, of 60 to 80 locs."""
    return "ring", [_arc(rng, int(rng.integers(60, 81)), radius_nm=250 * scale, rim_nm=50 * scale, angle=2 * np.pi) for _ in range(n)]


def _cs(rng: np.random.Generator, n: int, *, scale: float) -> Groups:
    """Half circles of 250 nm, 50 nm wide, of 30 to 60 locs."""
    return "c", [_arc(rng, int(rng.integers(30, 61)), radius_nm=250 * scale, rim_nm=50 * scale, angle=np.pi) for _ in range(n)]


def _spots(rng: np.random.Generator, n: int, *, sigma_nm: float) -> Groups:
    """Of 30 to 60 locs."""
    return "spot", [_spot(rng, int(rng.integers(30, 61)), sigma_nm=sigma_nm) for _ in range(n)]


# ---- the scenarios


def _c_shaped(rng: np.random.Generator, *, scale: float = 1.0) -> ClusterField:
    """30 to 60 C-shapes in 6400 nm; 6 % of the locs are background."""
    return _anywhere(rng, [_cs(rng, int(rng.integers(30, 61)), scale=scale)], side_nm=6400 * scale, background=0.06)


def _ring_shaped(rng: np.random.Generator, *, scale: float = 1.0) -> ClusterField:
    """60 to 70 rings in 6400 nm; 7 % of the locs are background."""
    return _anywhere(rng, [_rings(rng, int(rng.integers(60, 71)), scale=scale)], side_nm=6400 * scale, background=0.07)


def _spots_rings(rng: np.random.Generator) -> ClusterField:
    """Sizes chosen: the small rings and spots of 30 nm, 15 to 20 of each in 1920 nm, 7 % background."""
    groups = [_spots(rng, int(rng.integers(15, 21)), sigma_nm=30.0), _rings(rng, int(rng.integers(15, 21)), scale=_SMALL)]
    return _anywhere(rng, groups, side_nm=1920.0, background=0.07)


def _c_rings(rng: np.random.Generator) -> ClusterField:
    """Sizes chosen: the small C-shapes and rings, 15 to 20 of each in 1920 nm, 7 % background."""
    groups = [_cs(rng, int(rng.integers(15, 21)), scale=_SMALL), _rings(rng, int(rng.integers(15, 21)), scale=_SMALL)]
    return _anywhere(rng, groups, side_nm=1920.0, background=0.07)


def _spots_ellipses(rng: np.random.Generator) -> ClusterField:
    """Sizes chosen: spots of 30 nm and ellipses of their area, 3 : 1 as in scenario 6 of Nieves et al.; 15 to 20 of each in 1920 nm."""
    ellipses = [_ellipse(rng, int(rng.integers(30, 61)), sigma_nm=30.0, ratio=3.0) for _ in range(int(rng.integers(15, 21)))]
    groups: list[Groups] = [_spots(rng, int(rng.integers(15, 21)), sigma_nm=30.0), ("ellipse", ellipses)]
    return _anywhere(rng, groups, side_nm=1920.0, background=0.07)


def _rings_of_spots(rng: np.random.Generator) -> ClusterField:
    """The paper's two scales: 40 to 60 rings of 40 nm in 1250 nm, of 5 to 9 spots of 15 nm and 6 to 30 locs each; 1.5 % background.

    Rings lie 100 nm apart at least (chosen). Neighbouring spots of a ring of 8 are 2.0 sigma apart, of a ring of 5 3.1 sigma.
    """
    rings = places_apart(rng, int(rng.integers(40, 61)), side_nm=1250.0, apart_nm=100.0)
    corners = [_corners(rng, int(rng.integers(5, 10)), radius_nm=40.0) for _ in rings]
    centre_nm = np.concatenate([middle + own for middle, own in zip(rings, corners, strict=True)])
    parent = np.repeat(np.arange(len(rings)) + 1, [len(own) for own in corners])
    locs = [_spot(rng, int(rng.integers(6, 31)), sigma_nm=15.0) for _ in centre_nm]
    return _field(rng, [("spot", locs)], centre_nm, side_nm=1250.0, background=0.015, parent=parent)


def _pores(rng: np.random.Generator) -> ClusterField:
    """Nuclear pores (chosen): 45 rings of 53 nm in 2000 nm, 120 nm apart at least; 8 corners of 7 nm, of which 75 % show with a geometric
    number of locs, of mean 8; a tenth of the locs is background.
    """
    middle_nm = places_apart(rng, 45, side_nm=2000.0, apart_nm=120.0)
    centre_nm = np.concatenate([middle + _corners(rng, 8, radius_nm=53.0) for middle in middle_nm])
    seen = rng.random(len(centre_nm)) < 0.75
    parent = np.repeat(np.arange(len(middle_nm)) + 1, 8)[seen]
    locs = [_spot(rng, int(rng.geometric(1.0 / 8.0)), sigma_nm=7.0) for _ in parent]
    return _field(rng, [("spot", locs)], centre_nm[seen], side_nm=2000.0, background=0.1, parent=parent)


def _corners(rng: np.random.Generator, n: int, *, radius_nm: float) -> Floats:
    angle = rng.uniform(0.0, 2 * np.pi) + np.arange(n) * (2 * np.pi / n)
    return radius_nm * np.column_stack([np.cos(angle), np.sin(angle)])


SCENARIOS: Final[Mapping[str, Callable[[np.random.Generator], ClusterField]]] = MappingProxyType(
    {
        "c_shaped": _c_shaped,
        "rings": _ring_shaped,
        "c_shaped_small": lambda rng: _c_shaped(rng, scale=_SMALL),
        "rings_small": lambda rng: _ring_shaped(rng, scale=_SMALL),
        "spots_rings": _spots_rings,
        "c_rings": _c_rings,
        "spots_ellipses": _spots_ellipses,
        "rings_of_spots": _rings_of_spots,
        "pores": _pores,
    }
)


# ---- together


def _anywhere(rng: np.random.Generator, groups: Sequence[Groups], *, side_nm: float, background: float) -> ClusterField:
    """Clusters anywhere but at the very edge, on top of one another where it happens."""
    n = sum(len(locs) for _, locs in groups)
    centre_nm = rng.uniform(_MARGIN * side_nm, (1 - _MARGIN) * side_nm, (n, 2))
    return _field(rng, groups, centre_nm, side_nm=side_nm, background=background)


def _field(
    rng: np.random.Generator,
    groups: Sequence[Groups],
    centre_nm: Floats,
    *,
    side_nm: float,
    background: float,
    parent: Ints | None = None,
) -> ClusterField:
    """Clusters at their middles on a uniform background, which is that share of all locs."""
    clusters = [locs for _, own in groups for locs in own]
    shape = np.repeat([tuple(SHAPES).index(name) for name, _ in groups], [len(own) for _, own in groups])
    of = np.repeat(np.arange(len(clusters)), [len(locs) for locs in clusters])
    n_background = round(background / (1.0 - background) * len(of))
    xy_nm = np.concatenate([np.concatenate(clusters) + centre_nm[of], rng.uniform(0.0, side_nm, (n_background, 2))])
    order = rng.permutation(len(xy_nm))
    cluster = np.concatenate([of + 1, np.zeros(n_background, dtype=np.int64)])[order]
    none = np.zeros(len(clusters), dtype=np.int64)
    return measured_field(xy_nm[order], cluster, shape=shape, parent=none if parent is None else parent)
