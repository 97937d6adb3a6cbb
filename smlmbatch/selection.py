"""Which fields of a campaign are worked on: `--field` and `--where`, and which stages: `--only` and `--skip`.

A selection never changes the campaign: samples.csv keeps every field. It is applied after the cut into parts (as freshness
is), so that a part's fields don't depend on it.
"""

import keyword
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from smlmbatch.errors import ConfigError
from smlmbatch.samples import Field
from smlmbatch.where import Value, read_where

_COLUMNS = ("key", "path", "condition", "replicate", "batch", "format", "map", "pixel_size_nm", "unit", "frame_base", "cell_outline")
_LABEL = "label_"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was asked for; nothing asked for chooses every field.

    Attributes
    ----------
    where : condition on the columns of samples.csv, "" = none
    fields : keys, paths, names or globs of these; () = all
    """

    where: str = ""
    fields: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.where or self.fields)


def choose(fields: Sequence[Field], selection: Selection) -> frozenset[str]:
    """Keys of the chosen fields of a whole campaign.

    Raises
    ------
    ConfigError
        a condition that makes no sense, a name that no field has, or nothing chosen
    """
    chosen = _named(fields, selection.fields)
    if selection.where:
        columns = _columns(fields)
        condition = read_where(selection.where, list(columns))
        chosen = [field for field in chosen if condition.holds(_row(field, columns), field.path)]
    if selection and not chosen:
        asked = [f"--field {name}" for name in selection.fields] + ([f"--where {selection.where!r}"] if selection.where else [])
        raise ConfigError(f"{' '.join(asked)} chooses none of {len(fields)} fields; samples.csv lists them")
    return frozenset(field.key for field in chosen)


def _named(fields: Sequence[Field], patterns: Sequence[str]) -> list[Field]:
    if not patterns:
        return list(fields)
    found: set[str] = set()
    for pattern in patterns:
        hits = _hits(fields, pattern)
        if not hits:
            some = ", ".join(field.path for field in fields[:_MOST_NAMED])
            raise ConfigError(
                f"--field {pattern!r} fits none of {len(fields)} fields; wanted a name, key or path (or a glob) such as {some}"
            )
        found |= hits
    return [field for field in fields if field.key in found]


def _hits(fields: Sequence[Field], pattern: str) -> set[str]:
    """Word for word; as a glob only if nothing is called so: names may hold brackets."""
    names = {field.key: (field.key, field.path, field.name) for field in fields}
    exact = {key for key, known in names.items() if pattern in known}
    return exact or {key for key, known in names.items() if any(fnmatchcase(name, pattern) for name in known)}


# ---- columns


def _columns(fields: Sequence[Field]) -> dict[str, str]:
    """Name in a condition → column: of samples.csv, of the sheet, and labels as an identifier (`time point` → time_point)."""
    labels = sorted({name for field in fields for name, _ in field.labels})
    columns = {name: name for name in _COLUMNS} | {"field": "name", "name": "name"}
    times = Counter(map(_identifier, labels))
    for name in labels:
        word = _identifier(name)
        if times[word] == 1:  # of two that read the same neither can be meant
            columns[_LABEL + word] = _LABEL + name
            if not keyword.iskeyword(word):
                columns.setdefault(word, _LABEL + name)
    return columns


def _identifier(name: str) -> str:
    word = re.sub(r"\W", "_", name)
    return word if word.isidentifier() else f"_{word}"


def _row(field: Field, columns: dict[str, str]) -> dict[str, Value]:
    labels = {_LABEL + name: text for name, text in field.labels}
    return {name: labels.get(column, "") if column.startswith(_LABEL) else getattr(field, column) for name, column in columns.items()}


# ---- stages


def choose_stages(only: Sequence[str], skip: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The stages to run, in order: all of `known`, or only some, without those to skip.

    Raises
    ------
    ConfigError
        an unknown name, or nothing left
    """
    for option, names in (("--only", only), ("--skip", skip)):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"{option}: no stage {', '.join(unknown)}; known are {', '.join(known)}")
    stages = tuple(name for name in known if (not only or name in only) and name not in skip)
    if not stages:
        raise ConfigError("--only and --skip leave no stage to run")
    return stages
