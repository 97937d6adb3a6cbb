"""What one pass over a field's locs gives: histograms of its columns, locs over time, photons over the field.

Bins are wide enough for every microscope and fixed, so that fields can be laid over one another.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.locs import Locs
from smlmbatch.quality.counts import Floats, Histogram, quantiles
from smlmbatch.quality.outline import mask_of
from smlmbatch.quality.recording import frame_bounds
from smlmbatch.store.arrays import UnitReader

# column, first bin, width, number, whether of the logarithm. 0.5 nm are a tenth of a usual spread; 20 bins a decade are 12 %
_COLUMNS: Final = {
    "precision": ("precision_nm", 0.0, 0.5, 120, False),
    "photons": ("photons", -4.0, 0.05, 240, True),  # some programs give shares of a full well
    "psf": ("psf_nm", 0.0, 5.0, 120, False),
}
_Z_BINS = 100
_FINE = (-2.0, 1 / 2000, 10_000, True)  # of precision, 0.01 to 1000 nm in steps of 0.1 %, for its median
_MAP_PARTS = 16  # along the field's longer side
_LEAST_PART_NM = 2000.0  # smaller parts show molecules, no illumination
_LEAST_PART_LOCS = 300  # the median of fewer is not good to 7 %
_LEAST_PARTS = 10  # deciles of fewer are single parts


class Survey:
    """Counts of one field, piece after piece of its locs.

    Attributes
    ----------
    channels : the field's channel numbers
    n : (channels,) i8, locs of each
    by_column : name in the schema to histogram; only of columns the field has
    frame_bound : bounds of the bins of `frames`, whole frames; empty where the field has none
    frames : (bins, channels) i8
    first_frame, last_frame : (channels,) i8, of each channel's locs
    map_origin_nm, map_side_nm, map_shape : parts of the field in which photons are looked at
    mask : (rows, columns) bool, which bins of the tile stage's density lie in a cell
    """

    def __init__(self, ingest: UnitReader, tile: UnitReader) -> None:
        attrs = ingest.attrs
        self.channels = [int(channel) for channel in attrs["channels"]]
        n_channels = len(self.channels)
        self.n = np.zeros(n_channels, dtype=np.int64)
        self._place = np.zeros(256, dtype=np.intp)
        self._place[self.channels] = np.arange(n_channels)
        self._names = {name: column for name, (column, *_) in _COLUMNS.items() if ingest.has(column)}
        self.by_column = {name: Histogram(*_COLUMNS[name][1:4], n_channels, _COLUMNS[name][4]) for name in self._names}
        if ingest.has("z_nm") and attrs["z_extent_nm"] and attrs["z_extent_nm"][0] < attrs["z_extent_nm"][1]:
            low, high = attrs["z_extent_nm"]
            self._names["z"] = "z_nm"
            self.by_column["z"] = Histogram(low, (high - low) / _Z_BINS, _Z_BINS, n_channels)
        self._fine = Histogram(*_FINE[:3], n_channels, _FINE[3])
        has_frames = ingest.has("frame") and attrs["frame_extent"]
        self.frame_bound = frame_bounds(*attrs["frame_extent"]) if has_frames else np.empty(0, dtype=np.int64)
        self.frames = np.zeros((max(0, len(self.frame_bound) - 1), n_channels), dtype=np.int64)
        self.first_frame = np.full(n_channels, np.iinfo(np.int64).max)
        self.last_frame = np.full(n_channels, np.iinfo(np.int64).min)
        self._lay_map(tile)

    def _lay_map(self, tile: UnitReader) -> None:
        """Parts and mask cover what the raster of density covers: the field without locs far away from all others."""
        shape, (x0, y0) = tile.array("density").shape, tile.attrs["density_origin_nm"]
        self.map_origin_nm = (float(x0), float(y0))
        self._mask_bin_nm = float(tile.attrs["density_bin_nm"])
        self.map_side_nm = max(_LEAST_PART_NM, max(shape) * self._mask_bin_nm / _MAP_PARTS)
        rows, columns = (max(1, int(np.ceil(n * self._mask_bin_nm / self.map_side_nm))) for n in shape)
        self.map_shape = (rows, columns)
        rings, cells = outline_rings(tile)
        self.mask = mask_of(rings, cells, origin_nm=self.map_origin_nm, bin_nm=self._mask_bin_nm, shape=(shape[0], shape[1]))
        self._map = Histogram(*_COLUMNS["photons"][1:4], rows * columns * len(self.channels), True) if "photons" in self._names else None

    def add(self, locs: Locs) -> None:
        """Count a piece of the field's locs."""
        place = self._place[locs.channel]
        self.n += np.bincount(place, minlength=len(self.n))
        for name, column in self._names.items():
            self.by_column[name].add(getattr(locs, column), place)
        if locs.precision_nm is not None:
            self._fine.add(locs.precision_nm, place)
        if locs.frame is not None and self.frames.size:
            index = self.bin_of(locs.frame) * len(self.channels) + place
            self.frames += np.bincount(index, minlength=self.frames.size).reshape(self.frames.shape)
            np.minimum.at(self.first_frame, place, locs.frame)
            np.maximum.at(self.last_frame, place, locs.frame)
        self._add_map(locs, place)

    def bin_of(self, frame: NDArray[np.int32]) -> NDArray[np.int64]:
        """The bin of `frames` that each frame is in."""
        return np.asarray((frame.astype(np.int64) - self.frame_bound[0]) // self.frames_per_bin)

    def recording(self, place: int) -> tuple[int, int]:
        """First and last frame with a loc of a channel; of the whole recording where it has none."""
        if not self.n[place]:
            return int(self.first_frame.min()), int(self.last_frame.max())
        return int(self.first_frame[place]), int(self.last_frame[place])

    @property
    def frames_per_bin(self) -> int:
        return int(self.frame_bound[1] - self.frame_bound[0])

    def _add_map(self, locs: Locs, place: NDArray[np.intp]) -> None:
        if self._map is None:
            return
        rows, columns = self.mask.shape
        column = _index(locs.x_nm, self.map_origin_nm[0], self._mask_bin_nm, columns)
        row = _index(locs.y_nm, self.map_origin_nm[1], self._mask_bin_nm, rows)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        inside[inside] = self.mask[row[inside], column[inside]]
        bins_per_part = self.map_side_nm / self._mask_bin_nm
        part = np.minimum(row / bins_per_part, self.map_shape[0] - 1).astype(np.intp) * self.map_shape[1]
        part += np.minimum(column / bins_per_part, self.map_shape[1] - 1).astype(np.intp)
        assert locs.photons is not None
        self._map.add(locs.photons[inside], (part * len(self.channels) + place)[inside])

    def precision_medians_nm(self) -> Floats:
        """Median stated precision of each channel; NaN where it has none."""
        return self._fine.medians()

    def photon_map(self) -> Floats | None:
        """Median photons of each part of the field, within cells: (rows, columns, channels).

        NaN where too few locs lie, and where the median is in an end bin, which holds all beyond.
        """
        if self._map is None:
            return None
        medians = quantiles(np.ascontiguousarray(self._map.counts.T), self._map, 0.5)
        medians[self._map.counts.sum(axis=0) < _LEAST_PART_LOCS] = np.nan
        low, high = self._map.bounds[[1, -2]]
        medians[(medians <= low) | (medians >= high)] = np.nan
        return medians.reshape(*self.map_shape, len(self.channels))


def illumination(photons: Floats) -> tuple[float, str]:
    """Darkest over brightest decile of one channel's map; NaN with the reason where it can't be told."""
    known = photons[np.isfinite(photons)]
    if len(known) < _LEAST_PARTS:
        return np.nan, f"fewer than {_LEAST_PARTS} parts of the field have {_LEAST_PART_LOCS} locs with photons in a cell"
    dark, bright = np.quantile(known, (0.1, 0.9))
    return float(dark / bright), ""


def outline_rings(tile: UnitReader) -> tuple[list[Floats], list[int]]:
    """The rings of a tile unit's outlines, (v, 2) nm each, and the cell of each."""
    vertices_nm, bounds = tile.read("outline_nm"), tile.read("outline_start")
    rings = [vertices_nm[start:stop] for start, stop in pairwise(bounds)]
    return rings, tile.read("outline_cell").tolist()


def _index(values: NDArray[Any], origin_nm: float, bin_nm: float, n_bins: int) -> NDArray[np.int32]:
    """The bin of each value; -1 or `n_bins` outside, however far."""
    bins = np.floor((values - np.float32(origin_nm)) / np.float32(bin_nm))
    return np.asarray(bins.clip(-1, n_bins), dtype=np.int32)
