"""Feather tables of one's own (version 2, Arrow's file format), read a record batch at a time through pyarrow.

The file is not memory-mapped: a torn one would kill the process instead of raising.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from smlmbatch.errors import InputError
from smlmbatch.ingest.binary import PIECE_ROWS, arrow_values
from smlmbatch.ingest.columns import Overrides, Resolved, resolve_own
from smlmbatch.ingest.source import RawBlock, Source


@contextmanager
def _opened(path: Path, columns: list[int] | None = None) -> Iterator[Any]:
    """The file's batches; whatever Arrow says of damage becomes an InputError."""
    try:
        options = pyarrow.ipc.IpcReadOptions(use_threads=False, included_fields=columns)
        with pa.OSFile(str(path)) as raw, pyarrow.ipc.open_file(raw, options=options) as file:
            yield file
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError, OverflowError) as error:
        finding = f"the Feather file can't be read ({str(error)[:200]})"
        raise InputError(path, finding, "a whole Feather file", "copy or export it again, it was probably cut off") from error


def feather_names(path: Path) -> list[str]:
    """The table's column names."""
    with _opened(path) as file:
        return list(file.schema.names)


def open_own_feather(path: Path, overrides: Overrides) -> Source:
    """A Feather table, by a map or by our own column names."""
    resolved = resolve_own(path, feather_names(path), overrides=overrides)
    return Source(path=path, format="table", resolved=resolved, blocks=lambda: _blocks(path, resolved))


def _blocks(path: Path, resolved: Resolved) -> Iterator[RawBlock]:
    names = list(dict.fromkeys(name for use in resolved.uses for name in use.columns))
    words = {name for use in resolved.uses if use.quantity == "channel" for name in use.columns}
    at = [feather_names(path).index(name) for name in names]
    with _opened(path, sorted(at)) as file:
        for k in range(file.num_record_batches):
            batch = file.get_batch(k)
            for start in range(0, batch.num_rows, PIECE_ROWS):
                piece = batch.slice(start, PIECE_ROWS)
                piece.validate(full=True)  # codes beyond a damaged dictionary, words that are no UTF-8
                columns = {name: arrow_values(path, name, piece.column(name), words=name in words) for name in names}
                yield RawBlock(n_records=piece.num_rows, columns=columns)
