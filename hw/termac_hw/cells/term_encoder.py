"""Term encoder: what turns the activations of a memory word into their largest signed digits.

It stands between a bank and its feeders (``term_pair``): one word per cycle, two cycles late. A
difference to the zero point is written in signed digits, places 0 to 8, and its digits are ranked
from the largest down. Truncation to ``s`` terms costs nothing: feeders play terms largest first and
stop after ``s``.

Non-adjacent form: ``3 d ^ d`` marks the digits of d and ``d`` their signs, one place further up
(H. Prodinger, "On binary representations of integers with digits -1, 0, 1", 2000); that holds for
negative d as well. HESE (H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization", SC 2020, section
5) looks at the magnitude: of a run of ones, the lowest place counts negative and the one beyond it
positive; a one alone stays as it is.
"""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import DATA_TERMS

from termac_hw.emit import place

__all__ = ["DATA_TERM", "UNUSED", "LaneEncoder", "TermEncoder", "coded_layout"]

DATA_TERM = data.StructLayout({"exponent": 4, "negative": 1})
"""A term of an activation: ``+-2**exponent``, or nothing if bits 0 and 3 of the exponent are set.

No activation has an exponent above 8, so that costs no bit in the lanes and no lane select.
"""

UNUSED = 15
"""Exponent of a term that is none."""

PLACES = 9


def coded_layout(config: Config) -> data.ArrayLayout:
    """Terms of all lanes, largest first."""
    return data.ArrayLayout(data.ArrayLayout(DATA_TERM, DATA_TERMS), config.lanes)


class LaneEncoder(wiring.Component):
    """Terms of one activation, two cycles later.

    Members
    -------
    value : In(signed(8))
        Stored activation.
    zero : In(signed(8))
        Zero point that it is relative to.
    hese : In(1)
        Encode by HESE instead of NAF.
    terms : Out(ArrayLayout(DATA_TERM, DATA_TERMS))
        Terms, largest first.
    """

    module_name = "termac_lane_encoder"

    def __init__(self):
        super().__init__(
            {
                "value": In(signed(8)),
                "zero": In(signed(8)),
                "hese": In(1),
                "terms": Out(data.ArrayLayout(DATA_TERM, DATA_TERMS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # First cycle: digits. Both differences at once, not one negated: a shorter path.
        difference = Signal(signed(PLACES))
        opposite = Signal(signed(PLACES))
        magnitude = Signal(PLACES + 1)
        sign = difference[-1]
        m.d.comb += [
            difference.eq(self.value - self.zero),
            opposite.eq(self.zero - self.value),
            magnitude.eq(Mux(sign, opposite, difference)[: PLACES - 1]),
        ]
        tripled = (difference + (difference << 1))[1 : PLACES + 1]
        here, above, below = magnitude[:PLACES], magnitude[1:], Cat(Const(0, 1), magnitude)[:PLACES]
        ends = ~here & below & Cat(Const(0, 2), magnitude)[:PLACES]
        used = Signal(PLACES, reset_less=True)
        negative = Signal(PLACES, reset_less=True)
        signs = difference >> 1
        m.d.sync += [
            used.eq(Mux(self.hese, (here & ~below) | ends, tripled ^ signs)),
            negative.eq(Mux(self.hese, (here & above) ^ sign.replicate(PLACES), signs)),
        ]

        # Second cycle: digit p is term t if t places above p are used.
        chosen = [Signal(PLACES, name=f"chosen_{term}") for term in range(DATA_TERMS)]
        ranked = list(used[::-1])
        counts = {}
        for rank, bit in enumerate(ranked):
            above = self._count(m, ranked, 0, rank, counts)
            for places, exact in zip(chosen, above, strict=True):
                m.d.comb += places[PLACES - 1 - rank].eq(bit & exact)
        for term, places in zip(self.terms, chosen, strict=True):
            # Every bit of the exponent falls where a place has a zero: none chosen is UNUSED.
            zeros = (sum(1 << p for p in range(PLACES) if not p >> bit & 1) for bit in range(4))
            m.d.sync += [
                term.exponent.eq(Cat(~(places & mask).any() for mask in zeros)),
                term.negative.eq((places & negative).any()),
            ]
        return m

    def _count(self, m, bits, first, last, known):
        """Whether exactly 0, 1, 2, 3 of those bits are set, as a tree; threes are shared."""
        if last == first:
            return Const(1, DATA_TERMS)
        if (first, last) not in known:
            exact = known[first, last] = Signal(DATA_TERMS, name=f"count_{first}_{last}")
            if last == first + 1:
                m.d.comb += exact.eq(Cat(~bits[first], bits[first]))
            else:
                middle = first + (3 * ((last - first - 1) // 3) or 1)
                low = self._count(m, bits, first, middle, known)
                high = self._count(m, bits, middle, last, known)
                m.d.comb += exact.eq(Cat(
                    reduce(or_, (low[n] & high[total - n] for n in range(total + 1)))
                    for total in range(DATA_TERMS)
                ))  # fmt: skip
        return known[first, last]


class TermEncoder(wiring.Component):
    """Terms of every lane of a word, ``config.kind.feed_delay`` cycles later, one word per cycle.

    Members
    -------
    word : In(8 * alpha)
        Signed byte of each lane, lane 0 lowest.
    zero : In(signed(8))
        Zero point of the activations, as a stored byte.
    hese : In(1)
        Encode by HESE instead of NAF.
    coded : Out(coded_layout)
        Terms of each lane, largest first, two cycles after the word.
    """

    module_name = "termac_term_encoder"

    def __init__(self, config: Config):
        assert config.kind.feed_delay == 2
        self.config = config
        super().__init__(
            {
                "word": In(8 * config.lanes),
                "zero": In(signed(8)),
                "hese": In(1),
                "coded": Out(coded_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for lane in range(self.config.lanes):
            encoder = LaneEncoder()
            m.submodules[f"lane_{lane}"] = place(encoder, platform, f"lane_{lane}")
            m.d.comb += [
                encoder.value.eq(self.word.word_select(lane, 8)),
                encoder.zero.eq(self.zero),
                encoder.hese.eq(self.hese),
                self.coded[lane].eq(encoder.terms),
            ]
        return m
