"""SLURM's short form of a list of hosts, written out: `node[008-011,20]` → node008, node009, node010, node011, node20.

scontrol, which would do it, isn't inside a container. Order, duplicates and padding are scontrol's (compared with
22.05.8). Stricter than it where it guesses (`n[1-`, blanks in brackets), and names may go on after the last bracket.
"""

import itertools
import math
import re
from collections.abc import Iterator

from smlmbatch.errors import ConfigError

MAX_HOSTS = 100_000  # ten times the largest machine there is; a slip of the pen must not fill the memory
_SHOWN = 200  # characters of a bad list that an error repeats
_TERM = re.compile(r"(?:[^\s,\[\]]|\[[^\[\]]*\])+")
_PIECE = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def expand_hosts(text: str) -> tuple[str, ...]:
    """All names of a SLURM node list, in scontrol's order, duplicates kept.

    Parameters
    ----------
    text : names separated by commas or blanks; a name may hold groups of numbers and ranges in brackets

    Raises
    ------
    ConfigError
        empty, unbalanced brackets, something else than numbers in them, a reversed range, more than 100,000 hosts

    Examples
    --------
    >>> expand_hosts("r[1-2]n[09-10]-ib,login")
    ('r1n09-ib', 'r1n10-ib', 'r2n09-ib', 'r2n10-ib', 'login')
    """
    terms = [_parse(term, text) for term in _terms(text)]
    count = sum(math.prod(_size(group) for group in pieces) for pieces in terms)
    if count > MAX_HOSTS:
        raise _bad(text, f"{count} hosts; more than {MAX_HOSTS} can't be meant")
    return tuple(name for pieces in terms for name in _names(pieces))


# A piece of a name is a list of ranges (first, last, digits); fixed text is one "range" that holds itself.
_Group = list[tuple[int, int, int]]
_Pieces = list[str | _Group]


def _terms(text: str) -> list[str]:
    """The names between commas and blanks; whatever is left over is a bracket without its partner."""
    found = _TERM.findall(text)
    left = _TERM.sub("", text).replace(",", "").strip()
    if left:
        raise _bad(text, f"unbalanced {left[0]!r}")
    if not found:
        raise _bad(text, "it is empty")
    return found


def _parse(term: str, text: str) -> _Pieces:
    return [fixed or _group(inside, text) for inside, fixed in _PIECE.findall(term)]


def _group(inside: str, text: str) -> _Group:
    return [_range(part, text) for part in inside.split(",")]


def _range(part: str, text: str) -> tuple[int, int, int]:
    found = _RANGE.fullmatch(part)
    if not found:
        raise _bad(text, f"{part!r} in brackets is no number (of up to 18 digits) and no range such as 01-12")
    low, high = found[1], found[2] or found[1]
    if int(high) < int(low):
        raise _bad(text, f"the range {part} runs backwards")
    return int(low), int(high), len(low)  # the lower end says how wide: [8-011] is 8, 9, 10, 11


def _size(piece: str | _Group) -> int:
    return 1 if isinstance(piece, str) else sum(high - low + 1 for low, high, _ in piece)


def _names(pieces: _Pieces) -> Iterator[str]:
    """Names of one term. scontrol runs the last group fastest, then the first, the second, and so on."""
    groups = [place for place, piece in enumerate(pieces) if not isinstance(piece, str)]
    order = [*groups[:-1][::-1], *groups[-1:]]  # slowest first, as itertools.product has it
    parts = [piece if isinstance(piece, str) else "" for piece in pieces]
    for numbers in itertools.product(*(_numbers(pieces[place]) for place in order)):
        for place, number in zip(order, numbers, strict=True):
            parts[place] = number
        yield "".join(parts)


def _numbers(group: str | _Group) -> list[str]:
    assert not isinstance(group, str)
    return [str(number).zfill(digits) for low, high, digits in group for number in range(low, high + 1)]


def _bad(text: str, what: str) -> ConfigError:
    shown = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"
    return ConfigError(f"node list {shown}: {what}. Wanted: SLURM's form, such as node[01-04,7]")
