"""The head of a text table: encoding, delimiter, decimal sign, column names, where the records begin.

Headers are split here and never by a CSV library: real files have a byte-order mark, blanks around names, a
comment sign before the header, or the whole header in ONE quoted cell with doubled quotes (a spreadsheet saved
it again). Decided on the first 64 KiB.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

HEAD_BYTES = 1 << 16
_DELIMITERS = (",", ";", "\t")
_QUOTES = " \t\"'`"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity|\u221e)", re.IGNORECASE)
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_SEPARATOR_LINE = re.compile(r"sep=(.)")
_SAMPLED = 50  # records looked at
_LINES = 300  # lines among which the header must be: comments may come before it
_CONTROL = bytes([*range(7), 8, *range(14, 27), *range(28, 32)])
UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHead:
    """How to read a text table.

    Attributes
    ----------
    names : cleaned column names; empty where the table has no header
    data_start : byte at which the first record begins
    newline : what ends a line, b"\\n" also where lines end with CR LF
    damaged : the header came as one quoted cell; quotes mean nothing in this file
    commented : the header stands behind a comment sign
    spaced : a blank follows every delimiter of the header
    sample : cells of the first records
    unit : what x and y are in, where the head says so outside the names
    pixels_nm : a pixel's width and height where the head gives them
    problem, mend : why a file with such a head can't be read, and what to do; "" where it can
    """

    names: tuple[str, ...]
    delimiter: str
    decimal: str
    data_start: int
    newline: bytes
    encoding: str
    damaged: bool
    commented: bool
    sample: tuple[tuple[str, ...], ...]
    spaced: bool = False
    unit: str = ""
    pixels_nm: tuple[float, ...] = ()
    problem: str = ""
    mend: str = ""

    @property
    def numeric_cells(self) -> float:
        """Mean number of numeric cells in a sampled record; 0 without records."""
        counts = [sum(is_number(cell) for cell in row) for row in self.sample]
        return sum(counts) / len(counts) if counts else 0.0


def is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip(_QUOTES)) is not None


def is_binary(head: bytes) -> bool:
    """Many control characters among the first bytes; UTF-16 text counts as binary too."""
    control = len(head) - len(head.translate(None, delete=_CONTROL))
    return is_utf16(head) or control > len(head) // 100 + 1  # a few stand at the end of a Zeiss table


def is_utf16(head: bytes) -> bool:
    return head.startswith(_UTF16_BOMS)


def parse_head(head: bytes) -> TextHead:
    """Read a file's first bytes as a text table. Never fails: what is no table has no numeric cells."""
    start = len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0
    encoding = _encoding(head)
    newline = b"\r" if b"\r" in head and b"\n" not in head else b"\n"
    lines = _lines(head, start, encoding)
    forced = _SEPARATOR_LINE.fullmatch(lines[0][0]) if lines else None
    if forced:
        lines = lines[1:]
    header, first = _find_header(lines)
    records = [text for text, _ in lines[first : first + _SAMPLED] if not text.startswith("#")]
    names, delimiter, damaged = _split_header(header or "", records, forced.group(1) if forced else "")
    sample = tuple(tuple(split(text.replace('"', "") if damaged else text, delimiter)) for text in records)
    if header is None:
        names = []
    else:
        names += [""] * trailing_cells(names, sample)
    return TextHead(
        names=tuple(names),
        delimiter=delimiter,
        decimal=_decimal(sample, delimiter),
        data_start=lines[first - 1][1] if first else start,
        newline=newline,
        encoding=encoding,
        damaged=damaged,
        commented=bool(header) and str(header).startswith("#"),
        sample=sample,
        spaced=_is_spaced(header or "", delimiter),
    )


def _is_spaced(header: str, delimiter: str) -> bool:
    return header.count(delimiter) == header.count(delimiter + " ") > 0


def _encoding(head: bytes) -> str:
    try:
        head[: len(head) - 4].decode("utf-8")  # the cut may have hit a character of up to 4 bytes
    except UnicodeDecodeError as error:
        return "utf-8" if error.start >= len(head) - 8 else "latin-1"
    return "utf-8"


def _lines(head: bytes, start: int, encoding: str) -> list[tuple[str, int]]:
    """The first non-blank lines and the byte after each; the last one is left out where the head may have cut it."""
    lines, at = [], start
    pieces = head[start:].splitlines(keepends=True)
    whole = len(head) < HEAD_BYTES
    for piece in pieces if whole else pieces[:-1]:
        at += len(piece)
        text = piece.decode(encoding, "replace").rstrip("\r\n")
        if text.strip():
            lines.append((text, at))
        if len(lines) == _LINES:
            break
    return lines


def _find_header(lines: Sequence[tuple[str, int]]) -> tuple[str | None, int]:
    """The header's text (None if there is none) and the index of the first record among `lines`."""
    plain = next((i for i, (text, _) in enumerate(lines) if not text.startswith("#")), None)
    if plain is None:
        return (lines[-1][0], len(lines)) if lines else (None, 0)
    text = lines[plain][0]
    if not _is_record(text):
        return text, plain + 1
    if plain and len(_best_split(lines[plain - 1][0])) == len(_best_split(text)) > 1:
        return lines[plain - 1][0], plain
    return None, plain


def _is_record(text: str) -> bool:
    """Mostly numbers: a header has none, a record of a vendor's table may hold some text."""
    rows = [split(text, delimiter) for delimiter in _DELIMITERS]
    return any(sum(is_number(cell) for cell in cells) * 2 > len(cells) for cells in rows)


def _best_split(text: str) -> list[str]:
    return max((split(text, delimiter) for delimiter in _DELIMITERS), key=len)


def split(text: str, delimiter: str) -> list[str]:
    """Cells of one line."""
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return [text]


def _split_header(header: str, records: Sequence[str], forced: str) -> tuple[list[str], str, bool]:
    """Names, delimiter, and whether the header came as one quoted cell."""
    # a first column without a name leaves a tab before the second one's
    text, damaged = header.lstrip("#").strip() if header.startswith("#") else header.lstrip(" ").rstrip(), False
    if text.startswith('"') and all(len(split(text, delimiter)) == 1 for delimiter in _DELIMITERS):
        inner = split(text, ",")[0]
        if any(delimiter in inner for delimiter in _DELIMITERS):
            text, damaged = inner, True
    delimiter = forced or _delimiter(text, records)
    return [name.strip(_QUOTES) for name in split(text, delimiter)], delimiter, damaged


def _delimiter(header: str, records: Sequence[str]) -> str:
    """The one that cuts header and first record into equally many cells, else the one that gives most cells."""

    def score(delimiter: str) -> tuple[bool, int]:
        n = len(split(header or records[0], delimiter)) if header or records else 0
        agrees = bool(records) and n > 1 and len(split(records[0].replace('"', ""), delimiter)) == n
        return agrees, n

    return max(_DELIMITERS, key=score)


def trailing_cells(names: Sequence[str], sample: Sequence[Sequence[str]]) -> int:
    """1 where every record ends with a delimiter that the header lacks."""
    longer = bool(sample) and all(len(row) == len(names) + 1 and not row[-1].strip() for row in sample)
    return int(longer)


def _decimal(sample: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    cells = [cell.strip(_QUOTES) for row in sample for cell in row]
    commas, points = (sum(pattern.fullmatch(cell) is not None for cell in cells) for pattern in (_COMMA, _POINT))
    return "," if commas > points else "."
