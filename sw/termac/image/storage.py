"""How a tensor lies in the activation memory.

Words are pixel-major: stored pixel (y, x), block k at ``base + (y * width + x) * blocks + k``.
A stored pixel may hold a group of neighbouring image pixels (*space to depth*): with factor
(fy, fx) it holds pixels ``(y*fy .. y*fy+fy-1, x*fx .. x*fx+fx-1)``. ``positions`` says which byte
of the stored pixel belongs to which sub-pixel and channel; other bytes hold the zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.arch.cells import Traits
from termac.graph import Tensor

__all__ = ["Storage", "byte_order", "channel_groups", "plain_storage"]


@dataclass(frozen=True, eq=False)
class Storage:
    """Place and format of one tensor.

    Parameters
    ----------
    tensor : Tensor
    factor : (fy, fx), image pixels per stored pixel
    blocks : words per stored pixel
    positions : int [fy, fx, channels], ``block * word_bytes + byte`` within the stored pixel
    word_bytes : bytes of a word
    base : address of the first word
    kind : cell that reads the values: it says how they are aligned
    """

    tensor: Tensor
    factor: tuple[int, int]
    blocks: int
    positions: NDArray[np.int64]
    word_bytes: int
    kind: Traits
    base: int = 0

    @property
    def height(self) -> int:
        """Stored lines."""
        return -(-self.tensor.shape[0] // self.factor[0])

    @property
    def width(self) -> int:
        """Stored pixels of a line."""
        return -(-self.tensor.shape[1] // self.factor[1])

    @property
    def words(self) -> int:
        return self.height * self.width * self.blocks

    @property
    def align(self) -> int:
        """Left shift of stored values."""
        return self.kind.align(self.tensor.bits)

    @property
    def zero_byte(self) -> int:
        """Stored (signed) byte of the zero point: what padding feeds."""
        return self.tensor.zero_point << self.align

    def at(self, base: int) -> Storage:
        return replace(self, base=base)

    def same_format(self, other: Storage) -> bool:
        """Whether every (pixel, channel) has the same place relative to the base."""
        return (
            self.tensor.shape == other.tensor.shape
            and self.factor == other.factor
            and self.blocks == other.blocks
            and np.array_equal(self.positions, other.positions)
        )

    def store(self, values: NDArray[np.int8]) -> NDArray[np.uint8]:
        """int8 [height, width, channels] -> uint8 [words, word_bytes], to be written at ``base``.

        Raises
        ------
        ValueError
            If the shape or a value does not belong to the tensor.
        """
        values = np.asarray(values)
        if values.shape != self.tensor.shape:
            raise ValueError(f"shape must be {self.tensor.shape}, not {values.shape}")
        low, high = self.tensor.limits
        if values.size and (values.min() < low or values.max() > high):
            raise ValueError(f"values must be within {low}..{high}")
        (fy, fx), (height, width, channels) = self.factor, self.tensor.shape
        padded = np.full(
            (self.height * fy, self.width * fx, channels), self.tensor.zero_point, np.int64
        )
        padded[:height, :width] = values
        split = padded.reshape(self.height, fy, self.width, fx, channels).transpose(0, 2, 1, 3, 4)
        pixels = np.full(
            (self.height, self.width, self.blocks * self.word_bytes), self.zero_byte, np.int64
        )
        pixels[..., self.positions.ravel()] = (
            split.reshape(self.height, self.width, -1) << self.align
        )
        return pixels.astype(np.uint8).reshape(self.words, self.word_bytes)

    def load(self, memory: NDArray[np.uint8]) -> NDArray[np.int8]:
        """Whole memory, uint8 [depth, word_bytes] -> int8 [height, width, channels]."""
        (fy, fx), (height, width, channels) = self.factor, self.tensor.shape
        words = np.asarray(memory, np.uint8)[self.base : self.base + self.words].view(np.int8)
        pixels = words.reshape(self.height, self.width, self.blocks * self.word_bytes)
        split = pixels[..., self.positions.ravel()] >> np.int8(self.align)
        image = split.reshape(self.height, self.width, fy, fx, channels).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(
            image.reshape(self.height * fy, self.width * fx, channels)[:height, :width]
        )


@lru_cache(maxsize=256)
def _places(pixels: int, channels: int, blocks: int, banks: int, lanes: int) -> tuple[int, ...]:
    """Bytes of a stored pixel for (sub-pixel, channel), in this order.

    A tap costs as many selects of a word as the fullest bank has bytes that some row reads. Rows
    read one channel of several sub-pixels (depthwise layers), or all channels of some sub-pixels
    (neighbouring words), so both are spread over the banks.
    """
    by_channel = np.zeros((channels, banks), np.int64)
    result = []
    for pixel in range(pixels):
        by_pixel = np.zeros(banks, np.int64)
        for channel in range(channels):
            block, number = divmod(pixel * channels + channel, banks * lanes)
            if number == 0:
                filled = np.zeros(banks, np.int64)
            keys = zip(filled >= lanes, by_channel[channel], by_pixel, filled, strict=True)
            bank = min(enumerate(keys), key=lambda item: (item[1], item[0]))[0]
            result.append((block * banks + bank) * lanes + int(filled[bank]))
            for count in (filled, by_pixel, by_channel[channel]):
                count[bank] += 1
    assert len(set(result)) == len(result) <= blocks * banks * lanes
    return tuple(result)


def _neighbours(pixels: int, channels: int, blocks: int, config: Config) -> tuple[int, ...]:
    """Bytes of a stored pixel for (sub-pixel, channel), neighbouring channels in one bank.

    Where columns do not combine. Every pixel starts with a bank, if that takes no more words.
    """
    aligned = -(-channels // config.lanes) * config.lanes
    step = aligned if pixels * aligned <= blocks * config.word_bytes else channels
    return tuple(step * pixel + channel for pixel in range(pixels) for channel in range(channels))


def byte_order(blocks: int, config: Config) -> NDArray[np.int64]:
    """Bytes of a stored pixel in the order in which channels fill them, int [blocks * word_bytes].

    Bank after bank, or one byte of every bank in turn where columns combine.
    """
    places = np.arange(blocks * config.word_bytes).reshape(blocks, config.banks, config.lanes)
    return (places.transpose(0, 2, 1) if config.kind.combines else places).ravel()


def channel_groups(channels: int, config: Config) -> NDArray[np.int64]:
    """Combined column of every channel of an unpermuted tensor, int [channels].

    Weights of one filter and tap within one group share a combined column: the layer takes as many
    selects of a word as the fullest group of any filter has nonzero weights. A pruner that leaves
    at most n nonzero weights per filter, tap and group gets a layer of n selects per word.
    """
    blocks = -(-channels // config.word_bytes)
    places = _places(1, channels, blocks, config.banks, config.lanes)
    return np.array(places) // config.lanes


def plain_storage(
    tensor: Tensor,
    config: Config,
    *,
    factor: tuple[int, int] = (1, 1),
    order: Sequence[int] | None = None,
) -> Storage:
    """Format of a tensor whose channels fill the banks in ``order`` (default: ascending)."""
    fy, fx = factor
    channels = tensor.shape[2]
    entries = fy * fx * channels
    blocks = -(-entries // config.word_bytes)
    if config.kind.combines:
        flat = _places(fy * fx, channels, blocks, config.banks, config.lanes)
    else:
        flat = _neighbours(fy * fx, channels, blocks, config)
    places = np.array(flat).reshape(fy, fx, channels)
    positions = places
    if order is not None:
        positions = np.empty_like(places)
        positions[:, :, np.asarray(order)] = places
    return Storage(
        tensor=tensor,
        factor=factor,
        blocks=blocks,
        positions=positions,
        word_bytes=config.word_bytes,
        kind=config.kind,
    )
