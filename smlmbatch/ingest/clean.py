"""Raw blocks → locs in nanometres, and a tally of everything that was read, dropped and noticed.

What is dropped: malformed records; coordinates that are not finite, or beyond 10 m; what the filters of `prepare` take out.
What is kept with a warning: a precision that is no positive number (NaN from then on), a z that is none. Coordinates stay
float64 and absolute until the field's origin is known, so that a stored position is one rounding away from the file's.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Use
from smlmbatch.ingest.formats import Filter
from smlmbatch.ingest.median import Median
from smlmbatch.ingest.prepare import LocFilter
from smlmbatch.ingest.source import RawBlock, Source, TextColumn
from smlmbatch.locs import LOC_COLUMNS

Batch = dict[str, NDArray[Any]]

MALFORMED: Final = "malformed"
NOT_FINITE: Final = "coordinate not finite"
OUT_OF_RANGE: Final = "coordinate out of range"
NO_PRECISION: Final = "precision not a positive number"
NO_Z: Final = "z not a finite number"
Z_AT_LIMIT: Final = "z at the limit of the fit"
CUT_OFF = "the last line has no end: is the file cut off?"
MAX_COORDINATE_NM: Final = 1e10  # 10 m: what lies farther is a fit that ran away or a wrong unit
_MALFORMED_AT_LEAST = 10
_CLIPPED_AT_LEAST = 10  # equal extreme z values that can't be chance
_WHOLE: Final = {"frame": np.iinfo(np.int32).max, "group": np.iinfo(np.int32).max, "channel": 255}


@dataclass(slots=True)
class Extremes:
    """Lowest and highest value seen and how often each occurred; NaN is left out."""

    low: float = np.inf
    high: float = -np.inf
    n_low: int = 0
    n_high: int = 0

    def add(self, values: NDArray[Any], *, count: bool = False) -> None:
        if not len(values):
            return
        low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        if low <= self.low:
            self.n_low = (self.n_low if low == self.low else 0) + (int((values == low).sum()) if count else 0)
            self.low = low
        if high >= self.high:
            self.n_high = (self.n_high if high == self.high else 0) + (int((values == high).sum()) if count else 0)
            self.high = high

    def pair(self) -> list[float] | None:
        return [self.low, self.high] if self.low <= self.high else None


@dataclass(slots=True)
class Tally:
    """What was found in a file while it streamed by. Memory does not grow with the file.

    `dropped` are records that are no locs, `filtered` locs that a filter took out, by reason; `judged` the quantities that
    a filter found in any loc; `first_frame` that of all locs, so that no filter changes how frames are counted. From
    `n` on, what is left.
    """

    n_read: int = 0
    n: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    judged: set[str] = field(default_factory=set)
    first_frame: float = np.inf
    warnings: Counter[str] = field(default_factory=Counter)
    x_nm: Extremes = field(default_factory=Extremes)
    y_nm: Extremes = field(default_factory=Extremes)
    z_nm: Extremes = field(default_factory=Extremes)
    frame: Extremes = field(default_factory=Extremes)
    precision: Median = field(default_factory=Median)
    per_code: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    words: dict[str, int] = field(default_factory=dict)  # channel name → code, in order of appearance

    @property
    def dims(self) -> int:
        """3 if any z differs from 0."""
        return 3 if self.z_nm.low < 0 or self.z_nm.high > 0 else 2


def quantities(source: Source) -> dict[str, np.dtype[Any]]:
    """What a batch of this source holds: quantity → dtype, x and y in float64."""
    present = {use.quantity for use in source.resolved.uses} | {"row"}
    wide = {"x_nm": "f8", "y_nm": "f8"}
    return {name: np.dtype(wide.get(name, kind)) for name, kind in LOC_COLUMNS.items() if name in present}


def clean_batches(source: Source, tally: Tally, *, filters: Sequence[LocFilter] = ()) -> Iterator[Batch]:
    """Locs of a source that pass the filters, batch by batch in file order; `tally` is filled on the way.

    Yields
    ------
    dict quantity → (n,), coordinates absolute in nm (f8), frames in the source's base, `channel` as codes that
    `channel_numbers` translates

    Raises
    ------
    InputError
        after the last record: no records, none of them a loc, or more than half of them malformed
    """
    for block in source.blocks():
        batch = filter_batch(_convert(source, block, tally), filters, tally)
        count_batch(batch, tally)
        tally.n_read += block.n_records
        if len(batch["row"]):
            yield batch
    if source.format == "smap":
        clipped = sum(n for n in (tally.z_nm.n_low, tally.z_nm.n_high) if n >= _CLIPPED_AT_LEAST)
        tally.warnings += Counter({Z_AT_LIMIT: clipped})
    for note in (CUT_OFF,) * source.malformed.cut_off + source.notes:
        tally.warnings[note] = 1
    _check(source, tally)


def _check(source: Source, tally: Tally) -> None:
    if not tally.n_read:
        finding, want = "the file has a header and no localisations", "at least one localisation"
        raise InputError(source.path, finding, want, "export it again, or take it out of the input")
    n_bad = tally.dropped[MALFORMED]
    if n_bad >= _MALFORMED_AT_LEAST and n_bad * 2 > tally.n_read:
        finding = f"{n_bad} of {tally.n_read} records are malformed; {source.malformed.first}"
        raise InputError(source.path, finding, "records that fit the header", "export it again, or check format, map and decimal sign")
    if not tally.n and not tally.filtered.total():
        reasons = ", ".join(f"{reason}: {n}" for reason, n in sorted(tally.dropped.items()))
        finding = f"none of the {tally.n_read} records is a localisation ({reasons})"
        raise InputError(
            source.path, finding, "at least one localisation with finite x and y", "check the export and the columns for x and y"
        )


# ---- one block


def _convert(source: Source, block: RawBlock, tally: Tally) -> Batch:
    """The block's locs in their stored dtypes (x and y in float64), bad ones dropped and counted."""
    n = len(block.index) if block.index is not None else block.n_records
    tally.dropped[MALFORMED] += block.n_records - n
    block = _without_filtered(source, block, tally)
    index = np.arange(block.n_records) if block.index is None else block.index
    batch: Batch = {"row": index + tally.n_read}
    keep: NDArray[np.bool_] | None = None
    for use in source.resolved.uses:
        if use.quantity in _WHOLE:
            values, good = _whole_numbers(source, use, block, tally)
            if not good.all():
                _note(source, use, batch["row"], good)
                keep = good if keep is None else keep & good
        else:
            values = _scaled(use, block)
        batch[use.quantity] = values
    if keep is not None:
        tally.dropped[MALFORMED] += int((~keep).sum())
        batch = {name: values[keep] for name, values in batch.items()}
    batch = _within_range(batch, tally)
    return _with_valid_lengths(batch, tally)


