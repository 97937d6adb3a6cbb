"""Every number is written so that it is read back as it was, or rounded as Python rounds it."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.export.digits import CELL_BYTES, DECIMALS, EXACT, FIXED, INTEGER, format_rows

NONE = np.empty((0, 0))
finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def written(values, kind):
    """The numbers as text, one a line."""
    out = np.full(len(values) * CELL_BYTES, 255, dtype=np.uint8)
    integers = np.array([values], dtype=np.int64) if kind == INTEGER else NONE.astype(np.int64)
    floats = NONE if kind == INTEGER else np.array([values], dtype=np.float64)
    n_bytes = format_rows(integers, floats, np.array([kind], dtype=np.int8), out)
    lines = out[:n_bytes].tobytes().decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(values)
    return lines


def steps(n=4000):
    """float32 of all sizes: every exponent, the ends of every range, and random mantissas."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 0x7F80_0000, n, dtype=np.uint32)
    powers = np.float32(2.0) ** np.arange(-149, 128, dtype=np.float32)
    tens = np.array([float(f"1e{e}") for e in range(-44, 39)], dtype=np.float32)
    exact = np.concatenate([bits.view(np.float32), powers, tens])
    around = np.concatenate([np.nextafter(exact, np.float32(0)), exact, np.nextafter(exact, np.float32(np.inf))])
    around = around[np.isfinite(around)]
    return np.concatenate([around, -around])


def test_float32_of_every_size_is_read_back():
    values = steps()
    text = written(values, EXACT)
    assert np.array_equal(np.array(text, dtype=np.float64).astype(np.float32), values)  # as NumPy and Java read: float64 first
    assert np.array_equal([np.float32(word) for word in text[:3000]], values[:3000])
    assert max(map(len, text)) < CELL_BYTES - 8


@given(st.lists(finite_float32, min_size=1, max_size=40))
@settings(max_examples=200)
def test_any_float32_is_read_back(values):
    assert [np.float32(text) for text in written(values, EXACT)] == values


def test_numbers_out_of_text_are_written_as_they_were():
    rng = np.random.default_rng(1)
    text = [f"{value:.3f}".rstrip("0").rstrip(".") for value in rng.uniform(0, 8000, 2000)] + ["0.1", "16777216", "0.0001", "100000.5"]
    assert written(np.array(text, dtype=np.float32), EXACT) == text


@given(st.lists(st.floats(-9e12, 9e12), min_size=1, max_size=40))
@settings(max_examples=200)
def test_fixed_decimals_are_the_nearest(values):
    for value, text in zip(values, written(values, FIXED), strict=True):
        assert len(text.partition(".")[2]) == DECIMALS
        # one more float64 step: the product by 1,000 is rounded once
        assert abs(Decimal(text) - Decimal(value)) <= Decimal("0.0005") + Decimal(np.spacing(abs(value)))
        assert not text.startswith("-") or float(text) < 0


def test_rounding_carries_over_the_point():
    values = [0.9996, 9.9996, 99_999.99951, 0.0004, -0.0004, -0.9996, 123.0005, 0.0]
    assert written(values, FIXED) == ["1.000", "10.000", "100000.000", "0.000", "0.000", "-1.000", "123.000", "0.000"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40))
@settings(max_examples=200)
def test_any_integer_is_read_back(values):
    assert written(values, INTEGER) == [str(value) for value in values]


def test_integers_of_every_length():
    values = [sign * (10**n + d) for n in range(19) for d in (-1, 0, 1) for sign in (1, -1)]
    assert written(values, INTEGER) == [str(value) for value in values]


@pytest.mark.parametrize("kind", [FIXED, EXACT])
def test_what_is_no_number_has_a_word(kind):
    assert written([np.nan, np.inf, -np.inf], kind) == ["NaN", "Infinity", "-Infinity"]


def test_lengths_beyond_what_has_decimals():
    values = np.array([1e16, -1.5e17, 1e300, 9.1e12])
    text = written(values, FIXED)
    np.testing.assert_allclose(np.array(text, dtype=np.float64), values, rtol=1e-15)


def test_cells_stand_in_the_order_of_their_kinds():
    kinds = np.array([FIXED, INTEGER, EXACT, INTEGER], dtype=np.int8)
    out = np.empty(2 * 4 * CELL_BYTES, dtype=np.uint8)
    integers, floats = np.array([[1, -2], [30, 40]]), np.array([[0.5, -1.25], [0.5, np.nan]])
    n_bytes = format_rows(integers, floats, kinds, out)
    assert out[:n_bytes].tobytes() == b"0.500,1,0.5,30\n-1.250,-2,NaN,40\n"


def test_too_small_a_room_is_not_written_to():
    with pytest.raises(AssertionError):
        format_rows(np.array([[1, 2]]), NONE, np.array([INTEGER], dtype=np.int8), np.empty(2 * CELL_BYTES - 1, dtype=np.uint8))
