"""Where the middle of a structure is, although only a part of it was labelled, and some places blinked more often than others.

The mean, and still more the median, lie where the locs are. Of a ring of 8 corners (radius 55 nm, 60 % of the sites seen, 5 blinks each,
6.5 nm error) they miss the centre by 14 and 25 nm, and by 39 and 47 nm where half the ring is missing. So places count here, not locs:

- a sphere (in the plane, a circle) that the locs scatter about least: 2 nm for the whole ring, 7 nm for the half, and the same for corners
  of a tetrahedron or the two rings of a pore. Only for what is hollow: of a blob of few molecules it misses by more than the mean does.
- the centroid of the convex hull, for anything else: 4 nm of a whole ring. It doesn't ask how many locs lie where.

The fit is geometric (it minimises the sum of squared distances to the sphere; Gander, Golub & Strebel 1994), from Kasa's linear one, which
alone is 1.5 to 2 times worse for arcs.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_POINTS: Final = 10
_THIN: Final = 0.25  # scatter over radius: 0.12 to 0.2 of a pore's ring, 0.35 of a filled disc, 0.52 of a Gaussian spot
_SURE: Final = 0.15  # standard error of the centre over the radius
_SPREAD: Final = 0.5  # radius of gyration over radius: 0.44 of a quarter of a circle, 0.56 of a third, 0.77 of a half, 1 of a whole one
_STEPS: Final = 100
_CLOSE: Final = 1e-6  # of the points' own scale: where steps become shorter than this, the fit is at its end


@dataclass(frozen=True, slots=True)
class Sphere:
    """A sphere (in the plane, a circle) fitted to points.

    Attributes
    ----------
    centre_nm : (d,) f8
    radius_nm : above 0
    scatter_nm : root mean squared distance of the points from it
    error_nm : standard error of the centre, along the axis where it is largest
    gyration_nm : radius of gyration of the points
    """

    centre_nm: Floats
    radius_nm: float
    scatter_nm: float
    error_nm: float
    gyration_nm: float

    @property
    def is_sure(self) -> bool:
        """Whether the points go far enough round to tell where the centre is."""
        return self.error_nm <= _SURE * self.radius_nm and self.gyration_nm >= _SPREAD * self.radius_nm

    @property
    def is_thin(self) -> bool:
        """Whether the points lie about the sphere, rather than filling it."""
        return self.scatter_nm <= _THIN * self.radius_nm


def fit_sphere(points_nm: NDArray[np.floating]) -> Sphere | None:
    """The sphere with the least sum of squared distances to the points; None for fewer than `LEAST_POINTS`, or points on a line or plane.

    Parameters
    ----------
    points_nm : (n, d), nm; d = 2 gives a circle

    >>> turn = np.arange(10) * 0.4  # a good half of a circle
    >>> found = fit_sphere(np.stack([3 + 50 * np.cos(turn), 4 + 50 * np.sin(turn)], axis=1))
    >>> found.centre_nm.round(6).tolist(), round(found.radius_nm, 6), found.is_sure, found.is_thin
    ([3.0, 4.0], 50.0, True, True)
    """
    points = np.asarray(points_nm, dtype=np.float64)
    n, axes = points.shape
    if n < LEAST_POINTS:
        return None
    middle = points.mean(axis=0)
    gyration_nm = float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean()))
    if gyration_nm == 0.0:
        return None
    scaled = (points - middle) / gyration_nm
    found = _refined(scaled, _linear_fit(scaled))
    slopes, misses = _slopes(scaled, found)
    curvature = slopes.T @ slopes
    if np.linalg.cond(curvature) > 1e12:  # a line or a plane
        return None
    scatter = float(np.sqrt((misses**2).sum() / (n - axes - 1)))
    error = scatter * float(np.sqrt(np.linalg.eigvalsh(np.linalg.inv(curvature)[:axes, :axes])[-1]))
    centre_nm, radius_nm = middle + gyration_nm * found[:axes], gyration_nm * float(found[axes])
    return Sphere(centre_nm, radius_nm, gyration_nm * scatter, gyration_nm * error, gyration_nm)


def _linear_fit(points: Floats) -> Floats:
    """(centre, radius) by Kasa: |x|^2 = 2 c x + (r^2 - c^2) is linear in c and the rest."""
    design = np.column_stack([2 * points, np.ones(len(points))])
    solved = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)[0]
    centre = solved[:-1]
    return np.append(centre, np.sqrt(solved[-1] + centre @ centre))


def _slopes(points: Floats, sphere: Floats) -> tuple[Floats, Floats]:
    """How each point's distance from the sphere falls with (centre, radius), (n, d + 1), and the distance itself, (n,)."""
    outward = points - sphere[:-1]
    distance = np.sqrt((outward**2).sum(axis=1))
    unit = outward / np.maximum(distance, np.finfo(float).tiny)[:, None]
    return np.column_stack([unit, np.ones(len(points))]), distance - sphere[-1]


def _refined(points: Floats, sphere: Floats) -> Floats:
    """The geometric fit: Levenberg's damped steps, of which only those that lower the sum of squares are taken."""
    damping = 1e-3 * len(points)
    slopes, misses = _slopes(points, sphere)
    for _ in range(_STEPS):
        step = np.linalg.solve(slopes.T @ slopes + damping * np.eye(len(sphere)), slopes.T @ misses)
        tried, tried_misses = _slopes(points, sphere + step)
        if tried_misses @ tried_misses > misses @ misses:
            damping *= 10
            continue
        sphere, slopes, misses, damping = sphere + step, tried, tried_misses, max(damping * 0.3, 1e-9)
        if np.abs(step).max() < _CLOSE:
            break
    return sphere


def hull_centre(points_nm: NDArray[np.floating]) -> Floats:
    """Centroid of the area (in space, the volume) of the points' convex hull, (d,) f8; the middle of their extent where they have none.

    Parameters
    ----------
    points_nm : (n, d), nm, n > 0

    >>> hull_centre(np.array([[0.0, 0], [3, 0], [0, 3], [0.1, 0.1], [0.2, 0.1]])).round(6).tolist()
    [1.0, 1.0]
    """
    from scipy.spatial import ConvexHull, QhullError

    points = np.asarray(points_nm, dtype=np.float64)
    middle: Floats = (points.min(axis=0) + points.max(axis=0)) / 2
    if len(points) <= points.shape[1]:
        return middle
    try:
        hull = ConvexHull(points - middle)
    except QhullError:  # all on a line or plane
        return middle
    corners = hull.points[hull.simplices]  # (facets, d, d); with the middle, each makes a simplex
    volume = -np.sign(hull.equations[:, -1]) * np.abs(np.linalg.det(corners))  # below 0 where the middle lies outside of the facet
    centroid: Floats = middle + (volume[:, None] * corners.sum(axis=1)).sum(axis=0) / (volume.sum() * (points.shape[1] + 1))
    return centroid
