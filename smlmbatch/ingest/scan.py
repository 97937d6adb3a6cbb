"""INPUT → fields: a folder, a sample sheet, or one file.

Without a sheet every file that holds localisations is a field, also one that can't be read (its ingest fails with
the reason, so that it stands in `failed.csv`). Hidden files and OUTPUT are never looked at.
"""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from smlmbatch.config import Config
from smlmbatch.errors import ConfigError, InputError
from smlmbatch.ingest.columns import overrides_of, parse_map
from smlmbatch.ingest.readers import READERS
from smlmbatch.ingest.recognise import recognise
from smlmbatch.samples import Field, field_of_row, lacks_condition, read_sheet

_SHEET_NAME: Final = "samples.csv"
_RECORD: Final = "smlmbatch.json"
_NOTHING = "nothing in it is a localisation file"


@dataclass(frozen=True, slots=True)
class Scan:
    """What INPUT holds.

    Attributes
    ----------
    root : what field paths are relative to
    ignored : (relative path, reason)
    without_condition : keys of fields whose cell `condition` in the sheet is empty, and no `condition_<channel>` says it
    """

    root: Path
    fields: tuple[Field, ...]
    ignored: tuple[tuple[str, str], ...]
    without_condition: frozenset[str] = frozenset()


def scan_input(input_path: Path, *, sheet: Path | None, exclude: Path | None, config: Config) -> Scan:
    """Find the fields of a campaign; only the heads of files are read.

    Parameters
    ----------
    input_path : a folder, a sample sheet, or one localisation file
    sheet : a sample sheet given besides; a folder's own `samples.csv` is taken without being asked for
    exclude : OUTPUT, never scanned; None if there is none

    Raises
    ------
    InputError
        INPUT or the sheet is missing, the sheet is wrong, or there is no field at all
    ConfigError
        the configuration names a reader that doesn't exist
    """
    if config.ingest.format and config.ingest.format not in READERS:
        raise ConfigError(f"ingest.format = {config.ingest.format!r}: wanted one of {', '.join(READERS)}")
    if config.ingest.map:
        _check_map(config.ingest.map)
    if not input_path.exists():
        raise InputError(input_path, "is not there", "a folder, a sample sheet or a localisation file", "correct the path of INPUT")
    sheet = sheet or _own_sheet(input_path)
    if sheet is not None:
        scan = _scan_sheet(sheet, input_path, exclude, config)
    elif input_path.is_dir():
        scan = _scan_folder(input_path, exclude, config)
    else:
        scan = _scan_file(input_path, config)
    if not scan.fields:
        found = f"{_NOTHING} ({len(scan.ignored)} other files)" if scan.ignored else "it is empty"
        raise InputError(
            input_path, found, f"files of {', '.join(r.title for r in READERS.values())}", "correct INPUT, or export the data again"
        )
    _check_keys(input_path, scan.fields)
    return scan


def _check_map(text: str) -> None:
    """A map for all files that can fit none is a mistake on the command line, not in every file."""
    missing = [key for key in ("x", "y", "unit") if key not in parse_map("--map", text)]
    if missing:
        raise InputError("--map", f"{text!r} has no {', '.join(missing)}", "at least x, y and unit", "complete it, e.g. x=X,y=Y,unit=nm")


def _own_sheet(input_path: Path) -> Path | None:
    """INPUT itself if it is a sample sheet, or the sheet at the top of the folder."""
    candidate = input_path / _SHEET_NAME if input_path.is_dir() else input_path
    return candidate if candidate.is_file() and _has_path_column(candidate) else None


def _has_path_column(file: Path) -> bool:
    with file.open("rb") as opened:
        line = opened.readline(1 << 16).decode("utf-8-sig", "replace")
    return "path" in [cell.strip().strip('"').lower() for cell in re.split("[,;]", line)]


def _check_keys(input_path: Path, fields: tuple[Field, ...]) -> None:
    by_key: dict[str, str] = {}
    for field in fields:
        other = by_key.setdefault(field.key, field.path)
        if other != field.path:
            finding = f"{other!r} and {field.path!r} get the same key {field.key}"
            raise InputError(input_path, finding, "a key of its own for every field", "rename one of the files")


# ---- without a sheet


def _scan_folder(root: Path, exclude: Path | None, config: Config) -> Scan:
    fields, ignored = [], []
    for path in _files(root, exclude):
        field, reason = _field_of_file(root, path, config)
        if field is not None:
            fields.append(field)
        else:
            ignored.append((path, reason))
    return Scan(root, tuple(fields), tuple(ignored))


