"""Streams the records of a text table: own newline-aligned blocks, each parsed by pyarrow on one thread.

Arrow's own streaming reader reads ahead without bound and can't say which record is which; with own blocks the
memory is bounded and `row` is exact. A block is first parsed with explicit types. If a cell of a needed column
is no number, that block alone is parsed again as text, the bad records are found with one regular expression
per column, and the rest is converted: the same parser, so the same numbers.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.formats import NO_VALUE
from smlmbatch.ingest.heads import TextHead
from smlmbatch.ingest.source import Malformed, RawBlock, TextColumn
from smlmbatch.ingest.streams import Opener

BLOCK_BYTES = 4 << 20
TEXT = pa.dictionary(pa.int32(), pa.string())
# What Arrow's parser takes for a number, with blanks or quotes around it.
_NUMBER = r"""^[ \t"]*[+-]?(?i:\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|inf|infinity|nan)[ \t"]*$"""
_BadRows = dict[int, str]  # record within the block → what is wrong with it


@dataclass(frozen=True, slots=True)
class TextTable:
    """A text file, how to open it, its head, and the needed columns: position in the file → Arrow type.

    The table ends before the first line that begins with `end`, or with the file.
    """

    path: Path
    opened: Opener
    head: TextHead
    types: Mapping[int, pa.DataType]
    end: bytes = b""


def text_blocks(table: TextTable, malformed: Malformed, *, block_bytes: int = BLOCK_BYTES) -> Iterator[RawBlock]:
    """All records, block by block.

    Raises
    ------
    InputError
        a line longer than a block: not a table
    """
    first = 0
    for block in _aligned(table, block_bytes, malformed):
        raw, bad = _parse(table, block)
        for record in sorted(bad)[:1]:
            malformed.note(first + record, bad[record])
        if raw.n_records:
            yield raw
        first += raw.n_records


def _aligned(table: TextTable, size: int, malformed: Malformed) -> Iterator[bytes | memoryview]:
    """The file from its first record on, in pieces that end with a line. One buffer is used again and again."""
    buffer = bytearray(size)
    kept, at_end = 0, False
    with table.opened() as stream:
        _skip(stream, table.head.data_start)
        while not at_end and (got := stream.readinto(memoryview(buffer)[kept:])):
            filled = kept + got
            if table.end and (mark := _end_of_table(buffer, filled, table.end, kept)) is not None:
                filled, at_end = mark, True
            end = buffer.rfind(table.head.newline, 0, filled) + 1
            if end:
                yield _plain(table, memoryview(buffer)[:end])
            elif filled == size:
                raise InputError(
                    table.path, f"a line is longer than {size >> 20} MiB", "a table, one record per line", "export the table again"
                )
            buffer[: filled - end] = buffer[end:filled]
            kept = filled - end
    if kept:
        malformed.cut_off = buffer[kept - 1] not in b"\r\n"
        yield _plain(table, memoryview(buffer)[:kept])


def _end_of_table(buffer: bytearray, filled: int, end: bytes, start: int) -> int | None:
    """Where a line begins with `end`; None if none does. `buffer` begins with a line and was searched up to `start`."""
    if buffer[: min(filled, len(end))] == end:
        return 0
    at = buffer.find(b"\n" + end, max(start - 1, 0), filled)
    return at + 1 if at >= 0 else None


def _skip(stream: io.BufferedIOBase, n: int) -> None:
    """Go to the first record without asking the stream to be seekable."""
    while n and (got := stream.read(min(n, BLOCK_BYTES))):
        n -= len(got)


def _plain(table: TextTable, block: memoryview) -> bytes | memoryview:
    """The block as valid UTF-8 (Arrow gives up on a bad record that is not), without the quotes of a damaged table."""
    if np.frombuffer(block, np.uint8).max() >= 128:
        block = memoryview(bytes(block).decode(table.head.encoding, "replace").encode())
    return bytes(block).replace(b'"', b"") if table.head.damaged else block


def _parse(table: TextTable, block: bytes | memoryview) -> tuple[RawBlock, _BadRows]:
    quote: str | bool = False
    if (np.frombuffer(block, np.uint8) == ord('"')).any():
        quote, block = '"', _with_paired_quotes(block)
    bad: _BadRows = {}
    try:
        parsed = _read(table, block, bad, types=table.types, quote=quote)
    except pa.ArrowInvalid:
        bad = {}
        parsed = _read_exactly(table, block, bad, quote=quote)
    n_records = len(parsed) + len(bad)
    index = np.setdiff1d(np.arange(n_records), np.fromiter(bad, np.int64, len(bad)), assume_unique=True) if bad else None
    columns = {f"{i}": _values(parsed.column(f"{i}")) for i in table.types}
    return RawBlock(n_records=n_records, columns=columns, index=index), bad


def _with_paired_quotes(block: bytes | memoryview) -> bytes | memoryview:
    """The block with every line whose quotes don't pair up made one bad cell: an open quote swallows the lines after it."""
    lines = bytes(block).splitlines()
    if not any(line.count(b'"') % 2 for line in lines):
        return block
    return b"\n".join(line if line.count(b'"') % 2 == 0 else b"?" for line in lines)


