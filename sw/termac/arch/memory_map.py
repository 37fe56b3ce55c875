"""The byte addresses through which a host reaches the memories of the accelerator.

A byte address of the AXI4 window consists of bit fields, so that the hardware decodes it by
slicing::

    | region (3) | word | group | beat | byte (2) |

A *word* is an address of the memory as programs use it. A *group* is one of the equal memories
that stand side by side (weights and parameters: one per drain). A *beat* is one 32-bit part of an
entry, least significant first. Counts that are no power of two leave holes: beats beyond the last
are padding (writes are ignored, reads yield 0), groups and words beyond the last are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from termac.arch.config import Config
from termac.arch.layout import concatenate, split
from termac.arch.program import PARAMETER, TAP

__all__ = ["REGION_WIDTH", "Block", "MemoryMap", "Region", "entry_weights", "weight_entries"]

REGION_WIDTH = 3
"""Bits of an address that choose the region."""


class Block(NamedTuple):
    """Consecutive 32-bit words of the window: byte address of the first, and their values."""

    address: int
    words: NDArray[np.uint32]


@dataclass(frozen=True)
class Region:
    """One memory, or a row of equal memories, in the window.

    Parameters
    ----------
    name : plural, as in :class:`MemoryMap`
    number : value of the region field
    base : byte address of the first entry
    words : entries of one memory
    groups : equal memories
    width : bits of an entry
    readable : whether the host may read; it may always write
    doc : one sentence
    """

    name: str
    number: int
    base: int
    words: int
    groups: int
    width: int
    readable: bool
    doc: str

    @property
    def beats(self) -> int:
        """32-bit beats of an entry."""
        return -(-self.width // 32)

    @property
    def beat_width(self) -> int:
        """Bits of the beat field."""
        return (self.beats - 1).bit_length()

    @property
    def group_width(self) -> int:
        """Bits of the group field."""
        return (self.groups - 1).bit_length()

    @property
    def word_width(self) -> int:
        """Bits of the word field."""
        return (self.words - 1).bit_length()

    @property
    def group_stride(self) -> int:
        """Bytes from one group to the next: an entry with its padding."""
        return 4 << self.beat_width

    @property
    def word_stride(self) -> int:
        """Bytes from one word to the next."""
        return self.group_stride << self.group_width

    @property
    def size(self) -> int:
        """Bytes that the region spans, holes included; a power of two."""
        return self.word_stride << self.word_width

    def address(self, word: int, group: int = 0, beat: int = 0) -> int:
        """Byte address of one beat.

        Raises
        ------
        ValueError
            If there is no such word, group or beat.
        """
        for kind, value, count in (
            ("word", word, self.words), ("group", group, self.groups), ("beat", beat, self.beats)
        ):  # fmt: skip
            if not 0 <= value < count:
                raise ValueError(f"{self.name}: {kind} is {value}, must be within 0..{count - 1}")
        return self.base + word * self.word_stride + group * self.group_stride + 4 * beat

    def blocks(self, entries: NDArray[np.uint32], first: int = 0) -> list[Block]:
        """Whole entries as consecutive words, in the order of their addresses.

        Parameters
        ----------
        entries : array [words, groups, beats] of ``uint32``
        first : word of the first entries

        Returns
        -------
        list of Block
            One block if the groups leave no holes, else one per word. Padding beats are 0.

        Raises
        ------
        ValueError
            If the shape is wrong or the entries do not fit after ``first``.
        """
        if entries.ndim != 3 or entries.shape[1:] != (self.groups, self.beats):
            raise ValueError(
                f"{self.name}: entries must have the shape (n, {self.groups}, {self.beats}), "
                f"not {entries.shape}"
            )
        if not len(entries):
            return []
        self.address(first)
        self.address(first + len(entries) - 1)
        padding = (1 << self.beat_width) - self.beats
        padded = np.pad(entries.astype(np.uint32, copy=False), ((0, 0), (0, 0), (0, padding)))
        if self.groups == 1 << self.group_width:
            return [Block(self.address(first), padded.reshape(-1))]
        return [Block(self.address(first + i), row.reshape(-1)) for i, row in enumerate(padded)]

    def entries(self, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Whole entries of a block, padding left out, [n] -> [words, groups, beats].

        Raises
        ------
        ValueError
            If the words are no whole entries of all groups.
        """
        stride = self.groups << self.beat_width
        if words.ndim != 1 or len(words) % stride:
            raise ValueError(f"{self.name}: an entry of all groups takes {stride} words")
        return words.reshape(-1, self.groups, 1 << self.beat_width)[..., : self.beats]


