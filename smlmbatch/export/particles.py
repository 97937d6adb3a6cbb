"""Some particles of a campaign as localisation files: those for which a condition on their tables holds.

    TARGET/particles.csv                    one row per exported particle: where it comes of, and all that the tables know of it
    TARGET/particles/<field key>.csv        one per field with such particles: their locs, the particle's number as `group`

The condition may name the columns of the tables `particles` and `order`, joined. The column `n_points` is that of `particles`; that of
`order`, the locs that the network saw, is called `order_n_points`. The index has these columns, and `path` (the source file below INPUT)
and `file` (the exported one below TARGET); it is Parquet where the format is.

Tables say which particles, and the store what these are. So the tables' centres and counts are held against the store's before anything
is written: a number that means another particle by now is an error.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.tables import legible
from smlmbatch.errors import ConfigError
from smlmbatch.export.campaign import LOCS_FORMATS, check_choice, check_targets, files_of, lacking_columns
from smlmbatch.export.parquet import parquet_writer
from smlmbatch.export.particle_field import ParticleField
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.units import appears_whole
from smlmbatch.where import read_where
from smlmbatch.work import Campaign, FieldResult

if TYPE_CHECKING:
    import pyarrow as pa

PARTICLES: Final = "particles"
PARTICLE_FORMATS: Final = tuple(name for name, known in LOCS_FORMATS.items() if known.holds_particles)
_ORDER: Final = "order"
_JOINED_BY: Final = ("key", "particle")
_FIRST: Final = ("key", "field", "path", "file", "particle", "x_nm", "y_nm", "z_nm", "n_points")  # columns of the index; others follow
_STAGES: Final = ("ingest", "pick")
_LATER: Final = "the tables are older than the store; `smlmbatch report` writes them anew"


@dataclass(frozen=True, slots=True)
class ChosenParticles:
    """Rows of the joined tables, in the order of `particles`: fields in that of samples.csv."""

    table: "pa.Table"

    @property
    def keys(self) -> tuple[str, ...]:
        """Fields that have some of them."""
        return tuple(self.table["key"].unique().to_pylist())

    def of(self, keys: Sequence[str]) -> "ChosenParticles":
        """Those of some fields."""
        import pyarrow as pa
        from pyarrow import compute

        return ChosenParticles(self.table.filter(compute.is_in(self.table["key"], pa.array(keys, pa.string()))))


def choose_particles(output: Path, where: str) -> ChosenParticles:
    """The particles of a campaign for which a condition on their tables holds.

    Raises
    ------
    ConfigError
        there are no tables, the condition makes no sense or names an unknown column, or nothing is chosen
    """
    import pyarrow as pa

    table, n_ordered = _read_joined(output)
    disorder = "" if n_ordered else "; nothing is in order, so only columns of tables/particles.parquet have values"
    try:
        condition = read_where(where, table.column_names)
    except ConfigError as error:
        raise ConfigError(f"{error}{disorder}") from None
    named = table.select(sorted(condition.columns))
    names = zip(table["key"].to_pylist(), table["particle"].to_pylist(), strict=True)
    columns = [[_known(cell) for cell in column.to_pylist()] for column in named.columns]
    rows = zip(*columns, strict=True) if columns else ((),) * len(table)
    mask = [
        condition.holds(dict(zip(named.column_names, row, strict=True)), f"{key} {particle}")
        for row, (key, particle) in zip(rows, names, strict=True)
    ]
    if not any(mask):
        raise ConfigError(f"--where {where!r} chooses none of {len(table):,} particles{disorder}; tables/particles.parquet lists them")
    return ChosenParticles(table.filter(pa.array(mask, pa.bool_())))


def _known(cell: Any) -> Any:
    """A number that is none is as unknown as null."""
    return None if cell != cell else cell


def _read_joined(output: Path) -> "tuple[pa.Table, int]":
    """The table of particles, with what `order` knows of each, null where it isn't in order; and how many are."""
    import pyarrow as pa

    particles = _read_table(table_path(output, PARTICLES))
    path = table_path(output, _ORDER)
    if not path.is_file():
        return particles, 0
    order = _read_table(path)
    at = {pair: row for row, pair in enumerate(_pairs(order))}
    joined = order.take(pa.array([at.get(pair) for pair in _pairs(particles)], pa.int64()))
    for name in order.column_names:
        own = name not in particles.column_names
        if own or name == "n_points":
            particles = particles.append_column(name if own else f"{_ORDER}_{name}", joined[name])
    return particles, order.num_rows


def _read_table(path: Path) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path}: is not there; finish the campaign with `smlmbatch run`, or `smlmbatch report`") from None
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: can't be read as Parquet ({error}); `smlmbatch report` writes it anew") from error
    if missing := [name for name in _JOINED_BY if name not in table.column_names]:
        raise ConfigError(f"{path}: has no column {missing[0]}; `smlmbatch report` writes it anew")
    return table.replace_schema_metadata(None)


def _pairs(table: "pa.Table") -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in _JOINED_BY), strict=True))


# ---- writing


