"""Made-up campaigns for tests of what reads finished units: cells with clustered locs, written through `unit_writer`.

Descriptors are drawn around a mean that condition and replicate set, so tests know what tables must say; K is the
closed form of a Thomas process, K(r) = pi r^2 + (1 - exp(-r^2 / (4 sigma^2))) / kappa.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from scipy.ndimage import gaussian_filter

from smlmbatch.config import Config
from smlmbatch.samples import Field
from smlmbatch.store.arrays import unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.store.units import Failure
from smlmbatch.work import Campaign, FieldResult

REASONS = ["kept", "coverage below min_coverage", "fewer locs than min_locs"]
RADIUS_NM = np.arange(10.0, 751.0, 10.0)
ORIGIN_NM = (1000.5, -2000.25)
BASE = {
    "n_locs": 500,
    "density_per_um2": 60.0,
    "n_clusters": 20,
    "noise_fraction": 0.3,
    "locs_per_cluster": 18.0,
    "cluster_area_nm2": 4200.0,
    "cluster_radius_nm": 34.0,
    "nn_mean_nm": 21.0,
    "nn_median_nm": 14.0,
    "ripley_n": 500,
    "ripley_peak_nm": 70.0,
    "ripley_max_nm": 45.0,
}
GOOD = {  # what the stage quality measures in a field without a fault
    "precision_median_nm": 10.4,
    "nena_nm": 11.2,
    "nena_over_precision": 1.08,
    "nena_n_pairs": 900.0,
    "drift_nm": 3.0,
    "drift_x_nm": 3.0,
    "drift_y_nm": 0.0,
    "drift_error_nm": 1.0,
    "fading": 0.6,
    "gaps": 0.0,
    "duplicates": 0.0,
    "n_duplicates": 0.0,
    "blinks": 0.05,
    "crowding": 0.01,
    "illumination": 0.9,
}
DESCRIPTORS = [n for n, s in SCHEMA["measure"].items() if s.dims == ("row",) and n not in ("roi", "channel")]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """How one made-up field is to look."""

    field: Field
    side_um: float = 21.0
    n_locs: int = 3000
    channels: tuple[int, ...] = (0,)
    level: float = 1.0  # scales the descriptors
    precise: bool = True
    empty: bool = False  # no cell, no ROI
    dropped: tuple[tuple[str, int], ...] = ()
    warnings: tuple[tuple[str, int], ...] = ()
    quality: tuple[tuple[str, float | None], ...] = ()  # values (of all channels) other than GOOD's; None = could not be measured
    undefined: bool = False  # all descriptors that may be NaN are NaN


def field(path: str, condition: str, replicate: str, **more) -> Field:
    return Field(path=path, name=more.pop("name", Path(path).name), condition=condition, replicate=replicate, **more)


def build(output: Path, cells: list[Cell], *, failures=(), ignored=(), seed: int = 1) -> Campaign:
    """A campaign of `cells`; `failures` are (Field, stage, finding, want, mend)."""
    results = []
    for number, cell in enumerate(cells):
        folder = output / "store" / "fields" / cell.field.key
        folder.mkdir(parents=True)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        paths = {stage: folder / f"{stage}-0.zarr.zip" for stage in ("ingest", "tile", "quality", "measure")}
        locs_nm, channel = _write_ingest(paths["ingest"], cell, rng)
        kept, counts = _write_tile(paths["tile"], cell, locs_nm, channel)
        _write_quality(paths["quality"], cell, kept)
        _write_measure(paths["measure"], cell, kept, counts, rng)
        results.append(FieldResult(field=cell.field, units=paths))
    for failed, stage, finding, want, mend in failures:
        failure = Failure(failed.key, stage, "0" * 64, "input", failed.path, finding, want, mend, "host-1-ab")
        results.append(FieldResult(field=failed, units={}, failure=failure))
    return Campaign(output=output, config=Config(), fields=tuple(results), ignored=tuple(ignored))


def study(output: Path, *, conditions=("ctrl", "egf"), replicates: int = 3, **look) -> Campaign:
    """`replicates` fields of each condition; the second condition's descriptors are twice the first's, and so on."""
    cells = [
        Cell(field=field(f"{name}/cell{r}.csv", name, f"rep{r}"), level=float(c + 1), **look)
        for c, name in enumerate(conditions)
        for r in range(replicates)
    ]
    return build(output, sorted(cells, key=lambda cell: cell.field.key))


def failing(campaign: Campaign) -> Campaign:
    """The same campaign with every field failed at ingest."""
    failures = [
        FieldResult(field=r.field, units={}, failure=Failure(r.field.key, "ingest", "0", "input", r.field.path, "f", "w", "m", "a"))
        for r in campaign.fields
    ]
    return replace(campaign, fields=tuple(failures))


def outline_of(cell: Cell) -> shapely.Polygon:
    """A lobed blob about the field's centre."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = cell.side_um * 1000 * (0.38 + 0.05 * np.cos(3 * angle) + 0.03 * np.sin(5 * angle))
    centre = cell.side_um * 500
    return shapely.Polygon(np.column_stack([centre + radius * np.cos(angle), centre + radius * np.sin(angle)]))


