"""The row end of the bit-serial cell: from four interleaved streams of bits to one sum per vector.

A shift register per stream and a multiplexer for their words would take twice the LUTs. But
vectors begin at least 8 cycles apart, so at most one of them is at its first byte, one at its
second, one at the rest: one shift register for each of these parts, and a multiplexer of one bit
in front of it.
"""

from amaranth.hdl import Cat, Module, Signal, signed
from termac.arch import Config

from termac_hw.cells import base
from termac_hw.cells.bit_serial import BITS, INDEX, OFFSET

__all__ = ["RowEnd"]


class RowEnd(base.RowEnd):
    """Collects the sums of a row, four streams of bits in turn, and takes their offset off.

    Bit m of ``sum`` is the stream of MAC m: that of one vector for at least 32 cycles. ``first`` is
    the cycle of a vector's least significant sum bit, ``last`` that of bit ``result_width - 1``,
    and what follows it is ignored. After ``clear`` the next vector is that of MAC 0. Ports:
    :class:`~termac_hw.cells.base.RowEnd`.
    """

    CLEARS = True

    def __init__(self, config: Config):
        assert 2 * BITS + 1 < config.result_width <= 3 * BITS
        super().__init__(config)

    def elaborate(self, platform):
        m = Module()
        width = self.config.result_width

        # Ends of the first and of the second byte.
        passed = Signal(2 * BITS - 1)
        m.d.sync += passed.eq(Cat(self.first, passed[:-1]))
        ends = [passed[BITS - 2], passed[2 * BITS - 2]]

        index = [Signal(INDEX, name=f"index_{part}") for part in range(3)]
        parts = []  # of the vector that is at this part, its bits up to the current one
        for part, bits in enumerate((BITS, BITS, width - 2 * BITS)):
            collected = Signal(bits - 1, name=f"collected_{part}", reset_less=True)
            bit = Signal(name=f"bit_{part}")
            whole = Cat(collected, bit)
            m.d.comb += bit.eq((self.sum.as_unsigned() >> index[part])[0])
            m.d.sync += collected.eq(whole[1:])
            parts.append(whole)

        # The first byte waits for two more parts, the second for one.
        first = Signal(BITS, name="first_byte", reset_less=True)
        waiting = Signal(BITS, reset_less=True)
        second = Signal(BITS, reset_less=True)
        with m.If(ends[0]):
            m.d.sync += [index[0].eq(index[0] + 1), index[1].eq(index[0]), first.eq(parts[0])]
        with m.If(ends[1]):
            m.d.sync += [index[2].eq(index[1]), waiting.eq(first), second.eq(parts[1])]
        with m.If(self.clear):
            m.d.sync += index[0].eq(0)

        # The offset of the row ends in zeros: those bits of the sum stay as they are.
        offset = OFFSET * self.config.columns
        same = (offset & -offset).bit_length() - 1
        raw = Cat(waiting, second, parts[2])
        corrected = raw[same:] - (offset >> same)
        result = Signal(signed(width), reset_less=True)
        m.d.comb += self.result.eq(result)
        with m.If(self.last):
            m.d.sync += result.eq(Cat(raw[:same], corrected[: width - same]))
        return m
