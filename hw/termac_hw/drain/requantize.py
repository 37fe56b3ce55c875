"""Requantization in hardware: int32 sum to int8, one result per cycle.

The arithmetic is TFLite's (see :mod:`termac.graph.requantize`)::

    high = (x * multiplier + 2**30) >> 31
    y = clamp(round_half_away(high / 2**shift) + zero, low, high)

Two identities keep it small. Rounding half away from zero adds 2**(shift-1), less one below zero,
before the shift. Taken off *before* the first rounding, that one only needs the sign of ``x``: let
``g = (x * multiplier + (-2**30 if x < 0 else 2**30)) >> 31``; then the rounded quotient is
``(g >> shift) + g[shift-1]``, where bit -1 of ``g`` stands for the sign of ``x``. And since the
result is clamped to a byte, only nine bits behind the shifter matter once those above are known to
be copies of the sign.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from termac_hw.drain.pace import select

__all__ = ["Requantizer"]

SPLIT = 17
"""Bits of the low halves of both operands: unsigned, with a sign bit an 18-bit operand."""


REACH = 10 + 7
"""Bits after the coarse shift: a result, its rounding bit, and what the fine shift takes away."""


class Requantizer(wiring.Component):
    """``y = clamp(requantize(x, multiplier, shift) + zero, low, high)``, fully pipelined.

    One result per cycle, ``LATENCY`` cycles after its operands; exact for every operand. Four
    18 x 18 bit multipliers.

    Members
    -------
    x : In(signed(32))
        Operand.
    multiplier : In(31)
        Q31 mantissa. The sign bit of the stored int32 is always 0 and not connected.
    shift : In(5)
        Rounding right shift of the same operand, delayed inside.
    zero : In(signed(8))
        Zero point. Constant while results are in flight.
    low : In(signed(8))
        Least result. Constant while results are in flight.
    high : In(signed(8))
        Largest result. Constant while results are in flight.
    y : Out(signed(8))
        Result, ``LATENCY`` cycles after its operand.
    """

    module_name = "termac_requantizer"
    LATENCY = 7

    x: In(signed(32))
    multiplier: In(31)
    shift: In(5)
    zero: In(signed(8))
    low: In(signed(8))
    high: In(signed(8))
    y: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        products = self._multiply(m)
        g, negative = self._sum(m, *products)
        # The shift arrives with the operand and is needed from the fourth cycle on.
        shift_2 = _delayed(m, self.shift, 2, "shift")
        shift = _register(m, unsigned(5), shift_2, "shift_3")
        near = _register(m, unsigned(1), ~shift_2[4], "near")
        coarse, sign, lost = self._shift_coarsely(m, Cat(negative, g).as_signed(), shift, near)
        value, increment = self._shift_finely(m, coarse, sign, lost, shift)
        self._move_and_clamp(m, value, increment)
        return m

    def _multiply(self, m):
        """Cycle 1: partial products. Of the lowest, bits below SPLIT neither carry nor round."""
        x_low, x_high = self.x[:SPLIT], self.x[SPLIT:].as_signed()
        m_low, m_high = self.multiplier[:SPLIT], self.multiplier[SPLIT:]
        product = Signal(unsigned(2 * SPLIT))
        m.d.comb += product.eq(x_low * m_low)
        low = _register(m, unsigned(SPLIT), product[SPLIT:], "low_product")
        middle_1 = _register(m, unsigned(SPLIT + 14), x_low * m_high, "middle_product_1")
        middle_2 = _register(m, signed(SPLIT + 15), x_high * m_low, "middle_product_2")
        top = _register(m, signed(29), x_high * m_high, "top_1")
        negative = _register(m, unsigned(1), self.x[-1], "negative_1")
        return low, middle_1, middle_2, top, negative

    def _sum(self, m, low, middle_1, middle_2, top_1, negative_1):
        """Cycles 2 and 3: ``g``, bits 31 and up of the product with the first rounding, and sign.

        The first rounding, +-2**30, is added to the low product.
        """
        half = 30 - SPLIT
        carry = Signal(signed(SPLIT - half + 2))
        m.d.comb += carry.eq(low[half:] + Mux(negative_1, Const(-1, 2), Const(1, 2)))
        rounded = _register(m, signed(SPLIT + 2), Cat(low[:half], carry).as_signed(), "rounded")
        cross = _register(m, signed(33), middle_1 + middle_2, "cross")
        top_2 = _delayed(m, top_1, 1, "top_2")

        # The top product weighs 2**34, so its three lowest places are free. The second carry chain
        # starts where the first one ends its rise.
        total = Signal(signed(34))
        middle = Signal(signed(20))
        upper = Signal(signed(29))
        m.d.comb += [
            total.eq(cross + rounded),
            middle.eq(total[31 - SPLIT :].as_signed()),
            upper.eq(top_2 + (middle >> 3)),
        ]
        g = _register(m, signed(32), Cat(middle[:3], upper).as_signed(), "g")
        return g, _delayed(m, negative_1, 2, "negative")

    def _shift_coarsely(self, m, value, shift, near):
        """Cycle 4: shift by 0, 8, 16 or 24. Keep what the fine shift can reach.

        Returns the kept bits, their sign, and whether others were no copies of the sign.
        """
        source = Signal(signed(33))
        m.d.comb += source.eq(value)
        sign = source[-1]
        extended = Cat(source, sign.replicate(8))
        chosen = select(
            m,
            [extended[8 * step : 8 * step + REACH] for step in range(4)],
            shift[3],
            (near, shift[4]),
            "coarse_step",
        )
        coarse = _register(m, signed(REACH), chosen, "coarse")
        unlike = Signal(33 - 1 - REACH)
        far = Signal()
        m.d.comb += [
            unlike.eq(source[REACH:-1] ^ sign.replicate(len(unlike))),
            far.eq((unlike[:8].any() & near & ~shift[3]) | (unlike[8:].any() & near)),
        ]
        lost = _register(m, unsigned(1), far, "lost")
        return coarse, _register(m, unsigned(1), sign, "sign"), lost

    def _shift_finely(self, m, coarse, sign, lost, shift):
        """Cycle 5: shift by 0..7, saturate to nine bits. Returns them and the second rounding."""
        fine = _register(m, unsigned(3), shift[:3], "fine")
        even = _register(m, unsigned(1), ~shift[1], "even")
        halfway = Signal(REACH - 4)
        m.d.comb += halfway.eq(Mux(fine[2], coarse[4:], coarse[:-4]))
        shifted = select(
            m,
            [halfway[step : step + 10] for step in range(4)],
            fine[0],
            (even, fine[1]),
            "fine_step",
        )
        excess = Signal(8)
        beyond = Signal()
        m.d.comb += [
            excess.eq(coarse[9:] ^ sign.replicate(8)),
            beyond.eq(lost | (excess >> fine).any()),
        ]
        value = Signal(signed(9), reset_less=True)
        m.d.sync += value.eq(Mux(beyond, Cat((~sign).replicate(8), sign), shifted[1:]))
        return value, _register(m, unsigned(1), shifted[0], "increment")

    def _move_and_clamp(self, m, value, increment):
        """Cycles 6 and 7: round and add the zero point in one carry chain, then clamp."""
        chain = Signal(signed(11))
        m.d.comb += chain.eq(
            Cat(increment, value).as_signed() + Cat(increment, self.zero).as_signed()
        )
        moved = _register(m, signed(10), chain[1:].as_signed(), "moved")
        m.d.sync += self.y.eq(
            Mux(moved > self.high, self.high, Mux(moved < self.low, self.low, moved))
        )


def _register(m, shape, value, name):
    """The value, one cycle later."""
    signal = Signal(shape, name=name, reset_less=True)
    m.d.sync += signal.eq(value)
    return signal


def _delayed(m, value, cycles, name):
    """The value, some cycles later."""
    for cycle in range(cycles):
        value = _register(m, value.shape(), value, f"{name}_{cycle + 1}")
    return value
