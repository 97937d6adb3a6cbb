"""Writes localisations as a vendor's program writes them: ThunderSTORM CSV, Picasso HDF5 with its YAML; or as a plain table in nm.

The two programs disagree in everything but the meaning: nm against camera pixels, frames from 1 against from 0, and a pixel's
centre at +0.5 px (ThunderSTORM's estimators add it) against at an integer (Picasso). Equal locs give equal bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.simulate.blinking import Camera, SimulatedLocs
from smlmbatch.store.units import appears_whole, write_whole

_PRINTED_DECIMALS = 3  # ThunderSTORM prints up to three decimals
# Picasso's net gradient is an image quantity; on spots of real 2D and 3D data it is about this many per photon.
_GRADIENT_PER_PHOTON = 3.7

More = Mapping[str, NDArray[Any]]  # further columns by their names in the file
NO_MORE: Final[More] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What follows the field's name in the file's name, who writes it, and the suffix of a companion file, if any."""

    suffix: str
    write: Callable[[Path, SimulatedLocs, Camera, tuple[float, float]], None]
    companion: str = ""


def write_thunderstorm(path: Path, locs: SimulatedLocs, camera: Camera, size_nm: tuple[float, float]) -> None:
    """A ThunderSTORM results table: quoted header, ten columns, frames and ids from 1, nm, US decimals, LF."""
    import pyarrow as pa
    from pyarrow import csv

    printed = {
        "x [nm]": locs.x_nm,
        "y [nm]": locs.y_nm,
        "sigma [nm]": locs.psf_nm,
        "intensity [photon]": locs.photons,
        "offset [photon]": locs.background_sd**2,
        "bkgstd [photon]": locs.background_sd,
        "chi2": locs.chi2,
        "uncertainty_xy [nm]": locs.precision_nm,
    }
    counted = {"id": np.arange(1, len(locs) + 1), "frame": locs.frame.astype(np.int64) + 1}
    table = pa.table(counted | {name: np.round(values, _PRINTED_DECIMALS) for name, values in printed.items()})
    with appears_whole(path) as partial:
        csv.write_csv(table, partial)


def write_plain(path: Path, locs: SimulatedLocs, *, more: More = NO_MORE) -> None:
    """A table of one's own with columns that say their unit: `x_nm`, `y_nm`, those of `more`, frames from 0."""
    import pyarrow as pa
    from pyarrow import csv

    measured = {"x_nm": locs.x_nm, "y_nm": locs.y_nm, "photons": locs.photons, "precision_nm": locs.precision_nm, "psf_nm": locs.psf_nm}
    columns = {"frame": locs.frame} | measured | dict(more)
    printed = {name: np.round(values, _PRINTED_DECIMALS) if values.dtype.kind == "f" else values for name, values in columns.items()}
    with appears_whole(path) as partial:
        csv.write_csv(pa.table(printed), partial)


def write_picasso(path: Path, locs: SimulatedLocs, camera: Camera, size_nm: tuple[float, float], *, more: More = NO_MORE) -> None:
    """A Picasso localisation file: compound dataset `/locs` in camera pixels, frames from 0, and the YAML beside it.

    Parameters
    ----------
    more : further columns, in their own units and dtypes
    """
    import h5py

    records = picasso_records(locs, camera, more=more)
    # the YAML comes first: a reader that sees the HDF5 file finds its pixel size
    write_whole(path.with_suffix(".yaml"), picasso_yaml(camera, size_nm).encode())
    with appears_whole(path) as partial, h5py.File(partial, "w") as file:
        file.create_dataset("locs", data=records, track_times=False)


def picasso_records(locs: SimulatedLocs, camera: Camera, *, more: More = NO_MORE) -> np.ndarray:
    """The rows of `/locs`, (n,) compound: `frame` u4, the rest f4; positions, widths and errors in pixels, integer = pixel centre;
    then the columns of `more`.
    """
    width_px = locs.psf_nm / camera.pixel_nm
    error_px = locs.precision_nm / camera.pixel_nm
    columns = {
        "x": locs.x_nm / camera.pixel_nm - 0.5,
        "y": locs.y_nm / camera.pixel_nm - 0.5,
        "photons": locs.photons,
        "sx": width_px,
        "sy": width_px,
        "bg": locs.background_sd**2,
        "lpx": error_px,
        "lpy": error_px,
        "ellipticity": np.zeros(len(locs)),
        "net_gradient": _GRADIENT_PER_PHOTON * locs.photons,
    }
    kinds = [("frame", "<u4"), *((name, "<f4") for name in columns), *((name, values.dtype.str) for name, values in more.items())]
    records = np.empty(len(locs), dtype=kinds)
    records["frame"] = locs.frame
    for name, values in (columns | dict(more)).items():
        records[name] = values
    return records


def picasso_yaml(camera: Camera, size_nm: tuple[float, float]) -> str:
    """The metadata file: one document for the movie, one for the localisation step."""
    import yaml

    width_px, height_px = (int(np.ceil(length / camera.pixel_nm)) for length in size_nm)
    movie = {"Byte Order": "<", "Data Type": "uint16", "Frames": camera.n_frames, "Height": height_px, "Width": width_px}
    localize = {"Box Size": 7, "Generated by": "smlmbatch simulate", "Min. Net Gradient": 1000, "Pixelsize": camera.pixel_nm}
    return str(yaml.safe_dump_all([movie, localize], sort_keys=True))


FORMATS: Mapping[str, FileFormat] = MappingProxyType(
    {"thunderstorm": FileFormat(".csv", write_thunderstorm), "picasso": FileFormat("_locs.hdf5", write_picasso, "_locs.yaml")}
)
