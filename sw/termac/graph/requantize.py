"""Requantization with TFLite's reference rounding, vectorised and exact.

Source: gemmlowp fixedpoint.h (SaturatingRoundingDoublingHighMul, RoundingDivideByPOT) as used by
TFLite's reference_integer_ops. The multiplier is non-negative and below one here, so no left shift
and no saturation occur.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["quantize_multiplier", "requantize"]


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Split ``real`` (0 <= real < 1) into a Q31 multiplier and a right shift, as TFLite does.

    Returns
    -------
    (multiplier, shift) with real ~ multiplier * 2**(-31 - shift), 2**30 <= multiplier < 2**31, or
    (0, 0) if ``real`` is below 2**-32.

    Raises
    ------
    ValueError
        If ``real`` is negative, not finite, or 1 or more.
    """
    if not math.isfinite(real) or real < 0 or real >= 1:
        raise ValueError(f"requantization multiplier must be within [0, 1), not {real!r}")
    if real == 0:
        return 0, 0
    mantissa, exponent = math.frexp(real)
    multiplier = math.floor(mantissa * (1 << 31) + 0.5)  # ties up, as C's round; exact
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier >> 1, exponent + 1
    if exponent > 0:  # rounded up to 1.0: the largest value below it
        return (1 << 31) - 1, 0
    if exponent < -31:
        return 0, 0
    return multiplier, -exponent


def requantize(
    values: NDArray[np.integer],
    multiplier: NDArray[np.integer] | int,
    shift: NDArray[np.integer] | int,
) -> NDArray[np.int64]:
    """``round_half_away((values * multiplier + 2**30 >> 31) / 2**shift)``, broadcasting.

    Parameters
    ----------
    values : int32 range
    multiplier : 0 .. 2**31-1
    shift : 0..31
    """
    high = (np.asarray(values, np.int64) * np.asarray(multiplier, np.int64) + (1 << 30)) >> 31
    shift = np.asarray(shift, np.int64)
    mask = (np.int64(1) << shift) - 1
    remainder = high & mask
    threshold = (mask >> 1) + (high < 0)
    return (high >> shift) + (remainder > threshold)
