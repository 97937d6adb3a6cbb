"""What laboratories keep in MATLAB files before version 7.3: tables, particles, and SMAP's older files.

Tables are vectors of one length: fields of a struct, the columns of a matrix, one value of each struct of an array,
or variables of their own. MATLAB says nothing of units, so the user does (`unit`, or a map). A column's name is the
last part of its path (`x`) in the largest table, and its whole path (`data.x`); a matrix's columns count from 1 (`locs:1`).
A time in seconds is no frame and is not taken for one.

Particles are a cell array of structs with `points` (k, 2 or 3) in camera pixels, each centred on itself. They are read
as they are, with the particle's number as the group: no layout is invented, and a note says that they are no field.

Source: imphys/smlm_datafusion2d (particles), SMAP's saveloc structure.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, Resolved, Use, resolve_fixed, resolve_own
from smlmbatch.ingest.formats import LENGTH_NM, PIXEL_UNITS, SMAP
from smlmbatch.ingest.matfile import Variable, read_mat5
from smlmbatch.ingest.source import RawBlock, Source

CENTRED: Final = "particles centred on themselves, no field: their positions lie on top of each other"
_PIECE_ROWS: Final = 1 << 16
_MOST_COLUMNS: Final = 64  # a wider matrix is an image
_POINTS: Final = (("x_nm", "points:1"), ("y_nm", "points:2"), ("z_nm", "points:3"))
_SIGMAS: Final = (("precision_nm", "sigma:1"), ("precision_z_nm", "sigma:2"))


def kind_of_mat5(variables: Sequence[Variable]) -> str:
    """The reader for such variables: "smap", "particles", "table", or "" where there is no table at all."""
    if _smap(variables) is not None:
        return "smap"
    if _particles(variables):
        return "particles"
    return "table" if any(len(values) > 1 for values in mat5_columns(variables).values()) else ""


# ---- tables


def mat5_columns(variables: Sequence[Variable]) -> dict[str, NDArray[Any]]:
    """Everything that may be a column, by its path; those of the largest table also by the last part alone, and first.

    The largest table: the most entries that at least two columns have.
    """
    found = dict(pair for variable in variables for pair in _walk(variable, variable.name))
    lengths = Counter(len(values) for values in found.values())
    most = max((length for length, times in lengths.items() if times > 1), default=0)
    last = Counter(path.rpartition(".")[2] for path, values in found.items() if len(values) == most)
    short = {
        path.rpartition(".")[2]: values for path, values in found.items() if len(values) == most and last[path.rpartition(".")[2]] == 1
    }
    return short | found


def _walk(variable: Variable, path: str) -> Iterator[tuple[str, NDArray[Any]]]:
    columns = variable.columns()
    if len(columns) == 1:
        yield path, columns[0]
    elif len(columns) <= _MOST_COLUMNS:
        yield from ((f"{path}:{k}", column) for k, column in enumerate(columns, start=1))
    if variable.fields and len(variable.parts) == len(variable.fields):
        for name, part in zip(variable.fields, variable.parts, strict=True):
            yield from _walk(part, f"{path}.{name}")
    elif variable.fields:
        yield from _of_structs(variable, path)


def _of_structs(variable: Variable, path: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """The fields of a struct array that have one number in every struct."""
    step = len(variable.fields)
    for k, name in enumerate(variable.fields):
        numbers = [part.numbers for part in variable.parts[k::step]]
        single = [values for values in numbers if values is not None and len(values) == 1]
        if numbers and len(single) == len(numbers):
            yield f"{path}.{name}", np.concatenate(single)


def open_own_mat5(path: Path, overrides: Overrides) -> Source:
    """A table in a MATLAB file, by a map or by columns called x and y whose unit the user gives.

    Raises
    ------
    InputError
        no such columns, no unit, columns of different lengths, a damaged file
    """
    columns = mat5_columns(read_mat5(path))
    if not overrides.map and not {"x_nm", "y_nm"} <= columns.keys():
        overrides = dataclasses.replace(overrides, map=_map_by_names(path, columns, overrides.unit))
    resolved = resolve_own(path, list(columns), overrides=overrides)
    return _source(path, "table", resolved, columns)


def _map_by_names(path: Path, columns: dict[str, NDArray[Any]], unit: str) -> str:
    """A map of the columns that are called x, y, z, frame, photons, channel or group, as far as they are as long as x.

    Raises
    ------
    InputError
        no x and y, or no unit
    """
    listed = ", ".join(list(columns)[:30]) or "none"
    if not {"x", "y"} <= columns.keys():
        mend = "name the columns with a map such as x=data.px,y=data.py,unit=nm"
        raise InputError(path, f"no columns called x and y; found {listed}", "a table of localisations", mend)
    if not unit:
        mend = "give the unit, e.g. --unit nm, or a map such as x=x,y=y,unit=nm"
        raise InputError(path, f"MATLAB says nothing of units; found the columns {listed}", "the unit of x and y", mend)
    long = {name for name, values in columns.items() if len(values) == len(columns["x"])} | {"y"}
    known = [word for word in ("x", "y", "z", "frame", "photons", "channel", "group") if word in long]
    return ",".join([f"{word}={word}" for word in known] + [f"unit={unit}"])


def _source(path: Path, name: str, resolved: Resolved, columns: dict[str, NDArray[Any]]) -> Source:
    used = {column: columns[column] for use in resolved.uses for column in use.columns}
    first, n = next((column, len(values)) for column, values in used.items())
    for column, values in used.items():
        if len(values) != n:
            finding = f"{column} has {len(values)} entries, {first} has {n}"
            raise InputError(path, finding, "columns of one length", "name other columns in the map, or save it again")
    return Source(path=path, format=name, resolved=resolved, blocks=lambda: _column_blocks(used, n))


def _column_blocks(columns: dict[str, NDArray[Any]], n: int) -> Iterator[RawBlock]:
    for start in range(0, n, _PIECE_ROWS):
        stop = min(start + _PIECE_ROWS, n)
        yield RawBlock(n_records=stop - start, columns={name: values[start:stop] for name, values in columns.items()})


# ---- SMAP


def _smap(variables: Sequence[Variable]) -> Variable | None:
    """`saveloc.loc` with its columns."""
    saved = next((variable for variable in variables if variable.name == "saveloc"), None)
    loc = saved.field("loc") if saved is not None else None
    return loc if loc is not None and {"xnm", "ynm"} <= set(loc.fields) else None


def open_smap5(path: Path, overrides: Overrides) -> Source:
    """A `_sml.mat` file of a MATLAB before 7.3: the same columns as in a newer one."""
    del overrides  # SMAP gives nanometres
    loc = _smap(read_mat5(path))
    if loc is None:
        raise InputError(path, "no struct saveloc.loc", "a SMAP file of localisations", "save it again in SMAP (_sml.mat)")
    columns = {name: part.numbers for name, part in zip(loc.fields, loc.parts, strict=False) if len(part.columns()) == 1}
    found = {name: values for name, values in columns.items() if values is not None and len(values)}
    return _source(path, "smap", resolve_fixed(path, SMAP, list(found), pixel_size_nm=0.0, frame_base=1), found)


# ---- particles


def _particles(variables: Sequence[Variable]) -> list[tuple[str, Variable]]:
    """(name, struct) of each particle of the first cell or struct array whose structs all have `points`."""
    for variable in variables:
        bracket = "({})" if variable.fields else "{{{}}}"
        structs = variable.structs() if variable.fields else variable.parts
        if structs and all("points" in part.fields for part in structs):
            return [(variable.name + bracket.format(k), part) for k, part in enumerate(structs, start=1)]
    return []


def open_particles(path: Path, overrides: Overrides) -> Source:
    """Segmented particles; the unit is camera pixels unless the user says otherwise, so a pixel size is needed.

    Raises
    ------
    InputError
        no particles, points that are no table, particles of different kinds, no pixel size
    """
    found = _particles(read_mat5(path))
    if not found:
        raise InputError(path, "no cell array of structs with points", "segmented particles", "name columns with a map instead")
    tables = [_particle(path, name, part) for name, part in found]
    layouts = {tuple(table) for table in tables if table}
    if len(layouts) != 1:
        finding = "the particles differ in their columns" if layouts else "the particles hold no points"
        raise InputError(path, finding, "points of 2 or 3 columns in every particle", "save them again")
    starts = np.cumsum([0, *(len(table["points:1"]) if table else 0 for table in tables)])
    return Source(
        path=path,
        format="particles",
        resolved=_particle_columns(path, next(iter(layouts)), overrides),
        blocks=lambda: _particle_blocks(tables),
        members=tuple((name, int(start)) for (name, _), start in zip(found, starts, strict=False)),
        notes=(CENTRED,),
    )


def _particle(path: Path, name: str, part: Variable) -> dict[str, NDArray[Any]]:
    """The columns of `points` and `sigma`, {} without points. A single point is a row: its numbers are its columns."""
    points, sigma = part.field("points"), part.field("sigma")
    n = points.shape[0] if points is not None and len(points.shape) == 2 else 0
    places, sigmas = _columns_of(points, n), _columns_of(sigma, n)
    if n and (len(places) not in (2, 3) or len(sigmas) > len(_SIGMAS)):
        finding = f"{name} has {len(places)} columns of points and {len(sigmas)} of sigma"
        raise InputError(path, finding, "2 or 3 columns of points, at most 2 of sigma", "save it again")
    named = [(f"points:{k}", values) for k, values in enumerate(places, start=1)]
    return dict(named + [(f"sigma:{k}", values) for k, values in enumerate(sigmas, start=1)])


def _columns_of(variable: Variable | None, n: int) -> list[NDArray[Any]]:
    """The columns of a matrix of n rows, [] for anything else."""
    if variable is None or variable.numbers is None or len(variable.shape) != 2 or variable.shape[0] != n or not n:
        return []
    return list(variable.numbers.reshape(variable.shape[1], n))


def _particle_columns(path: Path, names: Sequence[str], overrides: Overrides) -> Resolved:
    in_pixels = not overrides.unit or overrides.unit in PIXEL_UNITS
    if in_pixels and overrides.pixel_size_nm <= 0:
        mend = "give the camera's pixel size, e.g. pixel_size_nm = 130, or the unit if it is another"
        raise InputError(path, "particles are in camera pixels and the file has no pixel size", "a pixel size", mend)
    scale = overrides.pixel_size_nm if in_pixels else LENGTH_NM[overrides.unit]
    uses = [Use(quantity, (name,), scale) for quantity, name in (*_POINTS, *_SIGMAS) if name in names]
    pixel_nm = overrides.pixel_size_nm if in_pixels else None
    unit = "px" if in_pixels else overrides.unit
    return Resolved(uses=(*uses, Use("group", ("particle",))), unit=unit, pixel_size_nm=pixel_nm, frame_base=0)


def _particle_blocks(tables: Sequence[dict[str, NDArray[Any]]]) -> Iterator[RawBlock]:
    """Several particles at a time: a block of its own for each would cost more than its reading."""
    held: list[int] = []
    n = 0
    for number, table in enumerate(tables):
        if table:
            held.append(number)
            n += len(table["points:1"])
        if n >= _PIECE_ROWS:
            yield _joined(tables, held)
            held, n = [], 0
    if held:
        yield _joined(tables, held)


def _joined(tables: Sequence[dict[str, NDArray[Any]]], held: Sequence[int]) -> RawBlock:
    sizes = [len(tables[k]["points:1"]) for k in held]
    columns: dict[str, Any] = {name: np.concatenate([tables[k][name] for k in held]) for name in tables[held[0]]}
    return RawBlock(n_records=sum(sizes), columns=columns | {"particle": np.repeat(held, sizes)})
