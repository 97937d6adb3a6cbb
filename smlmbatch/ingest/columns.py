"""From a file's column names to quantities in nanometres: which column fills what, and by which factor.

Units are never guessed: they come from the format, from a suffix in the header, or from the user's map.
A map is one line, `x=X,y=Y,frame=F,unit=um`: short names of `formats.MAP_NAMES`, and `unit`, `pixel`, `frame_base`.
"""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smlmbatch.config import IngestConfig
from smlmbatch.errors import InputError
from smlmbatch.ingest.formats import LENGTH_NM, MAP_NAMES, MAP_SETTINGS, NM, OWN, PIXEL, PIXEL_UNITS, Rule
from smlmbatch.samples import Field

_SUFFIXED = re.compile(r"(?P<name>.*?)\s*\[(?P<unit>[^\]]*)\]")
_WANT_XY = "one column each for x and y with their unit"
_MEND_XY = "export x and y again, or name the columns with a map such as x=X,y=Y,unit=nm"
_MEND_PIXEL = "give the camera's pixel size, e.g. pixel_size_nm = 117, in the sample sheet or the configuration"


@dataclass(frozen=True, slots=True)
class Use:
    """One quantity made of source columns: mean of (column ** `power` x its factor), x `scale` + `shift`.

    The result is in nm where the quantity is a length. `power` 0.5 makes a precision of a variance; `factors` (one per
    column, empty = 1 each) serve axes with pixels of different size; the number `missing` stands for no value.
    """

    quantity: str
    columns: tuple[str, ...]
    scale: float = 1.0
    shift: float = 0.0
    power: float = 1.0
    factors: tuple[float, ...] = ()
    missing: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the values are the first column's own."""
        rest = (self.scale, self.shift, self.power, self.factors, self.missing)
        return len(self.columns) == 1 and rest == (1.0, 0.0, 1.0, (), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the user says about a file; empty values say nothing.

    Attributes
    ----------
    map_wins : the map was given for this very file; a map for all files is for those that no other reader takes
    pixel_for_all : the pixel size was given for all files, not for this very one
    unit : what x and y are in where the file doesn't say it; "" = nothing said
    frame_base : number of the first frame; -1 = as the format counts
    """

    format: str = ""
    map: str = ""
    map_wins: bool = False
    pixel_size_nm: float = 0.0
    pixel_for_all: bool = False
    unit: str = ""
    frame_base: int = -1

    def pixel_before(self, files_own: bool) -> bool:
        """Whether the user's pixel size counts: for this very file always, one for all files where the file says none."""
        return self.pixel_size_nm > 0 and not (self.pixel_for_all and files_own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Uses, and what the attributes have to tell of them. `frame_base` None: 0 if a frame 0 occurs, else 1."""

    uses: tuple[Use, ...]
    unit: str
    pixel_size_nm: float | None
    pixel_offset_px: float = 0.0
    frame_base: int | None


def overrides_of(field: Field, config: IngestConfig) -> Overrides:
    """The sample sheet's word where it has one, else the configuration's."""
    return Overrides(
        format=field.format or config.format,
        map=field.map or config.map,
        map_wins=bool(field.map),
        pixel_size_nm=field.pixel_size_nm or config.pixel_size_nm,
        pixel_for_all=not field.pixel_size_nm,
        unit=field.unit or config.unit,
        frame_base=field.frame_base if field.frame_base >= 0 else config.frame_base,
    )


def split_suffix(name: str) -> tuple[str, str]:
    """Lower-case name and unit of a header cell.

    >>> split_suffix("x [nm]"), split_suffix("chi2"), split_suffix("Y[um]")
    (('x', 'nm'), ('chi2', ''), ('y', 'um'))
    """
    match = _SUFFIXED.fullmatch(name.strip())
    return (match["name"].lower(), match["unit"].strip().lower()) if match else (name.strip().lower(), "")


def first_alternative(path: Path, rule: Rule, by_name: Mapping[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """The (column, unit) pairs of the first alternative that is there whole; [] if none is."""
    for alternative in rule.alternatives:
        if all(name in by_name for name in alternative):
            for name in alternative:
                if len(by_name[name]) > 1:
                    finding = f"{len(by_name[name])} columns are called {by_name[name][0][0]}"
                    raise InputError(path, finding, "each column once", "delete or rename all but one")
            return [by_name[name][0] for name in alternative]
    return []


def resolve_fixed(
    path: Path, rules: Sequence[Rule], names: Sequence[str], *, pixel_size_nm: float, offset_px: float = 0.0, frame_base: int
) -> Resolved:
    """Columns whose units the format fixes (Picasso, SMAP, own names). `pixel_size_nm` matters where a rule is in pixels."""
    by_name: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        by_name.setdefault(name, []).append((name, ""))
    uses = []
    for rule in rules:
        found = first_alternative(path, rule, by_name)
        if found:
            scale = pixel_size_nm if rule.unit == PIXEL else 1.0
            shift = offset_px * pixel_size_nm if rule.quantity in ("x_nm", "y_nm") else 0.0
            uses.append(Use(rule.quantity, tuple(name for name, _ in found), scale, shift))
    require_xy(path, uses, names)
    in_pixels = rules[0].unit == PIXEL
    return Resolved(
        uses=tuple(uses),
        unit="px" if in_pixels else NM,
        pixel_size_nm=pixel_size_nm if in_pixels else None,
        pixel_offset_px=offset_px,
        frame_base=frame_base,
    )


def require_xy(path: Path, uses: Sequence[Use], names: Sequence[str]) -> None:
    """Refuse a table without x and y; they are the first rules of every format."""
    if [use.quantity for use in uses[:2]] != ["x_nm", "y_nm"]:
        raise InputError(path, f"no columns for x and y; found {listed(names)}", _WANT_XY, _MEND_XY)


def listed(names: Sequence[str]) -> str:
    """Column names for a message."""
    shown = ", ".join(name or "(no name)" for name in names[:30])
    return (shown or "none") + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def check_unit(path: Path, known: str, given: str) -> None:
    """Refuse a unit given by the user that isn't the one the file is known to be in: one of both is wrong."""
    if not given or given == known or (given in PIXEL_UNITS and known in PIXEL_UNITS):
        return
    if LENGTH_NM.get(given, -1.0) != LENGTH_NM.get(known, -2.0):
        mend = "leave the unit away, or give it in the sample sheet for the files that don't say theirs"
        raise InputError(path, f"x and y are in {known} by the file's header or format, and the unit given is {given}", "one unit", mend)


def scale_nm(path: Path, unit: str, *, pixel_size_nm: float) -> float:
    """Nanometres per unit."""
    if unit in PIXEL_UNITS:
        if pixel_size_nm <= 0:
            raise InputError(path, "lengths are in camera pixels and no pixel size is known", "lengths in nm, or a pixel size", _MEND_PIXEL)
        return pixel_size_nm
    return LENGTH_NM[unit]


# ---- the user's own tables


def resolve_own(path: Path, names: Sequence[str], *, overrides: Overrides) -> Resolved:
    """Columns of a user's own table: by the map if there is one, else by our own column names.

    Raises
    ------
    InputError
        no map and no `x_nm`, `y_nm`; a map that can't be understood or names a column the file doesn't have
    """
    if not overrides.map:
        if not {"x_nm", "y_nm"} <= set(names):
            raise InputError(path, f"no reader knows these columns: {listed(names)}", "columns x_nm and y_nm, or a map", _MEND_XY)
        check_unit(path, NM, overrides.unit)
        return resolve_fixed(path, OWN, names, pixel_size_nm=0.0, frame_base=max(overrides.frame_base, 0))
    pairs = parse_map(path, overrides.map)
    unit, pixel, base = _map_settings(path, pairs, overrides)
    uses = []
    for short, (quantity, kind) in MAP_NAMES.items():
        if short in pairs:
            uses.append(Use(quantity, (_column_of(path, pairs[short], names),), _map_scale(path, kind, unit, pixel)))
    require_xy(path, uses, names)
    _require_own_channel(path, pairs)
    in_pixels = unit in PIXEL_UNITS
    return Resolved(uses=tuple(uses), unit="px" if in_pixels else unit, pixel_size_nm=pixel if in_pixels else None, frame_base=base)


def _require_own_channel(path: Path, pairs: Mapping[str, str]) -> None:
    """A channel's column is read as words, so it can't be a number for another quantity as well."""
    shared = [short for short in MAP_NAMES if short != "channel" and short in pairs and pairs[short] == pairs.get("channel")]
    if shared:
        finding = f"the map names the column {pairs['channel']!r} for the channel and for {', '.join(shared)}"
        raise InputError(path, finding, "a column of its own for the channel", "correct the map")


def parse_map(path: Path | str, text: str) -> dict[str, str]:
    """The pairs of a map; a column name that holds a comma stands in double quotes with its key: `"x=a,b"`.

    >>> parse_map("f.csv", "x=X, y=Y (nm), unit=nm")
    {'x': 'X', 'y': 'Y (nm)', 'unit': 'nm'}
    """
    pairs: dict[str, str] = {}
    known = (*MAP_NAMES, *MAP_SETTINGS)
    for cell in next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), []):
        key, equals, value = (part.strip() for part in cell.partition("="))
        if not equals or key not in known or not value or key in pairs:
            finding = f"the map {text!r} has {cell.strip()!r}"
            raise InputError(
                path, finding, f"quantity=column pairs, each once, of {', '.join(known)}", "correct the map, e.g. x=X,y=Y,unit=nm"
            )
        pairs[key] = value
    return pairs


