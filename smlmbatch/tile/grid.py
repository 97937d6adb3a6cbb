"""The grid of regions of interest: squares aligned to each cell's bounding box, and what each of them holds.

A square is a region as a whole: locs outside the outline but inside a kept square stay in it, as the methods
that look at squares expect; `coverage` says how much of the square is cell.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.store.field_locs import FieldLocs

if TYPE_CHECKING:
    from shapely import Polygon

REASONS = ("kept", "coverage below min_coverage", "fewer locs than min_locs")
MAX_SQUARES = 1 << 20  # 3 um squares of a field of 3 mm: more is a wrong unit, or a loc far away
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Grid:
    """Squares that touch one cell, row by row from below.

    Attributes
    ----------
    origin_nm : (r, 2) f8, lower-left corners
    coverage : (r,) f8, share of the area inside the outline, above 0
    distance_to_edge_nm : (r,) f8, from the square's centre to the outline; negative outside
    """

    origin_nm: NDArray[np.float64]
    coverage: NDArray[np.float64]
    distance_to_edge_nm: NDArray[np.float64]


def grid_shape(polygon: "Polygon", *, side_nm: float) -> tuple[float, float]:
    """Rows and columns of squares that cover the outline's bounding box; as floats, which hold any number."""
    x0, y0, x1, y1 = polygon.bounds
    columns, rows = (max(1.0, float(np.ceil((high - low) / side_nm - _ROUNDING))) for low, high in ((x0, x1), (y0, y1)))
    return rows, columns


def lay_grid(polygon: "Polygon", *, side_nm: float) -> Grid:
    """Squares of `side_nm` from the lower-left corner of the outline's bounding box."""
    import shapely

    x0, y0, _, _ = polygon.bounds
    rows, columns = grid_shape(polygon, side_nm=side_nm)
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    origin_nm = np.column_stack((x0 + column.ravel() * side_nm, y0 + row.ravel() * side_nm))
    coverage = _coverage(polygon, origin_nm, side_nm)
    touched = coverage > 0
    origin_nm, coverage = origin_nm[touched], coverage[touched]
    centres = shapely.points(origin_nm + side_nm / 2)
    distance = shapely.distance(centres, polygon.boundary)
    return Grid(origin_nm, coverage, np.where(shapely.contains(polygon, centres), distance, -distance))


def _coverage(polygon: "Polygon", origin_nm: NDArray[np.float64], side_nm: float) -> NDArray[np.float64]:
    import shapely

    squares = shapely.box(*origin_nm.T, *(origin_nm + side_nm).T)
    shapely.prepare(polygon)
    coverage = np.zeros(len(squares))
    coverage[shapely.contains_properly(polygon, squares)] = 1.0
    partial = shapely.intersects(polygon, squares) & (coverage == 0)
    coverage[partial] = shapely.area(shapely.intersection(polygon, squares[partial])) / side_nm**2
    return np.minimum(coverage, 1.0)


def count_locs(locs: FieldLocs, origin_nm: NDArray[np.float64], *, side_nm: float, channels: list[int]) -> NDArray[np.int64]:
    """Locs per square and channel; (r, channels) i8. Squares are half-open."""
    counts = np.zeros((len(origin_nm), len(channels)), np.int64)
    for roi, (x0, y0) in enumerate(origin_nm.tolist()):
        found = np.bincount(locs.rectangle(x0, y0, x0 + side_nm, y0 + side_nm).channel, minlength=256)
        counts[roi] = found[channels]
    return counts


def judge(coverage: NDArray[np.float64], n_locs: NDArray[np.int64], *, min_coverage: float, min_locs: int) -> NDArray[np.uint8]:
    """Why each square is dropped, as an index into `REASONS`; (r,) u1, 0 = kept. Coverage is asked first."""
    reason = np.where(n_locs < min_locs, 2, 0)
    reason[coverage < min_coverage - _ROUNDING] = 1
    return reason.astype(np.uint8)