def _scaled(use: Use, block: RawBlock) -> NDArray[Any]:
    """Mean of the use's columns in the quantity's unit; positions in float64."""
    parts = [block.columns[name] for name in use.columns]
    kind = np.float64 if use.quantity in ("x_nm", "y_nm") else np.dtype(LOC_COLUMNS[use.quantity])
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 becomes infinite
        if use.is_plain:
            return np.asarray(parts[0]).astype(kind, copy=False)
        wide = [np.asarray(part, dtype=np.float64) for part in parts]
        if use.missing is not None:
            wide = [np.where(part == use.missing, np.nan, part) for part in wide]
        if use.power != 1.0:
            wide = [part**use.power for part in wide]  # a negative variance gives NaN: no precision
        if use.factors:
            wide = [part * factor for part, factor in zip(wide, use.factors, strict=True)]
        values = sum(wide)
        return np.asarray(values / len(parts) * use.scale + use.shift).astype(kind, copy=False)


def _whole_numbers(source: Source, use: Use, block: RawBlock, tally: Tally) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Frames, channels and groups as integers, and where the source has one; a frame below the base is none."""
    raw = block.columns[use.columns[0]]
    if isinstance(raw, TextColumn):
        return _codes(source, raw, tally)
    lowest = (source.resolved.frame_base or 0) if use.quantity == "frame" else 0
    if use.quantity == "group":
        lowest = -_WHOLE["group"]
    kind = LOC_COLUMNS[use.quantity]
    with np.errstate(invalid="ignore"):
        whole = raw.astype(np.int64, copy=False)
        good = (whole == raw) & (whole >= lowest) & (whole <= _WHOLE[use.quantity])
    return whole.astype(kind), np.asarray(good)


def _codes(source: Source, raw: TextColumn, tally: Tally) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Codes of channel names, counted through the whole file in order of appearance."""
    for name in raw.names:
        if name and len(tally.words) <= 255:
            tally.words.setdefault(name, len(tally.words))
    if len(tally.words) > 255:
        finding = "the channel column holds more than 255 different values"
        raise InputError(source.path, finding, "few channels", "name another column for the channel in the map")
    table = np.array([tally.words.get(name, -1) for name in raw.names] + [-1], dtype=np.int64)  # code -1 takes the last
    codes = table[raw.codes]
    return codes.astype(np.uint8), codes >= 0


