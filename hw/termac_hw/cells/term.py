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
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import PLACE_WIDTH, TERMS, TERMS_AHEAD

from termac_hw.layouts import struct

__all__ = ["Feeder", "RowEnd", "TermCell", "budget_faults", "lane_bundle_width"]


def lane_bundle_width(config: Config) -> int:
    """Bits of one column's lane bundle: a byte per lane, then the place of the beat's term."""
    return 8 * config.lanes + PLACE_WIDTH


def budget_faults(layer):
    """A beat is a term of the cell, which keeps up to ``TERMS``."""
    return [layer.terms == 0, layer.terms > TERMS, layer.beats != layer.terms]


class TermCell(wiring.Component):
    """One column of ``shared_rows`` neighbouring rows that share the lane registers.

    Latency: lanes and place on ``lanes_in`` in cycle t are on ``lanes_out`` in t+1, and ``sum_out``
    in t+3 is ``sum_in`` of cycle t+2 plus the product of the term at that place. One beat per
    cycle, no bubbles.

    ``shift`` in cycle t moves the words at the end of t. ``store`` writes what the shadow register
    holds in its cycle, for beats that arrive after it; the word may move on in that very cycle.

    Data registers have no reset: what they hold before the first term is never used.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    lanes_in, lanes_out : alpha bytes and a place
        From the row above, to the row below.
    shift : 1
        Move the shadow words one column to the right.
    store, place : 1, place
        Keep the shadow words as the terms at this place.
    weight_in, weight_out : shared_rows x term
        Shadow word of the left neighbour; own one. Layout: ``config.weight_layout``.
    sum_in, sum_out : shared_rows x signed(sum_width)
        Partial sum of one beat from the left; to the right.
    """

    module_name = "termac_cell"

    def __init__(self, config: Config):
        self.config = config
        bundle = self._bundle(config)
        weights = data.ArrayLayout(unsigned(config.weight_width), config.shared_rows)
        sums = data.ArrayLayout(signed(config.sum_width), config.shared_rows)
        super().__init__(
            {
                "lanes_in": In(bundle),
                "lanes_out": Out(bundle),
                "shift": In(1),
                "store": In(1),
                "place": In(PLACE_WIDTH),
                "weight_in": In(weights),
                "weight_out": Out(weights),
                "sum_in": In(sums),
                "sum_out": Out(sums),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        layout = struct(config.weight_layout)
        lanes = Signal(self.lanes_in.shape(), reset_less=True)
        m.d.sync += lanes.eq(self.lanes_in)
        m.d.comb += self.lanes_out.eq(lanes)

        for row in range(config.shared_rows):
            suffix = f"_{row}" if config.shared_rows > 1 else ""
            shadow = Signal(layout, name=f"shadow{suffix}", reset_less=True)
            term = Signal(layout, name=f"term{suffix}", reset_less=True)
            total = Signal(signed(config.sum_width), name=f"sum{suffix}", reset_less=True)
            m.submodules[f"terms{suffix}"] = terms = Memory(
                shape=unsigned(config.weight_width), depth=TERMS, init=[]
            )
            write, read = terms.write_port(), terms.read_port(domain="comb")
            with m.If(self.shift):
                m.d.sync += shadow.eq(self.weight_in[row])
            m.d.comb += [
                write.addr.eq(self.place),
                write.data.eq(shadow),
                write.en.eq(self.store),
                read.addr.eq(self.lanes_in[-PLACE_WIDTH:]),
                self.weight_out[row].eq(shadow),
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

    def _bundle(self, config):
        return lane_bundle_width(config)

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
    load, token, word : 1, 1, alpha bytes
        A word arrives; which half of their terms the cells use for it.
    lanes : alpha bytes and a place
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


class RowEnd(wiring.Component):
    """Joins the sums of the beats of a row into the sum of a vector.

    ``next = sum`` in the first beat, then ``acc + sum`` or, with ``double``, ``2 * acc + sum``.
    ``result`` takes ``next`` with the last beat, is valid one cycle after ``last``, and stays until
    the cycle after the next ``last``. Between vectors any ``sum`` is ignored.

    Members
    -------
    sum : signed(sum_width)
        Sum of the row's last column.
    first, last : 1
        The sum belongs to the first; last beat of a vector.
    clear : 1
        Between layers: forget a vector that an error has cut short.
    double : 1
        The beat is of the next lower power of two than the one before; absent without DOUBLES.
    result : signed(result_width)
    """

    module_name = "termac_row_end"
    DOUBLES = True

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "sum": In(signed(config.sum_width)),
                "first": In(1),
                "last": In(1),
                "clear": In(1),
                **({"double": In(1)} if self.DOUBLES else {}),
                "result": Out(signed(config.result_width)),
            }
        )

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
