"""A difference in words: a table of counts, then every reason with the fields it concerns, at most so many lines each."""

from collections.abc import Iterator

from smlmbatch.against.difference import STATES, Difference, Member
from smlmbatch.against.reasons import Reason

_MOST_LINES = 20  # per reason


def difference_text(difference: Difference) -> Iterator[str]:
    """Lines for people: the counts, the reasons, the verdict."""
    yield from _counts(difference)
    for reason, members in difference.by_reason().items():
        yield ""
        yield f"{reason.kind}: {reason.text} ({_how_many(members)})"
        lines = list(_lines(reason, members))
        yield from lines[:_MOST_LINES]
        if len(lines) > _MOST_LINES:
            yield f"  and {len(lines) - _MOST_LINES} more"
    yield ""
    if difference.outdated:
        yield f"{difference.outdated} units here are of another version of smlmbatch, and would be made anew by a run"
    yield "equal" if difference.equal else "different"


def _counts(difference: Difference) -> Iterator[str]:
    counted = difference.counts()
    states = [state for state in STATES if state == "same" or any(counts[state] for counts in counted.values())]
    yield f"{'':<36}" + "".join(f"{state:>18}" for state in states)
    for stage, counts in counted.items():
        yield f"{stage:<36}" + "".join(f"{counts[state] or '':>18}" for state in states)


def _lines(reason: Reason, members: list[Member]) -> Iterator[str]:
    """One line per field and state, with its stages; one for all tables."""
    stages: dict[tuple[str, str, str], list[str]] = {}
    for member in members:
        detail = next(found.detail for found in member.reasons if (found.kind, found.text) == (reason.kind, reason.text))
        stages.setdefault((member.field, member.state, detail), []).append(member.stage)
    for (field, state, detail), names in stages.items():
        yield "  " + "  ".join(part for part in (field, ", ".join(names), state, detail) if part)


def _how_many(members: list[Member]) -> str:
    fields = len({member.field for member in members if member.field})
    if not fields:
        return "tables"
    return f"{len(members)} {'unit' if len(members) == 1 else 'units'} of {fields} {'field' if fields == 1 else 'fields'}"
