"""Rows of numbers to bytes of CSV, compiled: the step that text exports spend their time in.

Three ways to write a number:

- INTEGER: as it is.
- FIXED: with DECIMALS decimals, rounded half to even.
- EXACT: the fewest decimals that are read as the same float32: those that bring it nearer than half the gap to the next
  one, with room for being read as float64 first.

Numbers that would be long get an exponent. No number is `NaN`, and the others `Infinity`, as Java, R and NumPy read them.

Characters are stored eight at a time at an address: numba counts references to an array whenever one function hands it to
another, which costs more than the digits do (measured: 20 ns a number against 5).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

INTEGER, FIXED, EXACT = 0, 1, 2
DECIMALS = 3
CELL_BYTES = 34  # sign, 17 digits, point, exponent, comma; and 8 that the last store may run over

_LARGEST = 2.0**53  # beyond it float64 has gaps between whole numbers
_SMALLEST = 0.9999e-4  # below it more than 12 decimals might be needed
_HALF_GAP = 2.0**-24 * (1 - 1e-6)  # of the power of two at or below a float32; the rest is room for a reader's rounding
_POWER_BITS, _MANTISSA_BITS = np.uint64(0x7FF0_0000_0000_0000), np.uint64(0x000F_FFFF_FFFF_FFFF)
_FLOAT32_DIGITS, _FLOAT64_DIGITS = 9, 17
_SCALES = 10.0 ** np.arange(17)
_POWERS = 10 ** np.arange(17, dtype=np.uint64)
_ONE, _EIGHT, _TEN_TO_8 = np.uint64(1), np.uint64(8), np.uint64(10**8)


def _word(text: bytes) -> np.uint64:
    """Up to eight characters as `_store` takes them."""
    return np.uint64(int.from_bytes(text, "little"))


_COMMA, _LINE_END, _MINUS, _POINT, _E, _NAN, _INFINI, _TY = map(_word, (b",", b"\n", b"-", b".", b"e", b"NaN", b"Infini", b"ty"))


def format_rows(integers: NDArray[np.int64], floats: NDArray[np.float64], kinds: NDArray[np.int8], out: NDArray[np.uint8]) -> int:
    """Write a line per row into `out`; returns the bytes written.

    Parameters
    ----------
    integers : (columns of integers, rows)
    floats : (other columns, rows); a float32 as float64
    kinds : (all columns,) INTEGER, FIXED or EXACT, in the order of the cells
    out : room for CELL_BYTES per cell
    """
    n_rows = max(integers.shape[1], floats.shape[1])
    assert len(out) >= n_rows * len(kinds) * CELL_BYTES
    assert (len(integers), len(floats)) == ((kinds == INTEGER).sum(), (kinds != INTEGER).sum())
    return int(_format_rows(integers, floats, kinds, n_rows, out))


def _typed_store(typing_context: Any, address: types.Type, characters: types.Type) -> tuple[Any, Callable[..., Any]]:
    """Eight bytes at an address, the lowest first; those that were not meant are written over by what follows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], place, align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), generate


_store: Any = intrinsic(_typed_store)

_compiled = njit(cache=True, nogil=True, error_model="numpy")  # "numpy": no question at each division whether it is by 0


@_compiled
def _format_rows(
    integers: NDArray[np.int64], floats: NDArray[np.float64], kinds: NDArray[np.int8], n_rows: int, out: NDArray[np.uint8]
) -> np.uint64:
    begin = np.uint64(out.ctypes.data)
    at = begin
    for row in range(n_rows):
        i_integer = i_float = 0
        for kind in kinds:
            if kind == INTEGER:
                at = _put_integer(at, integers[i_integer, row])
                i_integer += 1
            else:
                value = floats[i_float, row]
                at = _put_fixed(at, value) if kind == FIXED else _put_exact(at, value)
                i_float += 1
            _store(at, _COMMA)
            at += _ONE
        _store(at - _ONE, _LINE_END)
    return at - begin


@_compiled
def _put_integer(at: np.uint64, value: int) -> np.uint64:
    size = np.uint64(value)
    if value < 0:
        _store(at, _MINUS)
        at += _ONE
        size = ~size + _ONE
    return _put_digits(at, size)


@_compiled
def _put_fixed(at: np.uint64, value: float) -> np.uint64:
    size = abs(value)
    scaled = np.rint(size * _SCALES[DECIMALS])
    if not scaled < _LARGEST:  # or no number
        return _put_long(at, value, _FLOAT64_DIGITS)
    if value < 0 and scaled:
        _store(at, _MINUS)
        at += _ONE
    return _put_decimals(at, np.uint64(size), np.uint64(scaled), DECIMALS)


