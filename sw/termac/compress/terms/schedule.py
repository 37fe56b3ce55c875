"""Which powers of two the beats of a pass have, and in what steps weights are counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.compress.terms.pursuit import Slots, approach
from termac.terms.schedule import descend, spread

__all__ = ["schedules", "unit_choices"]

PEAKS = np.geomspace(0.6, 2.0, 7)
"""Largest power of a beat, over the root mean square of a filter's weights: those to try."""
HEIGHTS = np.geomspace(88, 176, 7)
"""Largest weight of a filter as an integer, where terms have exponents of their own."""
LEVEL_BEATS = 2.7
"""Beats per power, to start with."""
GROUPS = 192
"""Groups that schedules are compared on."""


def schedules(
    weights: NDArray[np.float64], groups: list[NDArray[np.int64]], beats: int, count: int
) -> list[tuple[int, ...]]:
    """The best schedules of a number of beats for a layer, best first.

    They leave the least squared error with one step for all filters, whose weights are scaled to
    the same root mean square.

    Parameters
    ----------
    weights : [filters, weights]
    groups : indices of the weights that share slots
    beats : 1..16
    count : how many schedules
    """
    scale = np.sqrt(np.square(weights).mean(axis=1))
    filters = np.flatnonzero(scale)
    if not len(filters):
        return [spread(beats, 1)]
    widest = max(map(len, groups))
    picked = np.zeros((min(GROUPS, len(filters) * len(groups)), widest))
    chosen = np.linspace(0, len(filters) * len(groups) - 1, len(picked)).astype(np.int64)
    for row, number in enumerate(chosen):
        filter_, group = filters[number // len(groups)], groups[number % len(groups)]
        picked[row, : len(group)] = weights[filter_, group] / scale[filter_]

    def error(exponents: tuple[int, ...]) -> float:
        units = PEAKS[:, None, None] / (1 << exponents[0])
        targets = (picked / units).reshape(-1, widest)
        lost = (
            approach(targets, exponents).reshape(len(PEAKS), *picked.shape) * units - picked
        ) ** 2
        return float(lost.sum(axis=(1, 2)).min())

    levels = max(1, round(beats / LEVEL_BEATS))
    return descend(spread(beats, levels), error)[:count]


def unit_choices(weights: NDArray[np.float64], slots: Slots) -> NDArray[np.float64]:
    """Steps to try for every filter, float64 [choices, filters]. 0 where all weights are zero."""
    if isinstance(slots, int):
        return np.abs(weights).max(axis=1, initial=0) / HEIGHTS[:, None]
    scale = np.sqrt(np.square(weights).mean(axis=1))
    return PEAKS[:, None] * scale / (1 << slots[0])
