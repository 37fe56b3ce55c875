"""Which powers of two the beats of a pass have: schedules, and the descent among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["HIGHEST", "descend", "neighbours", "spread"]

HIGHEST = 6
"""Maximum power of a beat. Twice that is the most significant bit of an int8 weight."""


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


def descend(
    start: tuple[int, ...], cost: Callable[[tuple[int, ...]], float]
) -> list[tuple[int, ...]]:
    """Change one beat at a time while the cost falls. All that was seen, cheapest first."""
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


def _listed(counts: NDArray[np.integer]) -> tuple[int, ...]:
    """Exponents in falling order, from how often each occurs."""
    return tuple(int(e) for e in np.repeat(np.arange(len(counts)), counts)[::-1])