def _draw_locs(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half in clusters of 30 nm, half anywhere in the cell; a few outside."""
    side, outline, n = cell.side_um * 1000, outline_of(cell), cell.n_locs
    anywhere = rng.uniform(0, side, (8 * n + 64, 2))
    inside = anywhere[shapely.contains_xy(outline, anywhere)]
    centres = inside[rng.integers(0, max(1, n // 25), n // 2)]
    clustered = centres + rng.normal(0, 30, centres.shape)
    alone = inside[-(n - n // 2 - n // 50) :] if n else inside[:0]
    locs_nm = np.clip(np.concatenate([clustered, alone, anywhere[: n // 50]]), 0, side)
    return locs_nm, rng.choice(np.array(cell.channels, dtype=np.uint8), len(locs_nm))


def _write_ingest(path: Path, cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    locs_nm, channel = _draw_locs(cell, rng)
    n, tile_nm = len(locs_nm), 1000.0
    n_tiles = int(np.ceil(cell.side_um)) + 1
    tile = np.floor(locs_nm[:, 1] / tile_nm) * n_tiles + np.floor(locs_nm[:, 0] / tile_nm)
    order = np.argsort(tile, kind="stable")
    locs_nm, channel = locs_nm[order], channel[order]
    with unit_writer(path, "ingest") as out:
        out.write("x_nm", locs_nm[:, 0])
        out.write("y_nm", locs_nm[:, 1])
        out.write("channel", channel)
        out.write("row", order)
        out.write("tile_start", np.searchsorted(tile[order], np.arange(n_tiles**2 + 1)))
        if cell.precise:
            out.write("precision_nm", rng.gamma(9, 1.2, n))
        n_dropped = sum(count for _, count in cell.dropped)
        out.attrs = {
            "format": cell.field.format or "thunderstorm",
            "columns": {"x_nm": "x [nm]", "y_nm": "y [nm]"},
            "pixel_size_nm": None,
            "frame_base": 1,
            "n_read": n + n_dropped,
            "n": n,
            "n_filtered": 0,
            "n_merged_away": 0,
            "dropped": dict(cell.dropped),
            "warnings": dict(cell.warnings),
            "origin_nm": list(ORIGIN_NM),
            "tile_nm": tile_nm,
            "tile_grid": [n_tiles, n_tiles],
            "extent_nm": [list(ORIGIN_NM), [corner + cell.side_um * 1000.0 for corner in ORIGIN_NM]] if n else None,
            "z_extent_nm": None,
            "frame_extent": [0, 9999],
            "precision_median_nm": 10.4 if cell.precise else None,
            "channels": list(cell.channels),
            "channel_names": [f"channel {c}" for c in cell.channels],
            "n_per_channel": [int((channel == c).sum()) for c in cell.channels],
            "dims": 2,
        }
    return locs_nm, channel


def _write_quality(path: Path, cell: Cell, kept: np.ndarray) -> None:
    found = GOOD | dict(cell.quality)
    of_field = {"cut": found.pop("cut", 0.05), "rois": found.pop("rois", float(len(kept)))}
    with unit_writer(path, "quality") as out:
        out.attrs = {
            "channels": list(cell.channels),
            "merged": False,
            "values": {name: [value] * len(cell.channels) for name, value in found.items()},
            "field_values": of_field,
            "notes": {name: "made up" for name, value in (found | of_field).items() if value is None},
            "n_per_channel": [cell.n_locs // len(cell.channels)] * len(cell.channels),
            "n_sampled": [cell.n_locs // len(cell.channels)] * len(cell.channels),
            "crowded_nm": [500.0] * len(cell.channels),
            "drift_largest_nm": 800.0,
            "illumination_origin_nm": [0.0, 0.0],
            "illumination_side_nm": 2000.0,
        }


def _write_tile(path: Path, cell: Cell, locs_nm: np.ndarray, channel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outline = outline_of(cell)
    steps = np.arange(0 if not cell.empty else 1e9, cell.side_um * 1000 - 2999, 3000.0)
    origin = np.array([(x, y) for y in steps for x in steps]).reshape(-1, 2)
    squares = shapely.box(origin[:, 0], origin[:, 1], origin[:, 0] + 3000, origin[:, 1] + 3000)
    touching = shapely.intersects(outline, squares) if len(origin) else np.zeros(0, bool)
    origin, squares = origin[touching], squares[touching]
    coverage = shapely.area(shapely.intersection(outline, squares)) / 9e6
    counts = _count(origin, cell, locs_nm, channel)
    reason = np.where(coverage < 0.9, 1, np.where(counts.sum(axis=1) < 50, 2, 0))
    bins = int(cell.side_um * 10) + 1
    edges = np.arange(bins + 1) * 100.0
    density = np.histogram2d(locs_nm[:, 1], locs_nm[:, 0], bins=(edges, edges))[0] / 0.01
    ring = np.zeros((0, 2)) if cell.empty else np.asarray(outline.exterior.coords)[:-1]
    with unit_writer(path, "tile") as out:
        out.write("roi_origin_nm", origin)
        out.write("roi_cell", np.zeros(len(origin)))
        out.write("roi_coverage", coverage)
        out.write("roi_n_locs", counts)
        out.write("roi_kept", reason == 0)
        out.write("roi_reason", reason)
        out.write("roi_distance_to_edge_nm", np.full(len(origin), 10.0))
        out.write("outline_nm", ring)
        out.write("outline_start", np.array([0] if cell.empty else [0, len(ring)]))
        out.write("outline_cell", np.zeros(0 if cell.empty else 1))
        out.write("density", gaussian_filter(density, 3.0))
        out.attrs = {
            "channels": list(cell.channels),
            "reasons": REASONS,
            "cells": [] if cell.empty else ["cell 1"],
            "regions": [] if cell.empty else [""],
            "outline_source": "found",
            "density_bin_nm": 100.0,
            "density_origin_nm": [0.0, 0.0],
            "density_threshold_per_um2": None if cell.empty else 12.5,
            "roi_nm": 3000.0,
            "n_rois": len(origin),
            "n_kept": int((reason == 0).sum()),
        }
    return np.flatnonzero(reason == 0), counts


def _count(origin: np.ndarray, cell: Cell, locs_nm: np.ndarray, channel: np.ndarray) -> np.ndarray:
    counts = np.zeros((len(origin), len(cell.channels)), dtype=np.int64)
    for roi, corner in enumerate(origin):
        inside = ((locs_nm >= corner) & (locs_nm < corner + 3000)).all(axis=1)
        counts[roi] = [(channel[inside] == c).sum() for c in cell.channels]
    return counts


def thomas_k_nm2(level: float) -> np.ndarray:
    """K of a Thomas process of 30 nm clusters, the scarcer the more clustered."""
    return np.pi * RADIUS_NM**2 + (1 - np.exp(-(RADIUS_NM**2) / (4 * 30.0**2))) * 40_000.0 * level


def _write_measure(path: Path, cell: Cell, kept: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> None:
    roi = np.repeat(kept, len(cell.channels))
    shift = cell.level * rng.normal(1, 0.08)
    with unit_writer(path, "measure") as out:
        out.write("roi", roi)
        out.write("channel", np.tile(np.array(cell.channels), len(kept)))
        out.write("n_locs", counts[kept].reshape(-1))
        for name in DESCRIPTORS[1:]:
            integer = SCHEMA["measure"][name].dtype == "i8"
            values = shift * BASE.get(name, 1.0) * rng.gamma(16, 1 / 16, len(roi))
            if cell.undefined and not integer:
                values = np.full(len(roi), np.nan)
            out.write(name, np.round(values) if integer else values)
        out.write("ripley_k_nm2", np.outer(rng.normal(1, 0.02, len(roi)), thomas_k_nm2(cell.level)))
        out.write("radius_nm", RADIUS_NM)
