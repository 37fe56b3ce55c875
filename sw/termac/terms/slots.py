"""Terms of a group of weights in the slots that one pass of a term array has for them.

A slot is a beat of a pass, at a power of two that all groups share (``Terms.exponents``). Its term
is ``+-1`` or ``+-2`` times that power, of any lane of the group, or none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill", "rounds"]


def fill(
    groups: NDArray[np.integer], exponents: Sequence[int]
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Fill the slots of one pass, the largest powers first, each with the term that helps most.

    Matching pursuit: a slot takes the term that leaves the least squared rest of its group (ties:
    the lowest lane, then the smaller term), or none if none helps.

    Parameters
    ----------
    groups : integers [n, lanes]
    exponents : one per slot

    Returns
    -------
    coefficients, lanes : int8 [n, len(exponents)]
        0, +-1 or +-2 times ``2**exponent``, and the lane of the term, 0 if there is none. What
        stays is ``groups`` minus their sum.
    """
    rest = np.asarray(groups, np.int64).copy()
    rows = np.arange(len(rest))
    coefficients = np.zeros((len(rest), len(exponents)), np.int8)
    lanes = np.zeros_like(coefficients)
    for slot, exponent in enumerate(exponents):
        lane = np.abs(rest).argmax(axis=1)  # of all lanes, the largest gains most from any term
        value = rest[rows, lane]
        magnitude, power = np.abs(value), 1 << exponent
        # |v| - power beats |v| from power/2 on, |v| - 2 power beats |v| - power from 3/2 power on.
        factor = (2 * magnitude > power).astype(np.int64) + (2 * magnitude > 3 * power)
        signed = np.sign(value) * factor
        coefficients[:, slot] = signed
        lanes[:, slot] = np.where(factor, lane, 0)
        rest[rows, lane] -= signed * power
    return coefficients, lanes


def rounds(
    groups: NDArray[np.integer], exponents: Sequence[int]
) -> list[tuple[NDArray[np.int8], NDArray[np.int8]]]:
    """Passes that hold the groups exactly: :func:`fill` again and again, until nothing stays.

    Exponents must reach down to 0, or it never ends.
    """
    rest = np.asarray(groups, np.int64).copy()
    result = []
    powers = 1 << np.asarray(exponents)
    while rest.any():
        coefficients, lanes = fill(rest, exponents)
        for slot, power in enumerate(powers):
            rest[np.arange(len(rest)), lanes[:, slot]] -= coefficients[:, slot] * power
        result.append((coefficients, lanes))
    return result
