"""One-to-one assignment of least cost, nearly: the auction algorithm.

Source: D. P. Bertsekas, "The auction algorithm: a distributed relaxation method for the assignment
problem", Annals of Operations Research 14, 1988. Here all free rows bid at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign"]

ROUNDS, FEWEST = 5, 300
"""Bidding rounds per row, and at least, after which the rows still free take what is left."""


def assign(cost: NDArray[np.float32], step: float) -> NDArray[np.intp]:
    """Column of each row, no column twice.

    Parameters
    ----------
    cost : float32 [rows, columns], no more rows than columns
    step : float, positive
        Least increase of a price. The sum of the chosen costs is at most ``rows * step`` above the
        optimum, unless the bidding is cut short, which takes costs of very different size.
    """
    rows, columns = cost.shape
    if columns == 1:
        return np.zeros(rows, np.intp)
    prices = np.zeros(columns, np.float32)
    owner = np.full(columns, -1)
    chosen = np.full(rows, -1)
    free = np.arange(rows)
    for _ in range(max(FEWEST, ROUNDS * rows)):
        value = cost[free] + prices
        each = np.arange(len(free))
        wanted = value.argmin(axis=1)
        best = value[each, wanted]
        value[each, wanted] = np.inf
        bids = prices[wanted] + (value.min(axis=1) - best + np.float32(step))
        order = np.argsort(bids, kind="stable")
        wanted, bidders = wanted[order], free[order]
        before = owner[wanted]
        chosen[before[before >= 0]] = -1
        prices[wanted] = bids[order]  # where an index repeats, the last counts: the highest bid
        owner[wanted] = bidders
        chosen[owner[wanted]] = wanted
        free = np.flatnonzero(chosen < 0)
        if not len(free):
            return chosen
    chosen[free] = np.flatnonzero(owner < 0)[: len(free)]
    return chosen
