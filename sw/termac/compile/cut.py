"""Row tiles of a layer, cut into parts, and the slots of every part.

A row that needs several entries of one word (see :mod:`termac.compile.contents`) takes several
*slots*: pairs of (word, number of the entry). Any S slots form a pass. All row tiles of a part
share its slots, so tiles that need different words (depthwise layers, groups of pixels) save passes
by running apart, or with the origin moving along; each part costs the overhead of a descriptor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.arch.estimate import part_cycles, vector_times
from termac.arch.timing import residual_spread
from termac.compile.contents import Contents
from termac.compile.lower import Position, Word
from termac.image.storage import Storage

__all__ = ["Part", "cut", "least_passes"]


@dataclass(frozen=True, eq=False)
class Part:
    """Row tiles that run as one descriptor.

    Parameters
    ----------
    first, stop : row tiles of the layer
    step : words by which the origin moves when a row tile has filled its output words
    slots : by position of the pooling window, for every slot the word as row tile ``first`` sees it
        and the number of the entry. Row tile t reads block ``word[2] + moved(t)``.
    beyond : words after the last pixel of the source that are read (but have no weights)
    least : passes that every position of the pooling window takes at least
    cycles : predicted
    """

    first: int
    stop: int
    step: int
    slots: tuple[tuple[tuple[Word, int], ...], ...]
    beyond: int
    least: int
    cycles: int

    def moved(self, tile: int, config: Config) -> int:
        """Words by which the origin has moved for a row tile."""
        return self.step * ((tile - self.first) // config.tiles_per_word)

    def passes(self, segments: int) -> list[int]:
        """Passes of every position."""
        return [_passes(len(slots), segments, self.least) for slots in self.slots]


def least_passes(config: Config, *, row_tiles: int, beats: int, residual: bool) -> int:
    """Passes that every position of the pooling window takes at least, in one descriptor.

    An empty pass between those that read residuals keeps their order; see ``residual_spread``.
    """
    _, last_time = vector_times(config, beats=beats, residual=residual)
    crowded = residual and residual_spread(config) >= last_time
    return 2 if crowded and row_tiles > config.tiles_per_word else 1


def _passes(slots: int, segments: int, least: int) -> int:
    return max(least, -(-slots // segments))


@dataclass(frozen=True, eq=False)
class _Needs:
    """Slots that row tiles need of every word of one position, int [tiles, pixels, blocks]."""

    pixels: list[tuple[int, int]]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, position: Position, blocks: int, config: Config, holds: Contents) -> _Needs:
        rows, words, _ = position.weights.shape
        tiles = rows // config.rows
        banked = position.weights.reshape(tiles, config.rows, words, config.banks, config.lanes)
        entries = holds.entries(banked).max(axis=(1, 3), initial=0)
        pixels = sorted({word[:2] for word in position.words})
        place = {pixel: index for index, pixel in enumerate(pixels)}
        counts = np.zeros((tiles, len(pixels), blocks), np.int64)
        for index, (dy, dx, block) in enumerate(position.words):
            counts[:, place[dy, dx], block] = entries[:, index]
        return cls(pixels, counts)


@dataclass(eq=False)
class _Union:
    """Slots that serve the row tiles added so far, all seen from the first one's origin."""

    needs: _Needs
    most: NDArray[np.int64]  # [pixels, blocks]

    @classmethod
    def of(cls, needs: _Needs) -> _Union:
        return cls(needs, np.zeros(needs.counts.shape[1:], np.int64))

    def add(self, tile: int, moved: int) -> bool:
        """Whether the tile needs nothing before the first origin's word."""
        counts = self.needs.counts[tile]
        if counts[:, :moved].any():
            return False
        rest = counts[:, moved:]
        view = self.most[:, : rest.shape[1]]
        np.maximum(view, rest, out=view)
        return True

    def slots(self) -> tuple[tuple[Word, int], ...]:
        return tuple(
            ((*pixel, block), number)
            for pixel, counts in zip(self.needs.pixels, self.most.tolist(), strict=True)
            for block, count in enumerate(counts)
            for number in range(count)
        )


def cut(
    found: list[Position],
    source: Storage,
    target: Storage,
    config: Config,
    holds: Contents,
    *,
    residual: bool,
) -> list[Part]:
    """Cut the row tiles of a layer into parts, so that the predicted cycles are fewest."""
    needs = [_Needs.of(position, source.blocks, config, holds) for position in found]
    tiles, group = needs[0].counts.shape[0], config.tiles_per_word
    # A part starts with a whole output word; one that starts late must not write beyond the pixel.
    whole = target.blocks % config.words_per_tile == 0
    ends = [*range(group, tiles, group), tiles] if whole else [tiles]
    steps = (0, config.words_per_tile) if tiles > group else (0,)

    def build(first: int, stop: int, step: int, unions: list[_Union], *, slots: bool) -> Part:
        least = least_passes(config, row_tiles=stop - first, beats=holds.beats, residual=residual)
        passes = [_passes(int(union.most.sum()), config.segments, least) for union in unions]
        blocks = max(int(np.flatnonzero(u.most.any(axis=0)).max(initial=0)) for u in unions)
        return Part(
            first=first,
            stop=stop,
            step=step,
            slots=tuple(union.slots() for union in unions) if slots else (),
            beyond=max(0, blocks + step * ((stop - 1 - first) // group) - source.blocks + 1),
            least=least,
            cycles=part_cycles(
                config,
                row_tiles=stop - first,
                vectors=target.height * target.width,
                passes=passes,
                beats=holds.beats,
                terms=holds.terms,
                residual=residual,
            ),
        )

    # Shortest path from row tile 0 to the last: cycles and last part of every end.
    best: dict[int, tuple[int, Part | None]] = {0: (0, None)}
    for first in [0, *ends[:-1]]:
        for step in steps:
            unions = [_Union.of(need) for need in needs]
            for tile in range(first, tiles):
                moved = step * ((tile - first) // group)
                if not all(union.add(tile, moved) for union in unions):
                    break
                if (end := tile + 1) in ends:
                    part = build(first, end, step, unions, slots=False)
                    cycles = best[first][0] + part.cycles
                    if end not in best or cycles < best[end][0]:
                        best[end] = (cycles, part)
    parts: list[Part] = []
    last = best[tiles][1]
    while last is not None:
        unions = [_Union.of(need) for need in needs]
        for tile in range(last.first, last.stop):
            for union in unions:
                union.add(tile, last.moved(tile, config))
        parts.insert(0, build(last.first, last.stop, last.step, unions, slots=True))
        last = best[last.first][1]
    return parts
