"""Single ROIs of known architecture: the sets on which the embedding is judged.

As in Fig 2 of Shirgill et al. (Gaussian clusters; clusters and straight fibres), with what is left open there stated here: 100 locs a
cluster, sigma 50 nm, a random background of a quarter of the clustered locs. With a fixed number of locs a cluster, the total count
alone tells 2 clusters from 20; hence the sets of equal total, of random cluster size, and thinned to 900 locs (100 per um2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.simulate.patterns import Pattern

SIDE_NM: Final = 3000.0
_FIBRE_SIGMA_NM: Final = 15.0  # across a fibre: label and localisation error of a microtubule
_SET_PURPOSE: Final = 0x801

CountOf = Literal["fixed", "poisson", "random"]  # exactly p; Poisson of mean p; one p per ROI, uniform from p/2 to 2p


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiSpec:
    """One condition.

    Attributes
    ----------
    clusters, fibres : how many in the ROI; centres and chords are uniform
    size, count : locs a cluster (p) and how it varies
    fibre_size : locs a fibre, in multiples of p; a fibre joins two random points on different sides of the square
    background : random locs in multiples of all others; infinite = nothing but background (`total` needed)
    total : thin to or scale to exactly this many locs; 0 = as they come
    """

    clusters: int = 0
    fibres: int = 0
    size: float = 100.0
    sigma_nm: float = 50.0
    fibre_size: float = 1.0
    background: float = 0.25
    count: CountOf = "fixed"
    total: int = 0


def draw_roi(spec: RoiSpec, rng: np.random.Generator) -> NDArray[np.float64]:
    """Positions of one ROI: (n, 2) f8, nm, x and y from 0 to 3,000."""
    return draw_pattern(spec, rng).xy_nm


def draw_pattern(spec: RoiSpec, rng: np.random.Generator) -> Pattern:
    """One ROI with its truth. Members that fall outside are lost, as at a real edge."""
    if spec.total:
        return _draw_total(spec, rng)
    size = rng.uniform(spec.size / 2, 2 * spec.size) if spec.count == "random" else spec.size
    clusters, cluster = _clusters(spec, size, rng)
    fibres, fibre = _fibres(spec, size, rng)
    n_structure = len(clusters) + len(fibres)
    n_background = spec.background * n_structure if np.isfinite(spec.background) else 0.0
    background = rng.uniform(0, SIDE_NM, (int(rng.poisson(n_background) if spec.count == "poisson" else round(n_background)), 2))
    xy_nm = np.concatenate([clusters, fibres, background])
    pattern = Pattern(xy_nm, _at(cluster, len(xy_nm), first=0), _at(fibre, len(xy_nm), first=len(clusters)))
    return _take(pattern, np.logical_and.reduce((xy_nm >= 0) & (xy_nm < SIDE_NM), axis=1))


def _draw_total(spec: RoiSpec, rng: np.random.Generator) -> Pattern:
    """Exactly `total` locs: structure drawn too rich, thinned at random."""
    if not np.isfinite(spec.background) or not (spec.clusters or spec.fibres):
        nothing = np.zeros(spec.total, dtype=np.int32)
        return Pattern(rng.uniform(0, SIDE_NM, (spec.total, 2)), nothing, nothing)
    # four times as rich as needed: even one cluster in a corner keeps a quarter
    size = 4.0 * spec.total / (spec.clusters + spec.fibres * spec.fibre_size)
    rich = draw_pattern(replace(spec, total=0, size=size, count="fixed"), rng)
    while len(rich) < spec.total:
        rich = draw_pattern(replace(spec, total=0, size=2 * size, count="fixed"), rng)
    return _take(rich, rng.choice(len(rich), spec.total, replace=False))


def _take(pattern: Pattern, index: NDArray[np.generic]) -> Pattern:
    return Pattern(pattern.xy_nm[index], pattern.cluster[index], pattern.fibre[index])


def _at(number: NDArray[np.int32], n: int, *, first: int) -> NDArray[np.int32]:
    """These numbers from the place `first` on, 0 elsewhere."""
    whole = np.zeros(n, dtype=np.int32)
    whole[first : first + len(number)] = number
    return whole


def thin(points_nm: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`n` of the locs at random, without replacement; fewer where there are fewer."""
    return points_nm if len(points_nm) <= n else points_nm[rng.choice(len(points_nm), n, replace=False)]


