"""Which program wrote a header, and what its columns become: the rules of `vendors` applied to names.

Units are never guessed. Where the header or the format fixes them, a unit given by the user that says something else
is an error: one of both is wrong, and either would spoil the field silently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides, Resolved, Use, check_unit, first_alternative, listed, require_xy, scale_nm, split_suffix
from smlmbatch.ingest.formats import AXIAL, LENGTH_NM, PIXEL_UNITS, PLAIN, STATED, SUFFIX, Filter, Rule
from smlmbatch.ingest.vendors import TEXT_FORMATS, VENDORS, XYZ, TextFormat

_ByName = Mapping[str, list[tuple[str, str]]]  # name that rules know → (column, unit in its brackets)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSays:
    """What a file's head says beside the names: the unit of x and y, and a pixel's width and height in nm."""

    unit: str = ""
    pixels_nm: tuple[float, ...] = ()


# ---- whose header


def vendor_of(names: Sequence[str], *, spaced: bool = False) -> TextFormat | None:
    """The program that writes such a header; None if none is known. `spaced`: a blank follows every comma of it."""
    return next((form for form in VENDORS if is_written_by(form, names, spaced=spaced)), None)


def is_written_by(form: TextFormat, names: Sequence[str], *, spaced: bool = False) -> bool:
    """Whether a header may be this program's."""
    if (form.exactly and tuple(name.strip().lower() for name in names) != form.exactly) or form.spaced > spaced:
        return False
    known = set().union(*(_keys(form, name) for name in names))
    return any(signature <= known for signature in form.signatures) and not form.without & known


def form_of(format_name: str, names: Sequence[str], *, spaced: bool = False) -> TextFormat:
    """The format of that name; of several, the one whose header this is, else the first."""
    forms = [form for form in TEXT_FORMATS if form.name == format_name]
    return next((form for form in forms if is_written_by(form, names, spaced=spaced)), forms[0])


def is_bare(names: Sequence[str]) -> bool:
    """Whether a header has x and y, and nothing says in which unit."""
    return is_written_by(XYZ, names)


def has_suffixed_xy(names: Sequence[str]) -> bool:
    """Whether a header is ThunderSTORM's: x and y with a length unit in brackets."""
    known = {base for base, unit in map(split_suffix, names) if unit in LENGTH_NM or unit in PIXEL_UNITS}
    return {"x", "y"} <= known


def _keys(form: TextFormat, name: str) -> set[str]:
    """The names under which a format's rules find a column: without its unit, or in lower case, also with hyphens."""
    if form.is_suffixed:
        return {split_suffix(name)[0]}
    plain = name.strip("# \t").lower()
    return {plain, plain.replace("_", "-").replace(" ", "-")}  # Vutara's come with any of the three


def _by_name(form: TextFormat, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        for key in _keys(form, name):
            found.setdefault(key, []).append((name, split_suffix(name)[1]))
    return found


# ---- what it becomes


def resolve_text(path: Path, form: TextFormat, names: Sequence[str], *, says: HeadSays, overrides: Overrides) -> Resolved:
    """Columns of a program's table by its rules.

    Raises
    ------
    InputError
        x or y missing or twice there; no unit known, or two that contradict; pixels without a pixel size
    """
    by_name = _by_name(form, names)
    unit = _lateral_unit(path, form, by_name, names, says=says, overrides=overrides)
    pixels = (overrides.pixel_size_nm,) * 2 if overrides.pixel_before(bool(says.pixels_nm)) else says.pixels_nm or (0.0, 0.0)
    uses, seen = [], set()
    for rule in form.rules:
        columns = first_alternative(path, rule, by_name)
        units = {_unit_of(rule, suffix, unit) for _, suffix in columns}
        if columns and (rule.unit == PLAIN or _is_length(units)):
            use = Use(rule.quantity, tuple(name for name, _ in columns), power=rule.power, missing=rule.missing)
            seen |= units
            uses.append(_scaled(path, use, rule, units.pop(), form=form, pixels_nm=pixels))
    require_xy(path, uses, names)
    needed = bool(seen & PIXEL_UNITS) or form.pixel_offset_px > 0
    return Resolved(
        uses=tuple(uses),
        unit=unit,
        pixel_size_nm=pixels[0] if needed and pixels[0] == pixels[1] > 0 else None,
        pixel_offset_px=form.pixel_offset_px if pixels[0] else 0.0,
        frame_base=form.frame_base,
    )


def notes_of(says: HeadSays, overrides: Overrides) -> tuple[str, ...]:
    """What the attributes have no place for: pixels that are not square."""
    if overrides.pixel_before(bool(says.pixels_nm)) or len(set(says.pixels_nm)) < 2:
        return ()
    return (f"camera pixels are {says.pixels_nm[0]:g} nm wide and {says.pixels_nm[1]:g} nm high",)


def filters_of(form: TextFormat, names: Sequence[str]) -> tuple[Filter, ...]:
    """The format's filters whose column is there, by the file's own name for it."""
    by_name = _by_name(form, names)
    return tuple(replace(rule, column=by_name[rule.column][0][0]) for rule in form.filters if rule.column in by_name)


def _is_length(units: set[str]) -> bool:
    return len(units) == 1 and units <= (LENGTH_NM.keys() | PIXEL_UNITS)


def _unit_of(rule: Rule, suffix: str, lateral: str) -> str:
    """The unit of a rule's column: the header's, the file's, or the one the format fixes."""
    depth = "nm" if lateral in PIXEL_UNITS else lateral
    return {SUFFIX: suffix, STATED: lateral, AXIAL: depth}.get(rule.unit, rule.unit)


def _lateral_unit(path: Path, form: TextFormat, by_name: _ByName, names: Sequence[str], *, says: HeadSays, overrides: Overrides) -> str:
    """The unit of x, which y must share; checked against what the user says."""
    columns = first_alternative(path, form.rules[0], by_name)
    if not columns:
        require_xy(path, (), names)
    known = _unit_of(form.rules[0], columns[0][1], says.unit)
    if not known:
        mend = "give it with --unit nm (or um, px), as unit in the sample sheet, or in a map such as x=X,y=Y,unit=nm"
        known = overrides.unit
        if not known:
            raise InputError(path, f"nothing says in which unit x and y are; found {listed(names)}", "their unit", mend)
    else:
        check_unit(path, known, overrides.unit)
    return known


def _scaled(path: Path, use: Use, rule: Rule, unit: str, *, form: TextFormat, pixels_nm: Sequence[float]) -> Use:
    """The use with its factor to nanometres, per axis where pixels are not square, and the shift of the pixels' centre."""
    if rule.unit == PLAIN:
        return replace(use, scale=rule.factor)
    axes = {"x_nm": (0,), "y_nm": (1,)}.get(rule.quantity, (0, 1))[: len(use.columns)]
    scales = tuple(scale_nm(path, unit, pixel_size_nm=pixels_nm[axis]) * rule.factor for axis in axes)
    shift = form.pixel_offset_px * pixels_nm[axes[0]] if rule.quantity in ("x_nm", "y_nm") else 0.0
    if len(set(scales)) == 1:
        return replace(use, scale=scales[0], shift=shift)
    return replace(use, factors=scales, shift=shift)
