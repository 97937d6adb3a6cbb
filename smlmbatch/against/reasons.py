"""Why two units of one field and stage differ: what their fingerprints hash, held against each other part by part.

Each part of a fingerprint has its kind of reason in `_PARTS`; a part this version doesn't know (a device class, a model) is
told by its name and values, so that a part added later needs no change here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smlmbatch.against.current import Unit

_SHOWN = 12  # hex digits of a hash
_FILES = {"source": "content of the file", "sidecar": "content of the .yaml beside the file", "outline": "content of the outline"}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: its kind, what changed (the same words for every unit of that reason), and what is peculiar to this unit."""

    kind: str
    text: str
    detail: str = ""


def why(there: Unit, here: Unit, stages_there: Mapping[str, str], stages_here: Mapping[str, str]) -> tuple[Reason, ...]:
    """Reasons why a unit is not what it was there.

    Parameters
    ----------
    there, here : the same field and stage in two campaigns; "there" is the older one
    stages_there, stages_here : fingerprint → stage, of all units of the field

    Returns
    -------
    reasons, never none: that nothing explains it is one too
    """
    if there.fingerprint == here.fingerprint:
        return _of_software(there, here)
    if not there.made_of or not here.made_of:
        return (Reason("unknown", "made by a version that did not keep what its units were made of"),)
    found: list[Reason] = []
    for part in sorted(there.made_of.keys() | here.made_of.keys()):
        old, new = there.made_of.get(part), here.made_of.get(part)
        if old == new:
            continue
        if part == "upstream":
            found += _of_upstream(old or [], new or [], stages_there, stages_here)
        elif part in _PARTS:
            found += _PARTS[part](old or {}, new or {})
        else:
            found.append(Reason("other", f"{part}: {_shown(old)} → {_shown(new)}"))
    return tuple(_named(reason, there, here) for reason in found) or (_SAME_PARTS,)


_SAME_PARTS = Reason("unknown", "made of the same parts under another fingerprint")


def _named(reason: Reason, there: Unit, here: Unit) -> Reason:
    """A changed result version with the programs' versions behind it."""
    if reason.kind != "version":
        return reason
    old, new = there.made_by.get("smlmbatch", "?"), here.made_by.get("smlmbatch", "?")
    return Reason("version", f"results of {here.stage}: {reason.text} (smlmbatch {old if old == new else f'{old} → {new}'})")


def _of_software(there: Unit, here: Unit) -> tuple[Reason, ...]:
    """What may explain other results under the same fingerprint: nothing that should."""
    names = sorted(there.made_by.keys() | here.made_by.keys())
    changed = [(name, there.made_by.get(name, "none"), here.made_by.get(name, "none")) for name in names]
    found = tuple(Reason("software", f"{name}: {old} → {new}") for name, old, new in changed if old != new)
    return found or (Reason("unknown", "the same input, settings, version and software: please report it"),)


def _of_config(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Reason]:
    for section in sorted(old.keys() | new.keys()):
        for key, before, now in changes(old.get(section, {}), new.get(section, {})):
            yield Reason("settings", f"{section}.{key}: {before} → {now}")


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key, old, new) of all that differs between two tables, as text."""
    for key in sorted(old.keys() | new.keys()):
        if key not in old or key not in new or old[key] != new[key]:
            yield key, _shown(old.get(key, _ABSENT)), _shown(new.get(key, _ABSENT))


def _of_own(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Reason]:
    for key, before, now in changes(old, new):
        if key == "field" and _ABSENT in (before, now):
            continue  # the key seeds draws that a setting asks for, which is told
        if key in _FILES:
            detail = f"sha256 {_hash(old.get(key))} → {_hash(new.get(key))}"
            yield Reason("input", _FILES[key], detail)
        else:
            yield Reason("sample sheet", f"{key}: {before} → {now}")


def _of_upstream(old: list[str], new: list[str], stages_there: Mapping[str, str], stages_here: Mapping[str, str]) -> Iterator[Reason]:
    """Which earlier stage changed; why is told at that stage."""
    before = {stages_there.get(fingerprint[:16], "?") for fingerprint in old if fingerprint not in new}
    now = {stages_here.get(fingerprint[:16], "?") for fingerprint in new if fingerprint not in old}
    for stage in sorted(before | now):
        yield Reason("upstream", f"{stage} is another" if stage != "?" else "an earlier stage is another")


_ABSENT = "(not there)"
_PARTS: Mapping[str, Callable[[Any, Any], Iterable[Reason]]] = {
    "version": lambda old, new: [Reason("version", f"{old} → {new}")],
    "config": _of_config,
    "own": _of_own,
}


def _shown(value: Any) -> str:
    return value if value == _ABSENT else repr(value)


def _hash(value: Any) -> str:
    return str(value)[:_SHOWN] if value else "none"