def _clusters(spec: RoiSpec, size: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Positions, and the number of each one's cluster from 1."""
    sizes = rng.poisson(size, spec.clusters) if spec.count == "poisson" else np.full(spec.clusters, round(size))
    centre_nm = np.repeat(rng.uniform(0, SIDE_NM, (spec.clusters, 2)), sizes, axis=0)
    number = np.repeat(np.arange(1, spec.clusters + 1, dtype=np.int32), sizes)
    return centre_nm + rng.normal(0, spec.sigma_nm, centre_nm.shape), number


def _fibres(spec: RoiSpec, size: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Positions, and the number of each one's fibre from 1."""
    mean = size * spec.fibre_size
    sizes = rng.poisson(mean, spec.fibres) if spec.count == "poisson" else np.full(spec.fibres, round(mean))
    xy_nm = np.concatenate([np.empty((0, 2)), *(_fibre(int(n), rng) for n in sizes)])
    return xy_nm, np.repeat(np.arange(1, spec.fibres + 1, dtype=np.int32), sizes)


def _fibre(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`n` locs along a chord between two points of the square's edge, on different sides."""
    sides = rng.choice(4, 2, replace=False)
    ends = np.array([_on_edge(int(side), float(rng.uniform(0, SIDE_NM))) for side in sides])
    along = rng.uniform(size=(n, 1))
    points_nm: NDArray[np.float64] = ends[0] + along * (ends[1] - ends[0]) + rng.normal(0, _FIBRE_SIGMA_NM, (n, 2))
    return points_nm


def _on_edge(side: int, at_nm: float) -> tuple[float, float]:
    return ((0.0, at_nm), (SIDE_NM, at_nm), (at_nm, 0.0), (at_nm, SIDE_NM))[side]


_FIVE: Final = (2, 5, 9, 10, 20)
_FOUR: Final = (2, 5, 10, 20)
_CSR: Final = RoiSpec(background=np.inf)


def _by_clusters(numbers: tuple[int, ...], **settings: object) -> dict[str, RoiSpec]:
    return {f"{n} clusters": RoiSpec(clusters=n, **settings) for n in numbers}  # type: ignore[arg-type]


# Name of a set → condition → what is drawn.
SETS: Final[Mapping[str, Mapping[str, RoiSpec]]] = MappingProxyType(
    {
        "clusters_fixed": _by_clusters(_FIVE),
        "clusters_poisson": _by_clusters(_FIVE, count="poisson"),
        "clusters_random_5": _by_clusters(_FIVE, count="random"),
        "clusters_random_4": _by_clusters(_FOUR, count="random"),
        "clusters_equal_n": _by_clusters(_FOUR, total=1000),
        "clusters_900": _by_clusters(_FIVE, total=900),
        "kinds_900": {
            "random": replace(_CSR, total=900),
            "clusters": RoiSpec(clusters=10, total=900),
            "fibres": RoiSpec(fibres=10, total=900),
            "mixture": RoiSpec(clusters=5, fibres=5, total=900),
        },
        "fibre_gradient": {f"{k}x": RoiSpec(clusters=5, fibres=5, fibre_size=k) for k in (1, 2, 5, 10, 20)},
        "sigma_900": {f"{sigma} nm": RoiSpec(clusters=10, sigma_nm=sigma, total=900) for sigma in (30, 40, 50, 60)},
        "density_random": {f"{d}/um2": replace(_CSR, total=9 * d) for d in (50, 100, 200, 400)},
        "density_clusters": {f"{d}/um2": RoiSpec(clusters=10, total=9 * d) for d in (50, 100, 200, 400)},
    }
)


def draw_set(name: str, *, rois_per_condition: int, seed: int) -> list[tuple[str, NDArray[np.float64]]]:
    """(condition, positions) of a whole set; ROI i of a condition is the same however many are drawn."""
    return [
        (condition, draw_member(name, condition=c, roi=i, seed=seed).xy_nm)
        for c, condition in enumerate(SETS[name])
        for i in range(rois_per_condition)
    ]


def draw_member(name: str, *, condition: int, roi: int, seed: int) -> Pattern:
    """One ROI of a set with its truth: number `roi` of condition number `condition`."""
    spec = list(SETS[name].values())[condition]
    return draw_pattern(spec, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SET_PURPOSE, condition, roi))))
