"""What the lanes of a layer can hold: groups of weights that share selects, and who keeps them.

A *slot* reads one word and lets every row pick one weight of each of the word's banks. So a filter
may keep as many weights of a bank of a word as the word has slots. Slots fill passes of S. Where
several pixels share a word, a weight appears in one row per output pixel, each with a view of its
own, and needs room in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.compile.layers import Layer
from termac.compile.lower import Word, axes
from termac.image.storage import Storage

__all__ = ["Selects"]

SWAPS = 24
"""Rounds of moving one slot from word to word, where weights have several views."""


@dataclass(frozen=True, eq=False)
class Selects:
    """Words and banks that the weights of one layer read.

    Parameters
    ----------
    words : (position of the pooling window, word), in the order of ``limits``
    banks : banks of a word
    groups : int [views, weights of a filter]: word * banks + bank of weight (ky, kx, channel) as
        seen from each output pixel of a stored pixel and each position of the pooling window
    """

    words: tuple[tuple[int, Word], ...]
    banks: int
    groups: NDArray[np.int64]
    _position: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_position", np.array([position for position, _ in self.words]))

    @classmethod
    def of(cls, layer: Layer, source: Storage, target: Storage, config: Config) -> Selects:
        """Selects of a layer between two formats.

        Raises
        ------
        ValueError
            If the factors of the two formats do not go together.
        """
        both = axes(layer, source, target)
        if both is None:
            raise ValueError(f"layer {layer.name!r} cannot read {source.factor} pixels a word")
        _, height, width, channels = layer.linear.weights.shape
        words: dict[tuple[int, Word], int] = {}
        views = []
        for py, px in np.ndindex(layer.pool):
            position = py * layer.pool[1] + px
            for jy, jx in np.ndindex(target.factor):
                view = np.empty((height, width, channels), np.int64)
                for ky, kx in np.ndindex(height, width):
                    dy, sub_y = both[0].taps[jy, py, ky]
                    dx, sub_x = both[1].taps[jx, px, kx]
                    for channel, place in enumerate(source.positions[sub_y, sub_x].tolist()):
                        block, byte = divmod(place, config.word_bytes)
                        word = words.setdefault((position, (dy, dx, block)), len(words))
                        view[ky, kx, channel] = word * config.banks + byte // config.lanes
                views.append(view.ravel())
        return cls(tuple(words), config.banks, np.stack(views))

    @property
    def positions(self) -> int:
        """Positions of the pooling window."""
        return int(self._position.max()) + 1

    def needed(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Slots of every word that a mask, bool [filters, weights], takes: int [words]."""
        most = np.zeros(len(self.words), np.int64)
        for view in self.groups:
            counts = np.zeros((len(mask), len(self.words) * self.banks), np.int64)
            rows, weights = np.nonzero(mask)
            np.add.at(counts, (rows, view[weights]), 1)
            np.maximum(most, counts.max(axis=0).reshape(-1, self.banks).max(axis=1), out=most)
        return most

    def slots(self, limits: NDArray[np.int64]) -> int:
        """Slots of the busiest position of the pooling window."""
        return int(np.bincount(self._position, weights=limits).max())

    def keep(self, worth: NDArray[np.float64], limits: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Weights that stay, the most worth first: bool [filters, weights].

        Parameters
        ----------
        worth : [filters, weights], never negative
        limits : slots per word, int [words], or [candidates, words] for one mask per candidate
        """
        limits = np.asarray(limits)
        many = np.atleast_2d(limits)
        if len(self.groups) == 1:
            rank = _ranks(worth, self.groups[0])
            kept = rank < many[:, None, self.groups[0] // self.banks]
        else:
            kept = self._keep_in_views(worth, many)
        return kept if limits.ndim == 2 else kept[0]

    def _keep_in_views(
        self, worth: NDArray[np.float64], limits: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        filters, weights = worth.shape
        views, groups = len(self.groups), len(self.words) * self.banks
        rows = np.arange(filters)
        room = np.repeat(limits, self.banks, axis=1).astype(np.int16)
        left = np.broadcast_to(room[:, None, None], (len(limits), filters, views, groups)).copy()
        kept = np.zeros((len(limits), filters, weights), bool)
        seen = np.arange(views)
        for weight in np.argsort(-worth, axis=1, kind="stable").T:
            index = (slice(None), rows[:, None], seen[None], self.groups[:, weight].T)
            free = left[index]
            fits: NDArray[np.bool_] = np.all(free > 0, axis=2)
            left[index] = free - fits[..., None]
            kept[:, rows, weight] = fits
        return kept

    def spend(
        self, worth: NDArray[np.float64], slots: int, *, refine: bool = True
    ) -> NDArray[np.int64]:
        """Slots of every word, int [words]: ``slots`` in all, so that the most worth stays.

        Exact where every weight has one view. Otherwise views are first counted one by one, then
        (``refine``) slots move from word to word while that keeps more.
        """
        limits = np.zeros(len(self.words), np.int64)
        gains = self._gains(worth)
        for position in range(self.positions):
            words = np.flatnonzero(self._position == position)
            table = np.stack([gains[word] for word in words])  # falls with every further slot
            best = np.argsort(-table, axis=None, kind="stable")[:slots]
            best = best[table.ravel()[best] > 0]
            limits[words] = np.bincount(best // table.shape[1], minlength=len(words))
        return self._refine(worth, limits) if refine and len(self.groups) > 1 else limits

    def _gains(self, worth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Worth that slot n of a word adds, mean over the views: [words, most slots]."""
        sizes = [np.bincount(view).max() for view in self.groups]
        gains = np.zeros((len(self.words), max(sizes)))
        for view in self.groups:
            word = np.broadcast_to(view // self.banks, worth.shape)
            np.add.at(gains, (word, _ranks(worth, view)), worth)
        return gains / len(self.groups)

    def _refine(self, worth: NDArray[np.float64], limits: NDArray[np.int64]) -> NDArray[np.int64]:
        best = worth[self.keep(worth, limits)].sum()
        for _ in range(SWAPS):
            moves = []
            for taken in np.flatnonzero(limits):
                for given in np.flatnonzero(self._position == self._position[taken]):
                    if given != taken:
                        moved = limits.copy()
                        moved[taken] -= 1
                        moved[given] += 1
                        moves.append(moved)
            if not moves:
                break
            kept = self.keep(worth, np.stack(moves))
            totals = np.einsum("bow,ow->b", kept, worth)
            if totals.max() <= best * (1 + 1e-9):
                break
            best, limits = totals.max(), moves[int(totals.argmax())]
        return limits


def _ranks(worth: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of every weight within its group, most worth first: int [filters, weights]."""
    filters, weights = worth.shape
    order = np.lexsort((-worth, np.broadcast_to(groups, worth.shape)), axis=1)
    sorted_groups = groups[order]
    start = np.ones((filters, weights), bool)
    start[:, 1:] = sorted_groups[:, 1:] != sorted_groups[:, :-1]
    first = np.maximum.accumulate(np.where(start, np.arange(weights), 0), axis=1)
    ranks = np.empty((filters, weights), np.int64)
    np.put_along_axis(ranks, order, np.arange(weights) - first, axis=1)
    return ranks
