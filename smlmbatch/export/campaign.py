"""Results out of a campaign, in formats that other programs read: the tables, each field's localisations, images.

    TARGET/fields.csv        TARGET/rois.csv ...    copies of OUTPUT/tables
    TARGET/rois.h5ad                                ROIs and descriptors as AnnData
    TARGET/locs/<field key>.csv                     one per field with published localisations
    TARGET/images/<field key>.ome.zarr              density images, one folder per field

`csv` and `parquet` are our own: our column names, which ingest reads back, absolute nm, the store's order (by tile);
`row` joins them to the source's records. The other formats of localisations are those of other programs, in their units and as
they count, in the order of the source; what a format has no column for is left out. Fields are streamed, so memory stays small.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from smlmbatch.analyse.fingerprint import ALL_NAMES, table_path
from smlmbatch.analyse.tables import legible
from smlmbatch.errors import ConfigError
from smlmbatch.export import h5ad, images, parquet, picasso, smlm, tables, text
from smlmbatch.export.labelled_field import LabelledField
from smlmbatch.export.stored_field import StoredField
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign, FieldResult

LOCS: Final = "locs"
IMAGES: Final = "images"
EXPORTS: Final = (*ALL_NAMES, LOCS, IMAGES)


@dataclass(frozen=True, slots=True)
class LocsFormat:
    """How locs of one field are written.

    Attributes
    ----------
    suffix : what follows the field's key in the file's name
    needs : quantities without which the program can't use the file
    companion : suffix of a second file, "" if there is none
    holds_particles : whether a loc's group and its record have a column
    """

    suffix: str
    write: Callable[[Path, StoredField], None]
    needs: tuple[str, ...] = ()
    companion: str = ""
    holds_particles: bool = False


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How a table of the campaign is written, and which tables the format is for."""

    write: Callable[[Path, Path, Campaign], None]
    tables: tuple[str, ...] = ALL_NAMES


LOCS_FORMATS: Final[Mapping[str, LocsFormat]] = MappingProxyType(
    {
        "csv": LocsFormat(".csv", text.write_own_csv, holds_particles=True),
        "parquet": LocsFormat(".parquet", parquet.write_own_parquet, holds_particles=True),
        "thunderstorm": LocsFormat(".csv", text.write_thunderstorm),
        "picasso": LocsFormat("_locs.hdf5", picasso.write_picasso, picasso.NEEDS, "_locs.yaml", holds_particles=True),
        "smap-csv": LocsFormat(".csv", text.write_smap_csv, holds_particles=True),
        "smlm": LocsFormat(".smlm", smlm.write_smlm),
    }
)
TABLE_FORMATS: Final[Mapping[str, TableFormat]] = MappingProxyType(
    {
        "csv": TableFormat(lambda source, path, campaign: tables.write_table_csv(source, path)),
        "parquet": TableFormat(lambda source, path, campaign: tables.write_table_parquet(source, path)),
        "h5ad": TableFormat(h5ad.write_h5ad, ("rois",)),
    }
)
LABELLED: Final = ("csv", "parquet")  # our own, that name columns as they like
IMAGE_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType({"ome-zarr": ".ome.zarr"})
FORMATS: Final = tuple(dict.fromkeys((*LOCS_FORMATS, *TABLE_FORMATS, *IMAGE_SUFFIXES)))


def exports_of(format_name: str) -> tuple[str, ...]:
    """What a format is for: some of EXPORTS."""
    return (
        *(TABLE_FORMATS[format_name].tables if format_name in TABLE_FORMATS else ()),
        *((LOCS,) if format_name in LOCS_FORMATS else ()),
        *((IMAGES,) if format_name in IMAGE_SUFFIXES else ()),
    )


def export_campaign(
    campaign: Campaign,
    target: Path,
    *,
    format: str = "csv",  # noqa: A002 - named as the option is
    what: Sequence[str] = (),
    overwrite: bool = False,
    workers: int = 1,
    pixel_nm: float = images.PIXEL_NM,
    labels: bool = False,
) -> list[Path]:
    """Write the campaign's tables, localisations or images into `target`; returns what was written, in order.

    Parameters
    ----------
    target : a folder, made if needed
    format : one of FORMATS
    what : any of EXPORTS; empty = all that the format is for
    overwrite : replace files of these names
    workers : fields written at a time; changes no file
    pixel_nm : of images
    labels : write what was found of each loc beside it: its cluster, its belonging, its particle

    Raises
    ------
    ConfigError
        labels in a format or export that has no column for them, unknown format or kind, a table that is not there yet, no field that the
        format can hold, files in the way
    """
    check_choice("format", [format], FORMATS)
    possible = exports_of(format)
    what = what or possible
    check_choice("what", what, EXPORTS)
    check_choice(f"--format {format} with what", what, possible)
    if labels and (format not in LABELLED or LOCS not in what):
        raise ConfigError(f"--labels with --format {format}, --what {', '.join(what)}: wanted locs as {' or '.join(LABELLED)}")
    if not pixel_nm > 0:
        raise ConfigError(f"--pixel-nm {pixel_nm:g}: wanted a length above 0 nm")
    sources = {target / f"{name}.{format}": table_path(campaign.output, name) for name in ALL_NAMES if name in what}
    fields = _fields(campaign, target, format, pixel_nm=pixel_nm) if {LOCS, IMAGES} & set(what) else {}
    _check_sources(campaign, sources, fields, format, pixel_nm=pixel_nm, wants_fields=bool({LOCS, IMAGES} & set(what)))
    written = [*sources, *(file for path in fields for file in files_of(path, format))]
    check_targets(written, overwrite=overwrite)
    for path, source in sources.items():
        TABLE_FORMATS[format].write(source, path, campaign)
    with ThreadPoolExecutor(max(1, workers)) as pool:  # numbers are formatted and compressed outside the interpreter's lock
        for _ in pool.map(
            lambda path: _export_field(fields[path], path, format, pixel_nm, labels=labels), fields
        ):  # a failure cancels what has not begun
            pass
    return written


