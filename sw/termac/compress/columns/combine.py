"""Column combining: several sparse columns of a filter matrix share one column of the array.

In each row of a group of columns only the largest weights survive. The others are conflicts, and
are pruned. Source: Kung, McDanel, Zhang, "Packing Sparse CNNs for Efficient Systolic Array
Implementations: Column Combining Under Joint Optimization", ASPLOS 2019, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from termac.compress.columns.matching import improved_groups, matched_groups
from termac.compress.columns.published import published_groups
from termac.errors import ConfigError, InputError

__all__ = ["Combining", "Packed", "combine"]

Groups = list[NDArray[np.intp]]


@dataclass(frozen=True)
class Packed:
    """A combined matrix: what the cells of the array hold.

    Parameters
    ----------
    values : [rows, groups, passes]
        Weights, by ascending column within a row and group. Zero marks an empty slot.
    selects : int [rows, groups, passes]
        Place in its group of the column that a weight comes from, 0 in an empty slot.
    """

    values: NDArray[Any]
    selects: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Combining:
    """Which columns share a combined column, and which weights survive.

    Parameters
    ----------
    groups : list of int [columns of the group], ascending
        Each at most ``alpha`` long. Columns without weights are in no group.
    mask : bool [rows, columns]
        The weights kept.
    passes : int
        Most weights kept in each row of a group.
    mass_lost, energy_lost, nonzeros_lost : float, 0..1
        Fraction of the sum of abs(w), of the sum of w**2, and of the nonzero weights that is lost.
    """

    groups: Groups
    mask: NDArray[np.bool_]
    passes: int
    mass_lost: float
    energy_lost: float
    nonzeros_lost: float

    @property
    def density(self) -> float:
        """Weights kept per slot of the combined matrix."""
        slots = self.mask.shape[0] * len(self.groups) * self.passes
        return float(np.count_nonzero(self.mask)) / slots if slots else 0.0

    def prune(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The matrix with every conflict set to zero, [rows, columns]."""
        matrix = self._checked(matrix)
        return np.where(self.mask, matrix, np.zeros((), matrix.dtype))

    def pack(self, matrix: NDArray[Any]) -> Packed:
        """The combined matrix of a matrix of the shape that was combined.

        Raises
        ------
        InputError
            If the shape is another.
        """
        matrix = self._checked(matrix)
        shape = (matrix.shape[0], len(self.groups), self.passes)
        values, selects = np.zeros(shape, matrix.dtype), np.zeros(shape, np.intp)
        for index, group in enumerate(self.groups):
            rows, places = np.nonzero(self.mask[:, group])
            # nonzero() goes row by row: the distance from the first of the row is the slot
            slots = np.arange(len(rows)) - np.searchsorted(rows, rows)
            values[rows, index, slots] = matrix[rows, group[places]]
            selects[rows, index, slots] = places
        return Packed(values, selects)

    def unpack(self, packed: Packed) -> NDArray[Any]:
        """The pruned matrix [rows, columns] that was packed."""
        matrix = np.zeros(self.mask.shape, packed.values.dtype)
        for index, group in enumerate(self.groups):
            rows, slots = np.nonzero(packed.values[:, index])
            columns = group[packed.selects[rows, index, slots]]
            matrix[rows, columns] = packed.values[rows, index, slots]
        return matrix

    def _checked(self, matrix: NDArray[Any]) -> NDArray[Any]:
        matrix = np.asarray(matrix)
        if matrix.shape != self.mask.shape:
            found, wanted = ("x".join(map(str, s)) for s in (matrix.shape, self.mask.shape))
            raise InputError(f"matrix has shape {found}, but {wanted} was combined; combine it too")
        return matrix