def _read(table: TextTable, block: bytes | memoryview, bad: _BadRows, *, types: Mapping[int, pa.DataType], quote: str | bool) -> pa.Table:
    """One pass of Arrow's parser; records with the wrong number of cells are left out and put down in `bad`."""

    def skip(row: Any) -> str:
        bad[row.number - 1] = f"{row.actual_columns} cells instead of {row.expected_columns}"
        return "skip"

    names = [f"{i}" for i in range(len(table.head.names))]
    return pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
        parse_options=pyarrow.csv.ParseOptions(delimiter=table.head.delimiter, quote_char=quote, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=[f"{i}" for i in types],
            column_types={f"{i}": kind for i, kind in types.items()},
            null_values=list(NO_VALUE),
            strings_can_be_null=True,
            decimal_point=table.head.decimal,
        ),
    )


def _read_exactly(table: TextTable, block: bytes | memoryview, bad: _BadRows, *, quote: str | bool) -> pa.Table:
    """Parse as text, find the records with a cell that is no number, convert the others."""
    text_types = {i: pa.string() for i in table.types}
    text = _read(table, block, bad, types=text_types, quote=quote)
    present = np.setdiff1d(np.arange(len(text) + len(bad)), np.fromiter(bad, np.int64, len(bad)), assume_unique=True)
    good = np.ones(len(text), dtype=np.bool_)
    for i, kind in table.types.items():
        if kind == TEXT:
            continue
        cells = _with_point(text.column(f"{i}"), table.head.decimal)
        is_bad = pc.fill_null(pc.invert(pc.match_substring_regex(cells, _NUMBER)), False).to_numpy(zero_copy_only=False)
        for k in np.flatnonzero(is_bad & good):
            bad[int(present[k])] = f"column {table.head.names[i] or i} holds {cells[int(k)].as_py()[:40]!r}, no number"
        good &= ~is_bad
    kept = text.filter(pa.array(good))
    converted = {f"{i}": _converted(kept.column(f"{i}"), kind, table.head.decimal) for i, kind in table.types.items()}
    return pa.table(converted)


def _with_point(cells: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """The cells with a decimal point. A point in a table of decimal commas groups thousands: kept, so that it is no number."""
    if decimal == ".":
        return cells
    return pc.replace_substring(pc.replace_substring(cells, ".", "_"), ",", ".")


def _converted(cells: pa.ChunkedArray, kind: pa.DataType, decimal: str) -> pa.ChunkedArray:
    if kind == TEXT:
        return cells.dictionary_encode()
    text = pc.utf8_trim(_with_point(cells, decimal), ' \t"')
    return pc.cast(pc.replace_substring_regex(text, r"^\+", ""), kind)


def _values(column: pa.ChunkedArray) -> NDArray[np.generic] | TextColumn:
    """A column as NumPy has it: missing cells are NaN, words are codes."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], type=array.type)
    if not pa.types.is_dictionary(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    codes = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False)
    return TextColumn(codes.astype(np.int32), tuple(word.strip() for word in array.dictionary.to_pylist()))
