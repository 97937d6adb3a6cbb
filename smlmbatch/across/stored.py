"""The embeddings a finished campaign holds, and what they were made with: only those of one model, made alike, can be held together."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.fingerprint import EMBEDDING_NAMES, MADE_WITH_KEY, table_path
from smlmbatch.analyse.neighbours import Vectors
from smlmbatch.errors import ConfigError, InputError

_COLUMNS: Final = ("key", "field", "condition", "replicate", "channel", "n_locs", "embedding")
_MEND: Final[Mapping[str, str]] = {
    "model_sha256": "embed one of them again with the other's model (`--update` and `[embed] model`)",
    "turned": "set `[embed] turned` alike and run one of them again with --update",
    "n_locs": "set `[embed] n_locs` alike and run one of them again with --update",
    "device": "set `[embed] device` alike and run one of them again with --update: CPU and GPU agree within rounding only",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What embeddings were made with."""

    model: str
    model_sha256: str
    turned: bool
    n_locs: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One campaign's embeddings, row by row.

    Attributes
    ----------
    name : the folder, as it was given
    field, condition, replicate : (n,) names, the condition and replicate as they are compared in that campaign
    channel, n_locs : (n,) integers
    vectors : (n, features) f4
    """

    name: str
    making: Making
    field: NDArray[np.object_]
    condition: NDArray[np.object_]
    replicate: NDArray[np.object_]
    channel: NDArray[np.integer]
    n_locs: NDArray[np.integer]
    vectors: Vectors


def read_campaigns(outputs: Sequence[Path]) -> list[Stored]:
    """The embeddings of several campaigns that can be compared.

    Raises
    ------
    ConfigError
        a folder twice
    InputError
        no finished campaign, one without embeddings, or one that was embedded otherwise than the first
    """
    seen: set[Path] = set()
    for output in outputs:
        if output.resolve() in seen:
            raise ConfigError(f"{output} is named twice: a campaign is compared with others")
        seen.add(output.resolve())
    found = [_read(output) for output in outputs]
    for other in found[1:]:
        check_alike(found[0], other)
    return found


def _read(output: Path) -> Stored:
    path = table_path(output, EMBEDDING_NAMES[0])
    table = _table(path)
    making = _making(path, table.schema.metadata or {})
    if not len(table):
        mend = "see `smlmbatch inspect` of a field, lower `[embed] min_locs`, or name another campaign"
        raise InputError(path, "holds no ROI", "embedded ROIs", mend)
    names = {name: np.array(table[name].to_pylist(), dtype=object) for name in ("condition", "replicate")}
    names["field"] = _field_names(table["key"].to_pylist(), table["field"].to_pylist())
    numbers = {name: table[name].to_numpy() for name in ("channel", "n_locs")}
    vectors = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
    return Stored(name=str(output), making=making, vectors=vectors, **names, **numbers)


def _field_names(keys: list[str], names: list[str]) -> NDArray[np.object_]:
    """Names of fields; the keys of those that share one.

    >>> _field_names(["a-1", "a-2", "b-3"], ["a.csv", "a.csv", "b.csv"]).tolist()
    ['a-1', 'a-2', 'b.csv']
    """
    times = Counter(name for _, name in set(zip(keys, names, strict=True)))
    return np.array([name if times[name] == 1 else key for key, name in zip(keys, names, strict=True)], dtype=object)


def _table(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    mend = "run the campaign to its end, or `smlmbatch report`"
    try:
        file = pq.ParquetFile(path)
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise InputError(path, f"has no column {missing[0]}", "the embeddings of a finished campaign", mend)
        return file.read(columns=list(_COLUMNS))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(path, "is not there", "the embeddings of a finished campaign", mend) from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, f"can't be read as Parquet ({error})", "the embeddings of a finished campaign", mend) from error


def _making(path: Path, metadata: Mapping[bytes, bytes]) -> Making:
    """What the table says that its vectors were made with; the store and the model need not be there any more."""
    made = json.loads(metadata.get(MADE_WITH_KEY, b"{}"))
    if not made.get("model"):
        why = made.get("why_none", "it doesn't say what they were made with").rstrip(".")
        mend = 'set `[embed] model = "auto"` or a model, and run again with --update'
        raise InputError(path, f"has no embeddings: {why}", "embedded ROIs", mend)
    unsaid = [field.name for field in dataclasses.fields(Making) if field.name not in made]
    if unsaid:
        raise InputError(path, f"doesn't say with which {unsaid[0]} it was made", "the table as it was written", "run with --force")
    return Making(**{field.name: made[field.name] for field in dataclasses.fields(Making)})


def check_alike(first: Stored, other: Stored) -> None:
    """Refuse embeddings that were made otherwise.

    Raises
    ------
    InputError
        another model, other settings, another kind of device
    """
    ours, theirs = dataclasses.asdict(first.making), dataclasses.asdict(other.making)
    for name, mend in _MEND.items():
        if ours[name] != theirs[name]:
            shown = {side: f"{made[name]}"[:12] for side, made in (("ours", ours), ("theirs", theirs))}
            raise InputError(other.name, f"embedded with {name} = {shown['theirs']}", f"{shown['ours']}, as in {first.name}", mend)
