"""Single ROIs of known architecture: the sets on which the embedding is judged.

As in the seed paper's Fig 2 (Gaussian clusters; clusters and straight fibres), with what it leaves open stated here: 100 locs a
cluster, sigma 50 nm, a random background of a quarter of the clustered locs. With a fixed number of locs a cluster, the total count
alone tells 2 clusters from 20; hence the sets of equal total, of random cluster size, and thinned to 900 locs (100 per um2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

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
    """Positions of one ROI: (n, 2) f8, nm, x and y from 0 to 3,000. Members that fall outside are lost, as at a real edge."""
    if spec.total:
        return _draw_total(spec, rng)
    size = rng.uniform(spec.size / 2, 2 * spec.size) if spec.count == "random" else spec.size
    parts = [_clusters(spec, size, rng), _fibres(spec, size, rng)]
    n_background = spec.background * sum(map(len, parts)) if np.isfinite(spec.background) else 0.0
    parts.append(rng.uniform(0, SIDE_NM, (int(rng.poisson(n_background) if spec.count == "poisson" else round(n_background)), 2)))
    points = np.concatenate(parts)
    inside = np.logical_and.reduce((points >= 0) & (points < SIDE_NM), axis=1)
    return points[inside]


def _draw_total(spec: RoiSpec, rng: np.random.Generator) -> NDArray[np.float64]:
    """Exactly `total` locs: structure drawn too rich, thinned at random."""
    if not np.isfinite(spec.background) or not (spec.clusters or spec.fibres):
        return rng.uniform(0, SIDE_NM, (spec.total, 2))
    # four times as rich as needed: even one cluster in a corner keeps a quarter
    size = 4.0 * spec.total / (spec.clusters + spec.fibres * spec.fibre_size)
    rich = draw_roi(replace(spec, total=0, size=size, count="fixed"), rng)
    while len(rich) < spec.total:
        rich = draw_roi(replace(spec, total=0, size=2 * size, count="fixed"), rng)
    return rich[rng.choice(len(rich), spec.total, replace=False)]


def thin(points_nm: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`n` of the locs at random, without replacement; fewer where there are fewer."""
    return points_nm if len(points_nm) <= n else points_nm[rng.choice(len(points_nm), n, replace=False)]


def _clusters(spec: RoiSpec, size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    sizes = rng.poisson(size, spec.clusters) if spec.count == "poisson" else np.full(spec.clusters, round(size))
    centre_nm = np.repeat(rng.uniform(0, SIDE_NM, (spec.clusters, 2)), sizes, axis=0)
    return centre_nm + rng.normal(0, spec.sigma_nm, centre_nm.shape)


def _fibres(spec: RoiSpec, size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    n = round(size * spec.fibre_size)
    return np.concatenate([np.empty((0, 2)), *(_fibre(n, rng) for _ in range(spec.fibres))])


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
        (condition, draw_roi(spec, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SET_PURPOSE, c, i)))))
        for c, (condition, spec) in enumerate(SETS[name].items())
        for i in range(rois_per_condition)
    ]
