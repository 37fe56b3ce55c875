"""The cells an array can be built of, as far as hardware and software must agree on them.

All cells keep one contract: activations walk down, partial sums walk right, one *beat* per cycle,
and a row end joins the beats of a vector. They differ in what a beat is:

============= ================================================ ===========================
cell          a beat                                           beats of a vector
============= ================================================ ===========================
``bit_plane`` one bit of every activation times one weight     bits of an activation
``bit_serial`` the same, sums travel bit by bit as well        8
``term``      whole activations times one weight term          terms of a group, 1..16
``term_pair`` one activation term times one weight term        weight terms x data terms
============= ================================================ ===========================

``bit_plane`` and ``bit_serial`` keep one weight and the lane that it reads; a dense group of lanes
takes as many passes as it has lanes. ``term`` and ``term_pair`` keep up to 16 terms of the weights
of all lanes; a term names its lane.

What else differs is answered by the :class:`Traits` of a cell; nobody asks which cell it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from termac.arch.layout import Field, Layout

__all__ = [
    "CELLS",
    "DATA_TERMS",
    "DOUBLES",
    "INTERLEAVED",
    "LARGEST_EXPONENT",
    "PLACE_WIDTH",
    "TERMS",
    "TERMS_AHEAD",
    "BitPlane",
    "BitSerial",
    "Term",
    "TermPair",
    "Traits",
]

TERMS = 16
"""Weight terms that a term cell stores."""

TERMS_AHEAD = TERMS // 2
"""Largest number of terms of a pass during which the terms of the next pass are loaded."""

PLACE_WIDTH = (TERMS - 1).bit_length()
"""Bits of the place of a term in its cell."""

LARGEST_EXPONENT = 7
"""Of a weight term (``term_pair``), or of a beat (``term``): the row ends have room for no more."""

DATA_TERMS = 4
"""Largest number of terms of an activation (``term_pair``)."""

DOUBLES = TERMS
"""Bits of the mask that says which beats the row ends double before (``term``)."""


INTERLEAVED = 4
"""Vectors whose sums a ``bit_serial`` array has under way at once."""


class Traits(ABC):
    """What hardware and software must agree on about one kind of cell.

    Attributes
    ----------
    name : value of ``config.cell``
    maximum_beats : largest number of beats of a vector
    terms : weight terms that a cell stores; 0: it keeps one weight and its lane
    data_terms : largest number of terms of an activation that it can be told to count; 0: it
        always counts whole activations
    feed_delay : registers between the activation word and the lanes, beyond those of ``bit_plane``
    store_delay : cycles from the shift of a weight word to its use, beyond those of ``bit_plane``
    product_width : bits of what a cell adds to the partial sum in one beat (``bit_serial``: for
        one vector), sign included
    growth : bits by which the sum of a vector may exceed the sum of a beat
    tile : what pictures call the weights that an array holds at once
    largest : largest magnitude of :meth:`value`
    unit : what :meth:`value` is, for the scale of a picture
    """

    name: str
    maximum_beats: int
    terms: int = 0
    data_terms: int = 0
    feed_delay: int = 0
    store_delay: int = 0
    product_width: int
    growth: int
    tile: str
    largest: int
    unit: str

    @property
    def combines(self) -> bool:
        """Whether columns combine: in a pass, a row works with one lane of every column.

        Otherwise it works with all of them, and they are a group of neighbouring channels.
        """
        return not self.terms

    @property
    def keeps_terms(self) -> bool:
        """Whether a cell stores terms of all lanes."""
        return self.terms > 0

    @abstractmethod
    def weight_layout(self, lane_width: int) -> Layout:
        """What a cell gets from one weight word, at most 16 bits.

        Parameters
        ----------
        lane_width : bits of a lane select
        """

    @abstractmethod
    def value(self, fields: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """What cells multiply activations with: fields of :meth:`weight_layout`, [...] -> [...].

        Parameters
        ----------
        fields : by name, int64 [...] each
        """

    def align(self, bits: int) -> int:
        """Left shift of stored activations of ``bits`` bits."""
        return 0

    def planes(self, terms: int) -> int:
        """Weight words of one column in a tile of passes of ``terms`` terms."""
        return terms if self.terms else 1

    def sum_width(self, row_width: int) -> int:
        """Bits of the wires along a row that carry its partial sums, of ``row_width`` bits each."""
        return row_width

    def result_delay(self, result_width: int) -> int:
        """Cycles from the last beat of a vector at a row end to its last sum bit.

        Parameters
        ----------
        result_width : bits of the sum of one vector
        """
        return 0


class _Weight(Traits):
    """Keeps one weight and the lane that it reads; both cells of this kind work on bits."""

    maximum_beats = 8
    tile = "tile"
    largest = 127
    unit = "weight (int8)"

    def weight_layout(self, lane_width: int) -> Layout:
        """An int8 weight and its lane."""
        return Layout("weight", (Field("value", 8, signed=True), Field("lane", lane_width)))

    def value(self, fields: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Weights -128..127, 0 in an empty cell."""
        return fields["value"]


class _Terms(Traits):
    """Stores terms of the weights of all lanes."""

    terms = TERMS
    store_delay = 1
    tile = "term plane"
    scale: Field
    """What a term is besides its lane and its sign."""

    def weight_layout(self, lane_width: int) -> Layout:
        """A signed power of two, ``scale`` places to the left, and its lane."""
        used = Field("used", 1, doc="0: no term, whatever else it says")
        lane, negative = Field("lane", lane_width), Field("negative", 1)
        return Layout("term", (lane, negative, self.scale, used))

    def value(self, fields: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Terms ``+-2**scale``, 0 in an empty cell."""
        magnitude = fields["used"] << fields[self.scale.name]
        return np.where(fields["negative"], -magnitude, magnitude)


class BitPlane(_Weight):
    """One bit of every activation a beat, the most significant plane first."""

    name = "bit_plane"
    product_width = 8
    growth = 8

    def align(self, bits: int) -> int:
        """8 - ``bits``: the most significant plane is stored highest."""
        return 8 - bits


class BitSerial(_Weight):
    """One bit of every activation a beat; partial sums travel bit by bit as well."""

    name = "bit_serial"
    product_width = 16
    growth = 0

    def sum_width(self, row_width: int) -> int:
        """One bit of each of the vectors under way, whatever the width of their sums."""
        return INTERLEAVED

    def result_delay(self, result_width: int) -> int:
        """One cycle for every bit beyond the eight of the beats."""
        return result_width - 8


class Term(_Terms):
    """Whole activations times one term a beat, ``+-x[lane]`` or, doubled, ``+-2 x[lane]``.

    The power of two is that of the beat.
    """

    name = "term"
    maximum_beats = TERMS
    product_width = 10
    growth = 11
    scale = Field("double", 1)
    largest = 2
    unit = "term, over the power of two of its beat"


class TermPair(_Terms):
    """One term of an activation times one term ``+-2**exponent`` of a weight a beat."""

    name = "term_pair"
    maximum_beats = TERMS * DATA_TERMS
    data_terms = DATA_TERMS
    feed_delay = 2
    product_width = 17
    growth = 6
    scale = Field("exponent", LARGEST_EXPONENT.bit_length())
    largest = 1 << LARGEST_EXPONENT
    unit = "term"


CELLS: dict[str, Traits] = {
    cell.name: cell for cell in (BitPlane(), BitSerial(), Term(), TermPair())
}
"""All cells by name."""
