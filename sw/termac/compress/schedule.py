"""Which powers of two the beats of a pass have, and in what steps weights are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from termac.compress.pursuit import Slots, approach

__all__ = ["HIGHEST", "descend", "neighbours", "schedules", "spread", "unit_choices"]

HIGHEST = 6
"""Of a beat; twice its power is the most significant bit of an int8 weight."""
PEAKS = np.geomspace(0.6, 2.0, 7)
"""Largest power of a beat, over the root mean square of a filter's weights: those to try."""
HEIGHTS = np.geomspace(88, 176, 7)
"""Largest weight of a filter as an integer, where terms have exponents of their own."""
LEVEL_BEATS = 2.7
"""Beats per power, to start with."""
GROUPS = 192
"""Groups that schedules are compared on."""


def neighbours(exponents: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Schedules of the same length that differ in one beat.

    Schedules never rise, and reach 0 in steps of at most 1.
    """
    counts = np.bincount(exponents)
    top = len(counts) - 1
    for source in range(top + 1):
        for target in (source - 1, source + 1):
            if not 0 <= target <= HIGHEST:
                continue
            changed = np.append(counts, 0)
            changed[source] -= 1
            changed[target] += 1
            used = changed[: changed.nonzero()[0].max() + 1]
            if used.all():
                yield _listed(used)
    if counts[-1] == 1 and top > 0:  # the top beat helps anywhere below
        for target in range(top):
            yield _listed(counts[:-1] + (np.arange(top) == target))


def schedules(
    weights: NDArray[np.float64], groups: list[NDArray[np.int64]], beats: int, count: int
) -> list[tuple[int, ...]]:
    """The best schedules of so many beats for a layer, best first.

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


def descend(
    start: tuple[int, ...], cost: Callable[[tuple[int, ...]], float]
) -> list[tuple[int, ...]]:
    """Change one beat at a time as long as the cost falls; all that was seen, cheapest first."""
    known = {start: cost(start)}
    current = start
    while True:
        for near in neighbours(current):
            if near not in known:
                known[near] = cost(near)
        ranked = sorted(known, key=lambda exponents: known[exponents])
        if ranked[0] == current:
            return ranked
        current = ranked[0]


def spread(beats: int, levels: int) -> tuple[int, ...]:
    """Beats spread evenly over as many powers as wanted and possible, small ones first."""
    levels = min(levels, beats, HIGHEST + 1)
    counts = np.full(levels, beats // levels)
    counts[: beats % levels] += 1
    return _listed(counts)


def unit_choices(weights: NDArray[np.float64], slots: Slots) -> NDArray[np.float64]:
    """Steps to try for every filter, float64 [choices, filters]; 0 where all weights are zero."""
    if isinstance(slots, int):
        return np.abs(weights).max(axis=1, initial=0) / HEIGHTS[:, None]
    scale = np.sqrt(np.square(weights).mean(axis=1))
    return PEAKS[:, None] * scale / (1 << slots[0])


def _listed(counts: NDArray[np.integer]) -> tuple[int, ...]:
    """Exponents in falling order, from how often each occurs."""
    return tuple(int(e) for e in np.repeat(np.arange(len(counts)), counts)[::-1])
