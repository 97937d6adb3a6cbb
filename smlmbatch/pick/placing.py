"""Where in a field the picks of a file lie, in nanometres from the field's origin; what can't be right is refused.

Picks say their places in the localisation file's own frame, so ingest's unit, pixel size and origin hold for them too. Places far off, or
crowded into a corner of the field a twentieth as wide, are the usual mistake of pixels taken for nanometres: refused where as pixels they
would lie well, unless the file says its unit itself and they lie in the field.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.pick.given import UNITS, GivenPicks, Pick
from smlmbatch.samples import Field

Floats = NDArray[np.float64]

AGAIN: Final = "picked twice"
OUTSIDE: Final = "outside of the field"
NO_CHANNEL: Final = "of a channel that the field doesn't have"
_USUAL_PIXEL_NM: Final = 100.0  # cameras' pixels in the sample: 65 to 160 nm
_CROWDED: Final = 20.0  # a pixel is at least 65 nm
_LEAST_CROWD: Final = 3  # picks in one corner; two may lie there by chance
_WANT: Final = "centres in the localisation file's own frame, in nm"


@dataclass(frozen=True, slots=True)
class Placed:
    """Picks of one field and one channel each: k of them, channel by channel, in the file's order.

    Attributes
    ----------
    row : (k,) i4, which pick of the file
    channel : (k,) u1
    centre_nm : (k, d) f8, relative to the field's origin; d is 3 where the file says z
    radius_nm : (k,) f8
    left_out : reason → how many, each channel counted
    """

    row: NDArray[np.int32]
    channel: NDArray[np.uint8]
    centre_nm: Floats
    radius_nm: Floats
    left_out: Mapping[str, int]


def place_picks(given: GivenPicks, field: Field, ingest: Mapping[str, Any], *, radius_nm: float, pixel_size_nm: float) -> Placed:
    """The picks of a field.

    Parameters
    ----------
    ingest : attributes of its unit of ingest
    radius_nm : where the file says none
    pixel_size_nm : as the user gives it, where ingest knows none; 0 = not known

    Raises
    ------
    InputError
        pixels without a size, or taken for nanometres; z in a plane, or of some only; all of them outside of the field
    """
    own = [pick for pick in given.picks if pick.is_of(field)]
    scale_nm = _scale_nm(given, pixel_nm := float(ingest["pixel_size_nm"] or pixel_size_nm))
    shift_nm = float(ingest["pixel_offset_px"] or 0.0) * pixel_nm if given.unit == "px" else 0.0
    place = np.array([pick.place for pick in own], dtype=np.float64).reshape(-1, 3) * scale_nm
    place[:, :2] += shift_nm
    radii = np.array([pick.radius_nm or given.radius_px * scale_nm[0] or radius_nm for pick in own], dtype=np.float64)
    extent_nm = np.array(ingest["extent_nm"], dtype=np.float64)
    outside = _is_outside(place, radii, extent_nm)
    _check_unit(given, place, outside, extent_nm, pixel_nm)
    axes = _axes(given, place, dims=int(ingest["dims"]))
    return _by_channel(own, place[:, :axes] - [*ingest["origin_nm"], 0.0][:axes], radii, outside, [int(c) for c in ingest["channels"]])


def _scale_nm(given: GivenPicks, pixel_nm: float) -> Floats:
    """Nanometres per unit of x, y and z."""
    if "px" in (given.unit, given.z_unit) and not pixel_nm:
        mend = "give pixel_size_nm in the sample sheet, or the centres in nm"
        raise InputError(given.name, "is in camera pixels, and the field's pixel size isn't known", "a pixel size in nm", mend)
    lengths = {**UNITS, "px": pixel_nm}
    return np.array([lengths[given.unit], lengths[given.unit], lengths[given.z_unit]])


def _is_outside(place: Floats, radii: Floats, extent_nm: Floats) -> NDArray[np.bool_]:
    """Whether a pick's circle misses the smallest rectangle that holds all locs."""
    low, high = extent_nm
    reach = radii[:, None]
    missed: NDArray[np.bool_] = ((place[:, :2] + reach < low) | (place[:, :2] - reach > high)).any(axis=1)
    return missed


