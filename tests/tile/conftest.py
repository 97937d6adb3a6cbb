"""Fields to tile without reading a file, and the stage without the engine."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from smlmbatch.config import Config, TileConfig
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.tile.stage import run
from smlmbatch.work import Work

TILE_NM = 1000.0
MAX_TILES = 1 << 22


@dataclass
class Tiled:
    """A tile unit read back: arrays by name, attributes, digest."""

    arrays: dict[str, np.ndarray]
    attrs: dict[str, Any]
    digest: str

    origin_nm: list[float]

    def polygons(self) -> list[shapely.Polygon]:
        """The outlines as polygons, absolute in nm."""
        start, vertices = self.arrays["outline_start"], self.arrays["outline_nm"] + self.origin_nm
        return [shapely.Polygon(vertices[a:b]) for a, b in itertools.pairwise(start)]


def write_ingest(path: Path, xy_nm: np.ndarray, channel: np.ndarray | None = None, **attrs: Any) -> UnitReader:
    """An ingest unit of absolute positions (n, 2) f8, sorted by tile as ingest sorts them."""
    channel = np.zeros(len(xy_nm), np.uint8) if channel is None else channel
    tile_nm = TILE_NM
    while np.prod(np.floor(np.ptp(xy_nm, axis=0) / tile_nm) + 2) > MAX_TILES:
        tile_nm *= 2
    first = np.floor(xy_nm.min(axis=0) / tile_nm)
    index = np.floor(xy_nm / tile_nm) - first
    columns, rows = (index.max(axis=0) + 1).astype(int).tolist()
    tile = (index[:, 1] * columns + index[:, 0]).astype(np.int64)
    order = np.argsort(tile, kind="stable")
    origin_nm = first * tile_nm
    with unit_writer(path, "ingest") as out:
        out.write("x_nm", (xy_nm[:, 0] - origin_nm[0])[order])
        out.write("y_nm", (xy_nm[:, 1] - origin_nm[1])[order])
        out.write("channel", channel[order])
        out.write("row", order)
        out.write("tile_start", np.searchsorted(tile[order], np.arange(rows * columns + 1)))
        out.attrs.update(
            tile_nm=tile_nm,
            tile_grid=[rows, columns],
            origin_nm=origin_nm.tolist(),
            extent_nm=[xy_nm.min(axis=0).tolist(), xy_nm.max(axis=0).tolist()],
            channels=np.unique(channel).tolist(),
            pixel_size_nm=None,
        )
        out.attrs.update(attrs)
    return UnitReader(path)


def run_tile(
    ingest: UnitReader, path: Path, config: TileConfig | None = None, *, outline: Path | None = None, pixel_size_nm: float = 0.0
) -> Tiled:
    """What the stage makes of a field."""
    field = Field(path="ctrl/FOV1.csv", name="FOV1.csv", condition="ctrl", replicate="1", pixel_size_nm=pixel_size_nm)
    with unit_writer(path, "tile") as out:
        run(
            Work(
                field=field,
                source=path.parent / "FOV1.csv",
                outline=outline,
                config=Config(tile=config or TileConfig()),
                upstream={"ingest": ingest},
                out=out,
                scratch=path.parent,
                memory_bytes=1 << 30,
            )
        )
    with UnitReader(path) as unit:
        assert unit.recompute_digest() == unit.digest
        return Tiled({name: unit.read(name) for name in unit.names()}, dict(unit.attrs), unit.digest, ingest.attrs["origin_nm"])


@pytest.fixture
def field_locs(tmp_path):
    """(absolute positions) → FieldLocs of an ingest unit."""
    return lambda xy_nm, **attrs: FieldLocs(write_ingest(tmp_path / "ingest.zip", xy_nm, **attrs))


@pytest.fixture
def tile(tmp_path):
    """(absolute positions, channel, config, ...) → what the stage makes of them. May be called again."""

    def tile_field(xy_nm, channel=None, config=None, *, attrs=None, **options):
        for name in ("ingest.zip", "tile.zip"):
            (tmp_path / name).unlink(missing_ok=True)
        with write_ingest(tmp_path / "ingest.zip", xy_nm, channel, **(attrs or {})) as ingest:
            return run_tile(ingest, tmp_path / "tile.zip", config, **options)

    return tile_field
