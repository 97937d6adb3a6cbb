"""Makes `docs/formats.md` of the tables in the code:  python -m smlmbatch.ingest.formats_document > docs/formats.md"""

import sys
from collections.abc import Iterable

from smlmbatch.ingest.evidence import EVIDENCE, Evidence
from smlmbatch.ingest.formats import NM, PIXEL, STATED, SUFFIX
from smlmbatch.ingest.readers import READERS
from smlmbatch.ingest.vendors import TEXT_FORMATS, TextFormat

_UNITS = {SUFFIX: "in the header", STATED: "in the head, or given", NM: "nm", PIXEL: "px"}
_HEAD = """# Formats

Generated from the tables in `smlmbatch/ingest`; `python -m smlmbatch.ingest.formats_document` prints it.

Files are recognised by content, never by name. Everything becomes nm, frames counted from 0, pixels counted from the first one's
corner; what was converted stands in the store's attributes (`unit`, `pixel_size_nm`, `pixel_offset_px`, `frame_base`) and in
`smlmbatch validate`. Units are never guessed: where the file doesn't say them, `--unit` or the sample sheet has to. The name is
what `--format` and the sheet's column `format` take.

## What is read
"""
_TESTED = """
## How it is tested

*Kept in*: such files are read from each of these; each is also damaged at random (`tests/ingest/fuzz.py`), which has to end in a sane
report or in an error that tells what to do. *Other readers agree*: on real samples, within float32, after the conventions that
`tests/ingest/test_oracles.py` states. *Written*: `smlmbatch export --format …`, read back here as the same localisations; other programs
that read it in the tests are in brackets.
"""


def document() -> str:
    """The Markdown document.

    >>> document().splitlines()[0]
    '# Formats'
    """
    read = _table(
        ("format", "name", "told by", "unit of x, y", "first frame", "a whole pixel is its", "dropped", "notes"),
        (_read_row(name, evidence) for name, evidence in EVIDENCE.items()),
    )
    tested = _table(
        ("name", "kept in", "other readers agree", "real samples", "written"),
        (_tested_row(name, evidence) for name, evidence in EVIDENCE.items()),
    )
    return f"{_HEAD}\n{read}{_TESTED}\n{tested}"


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [names, ("---",) * len(names), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _read_row(name: str, evidence: Evidence) -> tuple[str, ...]:
    forms = [form for form in TEXT_FORMATS if form.name == name]
    form = forms[0] if forms else None
    return (
        READERS[name].title.removeprefix("a ").removeprefix("an "),
        f"`{name}`",
        evidence.recognised or " or ".join(dict.fromkeys(text for each in forms for text in _signatures(each))),
        evidence.unit or (_UNITS[form.rules[0].unit] if form else ""),
        evidence.frames or (_frames(form) if form else ""),
        evidence.pixel or ("centre" if form and form.pixel_offset_px else ""),
        evidence.dropped or "; ".join(dict.fromkeys(rule.reason for rule in (form.filters if form else ()))),
        evidence.notes,
    )


def _signatures(form: TextFormat) -> list[str]:
    if form.exactly:
        return [f"the header `{','.join(form.exactly)}`"]
    return [", ".join(f"`{name}{' [unit]' if form.is_suffixed else ''}`" for name in sorted(names)) for names in form.signatures]


def _frames(form: TextFormat) -> str:
    return "0 if a frame 0 occurs, else 1" if form.frame_base is None else str(form.frame_base)


def _tested_row(name: str, evidence: Evidence) -> tuple[str, ...]:
    written = ", ".join(f"`{written}`" for written in evidence.written)
    if evidence.written_oracles:
        written += f" ({', '.join(evidence.written_oracles)})"
    agree = ", ".join(dict.fromkeys(program for program, _ in evidence.oracles))
    return f"`{name}`", ", ".join(evidence.containers), agree, "yes" if evidence.samples else "", written


if __name__ == "__main__":
    sys.stdout.write(document())
