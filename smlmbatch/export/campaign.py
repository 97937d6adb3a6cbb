"""Results out of a campaign, in formats that other programs read: the tables, and each field's localisations.

    TARGET/fields.csv        TARGET/rois.csv        copies of OUTPUT/tables
    TARGET/locs/<field key>.csv                     one per field with published localisations

`csv` and `parquet` are our own: our column names, which ingest reads back, absolute nm, the store's order (by tile);
`row` joins them to the source's records. The other formats are those of other programs, in their units and as they count,
in the order of the source; what a format has no column for is left out. Fields are streamed, so memory stays small.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from smlmbatch.errors import ConfigError
from smlmbatch.export import parquet, picasso, smlm, tables, text
from smlmbatch.export.stored_field import StoredField
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

TABLES: Final = ("fields", "rois")
EXPORTS: Final = (*TABLES, "locs")


@dataclass(frozen=True, slots=True)
class LocsFormat:
    """How locs of one field are written.

    Attributes
    ----------
    suffix : what follows the field's key in the file's name
    needs : quantities without which the program can't use the file
    companion : suffix of a second file, "" if there is none
    """

    suffix: str
    write: Callable[[Path, StoredField], None]
    needs: tuple[str, ...] = ()
    companion: str = ""


FORMATS: Final[Mapping[str, LocsFormat]] = MappingProxyType(
    {
        "csv": LocsFormat(".csv", text.write_own_csv),
        "parquet": LocsFormat(".parquet", parquet.write_own_parquet),
        "thunderstorm": LocsFormat(".csv", text.write_thunderstorm),
        "picasso": LocsFormat("_locs.hdf5", picasso.write_picasso, picasso.NEEDS, "_locs.yaml"),
        "smap-csv": LocsFormat(".csv", text.write_smap_csv),
        "smlm": LocsFormat(".smlm", smlm.write_smlm),
    }
)
# The tables are no localisations: other programs have no format for them.
_TABLE_WRITERS: Final[Mapping[str, Callable[[Path, Path], None]]] = MappingProxyType(
    {"csv": tables.write_table_csv, "parquet": tables.write_table_parquet}
)


def export_campaign(
    campaign: Campaign,
    target: Path,
    *,
    format: str = "csv",  # noqa: A002 - named as the option is
    what: Sequence[str] = (),
    overwrite: bool = False,
    workers: int = 1,
) -> list[Path]:
    """Write the campaign's tables and localisations into `target`; returns the files written, in order.

    Parameters
    ----------
    target : a folder, made if needed
    format : one of FORMATS
    what : any of "fields", "rois", "locs"; empty = all that the format is for
    overwrite : replace files of these names
    workers : fields written at a time; changes no file

    Raises
    ------
    ConfigError
        unknown format or kind, a table that is not there yet, no field with localisations that the format can hold, files
        in the way
    """
    _check_choice("format", [format], tuple(FORMATS))
    possible = EXPORTS if format in _TABLE_WRITERS else ("locs",)
    what = what or possible
    _check_choice("what", what, EXPORTS)
    _check_choice(f"--format {format} with what", what, possible)
    sources = {target / f"{name}.{format}": campaign.output / "tables" / f"{name}.parquet" for name in TABLES if name in what}
    units = _units(campaign, target / "locs", format) if "locs" in what else {}
    _check_sources(campaign, sources, units, format, wants_locs="locs" in what)
    written = [*sources, *(file for path in units for file in _files(path, format))]
    _check_targets(written, overwrite=overwrite)
    for path, source in sources.items():
        _TABLE_WRITERS[format](source, path)
    with ThreadPoolExecutor(max(1, workers)) as pool:  # pyarrow formats and compresses outside the interpreter's lock
        for _ in pool.map(lambda path: _export_locs(units[path], path, format), units):  # a failure cancels what has not begun
            pass
    return written


def unfit_fields(campaign: Campaign, format_name: str) -> dict[str, str]:
    """Field's path → why its locs can't be exported: not in the store, or without a quantity that the format needs."""
    found = {}
    for result in campaign.fields:
        unit = result.units.get("ingest")
        if unit is None:
            found[result.field.path] = "has no localisations in the store; `smlmbatch status` says why"
        elif missing := _missing(unit, format_name):
            found[result.field.path] = f"has no {' and no '.join(missing)}, which the format {format_name} needs"
    return found


def _missing(unit_path: Path, format_name: str) -> list[str]:
    needs = FORMATS[format_name].needs
    if not needs:
        return []
    with UnitReader(unit_path) as unit:
        return [name for name in needs if not unit.has(name)]


def _units(campaign: Campaign, folder: Path, format_name: str) -> dict[Path, Path]:
    """Exported file → published ingest unit, of the fields that the format can hold (the others: `unfit_fields`)."""
    unfit = unfit_fields(campaign, format_name)
    fit = [result for result in campaign.fields if result.field.path not in unfit]
    return {folder / f"{result.field.key}{FORMATS[format_name].suffix}": result.units["ingest"] for result in fit}


def _files(path: Path, format_name: str) -> list[Path]:
    """The file, and the one beside it if the format has one."""
    known = FORMATS[format_name]
    return [path, path.with_name(path.name.removesuffix(known.suffix) + known.companion)] if known.companion else [path]


def _export_locs(unit_path: Path, path: Path, format_name: str) -> None:
    with UnitReader(unit_path) as unit:
        FORMATS[format_name].write(path, StoredField(unit))


def _check_choice(name: str, found: Sequence[str], known: tuple[str, ...]) -> None:
    unknown = [value for value in found if value not in known]
    if unknown:
        raise ConfigError(f"export: {name} {', '.join(unknown)}: wanted one of {', '.join(known)}")


def _check_sources(
    campaign: Campaign, sources: Mapping[Path, Path], units: Mapping[Path, Path], format_name: str, *, wants_locs: bool
) -> None:
    for source in sources.values():
        if not source.is_file():
            raise ConfigError(f"{source}: is not there; finish the campaign with `smlmbatch run`, or export locs only")
    if not wants_locs or units:
        return
    unfit = unfit_fields(campaign, format_name)
    if any("needs" in reason for reason in unfit.values()):
        path, reason = next((path, reason) for path, reason in unfit.items() if "needs" in reason)
        raise ConfigError(f"export: {path} {reason}; no field can be exported so, name another format")
    raise ConfigError(f"{campaign.output}: no field has localisations in the store yet; run `smlmbatch run` first (see failed.csv)")


def _check_targets(paths: Sequence[Path], *, overwrite: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}{more} would be overwritten: name another folder, or give --overwrite")
