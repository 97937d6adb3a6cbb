"""Synthetic fields with a known truth: locs at even density, inside a shape or not, and how well an outline meets it."""

import numpy as np
import shapely


def even_locs(rng: np.random.Generator, per_um2: float, box_nm: tuple[float, float, float, float]) -> np.ndarray:
    """A Poisson process in a box; (n, 2) nm."""
    x0, y0, x1, y1 = box_nm
    return rng.uniform((x0, y0), (x1, y1), (rng.poisson(per_um2 * (x1 - x0) * (y1 - y0) / 1e6), 2))


def is_inside(shape: shapely.Geometry, xy_nm: np.ndarray) -> np.ndarray:
    return shapely.contains_xy(shape, xy_nm[:, 0], xy_nm[:, 1])


def cells_on_background(
    rng: np.random.Generator, box_nm: tuple[float, float, float, float], *, background: float, cells: list[tuple[shapely.Geometry, float]]
) -> np.ndarray:
    """Locs of a field: `background` per um2 outside the cells, each cell's own density inside."""
    around = even_locs(rng, background, box_nm)
    pieces = [around[~is_inside(shapely.union_all([shape for shape, _ in cells]), around)]]
    for shape, per_um2 in cells:
        locs = even_locs(rng, per_um2, shape.bounds)
        pieces.append(locs[is_inside(shape, locs)])
    return np.concatenate(pieces)


def iou(found: shapely.Geometry, true: shapely.Geometry) -> float:
    """Shared area over joint area."""
    return found.intersection(true).area / found.union(true).area
