"""The term-pair cell: one term of an activation meets one term of a weight per cycle.

A product of terms is ``+-2**(e + f)``: the cell adds two exponents and then one signed power of two
to the partial sum, where the published tMAC counts in fifteen coefficients per cell. A dot product
of k weight terms per group and s data terms per activation takes k * s cycles.

The exponent splits into two halves that are decoded into four wires each. Bit ``4 j + i`` of the
power is ``coarse[j] & fine[i]``, so the adder's operand is one small gate a bit, which an ECP5's
carry cells even contain. At 8 lanes and 16 columns (yosys 0.70, LUT-eq = LUT4 + 2 CCU2C) a cell
takes 92 LUT-eq, 81 with ``-nowidelut``, and 90 flip-flops. With the exponent registered and decoded
in front of the adder: 105, 84, 87. Decoded into 17 registers: 138, 82, 98.

H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization: Furthering Quantization at Run Time on
Quantized DNNs", SC 2020, section 5.
"""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import DATA_TERMS, PLACE_WIDTH, TERMS, TERMS_AHEAD

from termac_hw.cells import term
from termac_hw.cells.term_encoder import DATA_TERM, coded_layout

__all__ = ["Feeder", "RowEnd", "TermPairCell", "budget_faults", "lane_bundle_width"]


def lane_bundle_width(config: Config) -> int:
    """Bits of one column's lane bundle: a term per lane, then the place of the weight term."""
    return DATA_TERM.size * config.lanes + PLACE_WIDTH


def budget_faults(layer):
    """A beat is a term of the cell times one of the activation."""
    return [
        layer.terms == 0,
        layer.terms > TERMS,
        layer.data_terms == 0,
        layer.data_terms > DATA_TERMS,
        layer.beats != layer.terms * layer.data_terms,
    ]


class TermPairCell(term.TermCell):
    """A :class:`~termac_hw.cells.term.TermCell` whose lanes bring a term instead of a byte.

    What it adds is ``+-2**(exponent + the lane's exponent)``, 0 if either term is unused.
    """

    INVERTED = (False,) * 4 + (True,)  # a term of the lane: exponent, negative

    lane_bundle_width = staticmethod(lane_bundle_width)

    def _product(self, m, lanes, term, suffix):
        """Registers of the sum of exponents, decoded by halves, and of the product's sign."""
        lane = data.View(DATA_TERM, Signal(DATA_TERM.size, name=f"lane_term{suffix}"))
        fine = Signal(4, name=f"fine{suffix}", reset_less=True)
        coarse = Signal(4, name=f"coarse{suffix}", reset_less=True)
        negative = Signal(name=f"negative{suffix}", reset_less=True)
        m.d.comb += lane.as_value().eq(self._select(m, lanes, term, suffix))
        m.d.sync += [
            Cat(fine, coarse).eq(Cat(self._decode(m, term.exponent, lane.exponent, suffix))),
            negative.eq(lane.negative),
        ]
        # Not an operand of the decoder: a register's synchronous reset costs no LUT.
        with m.If(~term.used | (lane.exponent[0] & lane.exponent[3])):
            m.d.sync += [fine.eq(0), negative.eq(0)]
        return fine, coarse, negative

    def _decode(self, m, weight_exponent, lane_exponent, suffix):
        """The two halves of the sum of exponents, four wires each."""
        power = Signal(4, name=f"power{suffix}")
        m.d.comb += power.eq(weight_exponent + lane_exponent)
        return [half == wire for half in (power[:2], power[2:]) for wire in range(4)]

    def _add(self, m, addend, product, suffix):
        """The addend plus 2**power or, negative, ~2**power + 1, in one adder.

        ``Cat(negative, ...)`` below the lowest bit makes the carry.
        """
        fine, coarse, negative = product
        power = Cat(fine & wire.replicate(4) for wire in coarse)
        operand = Cat(negative, power ^ negative.replicate(16), negative).as_signed()
        return (Cat(negative, addend).as_signed() + operand)[1:]


class Feeder(wiring.Component):
    """Holds the terms of one column for all beats of a vector: data term by data term, largest
    first, each with every weight term.

    Members
    -------
    load : In(1)
        A word arrives.
    token : In(1)
        Which half of their terms the cells use for the word.
    word : In(coded_layout)
        Terms of each lane, lane 0 lowest.
    terms : In(range(TERMS + 1))
        Weight terms of a pass.
    lanes : Out(5 * alpha + PLACE_WIDTH)
        A term of each lane and the place of the weight term.
    """

    module_name = "termac_feeder"

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "load": In(1),
                "token": In(1),
                "word": In(coded_layout(config)),
                "terms": In(range(TERMS + 1)),
                "lanes": Out(lane_bundle_width(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = Signal(coded_layout(self.config), reset_less=True)
        half = Signal()
        weight_term = Signal(range(TERMS))
        data_term = Signal(range(DATA_TERMS))
        following = weight_term + 1
        m.d.sync += weight_term.eq(following)
        with m.If(following == self.terms):
            m.d.sync += [weight_term.eq(0), data_term.eq(data_term + 1)]
        with m.If(self.load):
            m.d.sync += [
                word.eq(self.word), half.eq(self.token), weight_term.eq(0), data_term.eq(0),
            ]  # fmt: skip
        # Passes of the upper half have at most TERMS_AHEAD terms: no adder.
        place = weight_term | half.replicate(PLACE_WIDTH) & TERMS_AHEAD
        terms = [Array(lane)[data_term] for lane in word]
        m.d.comb += self.lanes.eq(Cat(terms, place))
        return m


class RowEnd(term.RowEnd):
    """Adds up the beats of a vector, all of them as they come."""

    DOUBLES = False
