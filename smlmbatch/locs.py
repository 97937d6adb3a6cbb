"""The in-memory types: localisations, regions of interest, and the columns they may have.

Units are nanometres everywhere; conversion happens once, in the readers. Frames count from 0.
A column a file does not have is None, never an array of NaN.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Name and dtype of every quantity a localisation may carry, in the order in which it is stored.
LOC_COLUMNS: Final[dict[str, str]] = {
    "x_nm": "f4",
    "y_nm": "f4",
    "z_nm": "f4",
    "frame": "i4",
    "photons": "f4",
    "precision_nm": "f4",
    "precision_z_nm": "f4",
    "background": "f4",
    "psf_nm": "f4",
    "channel": "u1",
    "group": "i4",
    "n_merged": "i4",
    "row": "i8",
}
REQUIRED_COLUMNS: Final[tuple[str, ...]] = ("x_nm", "y_nm", "channel", "row")


@dataclass(frozen=True, slots=True)
class Locs:
    """Localisations of one field (or a piece of it), coordinates relative to the field's origin.

    Attributes
    ----------
    x_nm, y_nm : (n,) f4, nm
    channel : (n,) u1
    row : (n,) i8, 0-based record in the source's own order
    z_nm, photons, precision_nm, precision_z_nm, background, psf_nm : (n,) f4 or None
    frame, group : (n,) i4 or None; frames from 0
    n_merged : (n,) i4 or None, locs of the source merged into each; only where blinks were merged
    """

    x_nm: NDArray[np.float32]
    y_nm: NDArray[np.float32]
    channel: NDArray[np.uint8]
    row: NDArray[np.int64]
    z_nm: NDArray[np.float32] | None = None
    frame: NDArray[np.int32] | None = None
    photons: NDArray[np.float32] | None = None
    precision_nm: NDArray[np.float32] | None = None
    precision_z_nm: NDArray[np.float32] | None = None
    background: NDArray[np.float32] | None = None
    psf_nm: NDArray[np.float32] | None = None
    group: NDArray[np.int32] | None = None
    n_merged: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.x_nm)

    def columns(self) -> Iterator[tuple[str, NDArray[np.generic]]]:
        """The columns that are there, in stored order."""
        for name in LOC_COLUMNS:
            values = getattr(self, name)
            if values is not None:
                yield name, values

    def take(self, index: NDArray[np.generic] | slice) -> "Locs":
        """The locs at `index` (a slice, integers or a mask), all columns alike."""
        picked: dict[str, Any] = {name: values[index] for name, values in self.columns()}
        return Locs(**picked)


@dataclass(frozen=True, slots=True)
class Particles:
    """Some copies of a structure in one field, padded to the longest of them.

    Attributes
    ----------
    points_nm : (k, p, d) f4, nm about the particle's centre; 0 where there is no point
    present : (k, p) bool, where there is one
    field : key of the field
    number : (k,) i8, row of the particle in its field's unit
    channel : (k,) u1
    centre_nm : (k, d) f8, nm, relative to the field's origin
    """

    points_nm: NDArray[np.float32]
    present: NDArray[np.bool_]
    field: str
    number: NDArray[np.int64]
    channel: NDArray[np.uint8]
    centre_nm: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.present)


@dataclass(frozen=True, slots=True)
class Rois:
    """Regions of interest of one field: squares of the grid inside the cell.

    Attributes
    ----------
    origin_nm : (r, 2) f8, lower-left corner (x, y), nm, relative to the field's origin
    side_nm : the squares' side, nm
    kept : (r,) bool, whether the ROI passed the thresholds
    """

    origin_nm: NDArray[np.float64]
    side_nm: float
    kept: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.origin_nm)
