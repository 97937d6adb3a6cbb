"""Placements as a table for people, as CSV and as JSON. What is undefined (an interval with one replicate) is "-", empty, null."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from smlmbatch.across.placing import Placement
from smlmbatch.across.stored import Making
from smlmbatch.store.units import write_whole

_NEAREST_SHOWN: Final = 5
_FIELDS_SHOWN: Final = 20
_HEAD: Final = (
    "condition of the others",
    "channel",
    "distance",
    "95 % interval",
    "within",
    "of {} nearest",
    "by chance",
    "locs",
)
_LINE: Final = "  {:<36}{:>8}{:>10}{:>17}{:>9}{:>15}{:>11}{:>8}"


def placements_text(placements: Sequence[Placement], making: Making) -> Iterator[str]:
    """Each condition with its nearest ones; each field with the nearest and the next."""
    yield f"model {making.model} ({making.model_sha256[:12]})"
    groups = _by_group(placements)
    for rows in (rows for rows in groups if rows[0].scope == "condition"):
        first = rows[0]
        yield ""
        yield f"{first.name}, channel {first.channel}: {first.n_rois} ROIs of {_plural(first.n_replicates, 'replicate')}"
        yield _LINE.format(*_HEAD).replace("{}", str(first.neighbours))
        for row in rows[:_NEAREST_SHOWN]:
            yield _LINE.format(*_cells(row))
        if len(rows) > _NEAREST_SHOWN:
            yield f"  and {len(rows) - _NEAREST_SHOWN} more"
    fields = [rows for rows in groups if rows[0].scope == "field"]
    if fields:
        yield ""
        yield "field (channel): nearest condition of the others, distance, share of its neighbours; then the next"
    for rows in fields[:_FIELDS_SHOWN]:
        yield f"  {rows[0].name} ({rows[0].channel}): {'; '.join(_short(row) for row in rows[:2])}"
    if len(fields) > _FIELDS_SHOWN:
        yield f"  and {len(fields) - _FIELDS_SHOWN} more fields: --csv or --json lists all"


def _by_group(placements: Sequence[Placement]) -> list[list[Placement]]:
    groups: dict[tuple[str, str, int], list[Placement]] = {}
    for row in placements:
        groups.setdefault((row.scope, row.name, row.channel), []).append(row)
    return list(groups.values())


def _cells(row: Placement) -> tuple[str, ...]:
    interval = f"{row.low:.3g} to {row.high:.3g}" if math.isfinite(row.low) else "-"
    numbers = (f"{row.distance:.3g}", interval, f"{row.within:.3g}", f"{row.share:.0%}", f"{row.share_by_chance:.0%}")
    return f"{row.condition} in {Path(row.campaign).name}", str(row.other_channel), *numbers, f"{row.locs_ratio:.2f}x"


def _short(row: Placement) -> str:
    return f"{row.condition} in {Path(row.campaign).name}, channel {row.other_channel}, {row.distance:.3g}, {row.share:.0%}"


def _plural(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def placements_json(placements: Sequence[Placement], making: Making) -> dict[str, Any]:
    """For machines."""
    return {"made_with": dataclasses.asdict(making), "placements": [_row(row) for row in placements]}


def write_placements(path: Path, placements: Sequence[Placement]) -> None:
    """All placements as CSV."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Placement)])
    writer.writerows(_row(row).values() for row in placements)
    write_whole(path, out.getvalue().encode("utf-8", "surrogateescape"))


def _row(row: Placement) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in dataclasses.asdict(row).items()
    }
