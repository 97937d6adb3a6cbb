"""A field as ingest and tile leave it, of locs given here."""

from pathlib import Path

import numpy as np
import pytest

from smlmbatch.config import Config
from smlmbatch.quality import stage
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import Work

FIELD = Field(path="ctrl/FOV1.csv", name="FOV1.csv", condition="ctrl", replicate="FOV1.csv", format="generic")
ROI_NM, BIN_NM = 3000.0, 100.0


def write_ingest(path: Path, columns: dict, tile_nm: float, attrs: dict) -> UnitReader:
    """`columns` of locs in any order; sorted as ingest does, by tile and frame."""
    x, y = (np.asarray(columns[name], dtype=np.float32) for name in ("x_nm", "y_nm"))
    n = len(x)
    columns = {"channel": np.zeros(n), "row": np.arange(n)} | columns
    high = [float(v.max()) if n else 0.0 for v in (x, y)]
    tiles = [int(v // tile_nm) + 1 for v in high]
    tile = (y // tile_nm).astype(int) * tiles[0] + (x // tile_nm).astype(int)
    order = np.lexsort((columns.get("frame", np.zeros(n)), tile))
    frame, z = columns.get("frame"), columns.get("z_nm")
    with unit_writer(path, "ingest") as out:
        for name, values in columns.items():
            out.write(name, np.asarray(values)[order])
        out.write("tile_start", np.searchsorted(tile[order], np.arange(tiles[0] * tiles[1] + 1)))
        out.attrs = {
            "tile_nm": tile_nm,
            "tile_grid": tiles[::-1],
            "origin_nm": [0.0, 0.0],
            "extent_nm": [[0.0, 0.0], high],
            "z_extent_nm": None if z is None else [float(np.min(z)), float(np.max(z))],
            "frame_extent": None if frame is None or not n else [int(np.min(frame)), int(np.max(frame))],
            "channels": sorted({int(c) for c in columns["channel"]}) or [0],
            "precision_median_nm": float(np.median(columns["precision_nm"])) if n and "precision_nm" in columns else None,
        } | attrs
    return UnitReader(path)


def write_tile(path: Path, ingest: UnitReader, ring_nm: np.ndarray, side: float, attrs: dict) -> UnitReader:
    """One cell, ROIs of 3 um over a field of that side, all kept."""
    at = np.arange(0, side - ROI_NM + 1, ROI_NM)
    origin_nm = np.array([(x, y) for y in at for x in at]).reshape(-1, 2)
    n, bins, channels = len(origin_nm), int(side // BIN_NM) + 1, ingest.attrs["channels"]
    arrays = {
        "roi_origin_nm": origin_nm,
        "roi_kept": np.ones(n),
        "roi_n_locs": np.full((n, len(channels)), 100),
        "outline_nm": ring_nm,
        "outline_start": np.array([0, len(ring_nm)]),
        "density": np.histogram2d(ingest.read("y_nm"), ingest.read("x_nm"), bins, [[0, bins * BIN_NM]] * 2)[0],
    }
    with unit_writer(path, "tile") as out:
        for name, spec in SCHEMA["tile"].items():
            shape = tuple({"roi": n, "channel": len(channels), "ring": 1}.get(dim, 1) for dim in spec.dims)
            out.write(name, arrays.get(name, np.zeros(shape)))
        out.attrs = {
            "channels": channels,
            "roi_nm": ROI_NM,
            "density_bin_nm": BIN_NM,
            "density_origin_nm": [0.0, 0.0],
            "density_threshold_per_um2": 1.0,
            "outline_source": "found",
            "n_kept": n,
        } | attrs
    return UnitReader(path)


@pytest.fixture
def quality_of(tmp_path):
    """Locs → the quality unit that the stage makes of them."""
    made = []

    def make(columns: dict, *, ring_nm=None, tile_nm=1000.0, side_nm=None, ingest=None, tile=None) -> UnitReader:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        locs = write_ingest(folder / "i.zip", columns, tile_nm, ingest or {})
        side = side_nm or max(locs.attrs["extent_nm"][1])
        ring = np.array([[0.0, 0], [side, 0], [side, side], [0, side]]) if ring_nm is None else np.asarray(ring_nm)
        upstream = {"ingest": locs, "tile": write_tile(folder / "t.zip", locs, ring, side, tile or {})}
        with unit_writer(folder / "q.zip", "quality") as out:
            stage.run(
                Work(
                    field=FIELD,
                    source=folder / "unused.csv",
                    outline=None,
                    config=Config(),
                    upstream=upstream,
                    out=out,
                    scratch=folder,
                    memory_bytes=1 << 28,
                )
            )
        made.append(UnitReader(folder / "q.zip"))
        return made[-1]

    return make
