"""The camera's pixel size of a Picasso file: from the YAML file beside it, else from the metadata in the file itself.

Picasso writes its metadata beside the data, since version 0.11 also into it (`/metadata`, JSON), and lets users switch the
YAML off. The YAML file wins, as in Picasso. Both are lists of dictionaries; the last one with a `Pixelsize` counts.

PyYAML's loader takes a second for 60 KiB, and a YAML file with picks in it can have megabytes: of a large one only the
lines that name the pixel size at the outermost level are parsed. Nothing is ever built but plain values.

Source: picasso.io.load_info, picasso.io._write_metadata_dataset, picasso.lib.get_from_metadata.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import h5py
import yaml

from smlmbatch.errors import InputError
from smlmbatch.ingest.binary import opened_hdf5, stored
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.heaps import refuse_endless_heaps

_WHOLE_BYTES: Final = 128 << 10
_MOST_BYTES: Final = 16 << 20
_LARGEST_PIXEL_NM: Final = 1e6
_TELLING: Final = re.compile(rb"^(?:---|Pixelsize *:).*$", re.MULTILINE)
# What PyYAML's safe loader raises for content that is no YAML, or no value of the type its tag claims.
_YAML_DAMAGE: Final = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError)
_MEND: Final = "give the camera's pixel size, e.g. pixel_size_nm = 117, in the sample sheet or the configuration"
_WANT: Final = "the YAML file as Picasso wrote it"


def pixel_nm_of(path: Path, overrides: Overrides) -> float:
    """The pixel size the user gives for this very file, else the file's own, else the one given for all files.

    Raises
    ------
    InputError
        none of them
    """
    if overrides.pixel_before(files_own=True):
        return overrides.pixel_size_nm
    try:
        return picasso_pixel_nm(path)
    except InputError:
        if not overrides.pixel_before(files_own=False):
            raise
        return overrides.pixel_size_nm


def picasso_pixel_nm(path: Path) -> float:
    """The side of a camera pixel.

    Raises
    ------
    InputError
        neither a YAML file nor metadata, damage in it, no `Pixelsize`, or one that is no length
    """
    sidecar = path.with_suffix(".yaml")
    try:
        with sidecar.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        embedded = _embedded(path)
        if embedded is None:
            finding = f"Picasso's coordinates are in camera pixels and {sidecar.name} isn't there"
            want = "the YAML file beside the data, or a pixel size"
            raise InputError(path, finding, want, f"put it beside the data, or {_MEND}") from error
        return _pixel_nm(path, "its /metadata", embedded)
    return _pixel_nm(path, sidecar.name, _documents(path, sidecar.name, text))


def _documents(path: Path, name: str, text: bytes) -> list[Any]:
    if len(text) > _MOST_BYTES:
        raise InputError(path, f"{name} is larger than {_MOST_BYTES >> 20} MiB", _WANT, _MEND)
    if len(text) > _WHOLE_BYTES:
        text = b"\n".join(_TELLING.findall(text)[: _WHOLE_BYTES // 64])
    try:
        return list(yaml.safe_load_all(text[:_WHOLE_BYTES]))
    except _YAML_DAMAGE as error:
        raise InputError(path, f"{name} is not YAML", _WANT, _MEND) from error


def _embedded(path: Path) -> list[Any] | None:
    """What `/metadata` holds; None if it isn't there."""
    with opened_hdf5(path) as file:
        item = stored(path, file, "metadata")
        is_text = isinstance(item, h5py.Dataset) and item.shape == () and h5py.check_string_dtype(item.dtype) is not None
    if not is_text:
        return None
    refuse_endless_heaps(path)  # a word of any length lies in a heap
    with opened_hdf5(path) as file:
        text = file["metadata"][()]
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(path, "its /metadata is not JSON", "the file as Picasso wrote it", _MEND) from error
    return found if isinstance(found, list) else [found]


def _pixel_nm(path: Path, name: str, documents: list[Any]) -> float:
    sizes = [document["Pixelsize"] for document in documents if isinstance(document, dict) and document.get("Pixelsize") is not None]
    if not sizes:
        raise InputError(path, f"{name} has no Pixelsize", "the camera's pixel size in nm", _MEND)
    size = sizes[-1]
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size <= _LARGEST_PIXEL_NM:
        # a list that holds itself many times over has no end when it is written out
        shown = repr(size)[:60] if isinstance(size, bool | float | str) else f"a {type(size).__name__}"
        raise InputError(path, f"{name} gives Pixelsize: {shown}", "a length in nm", _MEND)
    return float(size)