@_compiled
def _put_exact(at: np.uint64, value: float) -> np.uint64:
    size = abs(value)
    if not (_SMALLEST <= size < _LARGEST or size == 0):
        return _put_long(at, value, _FLOAT32_DIGITS)
    if value < 0:
        _store(at, _MINUS)
        at += _ONE
    tolerance = _tolerance(size)
    decimals = DECIMALS  # what numbers out of a vendor's text have
    while decimals and _is_near(size, tolerance, decimals - 1):
        decimals -= 1
    while not _is_near(size, tolerance, decimals):
        decimals += 1
    return _put_decimals(at, np.uint64(size), np.uint64(np.rint(size * _SCALES[decimals])), decimals)


@_compiled
def _tolerance(size: float) -> float:
    """How far a number may lie from a float32 and still be read as it; a power of two has half the gap below it."""
    bits = np.float64(size).view(np.uint64)
    half_gap = np.uint64(bits & _POWER_BITS).view(np.float64) * _HALF_GAP
    return half_gap if bits & _MANTISSA_BITS else half_gap / 2


@_compiled
def _is_near(size: float, tolerance: float, decimals: int) -> bool:
    scaled = size * _SCALES[decimals]
    return bool(abs(np.rint(scaled) - scaled) <= tolerance * _SCALES[decimals])


@_compiled
def _put_decimals(at: np.uint64, whole: np.uint64, scaled: np.uint64, decimals: int) -> np.uint64:
    """`scaled` is a number of 10^-decimals, at most 16 of them; `whole` what it had before the point before it was rounded."""
    rest = scaled - whole * _POWERS[decimals]
    if rest >= _POWERS[decimals]:  # rounded up into the next whole number
        whole += _ONE
        rest -= _POWERS[decimals]
    at = _put_digits(at, whole)
    if decimals:
        _store(at, _POINT)
        at += _ONE
        rest *= _POWERS[16 - decimals]
        _store(at, _eight_digits(rest // _TEN_TO_8))
        if decimals > 8:
            _store(at + _EIGHT, _eight_digits(rest % _TEN_TO_8))
        at += np.uint64(decimals)
    return at


@_compiled
def _put_digits(at: np.uint64, number: np.uint64) -> np.uint64:
    """An unsigned integer, eight digits at a time."""
    if number < _TEN_TO_8:
        return _put_first_digits(at, number)
    high = number // _TEN_TO_8
    if high < _TEN_TO_8:
        at = _put_first_digits(at, high)
    else:
        at = _put_first_digits(at, high // _TEN_TO_8)
        _store(at, _eight_digits(high % _TEN_TO_8))
        at += _EIGHT
    _store(at, _eight_digits(number % _TEN_TO_8))
    return at + _EIGHT


@_compiled
def _put_first_digits(at: np.uint64, number: np.uint64) -> np.uint64:
    """A number below 10^8, without leading zeros."""
    n = _ONE
    for power in range(1, 8):
        n += np.uint64(number >= _POWERS[power])
    _store(at, _eight_digits(number) >> (_EIGHT * (_EIGHT - n)))
    return at + n


@_compiled
def _eight_digits(number: np.uint64) -> np.uint64:
    """A number below 10^8 as 8 characters, the first in the lowest byte: halved three times, all parts at once."""
    high = number // np.uint64(10_000)
    fours = high | (number - high * np.uint64(10_000)) << np.uint64(32)
    hundreds = (fours * np.uint64(10_486) >> np.uint64(20)) & np.uint64(0x0000_007F_0000_007F)
    twos = hundreds | (fours - hundreds * np.uint64(100)) << np.uint64(16)
    tens = (twos * np.uint64(103) >> np.uint64(10)) & np.uint64(0x000F_000F_000F_000F)
    return (tens | (twos - tens * np.uint64(10)) << np.uint64(8)) + np.uint64(0x3030_3030_3030_3030)


@_compiled
def _put_long(at: np.uint64, value: float, digits: int) -> np.uint64:
    """A number that needs an exponent (one digit, a point, digits - 1 more), or is none."""
    if np.isnan(value):
        _store(at, _NAN)
        return at + np.uint64(3)
    if value < 0:
        _store(at, _MINUS)
        at += _ONE
    if np.isinf(value):
        _store(at, _INFINI)
        _store(at + np.uint64(6), _TY)
        return at + _EIGHT
    size = abs(value)
    exponent = int(np.floor(np.log10(size)))
    mantissa = np.rint(_shifted(size, digits - 1 - exponent))
    if mantissa >= 10.0**digits or mantissa < 10.0 ** (digits - 1):  # the logarithm was rounded
        exponent += 1 if mantissa >= 10.0**digits else -1
        mantissa = np.rint(_shifted(size, digits - 1 - exponent))
    scaled = np.uint64(mantissa)
    at = _put_decimals(at, scaled // _POWERS[digits - 1], scaled, digits - 1)
    _store(at, _E)
    return _put_integer(at + _ONE, exponent)


@_compiled
def _shifted(size: float, places: int) -> float:
    return size * 10.0**places if places >= 0 else size / 10.0**-places
