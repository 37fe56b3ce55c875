"""The term cell: whole activations meet one signed power of two of a weight per cycle.

A dot product over a group of lanes is a sum over terms: ``+-2**e * x[lane]``. A beat of the array
is one term of every group, and all cells are at the same power of two, so the shifting happens once
per row, in :class:`RowEnd`, instead of once per cell: ``acc = 2 * acc + p``, or ``acc + p`` between
beats of equal power. What a cell keeps of the exponent is one bit: at the power of the beat, or
twice that. That is enough for groups to keep the terms they would keep with exponents of their own
(see sw/README.md), and it leaves a lane select and an adder of a cell that would otherwise need a
shifter as well.

Terms of a group: H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization: Furthering Quantization
at Run Time on Quantized DNNs", SC 2020, section 4.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import PLACE_WIDTH, TERMS, TERMS_AHEAD

from termac_hw.cells import base
from termac_hw.cells.base import Cell
from termac_hw.layouts import struct

__all__ = ["Feeder", "RowEnd", "TermCell", "budget_faults", "lane_bundle_width"]


def lane_bundle_width(config: Config) -> int:
    """Bits of one column's lane bundle: a byte per lane, then the place of the beat's term."""
    return 8 * config.lanes + PLACE_WIDTH


def budget_faults(layer):
    """A beat is a term of the cell, which keeps up to ``TERMS``."""
    return [layer.terms == 0, layer.terms > TERMS, layer.beats != layer.terms]


class TermCell(Cell):
    """Adds one signed power of two of a weight, times the activation of its lane, in every beat.

    Latency: lanes and place on ``lanes_in`` in cycle t are on ``lanes_out`` in t+1, and ``sum_out``
    in t+3 is ``sum_in`` of cycle t+2 plus the product of the term at that place. One beat per
    cycle, no bubbles.

    ``shift`` in cycle t moves the words at the end of t. ``store`` writes what the shadow register
    holds in its cycle, for beats that arrive after it. The word may move on in that very cycle.
    Ports: :class:`~termac_hw.cells.base.Cell`.

    Data registers have no reset: what they hold before the first term is never used.
    """

    KEEPS_TERMS = True
    lane_bundle_width = staticmethod(lane_bundle_width)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        layout = struct(config.weight_layout)
        lanes = self._lanes(m)

        for row in range(config.shared_rows):
            suffix = self._suffix(row)
            shadow = self._shadow(m, row)
            term = Signal(layout, name=f"term{suffix}", reset_less=True)
            total = Signal(signed(config.sum_width), name=f"sum{suffix}", reset_less=True)
            m.submodules[f"terms{suffix}"] = terms = Memory(
                shape=unsigned(config.weight_width), depth=TERMS, init=[]
            )
            write = terms.write_port()
            read = terms.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(self.place),
                write.data.eq(shadow),
                write.en.eq(self.store),
                read.addr.eq(self.lanes_in[-PLACE_WIDTH:]),
                self.sum_out[row].eq(total),
            ]
            product = self._product(m, lanes[:-PLACE_WIDTH], term, suffix)
            m.d.sync += [
                term.eq(read.data),
                total.eq(self._add(m, self.sum_in[row], product, suffix)),
            ]
        return m

    # The arithmetic of a cell: what another formulation, or a vendor's primitives, replace.

    INVERTED = (True,) * 8
    """Of every bit that a lane brings: whether it is inverted if the term is negative."""

    def _select(self, m, lanes, term, suffix):
        """What the term's lane brings, inverted where and if the term says so."""
        width = len(self.INVERTED)
        negative = (term.negative & inverted for inverted in self.INVERTED)
        # Bit by bit: a lane need not have a power of two of them.
        bits = Cat((lanes[bit::width] >> term.lane)[0] for bit in range(width))
        return bits ^ Cat(negative)

    def _product(self, m, lanes, term, suffix):
        """Registers of the lane's activation, negated by inverting it, and of its exponent."""
        value = Signal(signed(8), name=f"value{suffix}", reset_less=True)
        double = Signal(name=f"double{suffix}", reset_less=True)
        negative = Signal(name=f"negative{suffix}", reset_less=True)
        m.d.sync += [
            value.eq(self._select(m, lanes, term, suffix)),
            negative.eq(term.negative),
            double.eq(term.double),
        ]
        # Not an operand of the multiplexer: a register's synchronous reset costs no LUT.
        with m.If(~term.used):
            m.d.sync += [value.eq(0), negative.eq(0)]
        return value, double, negative

    def _add(self, m, addend, product, suffix):
        """The addend plus value or, doubled, 2 * value; -x is ~x + 1 and -2x is 2 * ~x + 2.

        ``Cat(negative, ...)`` below the lowest bit makes the carry.
        """
        value, double, negative = product
        shifted = Mux(double, Cat(negative, value), Cat(value, value[-1])).as_signed()
        return addend + shifted + negative


class Feeder(wiring.Component):
    """Holds the lanes of one column for all beats of a vector and counts its terms.

    Members
    -------
    load : In(1)
        A word arrives.
    token : In(1)
        Which half of their terms the cells use for the word.
    word : In(8 * alpha)
        A byte of each lane, lane 0 lowest.
    lanes : Out(8 * alpha + PLACE_WIDTH)
        A byte of each lane and the place of the beat's term.
    """

    module_name = "termac_feeder"

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "load": In(1),
                "token": In(1),
                "word": In(8 * config.lanes),
                "lanes": Out(lane_bundle_width(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = Signal(8 * self.config.lanes, reset_less=True)
        place = Signal(PLACE_WIDTH)
        m.d.sync += place.eq(place + 1)
        with m.If(self.load):
            m.d.sync += [word.eq(self.word), place.eq(Mux(self.token, TERMS_AHEAD, 0))]
        m.d.comb += self.lanes.eq(Cat(word, place))
        return m


class RowEnd(base.RowEnd):
    """Joins the sums of the beats of a row into the sum of a vector.

    ``next = sum`` in the first beat, then ``acc + sum`` or, with ``double``, ``2 * acc + sum``.
    ``result`` takes ``next`` with the last beat, is valid one cycle after ``last``, and stays until
    the cycle after the next ``last``. Between vectors any ``sum`` is ignored. Ports:
    :class:`~termac_hw.cells.base.RowEnd`.
    """

    CLEARS = True
    DOUBLES = True

    def elaborate(self, platform):
        m = Module()
        shape = signed(self.config.result_width)
        acc = Signal(shape)
        following = Signal(shape)
        result = Signal(shape, reset_less=True)
        within = Signal()  # after the first beat of a vector, up to its last
        m.d.comb += [
            following.eq((Mux(self.double, acc << 1, acc) if self.DOUBLES else acc) + self.sum),
            self.result.eq(result),
        ]
        m.d.sync += [within.eq((within | self.first) & ~self.last), acc.eq(following)]
        # Zero whenever a vector begins: a synchronous reset is free, a gate in the adder is not.
        with m.If(self.clear):
            m.d.sync += within.eq(0)
        with m.If(self.last | ~(within | self.first)):
            m.d.sync += acc.eq(0)
        with m.If(self.last):
            m.d.sync += result.eq(following)
        return m
