"""Bit layouts that hardware decodes and software packs.

A :class:`Layout` is nothing but an ordered list of fields. ``termac_hw`` turns it into an Amaranth
``StructLayout``; the compiler packs NumPy arrays with it; the documentation prints it. No field
offset is typed anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "Layout", "concatenate", "split"]


@dataclass(frozen=True)
class Field:
    """One field of a layout: ``width`` bits, two's complement if ``signed``."""

    name: str
    width: int
    signed: bool = False
    doc: str = ""

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value that fits."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1


@dataclass(frozen=True)
class Layout:
    """Fields from the least significant bit upwards, without gaps. At most 128 bits.

    Examples
    --------
    >>> layout = Layout("weight", (Field("value", 8, signed=True), Field("lane", 3)))
    >>> hex(layout.pack_one(value=-1, lane=5))
    '0x5ff'
    """

    name: str
    fields: tuple[Field, ...]

    @property
    def width(self) -> int:
        return sum(field.width for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name!r}")

    def offset(self, name: str) -> int:
        """Position of the least significant bit of a field."""
        position = 0
        for field in self.fields:
            if field.name == name:
                return position
            position += field.width
        raise KeyError(f"{self.name} has no field {name!r}")

    def pack_one(self, **values: int) -> int:
        """Pack one record into a Python integer; absent fields are 0.

        Raises
        ------
        ValueError
            If a value does not fit its field; the message names layout, field, value and limits.
        """
        unknown = set(values) - {field.name for field in self.fields}
        if unknown:
            raise KeyError(f"{self.name} has no field {sorted(unknown)[0]!r}")
        word, position = 0, 0
        for field in self.fields:
            value = int(values.get(field.name, 0))
            low, high = field.limits
            if not low <= value <= high:
                raise ValueError(
                    f"{self.name}.{field.name} is {value}, must be within {low}..{high}"
                )
            word |= (value & ((1 << field.width) - 1)) << position
            position += field.width
        return word

    def unpack_one(self, word: int) -> dict[str, int]:
        """Inverse of :meth:`pack_one`."""
        result, position = {}, 0
        for field in self.fields:
            value = (word >> position) & ((1 << field.width) - 1)
            if field.signed and field.width and value >> (field.width - 1):
                value -= 1 << field.width
            result[field.name] = value
            position += field.width
        return result

    def pack(self, values: Mapping[str, NDArray[np.integer]]) -> NDArray[np.uint64]:
        """Pack arrays of equal shape into an array of ``uint64`` (layouts up to 64 bits).

        Raises
        ------
        ValueError
            If the layout is wider than 64 bits or a value does not fit its field.
        """
        if self.width > 64:
            raise ValueError(f"{self.name} is {self.width} bits wide, more than 64")
        arrays = np.broadcast_arrays(*(np.asarray(values[f.name]) for f in self.fields if f.width))
        word = np.zeros(arrays[0].shape, np.uint64)
        position = 0
        for field, array in zip([f for f in self.fields if f.width], arrays, strict=True):
            low, high = field.limits
            if array.size and (array.min() < low or array.max() > high):
                raise ValueError(
                    f"{self.name}.{field.name} spans {array.min()}..{array.max()}, "
                    f"must be within {low}..{high}"
                )
            bits = array.astype(np.int64).astype(np.uint64) & np.uint64((1 << field.width) - 1)
            word |= bits << np.uint64(position)
            position += field.width
        return word


def concatenate(values: NDArray[np.uint64], width: int) -> NDArray[np.uint32]:
    """Concatenate the last axis, ``width`` bits an entry, first entry lowest, into 32-bit words.

    Parameters
    ----------
    values : array [..., n] of unsigned integers below ``2**width``; ``width`` at most 64.

    Returns
    -------
    array [..., ceil(n * width / 32)] of ``uint32``, least significant word first.
    """
    bits = (values[..., None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    bits = bits.astype(np.uint8).reshape(*values.shape[:-1], values.shape[-1] * width)
    padding = -bits.shape[-1] % 32
    bits = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, padding)])
    packed = np.ascontiguousarray(np.packbits(bits, axis=-1, bitorder="little"))
    return packed.view("<u4")


def split(words: NDArray[np.uint32], width: int, count: int) -> NDArray[np.uint64]:
    """Inverse of :func:`concatenate`: ``count`` entries of ``width`` bits along the last axis."""
    data = np.ascontiguousarray(words.astype("<u4")).view(np.uint8)
    bits = np.unpackbits(data, axis=-1, bitorder="little")[..., : count * width]
    bits = bits.reshape(*words.shape[:-1], count, width).astype(np.uint64)
    return (bits << np.arange(width, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)
