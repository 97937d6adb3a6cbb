"""Fields and the sample sheet: which files are fields, and what is known about each.

A user's sheet needs a column `path` only; `samples.csv` in OUTPUT is the resolved one, frozen at plan time,
and parts are cut from its sorted order. A field's key is a readable slug and 8 hex digits of its relative
path, so two `FOV1.csv` in different folders never meet.
"""

import csv
import dataclasses
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from smlmbatch.config import FRAME_BASES, UNITS
from smlmbatch.errors import InputError

# Columns of a sample sheet that mean something; every other column is kept as a label.
SHEET_COLUMNS = (
    *("path", "field", "condition", "replicate", "batch", "format", "map", "pixel_size_nm", "unit", "frame_base"),
    *("blinking", "cell_outline"),
)
BLINKING: Mapping[str, bool | None] = MappingProxyType({"": None, "yes": True, "no": False})  # whether molecules are seen several times
_CONDITION_OF_CHANNEL = re.compile(r"condition_\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of view = one localisation file.

    Attributes
    ----------
    path : relative to INPUT, with forward slashes
    name : what people call it; shown, never used as a path
    format : reader's name; "" where no reader recognised the file (ingest will say why)
    blinking : yes, no, or "" where nobody says
    cell_outline : outline file relative to INPUT, or ""
    labels : further columns of the sheet, sorted by name (`condition_1`, own columns)
    """

    path: str
    name: str
    condition: str
    replicate: str
    batch: str = ""
    format: str = ""
    map: str = ""
    pixel_size_nm: float = 0.0
    unit: str = ""
    frame_base: int = -1
    blinking: str = ""
    cell_outline: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """Folder name of the field in the store: ASCII, at most 57 characters."""
        return field_key(self.path)

    def condition_of(self, channel: int) -> str:
        """The condition of one channel: column `condition_<channel>` if the sheet has it, else `condition`."""
        return dict(self.labels).get(f"condition_{channel}", "") or self.condition


@lru_cache(maxsize=1 << 16)  # asked for again and again while a large campaign is looked through
def field_key(path: str) -> str:
    """Slug of the file's name + 8 hex digits of its relative path.

    >>> field_key("ctrl/FOV 1.csv"), field_key("egf/FOV 1.csv")
    ('FOV_1-2746c9c7', 'FOV_1-12353dfe')
    """
    raw = os.fsencode(path) if any("\udc80" <= c <= "\udcff" for c in path) else path.encode()
    stem = PurePosixPath(raw.decode("utf-8", "surrogateescape")).name.split(".")[0]  # whatever the locale made of it
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "_", ascii_stem).strip("_")[:48] or "field"
    return f"{slug}-{hashlib.sha256(raw).hexdigest()[:8]}"


def default_labels(path: str) -> tuple[str, str]:
    """Condition and replicate of a file without a sheet: first folder, further folders (or the file itself).

    >>> default_labels("egf/cell1/FOV1.csv"), default_labels("egf/FOV1.csv"), default_labels("FOV1.csv")
    (('egf', 'cell1'), ('egf', 'FOV1.csv'), ('all', 'FOV1.csv'))
    """
    parts = PurePosixPath(path).parts
    condition = parts[0] if len(parts) > 1 else "all"
    replicate = "/".join(parts[1:-1]) or parts[-1]
    return condition, replicate


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Rows of a user's sample sheet, stripped; every row has a `path`.

    Raises
    ------
    InputError
        no column `path`, an empty path, two rows of one path, rows longer than the header, not text
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            first = file.readline()
            file.seek(0)
            delimiter = ";" if ";" in first and "," not in first else ","  # spreadsheets of half of Europe
            reader = csv.DictReader(file, skipinitialspace=True, delimiter=delimiter)
            rows = [{(k or "").strip(): v for k, v in row.items()} for row in reader]
            header = [name.strip() for name in reader.fieldnames or []]
            rows, header = _known_lower_case(rows), [_known(name) for name in header]
    except (OSError, csv.Error) as error:
        raise InputError(path, f"can't be read as CSV ({error})", "a sample sheet", "export it as plain CSV again") from error
    if "path" not in header:
        mend = "name the column of file names `path`"
        raise InputError(path, f"no column `path`; found {', '.join(header) or 'nothing'}", "a sample sheet with a column `path`", mend)
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise InputError(path, f"two columns are called {', '.join(doubled)}", "a name of its own for each column", "rename one of them")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        _check_sheet_row(path, number, row, seen)
    return [{name: (row[name] or "").strip() for name in header if name} for row in rows]


def _known(name: str) -> str:
    """Columns that mean something are known in any case: Path, CONDITION."""
    return name.lower() if name.lower() in SHEET_COLUMNS else name


def _known_lower_case(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{_known(name): value for name, value in row.items()} for row in rows]


def _check_sheet_row(sheet: Path, number: int, row: dict[str, Any], seen: set[str]) -> None:
    if "" in row:
        raise InputError(sheet, f"line {number} has more cells than the header", "one cell per column", "quote cells that hold a comma")
    file = (row["path"] or "").strip()
    if not file:
        raise InputError(sheet, f"line {number} has no path", "a file name in every row", "fill it in or delete the row")
    if file in seen:
        raise InputError(sheet, f"line {number} names {file} again", "each file once", "delete one of the rows")
    seen.add(file)


def lacks_condition(row: Mapping[str, str]) -> bool:
    """Whether a sheet that has conditions says none for this row's field, or any of its channels: its folder's name is then taken.

    >>> lacks_condition({"condition": ""}), lacks_condition({"condition": "", "condition_0": "EGFR"}), lacks_condition({})
    (True, False, False)
    """
    said = {name: text for name, text in row.items() if name == "condition" or _CONDITION_OF_CHANNEL.fullmatch(name)}
    return "condition" in said and not any(said.values())


def field_of_row(row: dict[str, str], *, path: str, format_name: str) -> Field:
    """A Field of a sheet's row (or of `{}`: defaults from the path).

    Raises
    ------
    InputError
        `pixel_size_nm` is no number above 0, `unit` is none, `frame_base` is neither 0 nor 1, `blinking` neither yes nor no
    """
    condition, replicate = default_labels(path)
    known = {name: row.get(name, "") for name in SHEET_COLUMNS}
    labels = tuple(sorted((k, v) for k, v in row.items() if k not in SHEET_COLUMNS))
    return Field(
        path=path,
        name=known["field"] or PurePosixPath(path).name,
        condition=known["condition"] or condition,
        replicate=known["replicate"] or replicate,
        batch=known["batch"],
        format=known["format"] or format_name,
        map=known["map"],
        pixel_size_nm=_pixel_size(path, known["pixel_size_nm"]),
        unit=_one_of(path, "unit", known["unit"].lower(), UNITS),
        frame_base=int(_one_of(path, "frame_base", known["frame_base"] or "-1", [str(base) for base in FRAME_BASES])),
        blinking=_one_of(path, "blinking", known["blinking"].lower(), list(BLINKING)),
        cell_outline=known["cell_outline"],
        labels=labels,
    )


def _pixel_size(path: str, text: str) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(path, f"pixel_size_nm is {text!r}", "a length in nm, such as 117", "correct it in the sample sheet")
    return value


def _one_of(path: str, column: str, text: str, known: Sequence[str]) -> str:
    if text not in known:
        want = f"one of {', '.join(word for word in known if word not in ('', '-1'))}, or nothing"
        raise InputError(path, f"{column} is {text!r}", want, "correct it in the sample sheet")
    return text


def samples_text(fields: Iterable[Field]) -> str:
    """The text of `samples.csv`, fields sorted by key."""
    ordered = sorted(fields, key=lambda f: f.key)
    label_names = sorted({name for f in ordered for name, _ in f.labels})
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)  # names may begin with blanks or hold line ends
    writer.writerow(["key", *("field" if n == "name" else n for n in _PLAIN), *(_LABEL + name for name in label_names)])
    for f in ordered:
        labels = dict(f.labels)
        writer.writerow([f.key, *(getattr(f, name) for name in _PLAIN), *(labels.get(name, "") for name in label_names)])
    return out.getvalue()


_LABEL = "label_"
_PLAIN = [f.name for f in dataclasses.fields(Field) if f.name != "labels"]


def read_samples(path: Path) -> list[Field]:
    """The fields of a resolved `samples.csv`, in its order; exactly what `samples_text` wrote.

    Raises
    ------
    InputError
        it was changed into something else
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    try:
        return [_resolved_field(row) for row in rows]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        mend = "plan again"
        raise InputError(path, f"is not as it was written ({error!r})", "the resolved sample sheet that `plan` wrote", mend) from error


def _resolved_field(row: dict[str, str]) -> Field:
    labels = tuple((name.removeprefix(_LABEL), value) for name, value in row.items() if name.startswith(_LABEL))
    plain: dict[str, Any] = {name: row["field" if name == "name" else name] for name in _PLAIN}
    numbers = {"pixel_size_nm": float(plain["pixel_size_nm"]), "frame_base": int(plain["frame_base"])}
    return Field(**plain | numbers | {"labels": labels})