def _note(source: Source, use: Use, row: NDArray[np.int64], good: NDArray[np.bool_]) -> None:
    first = int(row[np.argmin(good)])
    want = "a name or a number from 0 to 255" if use.quantity == "channel" else "a whole number in its range"
    source.malformed.note(first, f"{use.columns[0]} is not {want}")


def _without_filtered(source: Source, block: RawBlock, tally: Tally) -> RawBlock:
    """The block without what the source's filters drop; a record that two of them drop counts for the first."""
    if not source.filters:
        return block
    index = np.arange(block.n_records) if block.index is None else block.index
    keep = np.ones(len(index), dtype=np.bool_)
    for rule in source.filters:
        passes = _passes(rule, block.columns[rule.column])
        tally.dropped[rule.reason] += int((keep & ~passes).sum())
        keep &= passes
    columns = {name: _kept(values, keep) for name, values in block.columns.items()}
    return RawBlock(n_records=block.n_records, columns=columns, index=index[keep])


def _passes(rule: Filter, raw: NDArray[Any] | TextColumn) -> NDArray[np.bool_]:
    if isinstance(raw, TextColumn):
        good = np.array([not any(word in name.lower() for word in rule.drops) for name in raw.names] + [True])  # -1 takes the last
        return np.asarray(good[raw.codes])
    return np.isin(raw, rule.keeps) if rule.keeps else np.ones(len(raw), dtype=np.bool_)  # numbers hold no words


def _kept(values: NDArray[Any] | TextColumn, keep: NDArray[np.bool_]) -> NDArray[Any] | TextColumn:
    """The kept records; words that occur in none of them are blanked, so that they take no channel number."""
    if not isinstance(values, TextColumn):
        return values[keep]
    codes = values.codes[keep]
    occurring = set(np.unique(codes).tolist())
    return TextColumn(codes, tuple(name if code in occurring else "" for code, name in enumerate(values.names)))


def _within_range(batch: Batch, tally: Tally) -> Batch:
    """Drop locs without a usable position; the usual case, none, costs four reductions."""
    x, y = batch["x_nm"], batch["y_nm"]
    if not len(x) or (_bounded(x) and _bounded(y)):
        return batch
    finite = np.isfinite(x) & np.isfinite(y)
    inside = (np.abs(x) <= MAX_COORDINATE_NM) & (np.abs(y) <= MAX_COORDINATE_NM)
    tally.dropped[NOT_FINITE] += int((~finite).sum())
    tally.dropped[OUT_OF_RANGE] += int((finite & ~inside).sum())
    keep = finite & inside
    return {name: values[keep] for name, values in batch.items()}


def _bounded(values: NDArray[np.float64]) -> bool:
    return bool(values.min() >= -MAX_COORDINATE_NM and values.max() <= MAX_COORDINATE_NM)  # False for NaN too


