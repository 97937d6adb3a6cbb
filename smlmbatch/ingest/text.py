"""The text reader: a program's table by its `TextFormat`, or a table of one's own, streamed by `blocks`."""

from collections.abc import Iterator
from pathlib import Path

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, Resolved, resolve_own
from smlmbatch.ingest.formats import Filter
from smlmbatch.ingest.heads import HEAD_BYTES, TextHead, is_binary, is_utf16
from smlmbatch.ingest.odd_heads import text_head
from smlmbatch.ingest.source import Malformed, RawBlock, Source
from smlmbatch.ingest.streams import Opener, opener_of, read_head
from smlmbatch.ingest.text_columns import HeadSays, filters_of, form_of, notes_of, resolve_text

# Positions need more than float32's 24 bits until the origin is taken off; frames and groups must stay whole numbers.
_FLOAT64 = frozenset({"x_nm", "y_nm", "frame", "group"})
OWN_TABLE = "table"


def open_text(path: Path, format_name: str, overrides: Overrides, *, opened: Opener | None = None) -> Source:
    """A text table.

    Parameters
    ----------
    format_name : of a `TextFormat`, or "table" for one's own
    opened : opens the text where it isn't the file's own content: that of an archive's member

    Raises
    ------
    InputError
        no text, no header, or not the columns the format has
    """
    opened = opened or opener_of(path)
    head = _checked_head(path, opened)
    if format_name == OWN_TABLE:
        return _source(path, OWN_TABLE, head, resolve_own(path, head.names, overrides=overrides), opened)
    form = form_of(format_name, head.names, spaced=head.spaced)
    says = HeadSays(unit=head.unit, pixels_nm=head.pixels_nm)
    resolved = resolve_text(path, form, head.names, says=says, overrides=overrides)
    filters, notes = filters_of(form, head.names), notes_of(says, overrides)
    return _source(path, form.name, head, resolved, opened, filters=filters, notes=notes, end=form.end)


def _checked_head(path: Path, opened: Opener) -> TextHead:
    head = read_head(opened, HEAD_BYTES)
    if not head.strip():
        raise InputError(path, "the file is empty", "a table of localisations", "export it again, the export was probably interrupted")
    if is_utf16(head):
        raise InputError(path, "the text is encoded as UTF-16", "UTF-8 or plain ASCII", 'save it again as "CSV UTF-8"')
    if is_binary(head):
        raise InputError(path, "the content is binary", "a text table", "check that the file is what its name says, or export it again")
    parsed = text_head(head)
    if parsed.problem:
        raise InputError(path, parsed.problem, "one localisation per record", parsed.mend)
    if not parsed.names:
        mend = "add a first line that names the columns, e.g. frame,x_nm,y_nm"
        raise InputError(path, "the table has no header line", "column names in the first line", mend)
    return parsed


def _source(
    path: Path,
    name: str,
    head: TextHead,
    resolved: Resolved,
    opened: Opener,
    *,
    filters: tuple[Filter, ...] = (),
    notes: tuple[str, ...] = (),
    end: bytes = b"",
) -> Source:
    malformed = Malformed()
    return Source(
        path=path,
        format=name,
        resolved=resolved,
        blocks=lambda: _blocks(path, head, resolved, malformed, opened=opened, filters=filters, end=end),
        malformed=malformed,
        filters=filters,
        notes=notes,
    )


def _blocks(
    path: Path, head: TextHead, resolved: Resolved, malformed: Malformed, *, opened: Opener, filters: tuple[Filter, ...], end: bytes
) -> Iterator[RawBlock]:
    import pyarrow as pa

    from smlmbatch.ingest.blocks import TEXT, TextTable, text_blocks

    wanted = [(column, TEXT if rule.drops else pa.float64()) for rule in filters for column in (rule.column,)]
    for use in resolved.uses:
        kind = TEXT if use.quantity == "channel" else pa.float64() if use.quantity in _FLOAT64 else pa.float32()
        wanted += [(column, kind) for column in use.columns]
    types: dict[int, pa.DataType] = {}
    names: dict[str, str] = {}
    for column, kind in wanted:
        at = head.names.index(column)
        names[f"{at}"] = column
        if types.get(at) not in (pa.float64(), TEXT):  # a column used twice keeps the wider type
            types[at] = kind
    for block in text_blocks(TextTable(path, opened, head, types, end), malformed):
        columns = {names[at]: values for at, values in block.columns.items()}
        yield RawBlock(n_records=block.n_records, columns=columns, index=block.index)
