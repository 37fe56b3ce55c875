"""The bit-serial cell: activations and partial sums travel bit by bit, least significant bit first.

A product of 8-bit operands is the sum of weight and activation bit, shifted by one place per bit;
a serial adder joins it to the partial sum that passes by. A sum takes far more bits than an
activation, so four MACs take vectors in turn, and no adder waits. As in the circuits released with
B. McDanel, S. Q. Zhang, H. T. Kung, X. Dong, "Full-stack Optimization for Accelerating CNNs Using
Powers-of-Two Weights with FPGA Validation", ICS 2019.

Here the four MACs share all but their serial adders. One adder row is enough, because only one
MAC takes bits at a time. One register is enough for the upper halves of the products: it is empty
again, after 8 bits, when the next product is complete. Signs cost nothing in a cell, since sums
are those of products plus :data:`OFFSET`, which is at most 16 bits and never negative. So nothing
is sign-extended, a MAC's stream ends in zeros, and its carry is zero when a vector begins.
:mod:`termac_hw.cells.bit_serial_end` takes the offset off again.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import INTERLEAVED

from termac_hw.cells.base import SwappingCell

__all__ = [
    "BITS",
    "INDEX",
    "OFFSET",
    "BitSerialCell",
    "Feeder",
    "budget_faults",
    "lane_bundle_width",
]

OFFSET = (1 << 15) - (1 << 7)
"""What a cell adds to the sum of a vector beside its product.

The sign beat subtracts by adding the complement without the one, 2**7 less than it should; the sign
of the product is inverted, which is 2**15 more than a sign.
"""

BITS = 8
"""Bits of an activation."""

INDEX = (INTERLEAVED - 1).bit_length()
"""Bits of the number of a MAC."""


def lane_bundle_width(config: Config) -> int:
    """Bits of one column's lane bundle: one bit per lane, the number of the MAC, the swap token."""
    return config.lanes + INDEX + 1


def budget_faults(layer):
    """A vector takes 8 beats: activations of fewer bits are extended."""
    return [layer.beats != 8]


class BitSerialCell(SwappingCell):
    """Adds products of its weight, bit by bit, to the four partial sums that pass by.

    Latency: lanes on ``lanes_in`` in cycle t are on ``lanes_out`` in t+1; the product bit of that
    beat meets ``sum_in`` of t+2 and is on ``sum_out`` in t+3.

    A vector is 8 beats, sign last, and any number of idle beats, whose lanes are 0. Right after the
    sign beat the number of the MAC increases: that is how a cell knows the sign beat. Bit m of
    ``sum_in`` and ``sum_out`` is the stream of MAC m: 32 bits or more of a sum, then the next one.
    Sums fit ``result_width`` bits, the others are 0. Ports: :class:`~termac_hw.cells.base.Cell`.

    Data registers have no reset: any sign beat clears them.
    """

    lane_bundle_width = staticmethod(lane_bundle_width)

    def __init__(self, config: Config):
        assert config.result_width <= INTERLEAVED * BITS
        super().__init__(config)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes = self._lanes(m)
        following = lanes[config.lanes : -1]  # MAC of the beat behind the one that is added

        index = Signal(INDEX, reset_less=True)
        sign = Signal()
        # The MACs that get these halves:
        low = Signal(INTERLEAVED)
        high = Signal(INTERLEAVED)
        m.d.sync += index.eq(following)
        m.d.comb += [
            sign.eq(index[0] ^ following[0]),
            low.eq(1 << index),
            high.eq(low.rotate_right(1)),
        ]

        for row in range(config.shared_rows):
            suffix = self._suffix(row)
            value, lane = self._active(m, row, lanes)
            bit = Signal(name=f"bit{suffix}", reset_less=True)
            m.d.sync += bit.eq((lanes[: config.lanes] >> lane)[0])
            lower, upper = self._multiply(m, value.as_unsigned(), bit, sign, suffix)
            product = (lower.replicate(INTERLEAVED) & low) | (upper.replicate(INTERLEAVED) & high)
            total = self._add(m, self.sum_in[row].as_unsigned(), product, suffix)
            m.d.comb += self.sum_out[row].eq(total)
        return m

    def _multiply(self, m, value, bit, sign, suffix):
        """Bit of the product under way, and of the upper half of the one before."""
        acc = Signal(8, name=f"acc{suffix}", reset_less=True)
        rest = Signal(8, name=f"rest{suffix}", reset_less=True)
        operand = Signal(8, name=f"operand{suffix}")
        step = Signal(8, name=f"step{suffix}")
        # The ninth bit of the signed sum; a carry chain of nine bits would be one of ten.
        top = Signal(name=f"top{suffix}")
        m.d.comb += [
            operand.eq((value & bit.replicate(8)) ^ sign.replicate(8)),
            step.eq(acc + operand),
            top.eq(Mux(acc[-1] ^ operand[-1], step[-1], acc[-1])),
        ]
        m.d.sync += [
            acc.eq(Cat(step[1:], top)),
            rest.eq(Cat(Mux(sign, step[1:], rest[1:]), sign & ~top)),
        ]
        with m.If(sign):  # not an AND: a register's synchronous reset costs no LUT
            m.d.sync += acc.eq(0)
        return step[0], rest[0]

    def _add(self, m, addend, product, suffix):
        """Registers of the four serial adders' sums."""
        total = Signal(INTERLEAVED, name=f"sum{suffix}", reset_less=True)
        carry = Signal(INTERLEAVED, name=f"carry{suffix}", reset_less=True)
        either = Signal(INTERLEAVED, name=f"either{suffix}")
        m.d.comb += either.eq(addend ^ product)
        m.d.sync += [
            total.eq(either ^ carry),
            carry.eq((addend & product) | (carry & either)),
        ]
        return total


class Feeder(wiring.Component):
    """Serializes the lanes of one column, least significant bit first.

    Zeros follow the last bit until the next load, at least 8 cycles after the one before.

    Members
    -------
    load : In(1)
        A word arrives.
    token : In(1)
        The word is the first of a pass: send the swap token with its first bit.
    word : In(8 * alpha)
        A byte of each lane, lane 0 lowest.
    clear : In(1)
        The next vector is for MAC 0. Sends a sign beat, so that the cells are clear as well.
    lanes : Out(alpha + 3)
        A bit of each lane, the number of the MAC, the swap token.
    """

    module_name = "termac_feeder"

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "load": In(1),
                "token": In(1),
                "word": In(8 * config.lanes),
                "clear": In(1),
                "lanes": Out(lane_bundle_width(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        swap = Signal()
        index = Signal(INDEX)
        beats = Signal(BITS)  # a one that arrives at the right end with the sign
        m.d.sync += [
            swap.eq(self.load & self.token),
            beats.eq(Mux(self.load, 1 << (BITS - 1), beats >> 1)),
            index.eq(index + beats[0]),
        ]
        with m.If(self.clear):
            m.d.sync += [index.eq(INTERLEAVED - 1), beats.eq(1)]
        bits = []
        for lane in range(self.config.lanes):
            serial = Signal(8, name=f"serial_{lane}", reset_less=True)
            byte = self.word[8 * lane : 8 * lane + 8]
            m.d.sync += serial.eq(Mux(self.load, byte, serial >> 1))
            bits.append(serial[0])
        m.d.comb += self.lanes.eq(Cat(bits, index, swap))
        return m
