"""A file of centres, read: a CSV of one's own, or the pick regions that Picasso saves. Whose they are and where, `pick.placing` finds out.

    x, y [, z]         in nm; "x_um", "x [px]" say another unit. Pixels are those of the localisation file, and its own frame holds
    field              the file's path, name or key; may be left out where a campaign has one field
    radius_nm          or diameter_nm; what is empty is the setting `radius_nm`
    channel            a pick without one counts for every channel of its field

Picasso's regions are centres in camera pixels and one diameter for all, in nm, of older versions in pixels (picasso.io.load_picks); of its
shapes, circles are read.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from smlmbatch.errors import InputError
from smlmbatch.pick.kept import WANT
from smlmbatch.samples import Field

UNITS: Final[Mapping[str, float]] = {"nm": 1.0, "um": 1000.0, "px": math.nan}  # unit → nm; a pixel's is the field's
_UNIT_NAMES: Final = {"nm": "nm", "um": "um", "µm": "um", "μm": "um", "px": "px", "pix": "px", "pixel": "px", "pixels": "px"}
_AXIS: Final = re.compile(r"([xyz])(?:[ _]*[\[(]?(" + "|".join(_UNIT_NAMES) + r")[\])]?)?")
_LENGTH: Final = re.compile(r"(radius|diameter)[ _]*[\[(]?nm[\])]?")
_FIELD_NAMES: Final = ("field", "file", "path")
_MOST_LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class Pick:
    """One centre, as the file has it.

    Attributes
    ----------
    row : which of the file's picks, from 0
    field : what the file calls the field; "" = it doesn't say
    place : x, y and z in the units of `GivenPicks`; z is NaN where there is none
    radius_nm : 0 = the file doesn't say
    channel : -1 = every one
    """

    row: int
    field: str
    place: tuple[float, float, float]
    radius_nm: float = 0.0
    channel: int = -1

    def is_of(self, field: Field) -> bool:
        """Whether the pick names this field, or none."""
        name = self.field.replace("\\", "/")
        return name in ("", *names_of(field)) or name.endswith(f"/{field.path}")


@dataclass(frozen=True, slots=True)
class GivenPicks:
    """The picks of a file.

    Attributes
    ----------
    name : of the file
    unit, z_unit : of `UNITS`
    is_stated : whether the file itself says the unit of x and y
    radius_px : of all picks, where the file says it in pixels; else 0
    """

    name: str
    picks: tuple[Pick, ...]
    unit: str = "nm"
    z_unit: str = "nm"
    is_stated: bool = False
    radius_px: float = 0.0


def names_of(field: Field) -> tuple[str, ...]:
    """What a file of centres may call a field."""
    file = field.path.rpartition("/")[2]
    return (field.path, field.key, field.name, file, file.partition(".")[0], file.rpartition(".")[0])


def read_picks(name: str, content: bytes, *, radius_nm: float) -> GivenPicks:
    """The picks of a file.

    Parameters
    ----------
    name : of the file; its suffix tells what it is
    content : its bytes
    radius_nm : of a pick of which the file says none; 0 = there is none

    Raises
    ------
    InputError
        no such file, no picks in it, a column or number that is missing or wrong, no radius
    """
    found = (_read_regions if name.lower().endswith((".yaml", ".yml")) else _read_table)(name, content)
    if not found.picks:
        raise InputError(name, "holds no centre", WANT, "save the centres again")
    if not (radius_nm or found.radius_px):
        lacking = next((pick for pick in found.picks if not pick.radius_nm), None)
        if lacking is not None:
            finding = f"says no radius of pick {lacking.row + 1}, and pick.radius_nm is 0"
            raise InputError(name, finding, "how far a particle reaches", "give --radius-nm, or add a column radius_nm")
    return found


def check_fields(given: GivenPicks, fields: Sequence[Field]) -> tuple[str, ...]:
    """Names that no field of the campaign has, in the file's order.

    Raises
    ------
    InputError
        a name that several fields have, no name although there are several fields, or no name that any field has
    """
    unknown = []
    for name in dict.fromkeys(pick.field for pick in given.picks):
        probe = Pick(0, name, (0.0, 0.0, 0.0))
        known = [field for field in fields if probe.is_of(field)]
        if not known:
            unknown.append(name)
        if len(known) > 1 and not name:
            finding, mend = f"doesn't say which of {len(fields)} fields its centres are of", "add a column `field` with the files' names"
            raise InputError(given.name, finding, "the field of each centre", mend)
        if len(known) > 1:
            paths = ", ".join(field.path for field in known[:_MOST_LISTED])
            mend = f"write the path from INPUT, or the key, as {known[0].key}"
            raise InputError(given.name, f"the field {name!r} may be any of {paths}", "a name that one field has", mend)
    if len(unknown) == len({pick.field for pick in given.picks}):
        finding = f"names no field of the campaign: {', '.join(unknown[:_MOST_LISTED])}"
        want = f"names such as {', '.join(field.path for field in fields[:3])}"
        raise InputError(given.name, finding, want, "correct the column of fields")
    return tuple(unknown)


# ---- CSV


def _read_table(name: str, content: bytes) -> GivenPicks:
    try:
        text = content.decode("utf-8-sig")
        first = text.lstrip().partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(name, f"is no text table ({error})", WANT, "save it as plain CSV again") from error
    header = [cell.strip().lower() for cell in rows[0]]
    columns = _Columns.of(name, header)
    picks = tuple(_pick(name, columns, number, row, comma=delimiter == ";") for number, row in enumerate(rows[1:]))
    return GivenPicks(name, picks, columns.unit, columns.z_unit, columns.is_stated)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where in a row what stands; -1 = nowhere."""

    x: int
    y: int
    z: int
    field: int
    length: int
    channel: int
    unit: str
    z_unit: str
    is_stated: bool
    is_diameter: bool

    @staticmethod
    def of(name: str, header: Sequence[str]) -> "_Columns":
        axes = {match[1]: (i, match[2]) for i, cell in enumerate(header) if (match := _AXIS.fullmatch(cell))}
        listed = ", ".join(header[:30])
        missing = [axis for axis in "xy" if axis not in axes]
        if missing:
            mend = "name the columns of the centres x and y, or x_px and y_px where they are in pixels"
            raise InputError(name, f"no column {' and '.join(missing)}; found {listed}", WANT, mend)
        doubled = sorted({cell for cell in header if header.count(cell) > 1 and (_AXIS.fullmatch(cell) or _LENGTH.fullmatch(cell))})
        if doubled or sum(_AXIS.fullmatch(cell) is not None for cell in header) > len(axes):
            raise InputError(name, f"several columns for one thing: {listed}", "each column once", "delete all but one")
        if axes["x"][1] != axes["y"][1]:
            raise InputError(name, f"x and y have two units: {listed}", "one unit for both", "convert one of them")
        unit = _UNIT_NAMES[axes["x"][1] or "nm"]
        z, z_unit = axes.get("z", (-1, None))
        lengths = {match[1]: i for i, cell in enumerate(header) if (match := _LENGTH.fullmatch(cell))}
        bare = [cell for cell in header if cell in ("radius", "diameter")]
        if bare and not lengths:
            raise InputError(name, f"the column {bare[0]} doesn't say its unit", "a length in nm", f"name it {bare[0]}_nm, in nm")
        length = lengths.get("radius", lengths.get("diameter", -1))
        return _Columns(
            x=axes["x"][0],
            y=axes["y"][0],
            z=z,
            field=next((header.index(cell) for cell in _FIELD_NAMES if cell in header), -1),
            length=length,
            channel=header.index("channel") if "channel" in header else -1,
            unit=unit,
            z_unit=_UNIT_NAMES[z_unit] if z_unit else ("nm" if unit == "px" else unit),
            is_stated=axes["x"][1] is not None,
            is_diameter="radius" not in lengths and "diameter" in lengths,
        )


