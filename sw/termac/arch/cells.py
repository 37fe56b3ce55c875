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
"""

from __future__ import annotations

from dataclasses import dataclass

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
    "Cell",
]

TERMS = 16
"""Weight terms that a term cell stores."""

TERMS_AHEAD = TERMS // 2
"""Up to so many terms a pass, the terms of the next pass are loaded while this one runs."""

PLACE_WIDTH = (TERMS - 1).bit_length()
"""Bits of the place of a term in its cell."""

LARGEST_EXPONENT = 7
"""Of a weight term (``term_pair``), or of a beat (``term``): the row ends have room for no more."""

DATA_TERMS = 4
"""Most terms of an activation (``term_pair``)."""

DOUBLES = TERMS
"""Bits of the mask that says which beats the row ends double before (``term``)."""


INTERLEAVED = 4
"""Vectors whose sums a ``bit_serial`` array has under way at once."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Traits of one kind of cell.

    Parameters
    ----------
    name : value of ``config.cell``
    keeps_terms : stores terms of a whole group of lanes instead of one weight
    splits_data : activations are encoded into terms in front of the array
    planes_first : activations of fewer bits are stored left-aligned, most significant plane first
    serial_sums : partial sums travel bit by bit, those of four vectors side by side
    feed_delay : registers between the activation word and the lanes, beyond those of ``bit_plane``
    product_width : bits of what a cell adds to the partial sum in one beat (``bit_serial``: for
        one vector), sign included
    growth : bits by which the sum of a vector may exceed the sum of a beat
    """

    name: str
    keeps_terms: bool
    splits_data: bool
    planes_first: bool
    serial_sums: bool
    feed_delay: int
    product_width: int
    growth: int

    def weight_layout(self, lane_width: int) -> Layout:
        """What a cell gets from one weight word: an int8 weight and its lane, or a term.

        A term of a ``term`` cell is ``+-x[lane]`` or, doubled, ``+-2 x[lane]``; its power of two is
        that of the beat. One of a ``term_pair`` cell is ``+-2**exponent``.

        Parameters
        ----------
        lane_width : bits of a lane select
        """
        lane = Field("lane", lane_width)
        if not self.keeps_terms:
            return Layout("weight", (Field("value", 8, signed=True), lane))
        sign = Field("negative", 1)
        used = Field("used", 1, doc="0: no term, whatever else it says")
        if self.splits_data:
            exponent = Field("exponent", LARGEST_EXPONENT.bit_length())
            return Layout("term", (lane, sign, exponent, used))
        return Layout("term", (lane, sign, Field("double", 1), used))


CELLS = {
    cell.name: cell
    for cell in (
        Cell(
            name="bit_plane", keeps_terms=False, splits_data=False, planes_first=True,
            serial_sums=False, feed_delay=0, product_width=8, growth=8,
        ),
        Cell(
            name="bit_serial", keeps_terms=False, splits_data=False, planes_first=False,
            serial_sums=True, feed_delay=0, product_width=16, growth=0,
        ),
        Cell(
            name="term", keeps_terms=True, splits_data=False, planes_first=False,
            serial_sums=False, feed_delay=0, product_width=10, growth=11,
        ),
        Cell(
            name="term_pair", keeps_terms=True, splits_data=True, planes_first=False,
            serial_sums=False, feed_delay=2, product_width=17, growth=6,
        ),
    )
}  # fmt: skip
"""All cells by name."""
