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


class Requantizer(wiring.Component):
    """``y = clamp(requantize(x, multiplier, shift) + zero, low, high)``, fully pipelined.

    One result per cycle, ``LATENCY`` cycles after its operands; exact for every operand. Four
    18 x 18 bit multipliers.

    Members
    -------
    x : signed(32)
    multiplier : 31
        Q31 mantissa; the sign bit of the stored int32 is always 0 and not connected.
    shift : 5
        Rounding right shift; belongs to ``x`` and is delayed inside.
    zero, low, high : signed(8)
        Zero point and clamp. Constant while results are in flight.
    y : signed(8)
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

        def register(shape, value, name):
            signal = Signal(shape, name=name, reset_less=True)
            m.d.sync += signal.eq(value)
            return signal

        def delayed(value, cycles, name):
            for cycle in range(cycles):
                value = register(value.shape(), value, f"{name}_{cycle + 1}")
            return value

        # 1: partial products. Of the lowest one, bits below SPLIT can neither carry nor round.
        x_low, x_high = self.x[:SPLIT], self.x[SPLIT:].as_signed()
        m_low, m_high = self.multiplier[:SPLIT], self.multiplier[SPLIT:]
        product = Signal(unsigned(2 * SPLIT))
        m.d.comb += product.eq(x_low * m_low)
        low = register(unsigned(SPLIT), product[SPLIT:], "low_product")
        middle_1 = register(unsigned(SPLIT + 14), x_low * m_high, "middle_product_1")
        middle_2 = register(signed(SPLIT + 15), x_high * m_low, "middle_product_2")
        top_1 = register(signed(29), x_high * m_high, "top_1")
        negative_1 = register(unsigned(1), self.x[-1], "negative_1")

        # 2: sum of the middle products; first rounding, +-2**30, added to the low product.
        half = 30 - SPLIT
        carry = Signal(signed(SPLIT - half + 2))
        m.d.comb += carry.eq(low[half:] + Mux(negative_1, Const(-1, 2), Const(1, 2)))
        rounded = register(signed(SPLIT + 2), Cat(low[:half], carry).as_signed(), "rounded")
        cross = register(signed(33), middle_1 + middle_2, "cross")
        top_2 = delayed(top_1, 1, "top_2")

        # 3: g. From bit 31 of the product upwards; the top product weighs 2**34, so its three
        # lowest places are free. The second carry chain starts where the first one ends its rise.
        total = Signal(signed(34))
        middle = Signal(signed(20))
        upper = Signal(signed(29))
        m.d.comb += [
            total.eq(cross + rounded),
            middle.eq(total[31 - SPLIT :].as_signed()),
            upper.eq(top_2 + (middle >> 3)),
        ]
        g = register(signed(32), Cat(middle[:3], upper).as_signed(), "g")
        negative = delayed(negative_1, 2, "negative")

        # 4: shift by 0, 8, 16 or 24; keep what the fine shift can reach.
        shift_2 = delayed(self.shift, 2, "shift")
        shift = register(unsigned(5), shift_2, "shift_3")
        near = register(unsigned(1), ~shift_2[4], "near")
        source = Signal(signed(33))
        m.d.comb += source.eq(Cat(negative, g).as_signed())
        sign = source[-1]
        reach = 10 + 7
        extended = Cat(source, sign.replicate(8))
        coarse = register(
            signed(reach),
            select(
                m,
                [extended[8 * step : 8 * step + reach] for step in range(4)],
                shift[3],
                (near, shift[4]),
                "coarse_step",
            ),
            "coarse",
        )
        unlike = source[reach:-1] ^ sign.replicate(33 - 1 - reach)
        lost = register(
            unsigned(1),
            (unlike[:8].any() & near & ~shift[3]) | (unlike[8:].any() & near),
            "lost",
        )
        sign = register(unsigned(1), sign, "sign")

        # 5: shift by 0..7. Lowest bit: second rounding. Saturate to nine bits.
        fine = register(unsigned(3), shift[:3], "fine")
        even = register(unsigned(1), ~shift[1], "even")
        halfway = Signal(reach - 4)
        m.d.comb += halfway.eq(Mux(fine[2], coarse[4:], coarse[:-4]))
        shifted = select(
            m,
            [halfway[step : step + 10] for step in range(4)],
            fine[0],
            (even, fine[1]),
            "fine_step",
        )
        excess = Signal(8)
        m.d.comb += excess.eq(coarse[9:] ^ sign.replicate(8))
        beyond = lost | (excess >> fine).any()
        value = Signal(signed(9), reset_less=True)
        m.d.sync += value.eq(Mux(beyond, Cat((~sign).replicate(8), sign), shifted[1:]))
        increment = register(unsigned(1), shifted[0], "increment")

        # 6: round and add the zero point in one carry chain.
        chain = Signal(signed(11))
        m.d.comb += chain.eq(
            Cat(increment, value).as_signed() + Cat(increment, self.zero).as_signed()
        )
        moved = register(signed(10), chain[1:].as_signed(), "moved")

        # 7: clamp.
        m.d.sync += self.y.eq(
            Mux(moved > self.high, self.high, Mux(moved < self.low, self.low, moved))
        )
        return m
