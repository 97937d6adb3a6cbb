"""Text readers: ThunderSTORM's CSV, and tables of one's own."""

import os
from collections.abc import Iterator
from pathlib import Path

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, Resolved, resolve_own, resolve_suffixed
from smlmbatch.ingest.formats import THUNDERSTORM
from smlmbatch.ingest.heads import HEAD_BYTES, TextHead, is_binary, is_utf16, parse_head
from smlmbatch.ingest.source import Malformed, RawBlock, Source

# Positions need more than float32's 24 bits until the origin is taken off; frames and groups must stay whole numbers.
_FLOAT64 = frozenset({"x_nm", "y_nm", "frame", "group"})


def open_thunderstorm(path: Path, overrides: Overrides) -> Source:
    """A CSV whose header gives names with units, `x [nm]`."""
    head = _read_head(path)
    return _source(path, "thunderstorm", head, resolve_suffixed(path, THUNDERSTORM, head.names, overrides=overrides))


def open_own_text(path: Path, overrides: Overrides) -> Source:
    """A CSV of one's own, by a map or by our own column names."""
    head = _read_head(path)
    return _source(path, "table", head, resolve_own(path, head.names, overrides=overrides))


def _read_head(path: Path) -> TextHead:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise InputError(path, "the file is empty", "a table of localisations", "export it again, the export was probably interrupted")
    if is_utf16(head):
        raise InputError(path, "the text is encoded as UTF-16", "UTF-8 or plain ASCII", 'save it again as "CSV UTF-8"')
    if is_binary(head):
        raise InputError(path, "the content is binary", "a text table", "check that the file is what its name says, or export it again")
    parsed = parse_head(head)
    if not parsed.names:
        mend = "add a first line that names the columns, e.g. frame,x_nm,y_nm"
        raise InputError(path, "the table has no header line", "column names in the first line", mend)
    return parsed


def _source(path: Path, name: str, head: TextHead, resolved: Resolved) -> Source:
    malformed = Malformed()
    return Source(
        path=path,
        format=name,
        resolved=resolved,
        blocks=lambda: _blocks(path, head, resolved, malformed),
        malformed=malformed,
        cut_off=not _ends_with_a_line(path),
    )


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) in b"\r\n"


def _blocks(path: Path, head: TextHead, resolved: Resolved, malformed: Malformed) -> Iterator[RawBlock]:
    import pyarrow as pa

    from smlmbatch.ingest.blocks import TEXT, TextTable, text_blocks

    types: dict[int, pa.DataType] = {}
    names: dict[str, str] = {}
    for use in resolved.uses:
        for column in use.columns:
            at = head.names.index(column)
            names[f"{at}"] = column
            if types.get(at) != pa.float64():  # a column used twice keeps the wider type
                types[at] = TEXT if use.quantity == "channel" else pa.float64() if use.quantity in _FLOAT64 else pa.float32()
    for block in text_blocks(TextTable(path, head, types), malformed):
        columns = {names[at]: values for at, values in block.columns.items()}
        yield RawBlock(n_records=block.n_records, columns=columns, index=block.index)
