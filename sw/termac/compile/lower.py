"""A layer between two stored tensors as a matrix over memory words.

Rows are bytes of a stored output pixel, columns are bytes of the words that the taps fetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.compile.layers import Layer
from termac.image.storage import Storage

__all__ = ["Axis", "Position", "Word", "axes", "positions"]

Word = tuple[int, int, int]
"""Lines below and pixels right of the vector's origin (stored pixels), block."""


@dataclass(frozen=True)
class Axis:
    """One image axis of a layer, in stored pixels.

    Parameters
    ----------
    stride : stored input pixels per stored output pixel
    taps : for every (output sub-pixel, window position, kernel index) the stored input pixel
        relative to the origin, and the sub-pixel within it
    """

    stride: int
    taps: dict[tuple[int, int, int], tuple[int, int]]


def _axis(layer: Layer, source: Storage, target: Storage, axis: int) -> Axis | None:
    linear, window = layer.linear, layer.pool_stride[axis]
    f_in, f_out = source.factor[axis], target.factor[axis]
    stride = linear.stride[axis] * window * f_out
    single = (target.height, target.width)[axis] == 1  # the stride is never used
    if stride % f_in and not single:
        return None
    taps = {}
    for sub in range(f_out):
        for position in range(layer.pool[axis]):
            first = linear.stride[axis] * (window * sub + position) - linear.padding[axis]
            for k in range(linear.weights.shape[1 + axis]):
                taps[sub, position, k] = divmod(first + k, f_in)
    return Axis(0 if single else stride // f_in, taps)


def axes(layer: Layer, source: Storage, target: Storage) -> tuple[Axis, Axis] | None:
    """Both axes of a layer; None if the factors of the two tensors do not go together."""
    vertical, horizontal = (_axis(layer, source, target, axis) for axis in (0, 1))
    if vertical is None or horizontal is None:
        return None
    return vertical, horizontal


@dataclass(frozen=True, eq=False)
class Position:
    """One position of the pooling window (the only one without pooling).

    Parameters
    ----------
    words : words that any row needs, in the order of the columns
    weights : int16 [rows, len(words), word_bytes]; rows are a multiple of the array's
    """

    words: tuple[Word, ...]
    weights: NDArray[np.int16]


def positions(
    layer: Layer, source: Storage, target: Storage, both: tuple[Axis, Axis], config: Config
) -> list[Position]:
    """The matrices of a layer, one per position of its pooling window."""
    vertical, horizontal = both
    weights = layer.linear.weights
    _, height, width, _ = weights.shape
    rows = -(-target.blocks * config.word_bytes // config.rows) * config.rows
    result = []
    for py, px in product(range(layer.pool[0]), range(layer.pool[1])):
        pixels: dict[tuple[int, int], NDArray[np.int16]] = {}
        for jy, ky in product(range(target.factor[0]), range(height)):
            dy, sub_y = vertical.taps[jy, py, ky]
            for jx, kx in product(range(target.factor[1]), range(width)):
                dx, sub_x = horizontal.taps[jx, px, kx]
                matrix = pixels.get((dy, dx))
                if matrix is None:
                    matrix = np.zeros((rows, source.blocks * config.word_bytes), np.int16)
                    pixels[dy, dx] = matrix
                places = np.ix_(target.positions[jy, jx], source.positions[sub_y, sub_x])
                matrix[places] = weights[:, ky, kx, :]
        stacked = np.stack([pixels[key] for key in sorted(pixels)], axis=1)
        stacked = stacked.reshape(rows, -1, config.word_bytes)
        used: NDArray[np.bool_] = np.asarray(stacked.any(axis=(0, 2)))
        words = [(*key, block) for key in sorted(pixels) for block in range(source.blocks)]
        result.append(
            Position(
                words=tuple(word for word, keep in zip(words, used, strict=True) if keep),
                weights=np.ascontiguousarray(stacked[:, used]),
            )
        )
    return result