def combine(
    matrix: NDArray[Any],
    *,
    alpha: int,
    gamma: float = 0.5,
    passes: int = 1,
    method: Literal["magnitude", "published"] = "magnitude",
) -> Combining:
    """Group the columns of a filter matrix, and prune what conflicts.

    ``published`` is the greedy of the paper's code. ``magnitude`` packs the whole matrix into as
    many combined columns as ``published`` needs, but so that less weight mass is lost, and never
    more. There is no chance in it: the same matrix gives the same groups.

    Parameters
    ----------
    matrix : float or int [rows, columns]
        Rows are output channels, columns are input channels times taps.
    alpha : int
        Maximum number of columns of a group, a power of two.
    gamma : float
        Conflicts allowed per row of a group, on average: in a group, the sum over the rows of
        ``max(0, nonzeros - passes)`` is at most ``floor(gamma * rows)``. Both methods keep to it.
        It also decides on the number of groups: those that ``published`` needs to keep to it.
    passes : int
        Weights that survive in each row of a group: the largest, of equal ones the leftmost.
    method : "magnitude" or "published"

    Raises
    ------
    InputError
        If the matrix is empty, not a matrix of numbers, or holds NaN or infinity.
    ConfigError
        If another argument is out of range.
    """
    _check_arguments(alpha, gamma, passes, method)
    magnitudes = _magnitudes(matrix)
    support = magnitudes > 0
    conflicts = math.floor(min(gamma, alpha) * len(magnitudes))
    limits = {"alpha": alpha, "conflicts": conflicts, "passes": passes}
    result = _result(published_groups(support, **limits), magnitudes, passes)
    if method == "published" or not result.nonzeros_lost:
        return result
    used = np.flatnonzero(support.any(axis=0))
    dense = magnitudes[:, used]
    groups = matched_groups(dense, count=len(result.groups), **limits)
    matched = groups and _result([used[group] for group in groups], magnitudes, passes)
    if matched and matched.mass_lost <= result.mass_lost:
        return matched
    # rare: gamma leaves the matching no room, or the matrix is tiny
    start = [np.searchsorted(used, group) for group in result.groups]
    groups = improved_groups(dense, start, **limits)
    improved = _result([used[group] for group in groups], magnitudes, passes)
    return improved if improved.mass_lost <= result.mass_lost else result


def _check_arguments(alpha: int, gamma: float, passes: int, method: str) -> None:
    def integer(value: object) -> bool:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)

    if not integer(alpha) or alpha < 1 or alpha & (alpha - 1):
        raise ConfigError(f"alpha must be a power of two (1, 2, 4, 8, ...), not {alpha!r}")
    if not isinstance(gamma, (int, float, np.integer, np.floating)) or not gamma >= 0:
        raise ConfigError(f"gamma must be a number, 0 or more, not {gamma!r}")
    if not integer(passes) or not 1 <= passes <= alpha:
        raise ConfigError(f"passes must be an integer 1..{alpha} (alpha), not {passes!r}")
    if method not in ("magnitude", "published"):
        raise ConfigError(f"method must be 'magnitude' or 'published', not {method!r}")


def _magnitudes(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute values as float64 [rows, columns], checked."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise InputError(
            f"matrix to combine has {matrix.ndim} axes; reshape the weights to [output channels, "
            "input channels x taps]"
        )
    if not matrix.size:
        shape = "x".join(map(str, matrix.shape))
        raise InputError(f"matrix to combine is empty ({shape}); leave the layer out")
    if matrix.dtype.kind not in "iuf":
        raise InputError(f"matrix to combine is of type {matrix.dtype}; make it float or integer")
    magnitudes = np.abs(matrix.astype(np.float64))
    wrong = np.argwhere(~np.isfinite(magnitudes))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"matrix to combine holds {matrix[row, column]} in row {row}, column {column}; "
            "mend the weights"
        )
    return magnitudes


def _result(groups: Groups, magnitudes: NDArray[np.float64], passes: int) -> Combining:
    """Prune the conflicts of groups."""
    mask = np.zeros(magnitudes.shape, np.bool_)
    rows = np.arange(len(magnitudes))
    for group in groups:
        left = magnitudes[:, group]
        for _ in range(passes):
            place = left.argmax(axis=1)  # of equal weights the leftmost
            mask[rows, group[place]] |= left[rows, place] > 0
            left[rows, place] = 0
    mass = magnitudes / (magnitudes.max() or 1)  # sums and squares stay finite
    used = magnitudes > 0

    def lost(amount: NDArray[Any]) -> float:
        total = amount.sum()
        return float(amount[~mask].sum() / total) if total else 0.0

    return Combining(
        groups=groups,
        mask=mask,
        passes=passes,
        mass_lost=lost(mass),
        energy_lost=lost(mass**2),
        nonzeros_lost=lost(used),
    )