class MemoryMap:
    """All regions of one configuration.

    Parameters
    ----------
    config : Config

    Attributes
    ----------
    program : 32-bit program words
    taps : 32-bit taps
    weights : per drain g, the S weights of rows g*S .. g*S+S-1; row j lies at bit j*weight_width
    parameters : per drain, PARAMETER records
    activations : words of W bytes; bank b holds bytes b*lanes .. b*lanes+lanes-1
    address_width : bits of a byte address in the window
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        segments = config.segments
        drafts = (
            Region("program", 0, 0, config.program_depth, 1, 32, False, "Program words."),
            Region("taps", 1, 0, config.tap_depth, 1, TAP.width, False, "TAP records."),
            Region(
                "weights", 2, 0, config.weight_depth, config.drains,
                segments * config.weight_width, False,
                f"Group g: weights of rows {segments}g..{segments}g+{segments - 1}; "
                f"row {segments}g+j at bit {config.weight_width}j.",
            ),
            Region(
                "parameters", 3, 0, config.parameter_depth, config.drains, PARAMETER.width, False,
                f"Group g: PARAMETER records; record {segments}t+j is that of row {segments}g+j "
                "in row tile t.",
            ),
            Region(
                "activations", 4, 0, config.activation_depth, 1, 8 * config.word_bytes, True,
                f"Words of {config.word_bytes} bytes.",
            ),
        )  # fmt: skip
        self.region_size = max(region.size for region in drafts)
        self.regions = tuple(
            replace(region, base=region.number * self.region_size) for region in drafts
        )
        self.program, self.taps, self.weights, self.parameters, self.activations = self.regions
        self.address_width = (self.region_size - 1).bit_length() + REGION_WIDTH

    def decode(self, address: int) -> tuple[Region, int, int, int] | None:
        """Region, word, group and beat of a byte address; None in a hole."""
        number, rest = divmod(address, self.region_size)
        if not 0 <= number < len(self.regions):
            return None
        region = self.regions[number]
        word, rest = divmod(rest, region.word_stride)
        group, rest = divmod(rest, region.group_stride)
        beat = rest // 4
        if word >= region.words or group >= region.groups or beat >= region.beats:
            return None
        return region, word, group, beat

    def entry(self, address: int) -> tuple[Region, int]:
        """Region and word of a byte address at which an entry of all groups begins.

        Raises
        ------
        ValueError
            If none begins there.
        """
        place = self.decode(address)
        if place is None or address % 4 or place[2:] != (0, 0):
            raise ValueError(f"no entry begins at address {address:#x}")
        return place[:2]

    def pack_program(self, words: NDArray[np.uint32], first: int = 0) -> list[Block]:
        """Program words [n]."""
        return self.program.blocks(words[:, None, None], first)

    def pack_taps(self, words: NDArray[np.uint32], first: int = 0) -> list[Block]:
        """Packed TAP records [n]."""
        return self.taps.blocks(words[:, None, None], first)

    def pack_weights(self, weights: NDArray[np.integer], first: int = 0) -> list[Block]:
        """Packed weights [words, R], by :attr:`Config.weight_layout`."""
        return self.weights.blocks(weight_entries(self.config, weights), first)

    def pack_parameters(
        self, values: Mapping[str, NDArray[np.integer]], first: int = 0
    ) -> list[Block]:
        """Fields of PARAMETER by name, [n, drains] each: record i of every drain."""
        return self.parameters.blocks(PARAMETER.pack(values), first)

    def pack_activations(self, data: NDArray[np.integer], first: int = 0) -> list[Block]:
        """Activation words [n, W] of ``int8`` or ``uint8``."""
        if data.ndim != 2 or data.shape[1] != self.config.word_bytes:
            raise ValueError(
                f"activations must have the shape (n, {self.config.word_bytes}), not {data.shape}"
            )
        words = np.ascontiguousarray(data).view(np.uint8).reshape(len(data), 1, -1)
        return self.activations.blocks(words.view("<u4"), first)

    def unpack_activations(self, words: NDArray[np.uint32]) -> NDArray[np.int8]:
        """Activation words [n, W] from what was read of ``n`` whole entries, padding included."""
        entries = self.activations.entries(words)[:, 0]
        return np.ascontiguousarray(entries.astype("<u4")).view(np.int8)


def weight_entries(config: Config, weights: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Weight words as the drains' memories hold them.

    Parameters
    ----------
    weights : unsigned integers [words, R], packed by :attr:`Config.weight_layout`

    Returns
    -------
    uint32 [words, drains, parts]
        The weights of a drain's S rows side by side, the first row lowest.

    Raises
    ------
    ValueError
        If the shape is wrong.
    """
    if weights.ndim != 2 or weights.shape[1] != config.rows:
        raise ValueError(f"weights must have the shape (n, {config.rows}), not {weights.shape}")
    grouped = weights.astype(np.uint64, copy=False).reshape(-1, config.drains, config.segments)
    return concatenate(grouped, config.weight_width)


def entry_weights(config: Config, entries: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Inverse of :func:`weight_entries`: uint32 [words, drains, parts] -> uint64 [words, R]."""
    return split(entries, config.weight_width, config.segments).reshape(-1, config.rows)
