"""Density images for viewers: localisations per um2 of each channel, and the kept ROIs as labels.

Values are densities and not counts, so that every level of the pyramid and every pixel size shows the same; counts are
density times the pixel's area. The image covers what the outlines were sought in, so a few locs far from all others don't make
it endless; `n_outside` says how many are not in it. Label i + 1 is ROI i of the tables.

Blocks of SHARD_PX are drawn one at a time, and each is halved on the spot into the levels above it: nothing is read back, and
memory is that of one block a level, whatever the field's size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.store.images import SHARD_PX, Area, ImageWriter, image_writer

PIXEL_NM: Final = 20.0
STAGES: Final = ("ingest", "tile")
_MOST_BLOCKS: Final = 4096  # 130,000 x 130,000 pixels
_NM2_PER_UM2: Final = 1e6
_MOST_COUNTED: Final = 4096  # counts per pixel above it are as one for the display's range
_SHOWN: Final = 0.95  # of the pixels with locs are not brighter than the display's upper end
_COLOURS: Final = ("FF00FF", "00FF00", "00FFFF", "FFFF00")  # told apart, and by the colour-blind, where two overlap
_ONE_COLOUR: Final = "FFFFFF"


def area_of(tile: UnitReader, origin_nm: tuple[float, float], pixel_nm: float) -> Area:
    """What the outlines of a field were sought in."""
    bin_nm, corner_nm = float(tile.attrs["density_bin_nm"]), tile.attrs["density_origin_nm"]
    rows, columns = (int(n * bin_nm // pixel_nm) + 1 for n in tile.array("density").shape)
    return Area((origin_nm[0] + corner_nm[0], origin_nm[1] + corner_nm[1]), pixel_nm, (rows, columns))


def too_large(units: Mapping[str, Path], pixel_nm: float) -> str:
    """Why a field can't be an image, or ""."""
    with UnitReader(units["tile"]) as tile:
        area = area_of(tile, (0.0, 0.0), pixel_nm)
    rows, columns = area.blocks(0)
    if rows * columns <= _MOST_BLOCKS:
        return ""
    height, width = area.shape
    return f"would be an image of {width:,} x {height:,} pixels; give a larger --pixel-nm"


def write_images(path: Path, units: Mapping[str, Path], *, name: str, pixel_nm: float) -> None:
    """The OME-Zarr image of one field.

    Parameters
    ----------
    path : the folder to write
    units : the field's published units "ingest" and "tile"
    """
    with UnitReader(units["ingest"]) as ingest, UnitReader(units["tile"]) as tile:
        origin_nm = (float(ingest.attrs["origin_nm"][0]), float(ingest.attrs["origin_nm"][1]))
        channels = [int(channel) for channel in ingest.attrs["channels"]]
        area, locs = area_of(tile, origin_nm, pixel_nm), FieldLocs(ingest, columns=("x_nm", "y_nm", "channel"))
        with image_writer(path, area, axes={"c": len(channels)}, dtype="float32") as image:
            drawings = [_Drawing(image, area, locs, origin_nm, channel, i) for i, channel in enumerate(channels)]
            for drawing in drawings:
                drawing.draw()
            _write_labels(image, area, tile, origin_nm)
            names = [str(channel) for channel in ingest.attrs["channel_names"]]
            colours = _COLOURS if len(channels) > 1 else (_ONE_COLOUR,)
            shown = [drawing.display(names[i]) | {"color": colours[i % len(colours)]} for i, drawing in enumerate(drawings)]
            omero = {"channels": shown, "rdefs": {"model": "color"}}
            made = {"unit": "1/um2", "n_outside": locs.n - sum(drawing.n for drawing in drawings)}
            image.describe(name, omero=omero, ours=made)


