"""Scores as a table for people, as CSV and as JSON. What is undefined is "-", empty, null."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from smlmbatch.analyse.score_comparison import Average, ScoreComparison, averages
from smlmbatch.score.figures import FIGURES, LOWER_IS_BETTER, Scores

TITLES: Final = {
    "ari_dagger": "ARI†",
    "iou": "IoU",
    "ji_c": "JI_c",
    "rmsre_n": "RMSRE_N",
    "rmse_xy_nm": "RMSE_xy (nm)",
    "sqrt_mean_d": "sqrt(mean d) (√nm)",
    "ami": "AMI",
    "ari_c": "ARI_c",
    "ari": "ARI",
}
_COUNTS: Final = ("n_locs", "n_true", "n_found", "n_paired")
_SHOWN_FIELDS: Final = 50
Fields = Mapping[str, Scores]


def scores_text(fields: Fields) -> Iterator[str]:
    """Each field on a line, and the mean of several."""
    width = max(12, *(len(name) for name in fields))
    head = [TITLES[figure] for figure in FIGURES]
    widths = [max(9, len(title) + 2) for title in head]
    yield f"{'field':<{width}}{'locs':>11}{'true':>7}{'found':>7}{'paired':>8}" + _cells(head, widths)
    for name in list(fields)[:_SHOWN_FIELDS]:
        own = fields[name]
        counts = f"{own.n_locs:>11,}{own.n_true:>7,}{own.n_found:>7,}{own.n_paired:>8,}"
        yield f"{name:<{width}}{counts}" + _cells([_number(getattr(own, figure)) for figure in FIGURES], widths)
    if len(fields) > _SHOWN_FIELDS:
        yield f"and {len(fields) - _SHOWN_FIELDS} more fields: --csv or --json lists all"
    if len(fields) > 1:
        of_all = averages(list(fields.values()))
        blank = " " * 33
        yield f"{'mean':<{width}}{blank}" + _cells([_number(a.mean) for a in of_all], widths)
        yield f"{'sd':<{width}}{blank}" + _cells([_number(a.sd) for a in of_all], widths)


def comparison_text(rows: Sequence[ScoreComparison]) -> Iterator[str]:
    """Each figure of two clusterings on a line."""
    line = "{:<20}{:>9}{:>9}{:>12}{:>22}{:>9}{:>10}{:>10}{:>14}"
    yield "first = LABELS, other = --against; difference = first - other, over fields"
    yield line.format("figure", "first", "other", "difference", "95 % interval", "g", "p (t)", "p (ranks)", "first better")
    for row in rows:
        interval = f"{_number(row.low)} to {_number(row.high)}" if math.isfinite(row.low) else "-"
        numbers = (_number(row.mean), _number(row.mean_other), _number(row.difference), interval, _number(row.g, digits=2))
        tested = (_number(row.p_t, digits=2), _number(row.p_ranks, digits=2), f"{row.n_better} of {row.n}")
        yield line.format(TITLES[row.figure] + (" ↓" if row.figure in LOWER_IS_BETTER else ""), *numbers, *tested)
    yield "↓ lower is better. p are two-sided and of single tests."


def _cells(values: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))


def _number(value: float, *, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "-"


def scores_json(fields: Fields, others: Fields | None, compared: Sequence[ScoreComparison]) -> dict[str, Any]:
    """For machines."""
    found: dict[str, Any] = {"fields": _rows(fields), "averages": [_defined(a) for a in averages(list(fields.values()))]}
    if others is not None:
        found |= {"against": _rows(others), "averages_against": [_defined(a) for a in averages(list(others.values()))]}
        found["comparison"] = [_defined(row) for row in compared]
    return found


def _rows(fields: Fields) -> list[dict[str, Any]]:
    return [{"field": name} | _defined(scores) for name, scores in fields.items()]


def _defined(row: Average | ScoreComparison | Scores) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in dataclasses.asdict(row).items()}


def scores_csv(methods: Mapping[str, Fields]) -> bytes:
    """A row per clustering and field."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["labels", "field", *_COUNTS, *FIGURES])
    for method, fields in methods.items():
        for row in _rows(fields):
            writer.writerow([method, row["field"], *(row[name] for name in (*_COUNTS, *FIGURES))])
    return out.getvalue().encode("utf-8", "surrogateescape")
