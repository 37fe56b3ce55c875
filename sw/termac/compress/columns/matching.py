"""Packing of columns by the mass of the weights that get lost: one matching after the other.

The groups are filled slot by slot: the heaviest columns open them, then as many columns as there
are groups join at once, each group getting one, so that the mass lost is least: an assignment
problem. The same step improves a packing: one column leaves each group, and all are assigned again.

The gain over the greedy of Kung, McDanel, Zhang (ASPLOS 2019) is twofold: magnitudes decide
instead of supports, and all groups choose together instead of the first ones choosing best.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from termac.compress.columns.assignment import assign

__all__ = ["improved_groups", "matched_groups"]

SWEEPS = 3
"""Maximum number of times that every column of a large matrix is assigned again."""
SMALL = 1000
"""Groups times sweeps that a small matrix may take instead."""
GAIN = 0.001
"""A sweep that lowers the mass lost by less than this fraction is the last."""
BLOCK = 512
"""Maximum number of groups in one assignment, whose effort grows with their square."""
STEP = 0.03
"""Price step of the auction, in standard deviations of the cost."""
UNITS = 1 << 23
"""Maximum mass of a column: integers that float32 adds without error, in any order."""

Slots = NDArray[np.intp]
"""Column indices [alpha, groups]. The number of columns marks an empty slot."""


class _Packer:
    """Columns as integer masses, and what it costs to put one into a group.

    Parameters
    ----------
    magnitudes : float64 [rows, columns], none negative
    conflicts : most weights that a group may lose
    passes : weights that a group keeps in each row
    """

    def __init__(self, magnitudes: NDArray[np.float64], conflicts: int, passes: int) -> None:
        rows, self.columns = magnitudes.shape
        self.conflicts, self.passes = conflicts, passes
        self.random = np.random.default_rng(0)
        scaled = magnitudes.T / magnitudes.max()
        # a power of two: the last bits of the sum do not matter
        unit = 2.0 ** math.floor(math.log2(UNITS / scaled.sum(axis=1).max()))
        scaled = np.ceil(scaled * unit)
        self.mass = np.zeros((self.columns + 1, rows), np.float32)  # the last is an empty slot
        self.mass[:-1] = np.maximum(scaled, magnitudes.T > 0)  # a tiny weight is a conflict too
        self.support = (self.mass > 0).astype(np.float32)
        self.nonzeros = self.support.sum(axis=1)
        self.rows = [np.flatnonzero(column) for column in self.mass]

    def largest(self, members: Slots) -> NDArray[np.float32]:
        """The masses that groups [slots, groups] keep, falling: [passes, groups, rows]."""
        kept = np.zeros((self.passes, members.shape[1], self.mass.shape[1]), np.float32)
        for columns in members:
            new = self.mass[columns]
            for place in kept:
                smaller = np.minimum(place, new)
                np.maximum(place, new, out=place)
                new = smaller
        return kept

    def lost(self, slots: Slots) -> float:
        return float(self.mass[slots].sum(dtype=np.float64)) - float(
            self.largest(slots).sum(dtype=np.float64)
        )

    def excess(self, slots: Slots) -> int:
        """Conflicts beyond what is allowed, summed over the groups."""
        found = self.nonzeros[slots].sum(axis=0) - (self.largest(slots) > 0).sum(axis=(0, 2))
        return int(np.maximum(0, found - self.conflicts).sum())

    def _costs(
        self, members: Slots, candidates: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mass lost, and further conflicts beyond the bound, if a candidate joins a group.

        Both float32 [candidates, groups].
        """
        kept = self.largest(members)
        full = np.ascontiguousarray(kept[-1].T)  # of a row's smallest: [rows, groups]
        lost = np.zeros((len(candidates), full.shape[1]), np.float32)
        for result, candidate in zip(lost, candidates, strict=True):
            rows = self.rows[candidate]
            both = full[rows]
            np.minimum(both, self.mass[candidate, rows, None], out=both)
            both.sum(axis=0, out=result)
        before = self.nonzeros[members].sum(axis=0) - (kept > 0).sum(axis=(0, 2))
        spare = (before - self.conflicts).astype(np.float32)
        added = self.support[candidates] @ (full > 0).astype(np.float32)
        return lost, np.maximum(0, added + spare) - np.maximum(0, spare)

    def join(
        self, members: Slots, candidates: NDArray[np.intp], *, improve: bool
    ) -> NDArray[np.intp]:
        """Which candidate joins which group, [groups]: the given order if that is no worse."""
        result = candidates.copy()
        order = self.random.permutation(len(candidates))
        for block in np.array_split(order, -(-len(order) // BLOCK)):
            before = np.flatnonzero(candidates[block] < self.columns)
            if not len(before):
                continue
            columns = candidates[block[before]]
            lost, excess = self._costs(members[:, block], columns)
            step = max(1, round(STEP * float(lost.std(dtype=np.float64))))
            # a forbidden place costs more than any other, and the more the worse it is
            extra = np.where(excess > 0, lost.max() + excess * step, 0)
            chosen = assign(lost + extra, step)
            each = np.arange(len(columns))
            if not improve or (
                (excess[each, chosen].sum(), lost[each, chosen].sum(dtype=np.float64))
                < (excess[each, before].sum(), lost[each, before].sum(dtype=np.float64))
            ):
                result[block] = self.columns
                result[block[chosen]] = columns
        return result

    def improve(self, slots: Slots) -> Slots:
        """Assign every column again, until that no longer pays."""
        count = slots.shape[1]
        best = self.lost(slots)
        for _ in range(max(SWEEPS, SMALL // count) if count > 1 else 0):
            # any order of the columns of a group, then its empty slots
            keys = self.random.random(slots.shape) + (slots == self.columns)
            slots = np.take_along_axis(slots, keys.argsort(axis=0), axis=0)
            for slot in range(len(slots)):
                others = np.delete(slots, slot, axis=0)
                slots[slot] = self.join(others, slots[slot], improve=True)
            before, best = best, self.lost(slots)
            if best >= before * (1 - GAIN):
                break
        return slots

    def groups(self, slots: Slots) -> list[NDArray[np.intp]]:
        found = [np.sort(column[column < self.columns]) for column in slots.T]
        return sorted((group for group in found if len(group)), key=lambda group: int(group[0]))


def matched_groups(
    magnitudes: NDArray[np.float64], *, alpha: int, conflicts: int, passes: int, count: int
) -> list[NDArray[np.intp]] | None:
    """Groups of columns that lose little mass, or None if a group exceeds its conflicts.

    Parameters
    ----------
    magnitudes : float64 [rows, columns]
        Absolute weights. No column is all zero.
    alpha : int
        Most columns of a group.
    conflicts : int
        Most weights that a group may lose.
    passes : int
        Weights that a group keeps in each row.
    count : int
        Number of groups, at least columns / alpha.
    """
    packer = _Packer(magnitudes, conflicts, passes)
    columns = np.full(alpha * count, packer.columns)
    columns[: packer.columns] = np.argsort(-packer.mass[:-1].sum(axis=1), kind="stable")
    slots = columns.reshape(alpha, count)
    for slot in range(1, alpha):
        slots[slot] = packer.join(slots[:slot], slots[slot], improve=False)
    slots = packer.improve(slots)
    return None if packer.excess(slots) else packer.groups(slots)


def improved_groups(
    magnitudes: NDArray[np.float64],
    groups: list[NDArray[np.intp]],
    *,
    alpha: int,
    conflicts: int,
    passes: int,
) -> list[NDArray[np.intp]]:
    """At most as many groups, none with more conflicts than allowed, that lose less mass.

    Parameters are those of :func:`matched_groups`, and ``groups`` keep to ``conflicts``.
    """
    packer = _Packer(magnitudes, conflicts, passes)
    slots = np.full((alpha, len(groups)), packer.columns)
    for index, group in enumerate(groups):
        slots[: len(group), index] = group
    return packer.groups(packer.improve(slots))