def _pick(name: str, columns: _Columns, number: int, row: Sequence[str], *, comma: bool) -> Pick:
    def cell(place: int) -> str:
        return row[place].strip() if 0 <= place < len(row) else ""

    def amount(place: int, what: str, empty: float) -> float:
        text = cell(place)
        try:
            value = float(text.replace(",", ".") if comma else text) if text else empty
        except ValueError:
            value = math.inf
        if math.isinf(value) or (text and math.isnan(value)):
            finding = f"{what} of pick {number + 1} is {text!r}"
            raise InputError(name, finding, "a number in every row", "correct that row, or delete it")
        return value

    place = (amount(columns.x, "x", _NEEDED), amount(columns.y, "y", _NEEDED), amount(columns.z, "z", math.nan))
    length_nm = amount(columns.length, "the radius or diameter", 0.0)
    channel = amount(columns.channel, "the channel", -1.0)
    if length_nm < 0 or channel != int(channel) or not -1 <= channel <= 255:
        finding = f"pick {number + 1} has the radius or diameter {length_nm:g} and the channel {channel:g}"
        raise InputError(name, finding, "a length above 0 nm, and a channel from 0 to 255", "correct that row, or leave the cell empty")
    return Pick(number, cell(columns.field), place, length_nm / 2 if columns.is_diameter else length_nm, int(channel))


_NEEDED: Final = -math.inf  # stands for an empty cell that must not be empty


# ---- Picasso


def _read_regions(name: str, content: bytes) -> GivenPicks:
    import yaml

    try:
        found = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(name, "is not YAML", WANT, "save the pick regions in Picasso again") from error
    regions: Mapping[str, Any] = found if isinstance(found, dict) else {}
    shape = regions.get("Shape", "Circle")
    if shape != "Circle" or "Centers" not in regions:
        finding = f"holds picks of the shape {shape}" if shape != "Circle" else "has no Centers"
        mend = "pick by circles, or save the picked localisations and take pick.source = group"
        raise InputError(name, finding, "Picasso's pick regions, circles", mend)
    picks = tuple(_centres(name, regions["Centers"]))
    diameter_nm, diameter_px = (_diameter(name, regions.get(key, 0)) for key in ("Diameter (nm)", "Diameter"))
    with_radius = tuple(Pick(pick.row, "", pick.place, diameter_nm / 2) for pick in picks)
    return GivenPicks(name, with_radius, unit="px", is_stated=True, radius_px=0.0 if diameter_nm else diameter_px / 2)


def _diameter(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(name, "its diameter is no number", "a length", "save the pick regions in Picasso again")
    return float(value)


def _centres(name: str, centres: Any) -> Iterator[Pick]:
    for number, centre in enumerate(centres if isinstance(centres, list) else ()):
        numbers = centre if isinstance(centre, list) else []
        if len(numbers) != 2 or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            finding = f"centre {number + 1} is not x and y"
            raise InputError(name, finding, "two numbers for each centre", "save the pick regions in Picasso again")
        yield Pick(number, "", (float(numbers[0]), float(numbers[1]), math.nan))