def unfit_fields(campaign: Campaign, format_name: str, *, pixel_nm: float = images.PIXEL_NM) -> dict[str, str]:
    """Field's path → why it can't be exported: not in the store, without a quantity that the format needs, or too large."""
    reasons = {result.field.path: _unfit(result, format_name, pixel_nm=pixel_nm) for result in campaign.fields}
    return {path: reason for path, reason in reasons.items() if reason}


def _unfit(result: FieldResult, format_name: str, *, pixel_nm: float) -> str:
    stages = images.STAGES if format_name in IMAGE_SUFFIXES else images.STAGES[:1]
    lacking = [stage for stage in stages if stage not in result.units]
    if lacking:
        thing = "localisations" if lacking[0] == stages[0] else "outlines"
        return f"has no {thing} in the store; `smlmbatch status` says why"
    if format_name in IMAGE_SUFFIXES:
        return images.too_large(result.units, pixel_nm)
    return lacking_columns(result.units["ingest"], format_name) if format_name in LOCS_FORMATS else ""


def lacking_columns(unit_path: Path, format_name: str) -> str:
    """Which quantities that the format needs a field doesn't have; "" if it has all."""
    needs = LOCS_FORMATS[format_name].needs
    if not needs:
        return ""
    with UnitReader(unit_path) as unit:
        missing = [name for name in needs if not unit.has(name)]
    return f"has no {' and no '.join(missing)}, which the format {format_name} needs" if missing else ""


def _fields(campaign: Campaign, target: Path, format_name: str, *, pixel_nm: float) -> dict[Path, FieldResult]:
    """Exported file or folder → field, of those that the format can hold (the others: `unfit_fields`)."""
    unfit = unfit_fields(campaign, format_name, pixel_nm=pixel_nm)
    fit = [result for result in campaign.fields if result.field.path not in unfit]
    if format_name in IMAGE_SUFFIXES:
        return {target / IMAGES / f"{result.field.key}{IMAGE_SUFFIXES[format_name]}": result for result in fit}
    return {target / LOCS / f"{result.field.key}{LOCS_FORMATS[format_name].suffix}": result for result in fit}


def files_of(path: Path, format_name: str) -> list[Path]:
    """The file, and the one beside it if the format has one."""
    known = LOCS_FORMATS.get(format_name)
    return [path, path.with_name(path.name.removesuffix(known.suffix) + known.companion)] if known and known.companion else [path]


def _export_field(result: FieldResult, path: Path, format_name: str, pixel_nm: float, *, labels: bool) -> None:
    if format_name in IMAGE_SUFFIXES:
        images.write_images(path, result.units, name=legible(result.field.name), pixel_nm=pixel_nm)
        return
    with UnitReader(result.units["ingest"]) as unit:
        LOCS_FORMATS[format_name].write(path, LabelledField(unit, result.units) if labels else StoredField(unit))


def check_choice(name: str, found: Sequence[str], known: tuple[str, ...]) -> None:
    unknown = [value for value in found if value not in known]
    if unknown:
        raise ConfigError(f"export: {name} {', '.join(unknown)}: wanted one of {', '.join(known)}")


def _check_sources(
    campaign: Campaign,
    sources: Mapping[Path, Path],
    fields: Mapping[Path, FieldResult],
    format_name: str,
    *,
    pixel_nm: float,
    wants_fields: bool,
) -> None:
    for source in sources.values():
        if not source.is_file():
            raise ConfigError(f"{source}: is not there; finish the campaign with `smlmbatch run`, or export locs only")
    if not wants_fields or fields:
        return
    unfit = unfit_fields(campaign, format_name, pixel_nm=pixel_nm)
    for path, reason in unfit.items():
        if "in the store" not in reason:
            raise ConfigError(f"export: {path} {reason}; no field can be exported so")
    raise ConfigError(f"{campaign.output}: no field has localisations in the store yet; run `smlmbatch run` first (see failed.csv)")


def check_targets(paths: Sequence[Path], *, overwrite: bool) -> None:
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}{more} would be overwritten: name another folder, or give --overwrite")