def _map_settings(path: Path, pairs: Mapping[str, str], overrides: Overrides) -> tuple[str, float, int]:
    """Unit, pixel size (nm, 0 if unknown) and frame base of a map."""
    unit = pairs.get("unit", overrides.unit).lower()
    if unit not in LENGTH_NM and unit not in PIXEL_UNITS:
        finding = f"the map gives the unit {unit!r}" if unit else "the map gives no unit"
        raise InputError(path, finding, f"unit = {', '.join(LENGTH_NM)} or px", "add the unit of x and y to the map, e.g. unit=nm")
    pixel = _number(path, "pixel", pairs["pixel"]) if "pixel" in pairs else overrides.pixel_size_nm
    base = _number(path, "frame_base", pairs.get("frame_base", str(max(overrides.frame_base, 0))), lowest=0.0)
    if base not in (0.0, 1.0):
        raise InputError(
            path, f"the map gives frame_base={pairs['frame_base']}", "0 or 1, the number of the first frame", "correct the map"
        )
    return unit, pixel, int(base)


def _number(path: Path, key: str, text: str, *, lowest: float = math.ulp(0.0)) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not lowest <= value < math.inf:
        raise InputError(path, f"the map gives {key}={text}", "a number above 0" if lowest else "0 or 1", "correct the map")
    return value


def _map_scale(path: Path, kind: str, unit: str, pixel: float) -> float:
    if not kind or (kind == "axial" and unit in PIXEL_UNITS):
        return 1.0
    return scale_nm(path, unit, pixel_size_nm=pixel)


def _column_of(path: Path, wanted: str, names: Sequence[str]) -> str:
    if list(names).count(wanted) != 1:
        finding = f"the map names the column {wanted!r}, which the file {'has twice' if wanted in names else 'has not'}"
        mend = "correct the map, or give this file a map of its own in the sample sheet (column `map`)"
        raise InputError(path, f"{finding}; found {listed(names)}", "a column of the file", mend)
    return wanted
