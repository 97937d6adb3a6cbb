"""DECODE's HDF5 files: `/data` with xyz (N, 3), its uncertainty, photons and frames; units in the attributes of `/meta`.

DECODE's x is the first axis of its image arrays, the row of the camera image; SMAP swaps the two when it reads such
a file. Here x stays x. A pixel's centre is a whole number (its image extent begins at -0.5), so half a pixel is added
to count from the first pixel's corner. Pixels may differ in x and y. z is in nm always, frames count from 0.
Columns that are NaN throughout are stored as an empty value. A `.pt` file holds the same as a pickle: not read.

Source: decode.utils.emitter_io.save_h5, decode.generic.emitter.EmitterSet, decode.simulation.psf_kernel.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from smlmbatch.errors import InputError
from smlmbatch.ingest.binary import attribute, opened_hdf5, row_pieces, stored
from smlmbatch.ingest.columns import Overrides, Resolved, Use
from smlmbatch.ingest.heaps import refuse_endless_heaps
from smlmbatch.ingest.source import RawBlock, Source

_OFFSET_PX: Final = 0.5
# Columns of one number per emitter → quantity.
_PLAIN: Final = (("frame_ix", "frame"), ("phot", "photons"), ("bg", "background"))
# Uncertainty columns, best first → power: network's sigma, Cramér-Rao bound (a variance).
_PRECISION: Final = (("xyz_sig", 1.0), ("xyz_cr", 0.5))


def open_decode(path: Path, overrides: Overrides) -> Source:
    """A DECODE emitter set.

    Raises
    ------
    InputError
        no emitters, columns of different lengths, an unknown unit, no pixel size, a damaged file
    """
    refuse_endless_heaps(path)  # the unit is a word
    with opened_hdf5(path) as file:
        shapes = {name: _shape(stored(path, file, f"data/{name}")) for name in ("xyz", "xyz_sig", "xyz_cr", *dict(_PLAIN))}
        meta = stored(path, file, "meta")
        told = {name: attribute(meta, name) for name in ("xy_unit", "px_size")} if meta is not None else {}
    if shapes["xyz"] is None or shapes["xyz"][1:] != (3,):
        raise InputError(path, f"no table /data/xyz of three columns (shape {shapes['xyz']})", "a DECODE file", "save it again in DECODE")
    n = shapes["xyz"][0]
    for name, shape in shapes.items():
        wanted = (n, 3) if name.startswith("xyz") else (n,)
        if shape is not None and shape != wanted:
            raise InputError(path, f"/data/{name} has shape {shape}", f"shape {wanted}, as /data/xyz has", "save it again in DECODE")
    resolved = _resolved(path, {name for name, shape in shapes.items() if shape is not None}, told, overrides)
    return Source(path=path, format="decode", resolved=resolved, blocks=lambda: _blocks(path, resolved))


def _shape(item: object) -> tuple[int, ...] | None:
    """None for what is not there, no numbers, or stored as an empty value."""
    return item.shape if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" else None


def _resolved(path: Path, present: set[str], told: dict[str, Any], overrides: Overrides) -> Resolved:
    unit = told.get("xy_unit")
    if not isinstance(unit, str) or unit not in ("px", "nm"):
        raise InputError(path, f"/meta gives the unit {unit!r} for x and y", "px or nm", "save it again in DECODE with its unit")
    pixels = _pixel_sizes(told, overrides)
    if unit == "px" and not pixels:
        mend = "give the camera's pixel size, e.g. pixel_size_nm = 110, in the sample sheet or the configuration"
        raise InputError(path, "x and y are in camera pixels and /meta gives no pixel size", "a pixel size", mend)
    factors = pixels if unit == "px" else (1.0, 1.0)
    offset = _OFFSET_PX if pixels else 0.0
    shifts = [offset * size for size in pixels or (0.0, 0.0)]
    uses = [Use(f"{axis}_nm", (f"xyz[{k}]",), factors[k], shifts[k]) for k, axis in enumerate("xy")]
    uses += [Use("z_nm", ("xyz[2]",))]
    for name, power in _PRECISION:
        if name in present:
            uses.append(Use("precision_nm", (f"{name}[0]", f"{name}[1]"), power=power, factors=factors))
            uses.append(Use("precision_z_nm", (f"{name}[2]",), power=power))
            break
    uses += [Use(quantity, (name,)) for name, quantity in _PLAIN if name in present]
    pixel_nm = sum(pixels) / 2 if pixels else None
    return Resolved(uses=tuple(uses), unit=unit, pixel_size_nm=pixel_nm, pixel_offset_px=offset, frame_base=0)


def _pixel_sizes(told: dict[str, Any], overrides: Overrides) -> tuple[float, ...]:
    """Sides of a pixel along x and y in nm, () if unknown."""
    sizes = np.asarray(told.get("px_size"))
    known = sizes.shape == (2,) and sizes.dtype.kind in "fiu" and all(0 < size < math.inf for size in sizes)
    if overrides.pixel_before(known):
        return (overrides.pixel_size_nm,) * 2
    return (float(sizes[0]), float(sizes[1])) if known else ()


def _blocks(path: Path, resolved: Resolved) -> Iterator[RawBlock]:
    names = dict.fromkeys(name.partition("[") for use in resolved.uses for name in use.columns)
    with opened_hdf5(path) as file:
        data = {name: file[f"data/{name}"] for name in dict.fromkeys(name for name, _, _ in names)}
        chunks = data["xyz"].chunks
        for start, stop in row_pieces(data["xyz"].shape[0], chunks[0] if chunks else 1):
            pieces = {name: dataset[start:stop] for name, dataset in data.items()}
            columns = {
                f"{name}{bracket}{axis}": pieces[name][:, int(axis[0])] if bracket else pieces[name] for name, bracket, axis in names
            }
            yield RawBlock(n_records=stop - start, columns=columns)
