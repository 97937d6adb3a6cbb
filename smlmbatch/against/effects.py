"""What an upgrade (or another setting) does to the numbers: every descriptor, old against new, from two `rois.parquet`.

The unit of inference is the replicate: a mean is the mean over replicates of the means over their kept ROIs, and a change is
measured in standard deviations between the old replicates: a change far below one is a change nobody would publish differently.
ROIs are joined by field, channel and place, not by number, so that two grids are never mixed up. Columns that only one table
has are left out and named; tables of different versions may be compared.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from smlmbatch.analyse.columns import ROI_COLUMNS
from smlmbatch.analyse.compare import described
from smlmbatch.errors import ConfigError
from smlmbatch.store.units import write_whole

_NEEDED = ("key", "condition", "replicate", "channel", "kept", "n_locs", "x_nm", "y_nm", "side_nm")
_PLACE_NM = 1.0  # grids of the same field are equal to the bit or differ by more than this
Table = Mapping[str, Any]  # column → numpy array


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One descriptor in one condition and channel; a line of `effects.csv`. None where it can't be said.

    Attributes
    ----------
    mean_old, mean_new : mean over replicates of the mean over kept ROIs
    change_percent : of the old mean
    change_in_sd : in standard deviations (n - 1) between the old replicates
    largest_roi_change, largest_roi : of any ROI that is in both, with its sign; field and corner (nm) of that ROI
    n_rois_joined : ROIs with a value in both; n_rois_old, n_rois_new : with a value in one only
    """

    descriptor: str
    condition: str
    channel: int
    n_replicates_old: int
    n_replicates_new: int
    mean_old: float | None
    mean_new: float | None
    change: float | None
    change_percent: float | None
    change_in_sd: float | None
    n_rois_joined: int
    n_rois_old: int
    n_rois_new: int
    largest_roi_change: float | None
    largest_roi: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """All effects, and the descriptors that only one of the tables has."""

    rows: tuple[Effect, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def compare_rois(old: Path, new: Path, *, min_locs: tuple[int, int]) -> Effects:
    """Hold two `rois.parquet` against each other.

    Parameters
    ----------
    min_locs : `tile.min_locs` of the old campaign and of the new: fewest locs of the channel for descriptors of the pattern, as in
        the reports' means

    Raises
    ------
    ConfigError
        one of them is not there, or is no such table
    """
    before, after = (_read(path, least) for path, least in zip((old, new), min_locs, strict=True))
    described = [_descriptors(table) for table in (before, after)]
    shared = [name for name in described[1] if name in described[0]]
    groups = sorted(_groups(before) | _groups(after))
    rows = [_effect(name, condition, channel, before, after) for condition, channel in groups for name in shared]
    return Effects(
        rows=tuple(rows),
        only_old=tuple(name for name in described[0] if name not in shared),
        only_new=tuple(name for name in described[1] if name not in shared),
    )


def write_effects(path: Path, effects: Effects) -> None:
    """Write `effects.csv`; a value that can't be said is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(Effect)])
    writer.writerows(asdict(row).values() for row in effects.rows)
    write_whole(path, out.getvalue().encode("utf-8", "surrogateescape"))


# ---- tables


def _read(path: Path, min_locs: int) -> dict[str, Any]:
    """Kept ROIs, column by column, as the report takes their means; numbers as float64 with NaN for null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is not there: run the campaign to its end, or `smlmbatch report`") from error
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: can't be read as Parquet ({error})") from error
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise ConfigError(f"{path}: no column {', '.join(missing)}; wanted the rois.parquet of a campaign")
    table = described(table, min_locs=min_locs)
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            columns[name] = np.asarray(column.cast(pa.float64()).fill_null(math.nan))
        elif pa.types.is_string(column.type):
            columns[name] = np.asarray(column.fill_null("").to_pylist(), dtype=object)
    return columns


def _descriptors(table: Table) -> list[str]:
    """Columns of numbers that don't say which ROI a row is about."""
    return [name for name, values in table.items() if values.dtype != object and name not in ROI_COLUMNS]


def _groups(table: Table) -> set[tuple[str, int]]:
    return set(zip(table["condition"].tolist(), table["channel"].astype(int).tolist(), strict=True))


# ---- effects


def _effect(name: str, condition: str, channel: int, old: Table, new: Table) -> Effect:
    before, after = (_replicate_means(table, name, condition, channel) for table in (old, new))
    mean_old, mean_new = _mean(before), _mean(after)
    change = mean_new - mean_old if mean_old is not None and mean_new is not None else None
    largest = _largest(_values(old, name, condition, channel), _values(new, name, condition, channel))
    return Effect(
        descriptor=name,
        condition=condition,
        channel=channel,
        n_replicates_old=len(before),
        n_replicates_new=len(after),
        mean_old=mean_old,
        mean_new=mean_new,
        change=change,
        change_percent=_ratio(change, mean_old, 100.0),
        change_in_sd=_ratio(change, _sd(before)),
        **largest,
    )


def _chosen(table: Table, name: str, condition: str, channel: int) -> Any:
    import numpy as np

    return (table["condition"] == condition) & (table["channel"] == channel) & np.isfinite(table[name])


def _replicate_means(table: Table, name: str, condition: str, channel: int) -> list[float]:
    rows = _chosen(table, name, condition, channel)
    values, replicates = table[name][rows], table["replicate"][rows]
    return [float(values[replicates == replicate].mean()) for replicate in sorted(set(replicates.tolist()))]


def _values(table: Table, name: str, condition: str, channel: int) -> dict[tuple[str, int, int, int], float]:
    """(field, corner, side) of a ROI → its value."""
    rows = _chosen(table, name, condition, channel)
    places = [(table[axis][rows] / _PLACE_NM).round().astype(int).tolist() for axis in ("x_nm", "y_nm", "side_nm")]
    return dict(zip(zip(table["key"][rows].tolist(), *places, strict=True), table[name][rows].tolist(), strict=True))


def _largest(old: Mapping[tuple[str, int, int, int], float], new: Mapping[tuple[str, int, int, int], float]) -> dict[str, Any]:
    """Numbers of ROIs in both and in one, and the largest change among those in both."""
    both = sorted(old.keys() & new.keys())
    place = max(both, key=lambda one: abs(new[one] - old[one]), default=None)
    return {
        "n_rois_joined": len(both),
        "n_rois_old": len(old) - len(both),
        "n_rois_new": len(new) - len(both),
        "largest_roi_change": None if place is None else new[place] - old[place],
        "largest_roi": "" if place is None else f"{place[0]} at {place[1]}, {place[2]}",
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _sd(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _ratio(part: float | None, whole: float | None, scale: float = 1.0) -> float | None:
    return scale * part / abs(whole) if part is not None and whole else None


# ---- the short table


def short_table(effects: Effects, *, most: int) -> Iterator[str]:
    """The largest changes as lines of text, in standard deviations first, then in percent."""
    changed = [row for row in effects.rows if row.change or row.largest_roi_change or row.n_rois_old or row.n_rois_new]
    yield f"{len(changed)} of {len(effects.rows)} means (descriptor, condition, channel) or their ROIs changed"
    if changed:
        head = ("descriptor", "condition", "channel", "old", "new", "change", "in SD", "any ROI", "ROIs old/both/new")
        yield "{:<20}{:<16}{:>8}{:>12}{:>12}{:>9}{:>9}{:>12}{:>20}".format(*head)
    for row in sorted(changed, key=lambda row: (-abs(row.change_in_sd or 0.0), -abs(row.change_percent or 0.0)))[:most]:
        rois = f"{row.n_rois_old}/{row.n_rois_joined}/{row.n_rois_new}"
        yield (
            f"{row.descriptor:<20}{row.condition:<16}{row.channel:>8}{_short(row.mean_old):>12}{_short(row.mean_new):>12}"
            f"{_short(row.change_percent, '%'):>9}{_short(row.change_in_sd):>9}{_short(row.largest_roi_change):>12}{rois:>20}"
        )
    if len(changed) > most:
        yield f"and {len(changed) - most} more"
    for where, names in (("old", effects.only_old), ("new", effects.only_new)):
        if names:
            yield f"only in the {where} table: {', '.join(names)}"


def _short(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.4g}{unit}"
