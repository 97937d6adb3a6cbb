"""Stage tile: cell outlines (given, found, or the whole field) and the grid of regions inside them.

A field in which no cell is found, or no region passes, is a result and not an error: it has no regions, and the
reasons stand in the attributes.
"""

from collections import Counter

import numpy as np

from smlmbatch.config import TileConfig
from smlmbatch.errors import InputError
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.tile.density import Density, field_box, find_threshold, outlines_at, smoothed_density
from smlmbatch.tile.grid import MAX_SQUARES, REASONS, Grid, count_locs, grid_shape, judge, lay_grid
from smlmbatch.tile.outline import Cell, read_outline
from smlmbatch.work import Work


def run(work: Work) -> None:
    """Outline the field's cells and lay the grid.

    Raises
    ------
    InputError
        the given outline can't be used, or the grid would have more than `MAX_SQUARES`
    """
    config, ingest = work.config.tile, work.upstream["ingest"]
    locs = FieldLocs(ingest, columns=("x_nm", "y_nm", "channel"))
    density = smoothed_density(locs, bin_nm=config.density_bin_nm, sigma_nm=config.density_sigma_nm)
    threshold: float | None = None
    if work.outline is not None:
        cells, source = _given(work, ingest, locs), "file"
    elif config.outline == "field":
        cells, source = [Cell("field", "", field_box(locs.extent))], "field"
    else:
        threshold = find_threshold(density, sigma_nm=config.density_sigma_nm)
        cells, source = _found(density, threshold, config), "found"
    _check_size(work, cells)
    grids = [lay_grid(cell.polygon, side_nm=config.roi_nm) for cell in cells]
    reason = _write_rois(work.out, grids, locs, config, [int(c) for c in ingest.attrs["channels"]])
    _write_outlines(work.out, cells)
    work.out.write("density", density.per_um2)
    dropped = Counter(REASONS[code] for code in reason.tolist() if code)
    work.out.attrs |= {
        "channels": list(ingest.attrs["channels"]),
        "reasons": list(REASONS),
        "cells": [cell.name for cell in cells],
        "regions": [cell.region for cell in cells],
        "outline_source": source,
        "roi_nm": config.roi_nm,
        "density_bin_nm": density.bin_nm,
        "density_origin_nm": list(density.extent_nm[:2]),
        "density_threshold_per_um2": threshold,
        "n_rois": len(reason),
        "n_kept": int((reason == 0).sum()),
        "dropped": {text: dropped[text] for text in REASONS[1:]},
    }


def _given(work: Work, ingest: UnitReader, locs: FieldLocs) -> list[Cell]:
    """Cells of the outline file; each must hold a loc, or its units or its field are wrong."""
    assert work.outline is not None
    x0, y0 = ingest.attrs["origin_nm"]
    pixel_size_nm = work.field.pixel_size_nm or ingest.attrs.get("pixel_size_nm") or 0.0
    cells = read_outline(work.outline, origin_nm=(x0, y0), pixel_size_nm=pixel_size_nm)
    for cell in cells:
        left, lower, right, upper = cell.polygon.bounds
        if not len(locs.rectangle(left, lower, right, upper)):
            (low_x, low_y), (high_x, high_y) = ingest.attrs["extent_nm"]
            finding = (
                f"{cell.name} spans x {left + x0:.0f} to {right + x0:.0f} nm, y {lower + y0:.0f} to {upper + y0:.0f} nm: no loc is in it"
            )
            want = f"an outline inside the field (x {low_x:.0f} to {high_x:.0f} nm, y {low_y:.0f} to {high_y:.0f} nm)"
            raise InputError(work.outline, finding, want, "check its unit (nm; ImageJ: pixels) and that it belongs to this field")
    return cells


def _check_size(work: Work, cells: list[Cell]) -> None:
    side_nm = work.config.tile.roi_nm
    n_squares = sum(float(np.prod(grid_shape(cell.polygon, side_nm=side_nm))) for cell in cells)
    if n_squares > MAX_SQUARES:
        finding = f"the outline's bounding box holds {n_squares:.3g} squares of {side_nm:g} nm"
        mend = "check the units and look for locs far from all others, or set a larger roi_nm"
        raise InputError(work.outline or work.source, finding, f"at most {MAX_SQUARES}", mend)


def _found(density: Density, threshold: float | None, config: TileConfig) -> list[Cell]:
    if threshold is None:  # one population: cell from edge to edge
        return [Cell("cell 1", "", field_box(density.extent_nm))]
    found = outlines_at(density, threshold, sigma_nm=config.density_sigma_nm, min_area_um2=config.min_cell_um2)
    return [Cell(f"cell {number}", "", polygon) for number, polygon in enumerate(found, start=1)]


def _write_rois(out: UnitWriter, grids: list[Grid], locs: FieldLocs, config: TileConfig, channels: list[int]) -> "np.ndarray":
    """Write the regions of all cells, one cell after the other; returns their reasons."""
    origin_nm = np.concatenate([np.empty((0, 2)), *(grid.origin_nm for grid in grids)])
    coverage = np.concatenate([np.empty(0), *(grid.coverage for grid in grids)])
    n_locs = count_locs(locs, origin_nm, side_nm=config.roi_nm, channels=channels)
    reason = judge(coverage, n_locs.sum(axis=1), min_coverage=config.min_coverage, min_locs=config.min_locs)
    out.write("roi_origin_nm", origin_nm)
    out.write("roi_cell", np.repeat(np.arange(len(grids)), [len(grid.coverage) for grid in grids]))
    out.write("roi_coverage", coverage)
    out.write("roi_n_locs", n_locs)
    out.write("roi_kept", reason == 0)
    out.write("roi_reason", reason)
    out.write("roi_distance_to_edge_nm", np.concatenate([np.empty(0), *(grid.distance_to_edge_nm for grid in grids)]))
    return reason


def _write_outlines(out: UnitWriter, cells: list[Cell]) -> None:
    rings = [np.asarray(cell.polygon.exterior.coords)[:, :2] for cell in cells]
    out.write("outline_nm", np.concatenate([np.empty((0, 2)), *rings]))
    out.write("outline_start", np.cumsum([0, *(len(ring) for ring in rings)]))
    out.write("outline_cell", np.arange(len(rings)))