class _Drawing:
    """One channel of an image, drawn block by block from level 0 up."""

    def __init__(self, image: ImageWriter, area: Area, locs: FieldLocs, origin_nm: tuple[float, float], channel: int, index: int) -> None:
        self._image, self._area, self._locs, self._channel, self._index = image, area, locs, channel, index
        # locs are relative to the field's origin
        self._corner_nm = area.corner_nm[0] - origin_nm[0], area.corner_nm[1] - origin_nm[1]
        self._pixels_of_count = np.zeros(_MOST_COUNTED + 1, dtype=np.int64)
        self.n = 0

    def draw(self) -> None:
        self._block(self._area.levels - 1, 0, 0)

    def _block(self, level: int, row: int, column: int) -> NDArray[np.float32] | None:
        """One block of a level, written; None where it is empty or outside."""
        rows, columns = self._area.blocks(level)
        if row >= rows or column >= columns:
            return None
        density = self._density(row, column) if level == 0 else self._halved(level, row, column)
        if density is not None:
            self._image.write(level, (row, column), density, at=(self._index,))
        return density

    def _halved(self, level: int, row: int, column: int) -> NDArray[np.float32] | None:
        """The mean of each 2 x 2 pixels of the four blocks below."""
        density = np.zeros((SHARD_PX, SHARD_PX), dtype=np.float32)
        half, found = SHARD_PX // 2, False
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            below = self._block(level - 1, 2 * row + i, 2 * column + j)
            if below is not None:
                quarter = (below[0::2, 0::2] + below[0::2, 1::2] + below[1::2, 0::2] + below[1::2, 1::2]) / 4
                density[i * half : (i + 1) * half, j * half : (j + 1) * half] = quarter
                found = True
        return density if found else None

    def _density(self, row: int, column: int) -> NDArray[np.float32] | None:
        """A block of level 0, drawn in strips so that only so many locs are in memory."""
        density = np.zeros((SHARD_PX, SHARD_PX), dtype=np.float32)
        n_before, pixel_nm = self.n, self._area.pixel_nm
        strip = max(1, round(self._locs.tile_nm / pixel_nm))
        for first in range(0, high := min(SHARD_PX, self._area.shape[0] - row * SHARD_PX), strip):
            n_rows = min(strip, high - first)
            counts = self._counts(row * SHARD_PX + first, n_rows, column * SHARD_PX)
            if counts is not None:
                density[first : first + n_rows] = counts * (_NM2_PER_UM2 / pixel_nm**2)
        return density if self.n > n_before else None

    def _counts(self, y_px: int, n_rows: int, x_px: int) -> NDArray[np.int64] | None:
        """Locs per pixel of a strip of a block; None where there is none."""
        pixel_nm, (x0_nm, y0_nm) = self._area.pixel_nm, self._corner_nm
        # half a pixel more on each side: which pixel a loc lies in is asked below, once, so that none is missed or counted twice
        left, lower = x0_nm + (x_px - 0.5) * pixel_nm, y0_nm + (y_px - 0.5) * pixel_nm
        found = self._locs.rectangle(left, lower, left + (SHARD_PX + 1) * pixel_nm, lower + (n_rows + 1) * pixel_nm)
        column = np.floor((found.x_nm.astype(np.float64) - x0_nm) / pixel_nm).astype(np.int64) - x_px
        row = np.floor((found.y_nm.astype(np.float64) - y0_nm) / pixel_nm).astype(np.int64) - y_px
        wide = min(SHARD_PX, self._area.shape[1] - x_px)
        inside = (found.channel == self._channel) & (column >= 0) & (column < wide) & (row >= 0) & (row < n_rows)
        if not inside.any():
            return None
        counts = np.bincount(row[inside] * SHARD_PX + column[inside], minlength=n_rows * SHARD_PX)
        self.n += int(inside.sum())
        self._pixels_of_count += np.bincount(np.minimum(counts, _MOST_COUNTED), minlength=_MOST_COUNTED + 1)
        return counts.reshape(n_rows, SHARD_PX)

    def display(self, name: str) -> dict[str, Any]:
        """How a viewer shows the channel at first."""
        occupied = self._pixels_of_count[1:].cumsum()
        count = 1 + int(np.searchsorted(occupied, _SHOWN * occupied[-1])) if occupied[-1] else 1
        most = 1 + int(np.max(np.flatnonzero(self._pixels_of_count[1:]), initial=0))
        unit = _NM2_PER_UM2 / self._area.pixel_nm**2
        window = {"min": 0.0, "start": 0.0, "end": count * unit, "max": most * unit}
        return {"label": name, "active": True, "window": window}


def _write_labels(image: ImageWriter, area: Area, tile: UnitReader, origin_nm: tuple[float, float]) -> None:
    """Squares of the kept ROIs at every level: a pixel is in one if its centre is."""
    kept = np.flatnonzero(tile.read("roi_kept"))
    side_nm = float(tile.attrs["roi_nm"])
    lower_nm = tile.read("roi_origin_nm")[kept] + origin_nm - area.corner_nm
    labels = image.label("rois")
    for level in range(area.levels):
        pixel_nm = area.pixel_nm * 2**level
        bounds = np.ceil(np.stack([lower_nm, lower_nm + side_nm], axis=1) / pixel_nm - 0.5).astype(np.int64)  # (roi, ends, x and y)
        _paint(labels, level, area.blocks(level), kept + 1, bounds)
    labels.describe("rois", **{"image-label": {"source": {"image": "../../"}}})


def _paint(labels: ImageWriter, level: int, blocks: tuple[int, int], values: NDArray[Any], bounds: NDArray[np.int64]) -> None:
    for row in range(blocks[0]):
        for column in range(blocks[1]):
            inside = np.clip(bounds - [column * SHARD_PX, row * SHARD_PX], 0, SHARD_PX)
            touched = np.flatnonzero((inside[:, 1] > inside[:, 0]).all(axis=1))
            if not len(touched):
                continue
            block = np.zeros((SHARD_PX, SHARD_PX), dtype=np.uint32)
            for i in touched.tolist():
                (left, lower), (right, upper) = inside[i].tolist()
                block[lower:upper, left:right] = values[i]
            labels.write(level, (row, column), block)
