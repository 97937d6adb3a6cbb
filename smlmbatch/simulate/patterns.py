"""Point patterns in a polygonal window: complete randomness, Gaussian clusters, clusters and straight fibres.

Every pattern is stationary and cut by the window: parents (cluster centres, fibres) are drawn beyond its edge as
far as their members reach, so the expected number of positions is density x area exactly, whatever the window's
shape, and the pattern at the edge is that of the middle. Clusters are a (modified) Thomas process
(Illian et al. 2008, Statistical Analysis of Spatial Point Patterns, section 6.3); fibres are isotropic uniform
random lines: a length per area of L sends 2 R L of them through a circle of radius R (Chiu et al. 2013, Stochastic
Geometry, section 8.2).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError

if TYPE_CHECKING:
    from shapely import Polygon

NM2_PER_UM2 = 1e6
NM_PER_UM = 1e3
# Parents are drawn this many sigma beyond the window: exp(-12.5) = 4e-6 of their members lie further out.
_REACH_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class Pattern:
    """Positions with their truth.

    Attributes
    ----------
    xy_nm : (n, 2) f8, nm, in the window's coordinates
    cluster : (n,) i4, from 1 in the order of positions; 0 = in no cluster
    fibre : (n,) i4, from 1 in the order of positions; 0 = on no fibre
    """

    xy_nm: NDArray[np.float64]
    cluster: NDArray[np.int32]
    fibre: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.xy_nm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Gaussian clusters: centres per um2, mean members each (Poisson, or `fixed`: exactly so many), spread per axis."""

    per_um2: float
    mean_size: float
    sigma_nm: float
    fixed: bool = False

    def __post_init__(self) -> None:
        _check(self.per_um2 >= 0 and self.mean_size >= 0, f"clusters: {self.per_um2} per um2 of {self.mean_size}", "0 or more of each")
        _check(self.sigma_nm >= 0, f"clusters: sigma {self.sigma_nm} nm", "a length, 0 or more")
        _check(not self.fixed or float(self.mean_size).is_integer(), f"fixed cluster size {self.mean_size}", "a whole number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fibres:
    """Straight fibres: length per area, members per length (Poisson), spread across the axis.

    15 nm across is what a microtubule or actin bundle shows with label and localisation error.
    """

    um_per_um2: float
    per_um: float
    sigma_nm: float = 15.0

    def __post_init__(self) -> None:
        _check(self.um_per_um2 >= 0 and self.per_um >= 0, f"fibres: {self.um_per_um2} um/um2 of {self.per_um}/um", "0 or more of each")
        _check(self.sigma_nm >= 0, f"fibres: sigma {self.sigma_nm} nm", "a length, 0 or more")


def rectangle(width_nm: float, height_nm: float) -> "Polygon":
    """A window with its lower-left corner at 0, 0."""
    import shapely

    return shapely.box(0.0, 0.0, width_nm, height_nm)


def polygon(vertices_nm: NDArray[np.float64]) -> "Polygon":
    """A window of (n, 2) vertices, nm; the ring need not be closed.

    Raises
    ------
    ConfigError
        fewer than 3 vertices, an outline that crosses itself
    """
    import shapely

    _check(
        vertices_nm.ndim == 2 and vertices_nm.shape[1] == 2 and len(vertices_nm) >= 3, f"{vertices_nm.shape} vertices", "3 or more (x, y)"
    )
    window = shapely.Polygon(vertices_nm)
    _check(window.is_valid and window.area > 0, "the window crosses itself", "a simple polygon")
    return window


def csr(rng: np.random.Generator, *, density_per_um2: float, window: "Polygon") -> Pattern:
    """Complete spatial randomness: a Poisson number of positions, uniform in the window."""
    _check(density_per_um2 >= 0, f"density {density_per_um2} per um2", "0 or more")
    xy_nm = _uniform(rng, density_per_um2, window.bounds)
    nowhere = np.zeros(len(xy_nm), dtype=np.int32)
    return _cut(Pattern(xy_nm, nowhere, nowhere), window)


def gaussian_clusters(rng: np.random.Generator, *, clusters: Clusters, background_per_um2: float = 0.0, window: "Polygon") -> Pattern:
    """Gaussian clusters on a random background; expected count (per_um2 x mean_size + background) x area."""
    return _joined(_clusters(rng, clusters, window), csr(rng, density_per_um2=background_per_um2, window=window))


def clusters_and_fibres(
    rng: np.random.Generator, *, clusters: Clusters, fibres: Fibres, background_per_um2: float = 0.0, window: "Polygon"
) -> Pattern:
    """Gaussian clusters and straight fibres (random chords of the window) on a random background."""
    background = csr(rng, density_per_um2=background_per_um2, window=window)
    return _joined(_clusters(rng, clusters, window), _fibres(rng, fibres, window), background)


def _clusters(rng: np.random.Generator, clusters: Clusters, window: "Polygon") -> Pattern:
    reach_nm = _REACH_SIGMA * clusters.sigma_nm
    x0, y0, x1, y1 = window.bounds
    centre_nm = _uniform(rng, clusters.per_um2, (x0 - reach_nm, y0 - reach_nm, x1 + reach_nm, y1 + reach_nm))
    sizes = np.full(len(centre_nm), int(clusters.mean_size)) if clusters.fixed else rng.poisson(clusters.mean_size, len(centre_nm))
    member_of = np.repeat(np.arange(1, len(centre_nm) + 1, dtype=np.int32), sizes)
    xy_nm = centre_nm[member_of - 1] + rng.normal(0.0, clusters.sigma_nm, (len(member_of), 2))
    return _cut(Pattern(xy_nm, member_of, np.zeros_like(member_of)), window)


def _fibres(rng: np.random.Generator, fibres: Fibres, window: "Polygon") -> Pattern:
    """Lines that meet the window's circumscribed circle: direction uniform in 0..pi, distance from its middle uniform."""
    x0, y0, x1, y1 = window.bounds
    radius_nm = np.hypot(x1 - x0, y1 - y0) / 2 + _REACH_SIGMA * fibres.sigma_nm
    n_lines = rng.poisson(fibres.um_per_um2 / NM_PER_UM * 2 * radius_nm)
    angle, distance_nm = rng.uniform(0.0, np.pi, n_lines), rng.uniform(-radius_nm, radius_nm, n_lines)
    half_nm = np.sqrt(radius_nm**2 - distance_nm**2)
    member_of = np.repeat(np.arange(1, n_lines + 1, dtype=np.int32), rng.poisson(2 * half_nm / NM_PER_UM * fibres.per_um))
    line = member_of - 1
    along_nm = rng.uniform(-1.0, 1.0, len(line)) * half_nm[line]
    across_nm = distance_nm[line] + rng.normal(0.0, fibres.sigma_nm, len(line))
    cosine, sine = np.cos(angle[line]), np.sin(angle[line])
    xy_nm = np.column_stack([along_nm * cosine - across_nm * sine, along_nm * sine + across_nm * cosine])
    middle_nm = np.array([x0 + x1, y0 + y1]) / 2
    return _cut(Pattern(xy_nm + middle_nm, np.zeros_like(member_of), member_of), window)


def _uniform(rng: np.random.Generator, density_per_um2: float, bounds_nm: tuple[float, float, float, float]) -> NDArray[np.float64]:
    x0, y0, x1, y1 = bounds_nm
    n = rng.poisson(density_per_um2 * (x1 - x0) * (y1 - y0) / NM2_PER_UM2)
    return rng.uniform([x0, y0], [x1, y1], (n, 2))


def _cut(pattern: Pattern, window: "Polygon") -> Pattern:
    """What lies in the window, with ids renumbered without gaps."""
    import shapely

    inside = shapely.contains_xy(window, pattern.xy_nm)
    return Pattern(pattern.xy_nm[inside], _renumbered(pattern.cluster[inside]), _renumbered(pattern.fibre[inside]))


def _renumbered(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Ids 1, 2, 3 ... in rising order of the old; 0 stays 0."""
    known = np.union1d([0], ids)
    return np.searchsorted(known, ids).astype(np.int32)


def _joined(*patterns: Pattern) -> Pattern:
    """One after the other. Only one of them has clusters and one has fibres, so ids do not meet."""
    return Pattern(
        np.concatenate([p.xy_nm for p in patterns]),
        np.concatenate([p.cluster for p in patterns]),
        np.concatenate([p.fibre for p in patterns]),
    )


def _check(condition: bool, found: str, want: str) -> None:
    if not condition:
        raise ConfigError(f"{found}: wanted {want}")
