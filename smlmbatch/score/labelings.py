"""Two labelings of one field, read from tables: where each loc lies, its true cluster, and the one that was found.

Tables are CSV or Parquet with a row per loc and a column of labels. Where both have a column `row` (the loc's record in its source) they
are joined by it, else by order, which asks for equal lengths; positions that both tables have are then held against each other, so tables
of different fields are refused and not scored. Positions are in nm, whatever the column is called: `x_nm`, `x [nm]` or `x`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

LABEL_NAMES: Final = ("label", "cluster")
_POSITIONS: Final = {axis: (f"{axis}_nm", f"{axis} [nm]", axis) for axis in "xy"}
_SAME_PLACE_NM = 1.0  # float32 at 1 cm, or a table rounded to whole nanometres
ENDINGS: Final = (".csv", ".tsv", ".parquet")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labeling:
    """One table, as far as it says something.

    Attributes
    ----------
    labels : (n,) i8
    row : (n,) i8 or None, no two alike
    xy_nm : (n, 2) f8 or None
    """

    path: Path
    labels: Ints
    row: Ints | None
    xy_nm: Floats | None


@dataclass(frozen=True, slots=True)
class Labeled:
    """Locs of one field with both labels; (n, 2) f8, (n,) i8, (n,) i8."""

    xy_nm: Floats
    truth: Ints
    labels: Ints


def read_labeling(path: Path, *, column: str = "") -> Labeling:
    """Labels of a table, and its rows and positions where it has them.

    Parameters
    ----------
    column : the one that holds the labels; "" = `label` or `cluster`, whichever is there

    Raises
    ------
    InputError
        no table, no such column, or labels that are no whole numbers
    """
    table = _read_table(path)
    label = _label_column(path, table, column)
    places = [_position(path, table, axis) for axis in _POSITIONS]
    xy_nm = np.stack(places, axis=1) if all(place is not None for place in places) else None  # type: ignore[arg-type]
    row = _whole_numbers(path, table, "row") if "row" in table.column_names else None
    if row is not None and len(np.unique(row)) != len(row):
        raise InputError(
            path, "numbers in column `row` occur more than once", "each loc once", "rename the column if it counts other things"
        )
    return Labeling(path, _whole_numbers(path, table, label), row, xy_nm)


def _read_table(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if path.suffix.lower() not in ENDINGS:
        raise InputError(path, "its name ends in none of " + ", ".join(ENDINGS), "a table, CSV or Parquet", "export it as one")
    try:
        if path.suffix.lower() == ".parquet":
            return pyarrow.parquet.read_table(path, partitioning=None)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, f"can't be read: {error}", "a table, CSV or Parquet", "export it again") from error
    return table.rename_columns([name.strip() for name in table.column_names])


def _label_column(path: Path, table: "pa.Table", column: str) -> str:
    wanted = (column,) if column else LABEL_NAMES
    found = [name for name in wanted if name in table.column_names]
    if len(found) == 1 and table.column_names.count(found[0]) == 1:
        return found[0]
    columns = f"columns {', '.join(table.column_names)}"
    raise InputError(path, columns, f"one column of labels: {' or '.join(wanted)}", "name it with --truth-column or --labels-column")


def _whole_numbers(path: Path, table: "pa.Table", name: str) -> Ints:
    import pyarrow as pa

    values, want = table[name], "a whole number for each loc"
    mend = "give locs in no cluster a number of their own, such as -1"
    if values.null_count:
        raise InputError(path, f"{values.null_count} of {len(values)} cells of column {name} are empty", want, mend)
    if len(values) and not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InputError(path, f"column {name} holds {values.type}", want, mend)
    numbers = values.to_numpy() if len(values) else np.empty(0, np.int64)  # a column of a table without rows has any type
    with np.errstate(invalid="ignore"):  # what is not finite or too large becomes another number, and is found unequal
        whole = numbers.astype(np.int64)
    if not np.array_equal(whole, numbers):
        strange = numbers[whole != numbers][0]
        raise InputError(path, f"column {name} holds {strange}", want, mend)
    return np.asarray(whole)


def _position(path: Path, table: "pa.Table", axis: str) -> Floats | None:
    """One coordinate; None where there is no such column."""
    import pyarrow as pa

    name = next((name for name in _POSITIONS[axis] if name in table.column_names), None)
    if name is None:
        return None
    values = table[name]
    numeric = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    numbers = values.to_numpy().astype(np.float64) if numeric else np.full(len(values), np.nan)
    if not np.isfinite(numbers).all():
        lost = int(np.count_nonzero(~np.isfinite(numbers)))
        raise InputError(path, f"{lost} of {len(values)} cells of column {name} are no finite number", "positions in nm", "drop those locs")
    return numbers


def join_labelings(truth: Labeling, found: Labeling) -> Labeled:
    """The same locs with both labels, in the order of the truth.

    Raises
    ------
    InputError
        other locs in one than in the other, or no positions in either
    """
    order = _order_of(truth, found)
    labels, found_nm = found.labels[order], None if found.xy_nm is None else found.xy_nm[order]
    if truth.xy_nm is not None and found_nm is not None and len(found_nm):
        apart_nm = np.abs(truth.xy_nm - found_nm).max(axis=1)
        if apart_nm.max() > _SAME_PLACE_NM:
            worst = int(apart_nm.argmax())
            raise InputError(
                found.path,
                f"{np.count_nonzero(apart_nm > _SAME_PLACE_NM)} of {len(apart_nm)} locs lie elsewhere than in {truth.path} "
                f"(loc {worst}: {apart_nm[worst]:.0f} nm)",
                "the same locs in the same order, or a column `row` in both",
                "label the locs of this very field, or sort both tables alike",
            )
    xy_nm = truth.xy_nm if truth.xy_nm is not None else found_nm
    if xy_nm is None:
        raise InputError(truth.path, f"no columns x_nm and y_nm, nor in {found.path}", "positions in nm in one of both", "add them")
    return Labeled(xy_nm, truth.labels, labels)


def _order_of(truth: Labeling, found: Labeling) -> Ints:
    """Which loc of `found` is each of `truth`."""
    n_true, n_found = len(truth.labels), len(found.labels)
    if truth.row is None or found.row is None:
        if n_true != n_found:
            want = f"as many as in {truth.path} ({n_true:,}), or a column `row` in both"
            raise InputError(found.path, f"{n_found:,} locs", want, "label every loc of the truth; locs in no cluster have a label too")
        return np.arange(n_true)
    by_true, by_found = np.argsort(truth.row, kind="stable"), np.argsort(found.row, kind="stable")
    if not np.array_equal(truth.row[by_true], found.row[by_found]):
        missing, strange = len(np.setdiff1d(truth.row, found.row)), len(np.setdiff1d(found.row, truth.row))
        finding = f"{missing:,} of {n_true:,} rows of {truth.path} are missing, {strange:,} rows are not in it"
        raise InputError(found.path, finding, "the same rows in both", "label every loc of the truth; locs in no cluster have a label too")
    order = np.empty(n_true, np.int64)
    order[by_true] = by_found
    return order