def _scan_file(file: Path, config: Config) -> Scan:
    field, reason = _field_of_file(file.parent, file.name, config)
    if field is None:
        raise InputError(file, f"holds no localisations: {reason}", "a localisation file", "correct INPUT")
    return Scan(file.parent, (field,), ())


def _field_of_file(root: Path, path: str, config: Config) -> tuple[Field | None, str]:
    """The file's field, or None and why it is none. A file that can't be opened is a field: ingest will say why."""
    field = field_of_row({}, path=path, format_name="")
    try:
        seen = recognise(root / path, overrides=overrides_of(field, config.ingest))
    except OSError:
        return field, ""
    if seen.kind == "ignored":
        return None, seen.reason
    return replace(field, format=seen.format), ""


def _files(root: Path, exclude: Path | None) -> Iterator[str]:
    """Relative paths of regular files with forward slashes, sorted; links to folders are followed once."""
    found, seen = [], set()
    excluded = _identity(exclude)
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_refuse):
        identity = _identity(Path(folder))
        ours = _RECORD in names and folder != os.fspath(root)  # OUTPUT of some campaign: its tables are no localisations
        if identity is None or identity in seen or identity == excluded or ours:
            subfolders.clear()
            continue
        seen.add(identity)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        relative = os.path.relpath(folder, root)
        for name in names:
            path = posixpath.normpath(posixpath.join(relative, name))
            if not name.startswith(".") and os.path.isfile(os.path.join(folder, name)):
                found.append(path)
    yield from sorted(found)


def _refuse(error: OSError) -> None:
    """A folder that can't be listed may hold fields: leaving them out silently would be a wrong result."""
    mend = "give read permission, or leave the folder out of INPUT"
    raise InputError(str(error.filename), f"the folder can't be listed ({error.strerror})", "a folder that can be read", mend)


def _identity(folder: Path | None) -> tuple[int, int] | None:
    if folder is None:
        return None
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


# ---- with a sheet


def _scan_sheet(sheet: Path, input_path: Path, exclude: Path | None, config: Config) -> Scan:
    if not sheet.is_file():
        raise InputError(sheet, "is not there", "a sample sheet", "correct the path of the sheet")
    root = sheet.parent
    fields: dict[str, Field] = {}
    without: set[str] = set()
    for row in read_sheet(sheet):
        field = _field_of_row(root, row, config)
        if field.path in fields:
            raise InputError(sheet, f"{field.path} is named twice", "each file once", "delete one of the rows")
        fields[field.path] = field
        if lacks_condition(row):
            without.add(field.key)
    if not fields:
        raise InputError(sheet, "the sample sheet has no rows", "one row per localisation file", "name the files in it, or delete it")
    ignored = _not_named(sheet, input_path, exclude, fields)
    return Scan(root, tuple(fields[path] for path in sorted(fields)), ignored, frozenset(without))


def _field_of_row(root: Path, row: Mapping[str, str], config: Config) -> Field:
    path, outline = (_relative(root, row.get(column, "")) for column in ("path", "cell_outline"))
    if path == ".":
        raise InputError(root, f"the sample sheet names the folder {row['path']!r}", "a file in every row", "correct the path")
    field = field_of_row(dict(row) | {"cell_outline": outline}, path=path, format_name="")
    try:
        seen = recognise(root / path, overrides=overrides_of(field, config.ingest))
    except OSError:  # gone, a folder, no permission: ingest will say so
        return field
    return replace(field, format=seen.format) if not field.format else field


def _relative(root: Path, name: str) -> str:
    """A sheet's file name as a path relative to the sheet; backslashes are separators where that finds a file."""
    if not name:
        return ""
    if not (root / name).exists() and (root / name.replace("\\", "/")).exists():
        name = name.replace("\\", "/")
    if os.path.isabs(name):  # links resolved on both sides, or `..` leads elsewhere
        absolute = Path(name)
        name = os.path.relpath(absolute.parent.resolve() / absolute.name, root.resolve())
    return posixpath.normpath(name)


def _not_named(sheet: Path, input_path: Path, exclude: Path | None, fields: Mapping[str, Field]) -> tuple[tuple[str, str], ...]:
    """The other files of the folder, so that a forgotten row is seen."""
    if not input_path.is_dir() or input_path.resolve() != sheet.parent.resolve():
        return ()
    known = {*fields, *(field.cell_outline for field in fields.values()), sheet.name}
    sidecars = {posixpath.splitext(path)[0] + ".yaml" for path in fields}
    others = [path for path in _files(input_path, exclude) if path not in known]
    return tuple((path, "sidecar of a field" if path in sidecars else "not in the sample sheet") for path in others)
