"""The published packing of columns, as its authors released it: supports only, no magnitudes.

Source: Kung, McDanel, Zhang, "Packing Sparse CNNs for Efficient Systolic Array Implementations:
Column Combining Under Joint Optimization", ASPLOS 2019, and its public code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["published_groups"]

SECTION = 256
"""Columns that are packed together. A group never crosses a section's border."""


def published_groups(
    support: NDArray[np.bool_], *, alpha: int, conflicts: int, passes: int = 1
) -> list[NDArray[np.intp]]:
    """Groups of columns, greedily.

    In each section a group starts from the lowest free column and takes, until it is full, the
    feasible free column that raises most the number of weights it keeps (ties: the lowest index).
    With one pass, these are the rows of the union of the supports.

    Parameters
    ----------
    support : bool [rows, columns]
        Where weights are not zero. Columns without any are in no group.
    alpha : int
        Most columns of a group.
    conflicts : int
        Most weights that a group may lose.
    passes : int
        Weights that a group keeps in each row.

    Returns
    -------
    list of int [columns of the group], ascending
    """
    groups = []
    for first in range(0, support.shape[1], SECTION):
        section = np.ascontiguousarray(support[:, first : first + SECTION].T, np.float32)
        nonzeros = section.sum(axis=1)
        free = nonzeros > 0
        while free.any():
            column = int(free.argmax())
            members, lost = [column], 0.0
            free[column] = False
            counts = section[column].copy()
            while len(members) < alpha:
                overlap = section @ (counts >= passes).astype(np.float32)
                feasible = free & (lost + overlap <= conflicts)
                if not feasible.any():
                    break
                column = int(np.where(feasible, nonzeros - overlap, -1).argmax())
                members.append(column)
                lost += overlap[column]
                free[column] = False
                counts += section[column]
            groups.append(np.sort(members) + first)
    return groups
