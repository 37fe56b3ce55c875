"""Bit layouts that hardware decodes and software packs.

A :class:`Layout` is an ordered list of fields. ``termac_hw`` turns it into an Amaranth
``StructLayout``; the compiler packs NumPy arrays with it; the documentation prints it. No field
offset is typed anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    """Fields from the least significant bit upwards, without gaps.

    A record is a Python integer of any width, or an array of its *parts*: 32-bit words, the least
    significant first.

    Examples
    --------
    >>> layout = Layout("weight", (Field("value", 8, signed=True), Field("lane", 3)))
    >>> hex(layout.pack_one(value=-1, lane=5))
    '0x5ff'
    >>> layout.unpack(layout.pack({"value": [-1, 7], "lane": [5, 0]}))["value"]
    array([-1,  7])
    """

    name: str
    fields: tuple[Field, ...]

    @property
    def width(self) -> int:
        return sum(field.width for field in self.fields)

    @property
    def parts(self) -> int:
        """32-bit words that a record takes."""
        return -(-self.width // 32)

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

    def subset(self, name: str, fields: Sequence[str]) -> Layout:
        """Another layout of some of the fields, in the order given.

        Raises
        ------
        KeyError
            If there is no such field.
        """
        return Layout(name, tuple(self[field] for field in fields))

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

    def pack(self, values: Mapping[str, ArrayLike]) -> NDArray[np.uint32]:
        """Pack arrays of integers.

        Parameters
        ----------
        values : by field name, of shapes that broadcast to one shape [...]

        Returns
        -------
        uint32 [..., parts]

        Raises
        ------
        KeyError
            If a field has no values.
        ValueError
            If a value does not fit its field, or a field does not fit int64.
        """
        names = [field.name for field in self.fields]
        arrays = np.broadcast_arrays(*(np.asarray(values[name]) for name in names))
        words = np.zeros((*arrays[0].shape, self.parts), np.uint32)
        for (field, position), array in zip(self._places(), arrays, strict=True):
            low, high = field.limits
            if array.size and (array.min() < low or array.max() > high):
                raise ValueError(
                    f"{self.name}.{field.name} spans {array.min()}..{array.max()}, "
                    f"must be within {low}..{high}"
                )
            bits = array.astype(np.int64).view(np.uint64) & np.uint64((1 << field.width) - 1)
            for part, shift in _parts(position, field.width):
                words[..., part] |= _shifted(bits, shift).astype(np.uint32)
        return words

    def unpack(self, words: NDArray[np.unsignedinteger]) -> dict[str, NDArray[np.int64]]:
        """Inverse of :meth:`pack`: uint32 [..., parts] -> by field name, int64 [...].

        Raises
        ------
        ValueError
            If the last axis has another length than ``parts``, or a field does not fit int64.
        """
        if words.shape[-1] != self.parts:
            raise ValueError(f"{self.name} takes {self.parts} parts, not {words.shape[-1]}")
        result = {}
        for field, position in self._places():
            bits = np.zeros(words.shape[:-1], np.uint64)
            for part, shift in _parts(position, field.width):
                bits |= _shifted(words[..., part].astype(np.uint64), -shift)
            # The highest bit of the field to bit 63, and back: with copies of the sign.
            beyond = 64 - field.width
            value = _shifted(bits, -beyond)
            result[field.name] = (
                value.view(np.int64) >> beyond
                if field.signed
                else _shifted(value, beyond).view(np.int64)
            )
        return result

    def _places(self) -> Iterator[tuple[Field, int]]:
        """Every field and the position of its least significant bit."""
        position = 0
        for field in self.fields:
            if field.limits[1] > np.iinfo(np.int64).max:
                raise ValueError(f"{self.name}.{field.name} has {field.width} bits, beyond int64")
            yield field, position
            position += field.width


def _parts(position: int, width: int) -> Iterator[tuple[int, int]]:
    """Parts that a field lies in, and the bits of the field below each (negative: of others)."""
    for part in range(position // 32, (position + width - 1) // 32 + 1):
        yield part, 32 * part - position


def _shifted(values: NDArray[np.uint64], places: int) -> NDArray[np.uint64]:
    """Shift right, or left if ``places`` is negative."""
    amount = np.uint64(abs(places))
    return values >> amount if places >= 0 else values << amount


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
