"""MINFLUX measurements as Abberior's Imspector exports them to .npy, plain or zipped, in both layouts.

Up to version m2205 a record is a localisation and `itr` holds all its iterations; since m2410 every iteration is a
record of its own. In both the last iteration is the localisation: the ones before it use wider patterns and only
steer the beam. Positions are in metres and may lie anywhere on the stage. `tid` (one trace = one blink of one
molecule) becomes the group. There is no camera, hence no frame, and no precision: it is the spread within a trace.
z is taken as it is; the usual correction for the refractive index (0.7 to 0.8) is left to the user.

Source: Abberior's field names as pyMINFLUX reads them (find_last_valid_iteration, find_last_valid_iteration_v2).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, Resolved, Use
from smlmbatch.ingest.formats import LENGTH_NM, Filter
from smlmbatch.ingest.npy import NpyHead, read_npy_head, record_blocks
from smlmbatch.ingest.source import RawBlock, Source

_METRE_NM: Final = LENGTH_NM["m"]
_NOT_VALID: Final = "not marked valid"
_NOT_LAST: Final = "not the last iteration"
_MAX_ITERATIONS: Final = 100  # real sequences have 4 to 10


def is_minflux(dtype: np.dtype[Any]) -> bool:
    """Whether records of this type are MINFLUX localisations or iterations."""
    return _is_nested(dtype) or _is_flat(dtype)


def _is_nested(dtype: np.dtype[Any]) -> bool:
    """m2205: `itr` (iterations,) of records with `loc` (3,)."""
    return _is_number(dtype, "vld", "b") and _is_number(dtype, "tid") and "itr" in (dtype.names or ()) and _is_iterations(dtype["itr"])


def _is_iterations(kind: np.dtype[Any]) -> bool:
    return len(kind.shape) <= 1 and 0 not in kind.shape and _has_loc(kind.base)


def _is_flat(dtype: np.dtype[Any]) -> bool:
    """m2410: `loc` (3,) beside a whole number `itr`."""
    return _is_number(dtype, "vld", "b") and _is_number(dtype, "tid") and _is_number(dtype, "itr") and _has_loc(dtype)


def _is_number(dtype: np.dtype[Any], name: str, kinds: str = "iu") -> bool:
    return name in (dtype.names or ()) and dtype[name].kind in kinds  # a field of several has the kind V


def _has_loc(dtype: np.dtype[Any]) -> bool:
    return "loc" in (dtype.names or ()) and dtype["loc"].shape == (3,) and dtype["loc"].base.kind == "f"


def open_minflux(path: Path, overrides: Overrides) -> Source:
    """MINFLUX records in a .npy file or in a zip archive of one.

    Raises
    ------
    InputError
        no such records, a damaged file
    """
    del overrides  # the format gives metres
    head = read_npy_head(path)
    if not is_minflux(head.dtype) or len(head.shape) != 1:
        found = ", ".join(head.dtype.names or ()) or f"an array of {head.dtype}"
        raise InputError(path, f"no MINFLUX records; found {found[:200]}", "an .npy file of Imspector", "export it again as .npy")
    filters = [Filter(column="vld", reason=_NOT_VALID, keeps=(1,))]
    if _is_flat(head.dtype):
        filters.append(Filter(column="itr", reason=_NOT_LAST, keeps=(_last_iteration(path, head),)))
    return Source(
        path=path,
        format="minflux",
        resolved=_resolved(head.dtype),
        blocks=lambda: _blocks(path, head),
        filters=tuple(filters),
        members=((head.member, 0),) if head.member else (),
    )


def _last_iteration(path: Path, head: NpyHead) -> int:
    """Number of the last iteration that valid localisations reach. Reads the file once.

    Every localisation has a record of its last iteration; a number that less than 1 % of the records have is damage.
    """
    counts = np.zeros(_MAX_ITERATIONS, dtype=np.int64)
    for records in record_blocks(path, head):
        reached = records["itr"][records["vld"]].astype(np.int64)
        counts += np.bincount(reached[(reached >= 0) & (reached < _MAX_ITERATIONS)], minlength=_MAX_ITERATIONS)
    return int(np.flatnonzero(counts * 100 >= counts.sum())[-1])


def _resolved(dtype: np.dtype[Any]) -> Resolved:
    uses = [Use(f"{axis}_nm", (f"loc[{k}]",), _METRE_NM) for k, axis in enumerate("xyz")]
    if _is_number(dtype if _is_flat(dtype) else dtype["itr"].base, "eco"):
        uses.append(Use("photons", ("eco",)))  # photons of the outer exposures: the position is computed from them
    uses.append(Use("group", ("tid",)))
    return Resolved(uses=tuple(uses), unit="m", pixel_size_nm=None, frame_base=0)


def _blocks(path: Path, head: NpyHead) -> Iterator[RawBlock]:
    flat = _is_flat(head.dtype)
    for records in record_blocks(path, head):
        last = records if flat else _last_of(records["itr"])
        columns: dict[str, Any] = {f"loc[{k}]": last["loc"][:, k] for k in range(3)}
        columns |= {"vld": records["vld"], "tid": records["tid"]}
        columns |= {"eco": last["eco"]} if "eco" in (last.dtype.names or ()) else {}
        columns |= {"itr": records["itr"]} if flat else {}
        yield RawBlock(n_records=len(records), columns=columns)


def _last_of(iterations: NDArray[Any]) -> NDArray[Any]:
    """The last iteration of each record; exports without the others have one, with or without an axis for it."""
    return iterations[:, -1] if iterations.ndim == 2 else iterations
