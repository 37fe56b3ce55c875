"""Matching pursuit of weights by terms: the largest first, each where it helps most.

S. Mallat, Z. Zhang, "Matching Pursuits With Time-Frequency Dictionaries", 1993, section III. The
dictionary is the signed powers of two of every lane. Real weights are pursued as they are, which
leaves less than rounding them to integers first and dropping terms then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from termac.arch.cells import LARGEST_EXPONENT
from termac.terms.digits import LARGEST
from termac.terms.slots import fill

__all__ = ["Slots", "approach", "pursue", "settle"]

SWEEPS = 2
"""How often every term is exchanged for a better one, where lanes are not independent."""
REACH = 192.0
"""Targets are clipped here, so that no sum of terms comes near the limit."""

Slots = int | tuple[int, ...]
"""Terms of a group: how many, each with an exponent of its own, or the exponents of its slots."""


def pursue(
    targets: NDArray[np.float64], slots: Slots, metric: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Integers near the targets that a group of lanes can hold, int64 [n, lanes].

    With exponents, :func:`termac.terms.slots.fill` holds them exactly.

    Parameters
    ----------
    targets : [n, lanes]
    slots : terms of a group
    metric : [lanes, lanes], optional
        What an error costs, ``error @ metric @ error``. The unit matrix by default.
    """
    if metric is None:
        return settle(approach(targets, slots), slots)
    clipped = np.clip(targets, -REACH, REACH)
    terms, lanes = _pursue(clipped, slots)
    plain = _total(terms, lanes, targets.shape[1])
    for _ in range(SWEEPS):
        _exchange(terms, lanes, clipped, slots, metric)
    shaped = settle(_total(terms, lanes, targets.shape[1]), slots)

    def cost(values: NDArray[np.int64]) -> NDArray[np.float64]:
        error = values - targets
        return np.einsum("ni,ni->n", error @ metric, error)

    worse = (cost(shaped) > cost(plain)) | (np.abs(shaped).max(axis=1) > LARGEST)
    shaped[worse] = settle(plain[worse], slots)
    return shaped


def approach(targets: NDArray[np.float64], slots: Slots) -> NDArray[np.int64]:
    """As :func:`pursue` without a metric, but a pass may not hold one group of thousands."""
    terms, lanes = _pursue(np.clip(targets, -REACH, REACH), slots)
    return _total(terms, lanes, targets.shape[1])


def settle(values: NDArray[np.integer], slots: Slots) -> NDArray[np.int64]:
    """Nearby integers that :func:`termac.terms.slots.fill` holds exactly, int64 [n, lanes].

    What it makes of a group is filled again until nothing changes, rarely more than twice.
    """
    result = np.asarray(values, np.int64)
    if isinstance(slots, int):
        return result
    for _ in range(len(slots)):
        held = _held(result, slots)
        moved = (held != result).any(axis=1)
        if not moved.any():
            return result
        result = held
    return np.where((_held(result, slots) == result).all(axis=1)[:, None], result, 0)


def _held(values: NDArray[np.int64], exponents: Sequence[int]) -> NDArray[np.int64]:
    """What the slots make of the values, int64 [n, lanes]."""
    coefficients, lanes = fill(values, exponents)
    result = np.zeros(values.shape, np.int64)
    rows = np.arange(len(values))
    for slot, exponent in enumerate(exponents):
        result[rows, lanes[:, slot]] += coefficients[:, slot].astype(np.int64) << exponent
    return result


def _exponents(slots: Slots) -> Sequence[int | None]:
    return [None] * slots if isinstance(slots, int) else slots


def _total(terms: NDArray[np.float64], lanes: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Sum of the terms of every lane, int64 [n, width]."""
    result = np.zeros((len(terms), width))
    rows = np.arange(len(terms))
    for slot in range(terms.shape[1]):
        result[rows, lanes[:, slot]] += terms[:, slot]
    return np.rint(result).astype(np.int64)


def _pursue(
    targets: NDArray[np.float64], slots: Slots
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Terms and their lanes [n, slots]. A term goes where most is left: there any gains most."""
    rest, rows = targets.copy(), np.arange(len(targets))
    exponents = _exponents(slots)
    terms = np.zeros((len(rest), len(exponents)))
    lanes = np.zeros(terms.shape, np.int64)
    for slot, exponent in enumerate(exponents):
        lane = np.abs(rest).argmax(axis=1)
        term = _nearest(rest[rows, lane], exponent)
        rest[rows, lane] -= term
        terms[:, slot], lanes[:, slot] = term, lane
    return terms, lanes


def _exchange(
    terms: NDArray[np.float64], lanes: NDArray[np.int64], targets: NDArray[np.float64],
    slots: Slots, metric: NDArray[np.float64],
) -> None:  # fmt: skip
    """Take out one term after the other and put the best into its slot, in place."""
    rows = np.arange(len(targets))
    diagonal = metric.diagonal()
    slope = (targets - _total(terms, lanes, targets.shape[1])) @ metric
    for slot, exponent in enumerate(_exponents(slots)):
        slope += terms[:, slot, None] * metric[lanes[:, slot]]
        choices = _nearest(slope / diagonal, exponent)
        lane = (choices * (2 * slope - choices * diagonal)).argmax(axis=1)
        terms[:, slot], lanes[:, slot] = choices[rows, lane], lane
        slope -= terms[:, slot, None] * metric[lane]


def _nearest(values: NDArray[np.float64], exponent: int | None) -> NDArray[np.float64]:
    """The term nearest to each value, or 0: of one slot, or of any exponent."""
    magnitude = np.abs(values)
    if exponent is None:
        place = np.floor(np.log2(np.maximum(magnitude, 0.5) / 0.75))
        power = np.exp2(np.clip(place, 0, LARGEST_EXPONENT))
        return np.sign(values) * np.where(magnitude > 0.5, power, 0)
    power = float(1 << exponent)
    factor = (2 * magnitude > power).astype(np.float64) + (2 * magnitude > 3 * power)
    return np.sign(values) * factor * power
