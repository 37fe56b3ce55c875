"""termac.requantize against the C definitions, restated with Python's integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from termac.graph.requantize import quantize_multiplier, requantize

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


def doubling_high_mul(a: int, b: int) -> int:
    """gemmlowp SaturatingRoundingDoublingHighMul without the saturating case."""
    product = a * b
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    quotient = abs(product + nudge) >> 31  # C division truncates
    return quotient if product + nudge >= 0 else -quotient


def divide_by_power_of_two(x: int, exponent: int) -> int:
    """gemmlowp RoundingDivideByPOT: to the nearest, halves away from zero."""
    scaled = Fraction(abs(x), 1 << exponent)
    return int(math.copysign(math.floor(scaled + Fraction(1, 2)), x))


@given(INT32, st.integers(0, (1 << 31) - 1), st.integers(0, 31))
def test_matches_gemmlowp(value, multiplier, shift):
    expected = divide_by_power_of_two(doubling_high_mul(value, multiplier), shift)
    assert requantize(np.array([value]), multiplier, shift)[0] == expected


@pytest.mark.parametrize("value", [-(1 << 31), (1 << 31) - 1, -1, 0, 1, 3, -3])
@pytest.mark.parametrize("multiplier", [0, 1, 1 << 30, (1 << 31) - 1])
@pytest.mark.parametrize("shift", [0, 1, 30, 31])
def test_corners(value, multiplier, shift):
    expected = divide_by_power_of_two(doubling_high_mul(value, multiplier), shift)
    assert requantize(np.array([value]), multiplier, shift)[0] == expected


def test_halves_go_away_from_zero():
    # multiplier 1/2 and shift 0 halve; the high product rounds halves up, the shift away from zero
    assert requantize(np.array([3, -3]), 1 << 30, 0).tolist() == [2, -1]
    assert requantize(np.array([12, -12, 4, -4]), 1 << 30, 2).tolist() == [2, -2, 1, -1]


def test_broadcasts_over_channels():
    values = np.arange(-6, 6).reshape(2, 2, 3) * 1000
    multiplier = np.array([1 << 30, 1 << 30, (1 << 31) - 1])
    shift = np.array([0, 3, 31])
    result = requantize(values, multiplier, shift)
    for channel in range(3):
        alone = requantize(values[..., channel], int(multiplier[channel]), int(shift[channel]))
        np.testing.assert_array_equal(result[..., channel], alone)


@given(st.floats(2.0**-32, 1, exclude_max=True))
def test_multiplier_represents_the_real_number(real):
    multiplier, shift = quantize_multiplier(real)
    assert 1 << 30 <= multiplier < 1 << 31
    assert 0 <= shift <= 31
    assert multiplier * 2.0 ** (-31 - shift) == pytest.approx(real, rel=2.0**-30)


def test_multiplier_corners():
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(0.5) == (1 << 30, 0)
    assert quantize_multiplier(0.25) == (1 << 30, 1)
    assert quantize_multiplier(2.0**-33) == (0, 0)
    assert quantize_multiplier(math.nextafter(1, 0)) == ((1 << 31) - 1, 0)
    tie = (2**30 + 0.5) / 2**31  # C's round goes up, to the odd neighbour too
    assert quantize_multiplier(tie) == (2**30 + 1, 0)


@pytest.mark.parametrize("real", [-0.1, 1.0, 2.0, math.inf, math.nan])
def test_multiplier_rejects(real):
    with pytest.raises(ValueError, match=r"must be within \[0, 1\)"):
        quantize_multiplier(real)
