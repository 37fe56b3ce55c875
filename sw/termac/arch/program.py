"""What the accelerator executes: program words, pass records, taps, weights, parameters.

A program is a list of 32-bit words: one HEADER word, then LAYER descriptors
(``len(DESCRIPTOR)`` words each), then one END word. A layer runs three nested loops::

    for tile in row_tiles:              # R output channels
        for chunk in chunks(vectors):   # up to accumulator_depth output pixels
            for pass in passes:         # one weight tile, S taps
                for vector in chunk:    # max(beats, S) cycles

Pass records lie in the program memory as well; taps have their own memory because one is read
every cycle. All addresses count memory words, never bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from termac.arch.cells import DOUBLES
from termac.arch.layout import Field, Layout

__all__ = [
    "COORDINATE_WIDTH",
    "DESCRIPTOR",
    "DESCRIPTOR_FIELDS",
    "DESCRIPTOR_WORDS",
    "HEADER",
    "PARAMETER",
    "PASS",
    "TABLE_ENTRIES",
    "TAP",
    "DecodedLayer",
    "Opcode",
    "descriptors",
    "pack_descriptor",
]

COORDINATE_WIDTH = 12
"""Bits of an input coordinate (unsigned): images up to 4095 x 4095."""

TABLE_ENTRIES = 256
"""Entries of one residual operand table; a layer with residual has two, back to back."""


class Opcode(enum.IntEnum):
    """Lowest four bits of the first word of a program record."""

    END = 1
    LAYER = 2
    HEADER = 3


HEADER = Layout(
    "header",
    (
        Field("opcode", 4, doc="Opcode.HEADER, or Opcode.END for the last word"),
        Field("config", 28, doc="low 28 bits of the configuration hash (HEADER only)"),
    ),
)

PASS = Layout(
    "pass",
    (
        Field("weights", 20, doc="first weight word, relative to the row tile's base"),
        Field("sum_first", 1, doc="overwrite the accumulators instead of adding"),
        Field("sum_last", 1, doc="sums are complete: requantize"),
        Field("pool_first", 1, doc="first position of a pooling window (with sum_last)"),
        Field("pool_last", 1, doc="last position of a pooling window: write the output"),
        Field("reserved", 8),
    ),
)

TAP = Layout(
    "tap",
    (
        Field("offset", 16, signed=True, doc="word offset from the vector's origin address"),
        Field("dy", 7, signed=True, doc="rows below the vector's origin"),
        Field("dx", 7, signed=True, doc="columns right of the vector's origin"),
        Field("valid", 1, doc="0: feed the padding value"),
        Field("reserved", 1),
    ),
)

PARAMETER = Layout(
    "parameter",
    (
        Field("bias", 32, signed=True, doc="added to the sum; holds the zero point correction"),
        Field("multiplier", 32, signed=True, doc="Q31 mantissa, 0..2**31-1"),
        Field("shift", 5, doc="rounding right shift after the multiplication"),
    ),
)


def _word(*fields: Field) -> Layout:
    return Layout("descriptor", fields)


DESCRIPTOR: tuple[Layout, ...] = (
    _word(
        Field("opcode", 4, doc="Opcode.LAYER"),
        Field("beats", 7, doc="cycles in which the array works on a vector: bits of an activation "
              "(bit_plane), 8 (bit_serial), terms (term), terms * data_terms (term_pair)"),
        Field("time", 7, doc="cycles per vector: max(beats, S)"),
        Field("last_time", 7, doc="the same in passes with sum_last; >= S + words_per_tile "
              "if the layer has a residual"),
        Field("align", 3, doc="left shift of stored outputs: 8 - output bits"),
        Field("residual", 1, doc="add a residual tensor (tables are loaded first)"),
        Field("reserved", 3),
    ),
    _word(
        Field("row_tiles", 16, doc="ceil(output channels / R), at least 1"),
        Field("passes", 16, doc="passes per row tile and chunk, at least 1"),
    ),
    _word(
        Field("vectors", 20, doc="output pixels, at least 1 (before pooling: of the pooled map)"),
        Field("out_width", 12, doc="output pixels per line, at least 1"),
    ),
    _word(
        Field("in_height", 12, doc="input lines; taps outside yield the padding value"),
        Field("in_width", 12, doc="input pixels per line"),
        Field("pad", 8, signed=True, doc="padding value (stored byte, left-aligned)"),
    ),
    _word(
        Field("origin_y", 8, signed=True, doc="input line of the first vector's origin"),
        Field("origin_x", 8, signed=True, doc="input column of the first vector's origin"),
        Field("stride_y", 8, doc="input lines per output line"),
        Field("stride_x", 8, doc="input columns per output pixel"),
    ),
    _word(
        Field("in_origin", 20, signed=True, doc="address of the first vector's origin"),
        Field("in_step", 12, doc="words per output pixel: stride_x * blocks"),
    ),
    _word(
        Field("in_wrap", 20, signed=True,
              doc="words from the last origin of a line to the first of the next"),
        Field("in_tile", 12, doc="words added to the origin when a row tile completes its output "
              "words (depthwise layers)"),
    ),
    _word(
        Field("taps", 16, doc="first tap of the first pass; a pass takes S taps"),
        Field("records", 16, doc="address of the first pass record in program memory"),
    ),
    _word(
        Field("weights", 20, doc="first weight word of row tile 0"),
        Field("terms", 5, doc="terms that a cell gets per pass, 1..16; 0 if cells keep weights"),
        Field("data_terms", 3, doc="largest terms of an activation that count, 1..4 (term_pair)"),
        Field("hese", 1, doc="encode activations by HESE instead of NAF (term_pair)"),
        Field("centred", 1, doc="encode activations less the padding value (term_pair)"),
        Field("reserved", 2),
    ),
    _word(
        Field("weights_tile", 20, doc="weight words from one row tile to the next"),
        Field("reserved", 12),
    ),
    _word(
        Field("parameters", 16, doc="first parameter of row tile 0; a row tile takes S"),
        Field("out_blocks", 16, doc="words per output pixel"),
    ),
    _word(
        Field("out_base", 16, doc="address of the first output pixel"),
        Field("out_zero", 8, signed=True, doc="zero point of the (convolution) output"),
        Field("reserved", 8),
    ),
    _word(
        Field("low", 8, signed=True, doc="lower clamp of the (convolution) output"),
        Field("high", 8, signed=True, doc="upper clamp of the (convolution) output"),
        Field("add_low", 8, signed=True, doc="lower clamp after the residual addition"),
        Field("add_high", 8, signed=True, doc="upper clamp after the residual addition"),
    ),
    _word(
        Field("add_zero", 8, signed=True, doc="zero point after the residual addition"),
        Field("add_shift", 5, doc="right shift of the residual addition"),
        Field("residual_pad", 8, signed=True,
              doc="stored byte of absent residual words: the residual's zero point"),
        Field("reserved", 11),
    ),
    _word(Field("add_multiplier", 32, signed=True, doc="Q31 multiplier of the addition")),
    _word(
        Field("residual_origin", 20, signed=True,
              doc="address of the residual word of output pixel 0, output block 0"),
        Field("residual_step", 12, doc="words per output pixel"),
    ),
    _word(
        Field("residual_wrap", 20, signed=True, doc="words from the end of a line to the next"),
        Field("reserved", 12),
    ),
    _word(
        Field("residual_low", 16, doc="first output block that has a residual word"),
        Field("residual_high", 16, doc="first output block beyond those"),
    ),
    _word(
        Field("table", 16, doc="program address of 2 x 256 table words: convolution, residual"),
        Field("doubles", DOUBLES, doc="bit t: double the sum of the vector before beat t (term)"),
    ),
)  # fmt: skip
"""Words of a layer descriptor. A field name other than ``reserved`` occurs in one word only."""

DESCRIPTOR_FIELDS = Layout(
    "descriptor",
    tuple(
        replace(field, name=f"reserved_{index}") if field.name == "reserved" else field
        for index, word in enumerate(DESCRIPTOR)
        for field in word.fields
    ),
)
"""All words of a layer descriptor side by side: one record, its fields by name."""

DESCRIPTOR_WORDS = len(DESCRIPTOR)


@dataclass(frozen=True)
class DecodedLayer:
    """One layer descriptor with its pass records.

    Parameters
    ----------
    values : fields of the descriptor, by name
    passes : fields of PASS by name, one entry per pass, in execution order
    """

    values: Mapping[str, int]
    passes: Sequence[Mapping[str, int]]


def pack_descriptor(values: Mapping[str, int]) -> list[int]:
    """Words of a layer descriptor; absent fields are 0.

    Raises
    ------
    KeyError
        If there is no such field.
    ValueError
        If a value does not fit its field; the message names field, value and limits.
    """
    record = DESCRIPTOR_FIELDS.pack_one(**values)
    return [record >> 32 * word & 0xFFFFFFFF for word in range(DESCRIPTOR_WORDS)]


def descriptors(program: Iterable[int]) -> Iterator[DecodedLayer]:
    """Decode the layers of a program, in execution order.

    Parameters
    ----------
    program : 32-bit words from the HEADER on; pass records are found at their addresses in it

    Raises
    ------
    ValueError
        If the words end before an END word, a record has another opcode, or pass records lie beyond
        the words.
    """
    words = [int(word) for word in program]
    address = 1
    while True:
        if address >= len(words):
            raise ValueError(f"the program ends at word {len(words)}, before its END word")
        opcode = HEADER.unpack_one(words[address])["opcode"]
        if opcode == Opcode.END:
            return
        if opcode != Opcode.LAYER:
            raise ValueError(f"program word {address} has opcode {opcode}: neither LAYER nor END")
        descriptor = words[address : address + DESCRIPTOR_WORDS]
        values = DESCRIPTOR_FIELDS.unpack_one(
            sum(word << 32 * index for index, word in enumerate(descriptor))
        )
        first, count = values["records"], values["passes"]
        if max(address + DESCRIPTOR_WORDS, first + count) > len(words):
            raise ValueError(
                f"the program ends at word {len(words)}, before all words of the layer at word "
                f"{address}"
            )
        yield DecodedLayer(values, [PASS.unpack_one(word) for word in words[first : first + count]])
        address += DESCRIPTOR_WORDS