def _check_unit(given: GivenPicks, place: Floats, outside: NDArray[np.bool_], extent_nm: Floats, pixel_nm: float) -> None:
    if not len(place):
        return
    span_nm, wide_nm = np.ptp(place[:, :2], axis=0), np.ptp(extent_nm, axis=0)
    crowded = len(place) >= _LEAST_CROWD and (span_nm * _CROWDED < wide_nm).all()
    guess_nm = pixel_nm or _USUAL_PIXEL_NM
    within = (abs(place[:, :2] * guess_nm - extent_nm.mean(axis=0)) <= 0.55 * wide_nm).all(axis=1).mean() > 0.9
    as_pixels = f"taken for camera pixels of {guess_nm:g} nm they lie in the field" if within and given.unit == "nm" else ""
    shown = "x {:,.0f} to {:,.0f}, y {:,.0f} to {:,.0f} nm".format(*_bounds(place))
    field_is = "the field is x {:,.0f} to {:,.0f}, y {:,.0f} to {:,.0f} nm".format(*_bounds(extent_nm))
    if as_pixels and (outside.all() or (crowded and not given.is_stated)):
        where = "outside of the field" if outside.all() else "in one corner of it"
        finding = f"its {len(place)} centres look like pixels: as nanometres all lie {where} ({shown}; {field_is}), {as_pixels}"
        mend = "name the columns x_px and y_px, or convert; where they are right, name them x_nm and y_nm"
        raise InputError(given.name, finding, _WANT, mend)
    if outside.all():
        finding = f"none of its {len(place)} centres lies in the field: {shown}; {field_is}"
        raise InputError(given.name, finding, _WANT, "correct the places, their unit, or the column of fields")


def _bounds(place: Floats) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = place[:, :2].min(axis=0), place[:, :2].max(axis=0)
    return x0, x1, y0, y1


def _axes(given: GivenPicks, place: Floats, *, dims: int) -> int:
    """How many axes the centres have. A z of 0 throughout is none, as in ingest."""
    has_z = np.isfinite(place[:, 2])
    if not has_z.any() or not place[has_z, 2].any():
        return 2
    if dims == 2:
        raise InputError(given.name, "has centres with z, and the field is flat", "x and y", "empty the cells of z for this field")
    if not has_z.all():
        finding = f"has z for {has_z.sum()} of the field's {len(place)} centres"
        raise InputError(given.name, finding, "z for all centres of a field, or for none", "fill in or empty the cells of z")
    return 3


def _by_channel(own: list[Pick], centre_nm: Floats, radii: Floats, outside: NDArray[np.bool_], channels: list[int]) -> Placed:
    wanted = np.array([pick.channel for pick in own], dtype=np.int64)
    first: dict[tuple[object, ...], int] = {}
    again = np.array([first.setdefault((pick.place[:2], _z(pick), pick.channel), i) != i for i, pick in enumerate(own)], dtype=bool)
    taken = [np.flatnonzero(np.isin(wanted, (-1, channel)) & ~outside & ~again) for channel in channels]
    times = np.where(wanted < 0, len(channels), np.isin(wanted, channels).astype(int))  # channels that a pick is looked for in
    left_out = {
        OUTSIDE: int(times[outside & ~again].sum()),
        AGAIN: int(times[again].sum()),
        NO_CHANNEL: int((times == 0).sum()),
    }
    index = np.concatenate([np.empty(0, np.int64), *taken])
    rows = np.array([pick.row for pick in own], dtype=np.int32)
    of_channel = np.repeat(np.array(channels, dtype=np.uint8), [len(one) for one in taken])
    return Placed(rows[index], of_channel, centre_nm[index], radii[index], left_out)


def _z(pick: Pick) -> float:
    """Comparable: a NaN is never equal to itself."""
    return 0.0 if math.isnan(pick.place[2]) else pick.place[2]
