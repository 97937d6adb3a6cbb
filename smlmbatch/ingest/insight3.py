"""Insight3 molecule lists (.bin, magic M425), as written by Nikon N-STORM, Insight3 and the Zhuang lab's programs.

A header of 16 bytes and `molecules` records of 72; behind them may follow copies frame by frame, or XML: not read.
x and y are camera pixels and the file doesn't say how large one is. The first pixel's centre is 1, so 0.5 is
subtracted to count from its corner, as in the other formats. Drift-corrected coordinates (xc, yc, zc) are taken.
`w` is twice sigma in nm. `a` (area) and `i` (sum) are in the camera's counts, which aren't photons: left out.
Category 9 marks molecules whose z fit failed: their z is dropped, with the usual warning.

Source: storm-analysis, documentation of its output files and i3dtype.py.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, Resolved, Use
from smlmbatch.ingest.source import RawBlock, Source

INSIGHT3_MAGIC: Final = b"M425"
_HEADER: Final = struct.Struct("<4s3i")  # magic, frames, status, molecules
_FLOATS = ("x", "y", "xc", "yc", "h", "a", "w", "phi", "ax", "bg", "i")
_WHOLE = ("c", "fi", "fr", "tl", "lk")
_RECORD: Final = np.dtype([*((name, "<f4") for name in _FLOATS), *((name, "<i4") for name in _WHOLE), ("z", "<f4"), ("zc", "<f4")])
_CLOSED: Final = 6
_BAD_Z: Final = 9
_PIECE_ROWS: Final = 1 << 16
_OFFSET_PX: Final = -0.5


def open_insight3(path: Path, overrides: Overrides) -> Source:
    """A molecule list; the pixel size has to be given.

    Raises
    ------
    InputError
        no pixel size, another version, a list that was never closed, or fewer records than the header promises
    """
    n = _count(path)
    pixel_nm = overrides.pixel_size_nm
    if pixel_nm <= 0:
        finding = "Insight3 coordinates are in camera pixels and the file has no pixel size"
        mend = "give the camera's pixel size, e.g. pixel_size_nm = 160, in the sample sheet or the configuration"
        raise InputError(path, finding, "a pixel size", mend)
    shift = _OFFSET_PX * pixel_nm
    uses = (
        Use("x_nm", ("xc",), pixel_nm, shift),
        Use("y_nm", ("yc",), pixel_nm, shift),
        Use("z_nm", ("zc",)),
        Use("frame", ("fr",)),
        Use("background", ("bg",)),
        Use("psf_nm", ("w",), 0.5),
        Use("channel", ("c",)),
    )
    resolved = Resolved(uses=uses, unit="px", pixel_size_nm=pixel_nm, pixel_offset_px=_OFFSET_PX, frame_base=None)
    return Source(path=path, format="insight3", resolved=resolved, blocks=lambda: _blocks(path, n))


def _count(path: Path) -> int:
    """Molecules of the master list, checked against the size of the file."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(INSIGHT3_MAGIC):
        raise InputError(path, "the header isn't that of a molecule list", "an Insight3 file, version M425", "save it again in Insight3")
    _, _, status, n = _HEADER.unpack(head)
    if status != _CLOSED:
        finding = f"the molecule list was never closed (status {status}): the analysis was probably interrupted"
        raise InputError(path, finding, f"status {_CLOSED}", "run the analysis again, or open and save the list in Insight3")
    there = (path.stat().st_size - _HEADER.size) // _RECORD.itemsize
    if not 0 <= n <= there:
        finding = f"the header promises {n} molecules, the file has room for {there}"
        raise InputError(path, finding, "a whole molecule list", "copy it again, it was probably cut off")
    return int(n)


def _blocks(path: Path, n: int) -> Iterator[RawBlock]:
    with path.open("rb") as file:
        file.seek(_HEADER.size)
        for start in range(0, n, _PIECE_ROWS):
            records = np.fromfile(file, dtype=_RECORD, count=min(_PIECE_ROWS, n - start))
            columns: dict[str, Any] = {name: records[name] for name in ("xc", "yc", "fr", "bg", "w", "c")}
            columns["zc"] = np.where(records["c"] == _BAD_Z, np.float32(np.nan), records["zc"])
            yield RawBlock(n_records=len(records), columns=columns)
