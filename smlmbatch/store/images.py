"""Images as OME-Zarr (OME-NGFF 0.5, which is Zarr v3): a pyramid of levels in sharded arrays, label images beside it.

    NAME.ome.zarr/zarr.json               what it shows: axes, scale and translation in micrometres, channels
    NAME.ome.zarr/0 1 2 ...               levels, each half as wide and high as the one before
    NAME.ome.zarr/labels/LABEL/0 1 2 ...  integers over the same area

Version 0.5 rather than 0.4, as shards exist in Zarr v3 only: without, every 256 x 256 pixels are a file. Shards in which
all is 0 are not written and read back as 0. An image appears whole or not at all.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

SHARD_PX: Final = 2048
CHUNK_PX: Final = 256
_VERSION: Final = "0.5"
_NM_PER_UM: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Area:
    """What an image shows, and how finely.

    Attributes
    ----------
    corner_nm : (x, y) of the first pixel's corner, in the source's coordinates
    pixel_nm : side of a pixel of level 0
    shape : rows (along y) and columns of level 0
    """

    corner_nm: tuple[float, float]
    pixel_nm: float
    shape: tuple[int, int]

    def level_shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of a level; the last pixel may reach beyond the area."""
        rows, columns = (-(-length >> level) if level else length for length in self.shape)
        return rows, columns

    @property
    def levels(self) -> int:
        """How often it is halved until it fits into one chunk, and once more for level 0."""
        return 1 + max(0, (-(-max(self.shape) // CHUNK_PX) - 1).bit_length())

    def blocks(self, level: int) -> tuple[int, int]:
        """Rows and columns of shards."""
        rows, columns = (-(-length // SHARD_PX) for length in self.level_shape(level))
        return rows, columns


class ImageWriter:
    """Writes one OME-Zarr image shard by shard; made by `image_writer`.

    Parameters
    ----------
    axes : names of the axes that an array has before y and x, with their lengths: {"c": 2}, or {} for labels
    """

    def __init__(self, group: "zarr.Group", area: Area, *, axes: Mapping[str, int], dtype: str) -> None:
        self._group, self._area, self._axes = group, area, dict(axes)
        self._arrays = [self._create(level, dtype) for level in range(area.levels)]

    def _create(self, level: int, dtype: str) -> "zarr.Array[Any]":
        shape = self._area.level_shape(level)
        shard = tuple(min(SHARD_PX, -(-length // CHUNK_PX) * CHUNK_PX) for length in shape)
        ones = (1,) * len(self._axes)
        return self._group.create_array(
            str(level),
            shape=(*self._axes.values(), *shape),
            dtype=dtype,
            chunks=(*ones, CHUNK_PX, CHUNK_PX),
            shards=(*ones, *shard),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
            fill_value=0,
            dimension_names=(*self._axes, "y", "x"),
        )

    def write(self, level: int, block: tuple[int, int], values: NDArray[Any], *, at: Sequence[int] = ()) -> None:
        """One shard: `block` is its row and column, `values` (up to SHARD_PX, up to SHARD_PX), `at` the index along other axes."""
        array = self._arrays[level]
        rows, columns = array.shape[-2:]
        y, x = block[0] * SHARD_PX, block[1] * SHARD_PX
        inside = values[: rows - y, : columns - x]
        index: Any = (*at, slice(y, y + inside.shape[0]), slice(x, x + inside.shape[1]))
        array[index] = inside

    def describe(self, name: str, *, ours: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Write what the image shows; `more` goes beside it ("omero", "image-label"), `ours` under our own name."""
        axes = [{"name": axis, "type": "channel"} for axis in self._axes]
        axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in ("y", "x")]
        datasets = [{"path": str(level), "coordinateTransformations": self._transformations(level)} for level in range(self._area.levels)]
        shown: Any = {"version": _VERSION, "multiscales": [{"name": name, "axes": axes, "datasets": datasets}], **more}
        self._group.attrs["ome"] = shown
        if ours is not None:
            self._group.attrs["smlmbatch"] = dict(ours)

    def _transformations(self, level: int) -> list[dict[str, Any]]:
        """Scale, and translation to the centre of the first pixel."""
        pixel_nm = self._area.pixel_nm * 2**level
        ones, zeros = [1.0] * len(self._axes), [0.0] * len(self._axes)
        x_um, y_um = ((corner_nm + pixel_nm / 2) / _NM_PER_UM for corner_nm in self._area.corner_nm)
        scale = {"type": "scale", "scale": [*ones, pixel_nm / _NM_PER_UM, pixel_nm / _NM_PER_UM]}
        return [scale, {"type": "translation", "translation": [*zeros, y_um, x_um]}]

    def label(self, name: str, dtype: str = "uint32") -> "ImageWriter":
        """A writer for a label image over the same area."""
        labels = self._group.require_group("labels")
        labels.attrs["ome"] = {"version": _VERSION, "labels": [name]}
        return ImageWriter(labels.create_group(name), self._area, axes={}, dtype=dtype)


@contextmanager
def image_writer(path: Path, area: Area, *, axes: Mapping[str, int], dtype: str) -> Iterator[ImageWriter]:
    """A writer for the image `path` (a folder), which appears when the block ends well and takes the place of one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        yield ImageWriter(zarr.create_group(zarr.storage.LocalStore(partial)), area, axes=axes, dtype=dtype)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