def unfit_choices(campaign: Campaign, chosen: ChosenParticles, format_name: str) -> dict[str, str]:
    """Path of a field with chosen particles → which quantity that the format needs it doesn't have."""
    keys = set(chosen.keys)
    fields = (result for result in campaign.fields if result.field.key in keys and "ingest" in result.units)
    reasons = {result.field.path: lacking_columns(result.units["ingest"], format_name) for result in fields}
    return {path: reason for path, reason in reasons.items() if reason}


def export_particles(
    campaign: Campaign,
    target: Path,
    chosen: ChosenParticles,
    *,
    format: str = "csv",  # noqa: A002 - named as the option is
    overwrite: bool = False,
    workers: int = 1,
) -> list[Path]:
    """Write the locs of chosen particles, a file per field, and their index; returns what was written, the index first.

    Particles of fields that the format can't hold are left out (`unfit_choices`).

    Parameters
    ----------
    target : a folder, made if needed
    format : one of PARTICLE_FORMATS
    overwrite : replace files of these names
    workers : fields written at a time; changes no file

    Raises
    ------
    ConfigError
        a format without groups, no field that it can hold, tables that are older than the store, files in the way
    """
    check_choice("--where with --format", [format], PARTICLE_FORMATS)
    unfit = unfit_choices(campaign, chosen, format)
    known = {result.field.key: result for result in campaign.fields if result.field.path not in unfit}
    chosen = chosen.of([key for key in chosen.keys if key in known]) if unfit else chosen
    if not len(chosen.table):
        path, reason = next(iter(unfit.items()))
        raise ConfigError(f"export: {path} {reason}; no chosen particle can be exported so")
    numbers = _numbers(chosen)
    for key, (number, row) in numbers.items():
        _check_field(known.get(key), key, number, chosen.table.take(row))
    files = {key: target / PARTICLES / f"{known[key].field.key}{LOCS_FORMATS[format].suffix}" for key in numbers}
    index = target / f"{PARTICLES}.{'parquet' if format == 'parquet' else 'csv'}"
    written = [index, *(file for path in files.values() for file in files_of(path, format))]
    check_targets(written, overwrite=overwrite)
    with ThreadPoolExecutor(max(1, workers)) as pool:  # a failure cancels what has not begun
        for _ in pool.map(lambda key: _export_field(known[key], files[key], format, numbers[key][0]), files):
            pass
    paths = {key: legible(known[key].field.path) for key in files}
    _write_index(index, _index(chosen.table, paths, {key: path.relative_to(target).as_posix() for key, path in files.items()}))
    return written


def _numbers(chosen: ChosenParticles) -> dict[str, tuple[NDArray[np.integer], NDArray[np.intp]]]:
    """Field's key → numbers of its chosen particles, and their rows in the table."""
    from pyarrow import compute

    code = compute.index_in(chosen.table["key"], chosen.table["key"].unique()).to_numpy()
    number = chosen.table["particle"].to_numpy()
    order = np.argsort(code, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
    return {key: (number[row], row) for key, row in zip(chosen.keys, rows, strict=True)}


def _check_field(result: FieldResult | None, key: str, number: NDArray[np.integer], rows: "pa.Table") -> None:
    """Whether what the table says of the field's particles is true of those in the store."""
    if result is None or not set(_STAGES) <= result.units.keys():
        raise ConfigError(f"{key}: has particles in tables/{PARTICLES}.parquet, but none in the store: {_LATER}")
    with UnitReader(result.units["ingest"]) as unit, UnitReader(result.units["pick"]) as pick:
        n_points, origin_nm = np.diff(pick.read("start")), unit.attrs["origin_nm"]
        same = bool(number.max() < len(n_points)) and np.array_equal(n_points[number], rows["n_points"].to_numpy())
        for name, origin in zip(("x_nm", "y_nm"), origin_nm, strict=True):
            same = same and np.array_equal(pick.read(name)[number] + origin, rows[name].to_numpy())
    if not same:
        raise ConfigError(f"{result.field.path}: tables/{PARTICLES}.parquet has other particles than the store: {_LATER}")


def _export_field(result: FieldResult, path: Path, format_name: str, number: NDArray[np.integer]) -> None:
    with UnitReader(result.units["ingest"]) as unit, UnitReader(result.units["pick"]) as pick:
        LOCS_FORMATS[format_name].write(path, ParticleField(unit, pick, number))


def _index(table: "pa.Table", paths: Mapping[str, str], files: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa

    keys = table["key"].to_pylist()
    for name, values in (("path", paths), ("file", files)):
        table = table.append_column(name, pa.array([values[key] for key in keys], pa.string()))
    return table.select([*_FIRST, *(name for name in table.column_names if name not in _FIRST)])


def _write_index(path: Path, table: "pa.Table") -> None:
    """Last, so that who sees the index finds the files."""
    from pyarrow import csv

    with appears_whole(path) as partial:
        if path.suffix == ".csv":
            csv.write_csv(table, partial)
            return
        with parquet_writer(partial, table.schema) as writer:
            writer.write_table(table)
