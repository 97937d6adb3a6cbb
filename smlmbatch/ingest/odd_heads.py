"""Heads that are more than one line of names: rapidSTORM's XML, DECODE's comments, PALMTracer's table before the table.

They are cut with regular expressions and `json`, never with an XML library: a data file must not be able to make a
parser fetch or unfold anything.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from smlmbatch.ingest.heads import HEAD_BYTES, UTF8_BOM, TextHead, parse_head, split, trailing_cells

_RAPIDSTORM: Final = b"# <localizations"
_DECODE: Final = b"# DECODE EmitterSet"
_FIELD: Final = re.compile(r"<field\b([^>]*)>")
_ATTRIBUTE: Final = re.compile(r'([\w-]+)\s*=\s*"([^"]*)"')
# What versions before the identifiers wrote, and units as rapidSTORM spells them.
_BY_MEANING: Final[Mapping[str, str]] = MappingProxyType(
    {"x-position": "Position-0-0", "y-position": "Position-1-0", "z-position": "Position-2-0", "frame number": "ImageNumber-0-0"}
)
_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {"nanometer": "nm", "nanometre": "nm", "micrometer": "um", "micrometre": "um", "meter": "m", "metre": "m", "pixel": "px"}
)
_SAMPLED: Final = 50


def text_head(head: bytes) -> TextHead:
    """Read a file's first bytes as a text table, whosever it is. Never fails: what is no table has no numeric cells."""
    content = head.removeprefix(UTF8_BOM)
    if content.startswith(_RAPIDSTORM):
        return _rapidstorm(head)
    if content.startswith(_DECODE):
        return _decode(head)
    parsed = parse_head(head)
    return _palmtracer(head) if {"pixel_size(um)", "nb_planes"} <= {name.lower() for name in parsed.names} else parsed


def _rapidstorm(head: bytes) -> TextHead:
    """One line of XML that names the columns, then records with blanks between their cells."""
    line, _, rest = head.partition(b"\n")
    text = line.decode("utf-8", "replace")
    names = [_rapidstorm_name(dict(_ATTRIBUTE.findall(field))) for field in _FIELD.findall(text)]
    records = rest.decode("latin-1").splitlines()[: _SAMPLED + 1]
    whole = records if len(head) < HEAD_BYTES else records[:-1]
    sample = tuple(tuple(split(record, " ")) for record in whole[:_SAMPLED] if record.strip())
    problem, mend = "", ""
    if text.count("<localizations") > 1:
        problem, names = "this is a rapidSTORM track file: every record holds a track with its localisations nested in it", []
        mend = "export the localisations themselves, without tracks"
    return TextHead(
        names=tuple(names + [""] * trailing_cells(names, sample)),
        delimiter=" ",
        decimal=".",
        data_start=len(line) + 1,
        newline=b"\n",
        encoding="latin-1",
        damaged=False,
        commented=True,
        sample=sample,
        problem=problem,
        mend=mend,
    )


def _rapidstorm_name(attributes: Mapping[str, str]) -> str:
    """The identifier with a unit of length in brackets, as other programs write it."""
    name = attributes.get("identifier") or _BY_MEANING.get(attributes.get("semantic", ""), "")
    unit = _UNITS.get(attributes.get("unit", ""), "")
    return f"{name} [{unit}]" if unit else name


def _decode(head: bytes) -> TextHead:
    """Comments, one of them JSON with `xy_unit` and `px_size`, then an ordinary table."""
    parsed = parse_head(head)
    meta: dict[str, Any] = {}
    for line in head.decode("utf-8", "replace").splitlines()[:10]:
        if line.startswith("#"):
            meta |= _json(line.lstrip("# "))
    unit = meta.get("xy_unit")
    return replace(parsed, unit=unit if isinstance(unit, str) else "", pixels_nm=_pixels_nm(meta.get("px_size")))


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _pixels_nm(sizes: object) -> tuple[float, ...]:
    """Width and height of a pixel; () where they are no two lengths."""
    if not isinstance(sizes, list) or len(sizes) != 2:
        return ()
    lengths = tuple(float(size) for size in sizes if isinstance(size, int | float) and not isinstance(size, bool) and 0 < size < math.inf)
    return lengths if len(lengths) == 2 else ()


def _palmtracer(head: bytes) -> TextHead:
    """A table of one record about the image, then the table of localisations."""
    lines = [line for line in head.splitlines(keepends=True) if line.strip()]
    if len(lines) < 3:
        return parse_head(head)
    start = head.index(lines[2], head.index(lines[1], head.index(lines[0]) + len(lines[0])) + len(lines[1]))
    about = dict(zip(*(line.decode("latin-1").strip("\r\n").split("\t") for line in lines[:2]), strict=False))
    parsed = parse_head(head[start:])
    try:
        pixel_nm = float(about.get("Pixel_Size(um)", "0")) * 1e3
    except ValueError:
        pixel_nm = 0.0
    sizes = (pixel_nm, pixel_nm) if 0 < pixel_nm < math.inf else ()
    return replace(parsed, data_start=start + parsed.data_start, pixels_nm=sizes)