def _with_valid_lengths(batch: Batch, tally: Tally) -> Batch:
    for name in ("precision_nm", "precision_z_nm"):
        if name in batch:
            good = (batch[name] > 0) & (batch[name] < np.inf)
            batch[name] = _masked(batch[name], good, tally, NO_PRECISION if name == "precision_nm" else f"axial {NO_PRECISION}")
    if "z_nm" in batch:
        good = np.abs(batch["z_nm"]) <= MAX_COORDINATE_NM
        batch["z_nm"] = _masked(batch["z_nm"], good, tally, NO_Z)
    return batch


def _masked(values: NDArray[np.float32], good: NDArray[np.bool_], tally: Tally, warning: str) -> NDArray[np.float32]:
    if good.all():
        return values
    tally.warnings[warning] += int((~good).sum())
    return np.where(good, values, np.float32(np.nan))


def filter_batch(batch: Batch, filters: Sequence[LocFilter], tally: Tally) -> Batch:
    """The batch without what the filters drop; a loc that two of them drop counts for the first."""
    if "frame" in batch and len(batch["frame"]):
        tally.first_frame = min(tally.first_frame, int(batch["frame"].min()))
    for rule in filters:
        if rule.quantity not in batch:
            continue
        values = batch[rule.quantity]
        if rule.quantity not in tally.judged and (values == values).any():  # NaN equals nothing
            tally.judged.add(rule.quantity)
        if n := int((dropped := rule.drops(values)).sum()):
            tally.filtered[rule.reason] += n
            batch = {name: column[~dropped] for name, column in batch.items()}
    return batch


def count_batch(batch: Batch, tally: Tally) -> None:
    """Add the locs of a batch to what is left."""
    tally.n += len(batch["row"])
    tally.x_nm.add(batch["x_nm"])
    tally.y_nm.add(batch["y_nm"])
    if "z_nm" in batch:
        tally.z_nm.add(batch["z_nm"], count=True)
    if "frame" in batch:
        tally.frame.add(batch["frame"])
    if "precision_nm" in batch:
        tally.precision.add(batch["precision_nm"])
    if "channel" in batch:
        tally.per_code += np.bincount(batch["channel"], minlength=256)


# ---- after the last block


def frame_base(source: Source, tally: Tally) -> int:
    """The number of the source's first frame. Where the format doesn't fix it, a frame 0 tells: ThunderSTORM counts
    from 1, but other programs write its header and count from 0."""
    fixed = source.resolved.frame_base
    return fixed if fixed is not None else int(tally.first_frame > 0)


def read_frame_base(source: Source) -> int:
    """The same, before anything else: where the format doesn't fix it the file is read once for it."""
    tally = Tally()
    if source.resolved.frame_base is None:
        for _ in clean_batches(source, tally):
            pass
    return frame_base(source, tally)


def channel_numbers(tally: Tally) -> tuple[NDArray[np.uint8], list[str]]:
    """Translation of codes into channel numbers (256,), and the names by number ([] where the file has numbers).

    Words that are all whole numbers are these numbers; others are counted in their sorted order.
    """
    table = np.arange(256, dtype=np.uint8)
    numbers = [number for number in map(_small_number, tally.words) if number is not None]
    if len(numbers) == len(tally.words):
        table[: len(numbers)] = numbers
        return table, []
    ordered = sorted(tally.words)
    table[: len(ordered)] = [ordered.index(word) for word in tally.words]
    return table, ordered


def _small_number(word: str) -> int | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return int(value) if value in range(256) else None


def channel_counts(tally: Tally) -> tuple[list[int], list[int], list[str]]:
    """Channel numbers that occur, locs of each, and their names ("channel 0" where the source gives a number or nothing)."""
    table, names = channel_numbers(tally)
    per_number = np.zeros(256, dtype=np.int64)
    np.add.at(per_number, table, tally.per_code)
    if not per_number.any():
        per_number[0] = tally.n
    channels = [int(number) for number in np.flatnonzero(per_number)]
    counts = [int(per_number[number]) for number in channels]
    return channels, counts, [names[number] if names else f"channel {number}" for number in channels]
