"""AXI4 bursts on a 32-bit bus: what an address channel asks for, and the addresses it implies."""

import enum

from amaranth.hdl import Cat, Const, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Burst", "BurstStep", "BurstType", "Response"]


class BurstType(enum.IntEnum):
    """``AxBURST``."""

    FIXED = 0
    INCR = 1
    WRAP = 2
    RESERVED = 3


class Response(enum.IntEnum):
    """``xRESP``; exclusive accesses and DECERR are not used. As wide as the port: 2 bits."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


class Burst(data.StructLayout):
    """One burst: the payload of an AXI4 address channel, as far as a memory needs it.

    Members
    -------
    address : byte address of the current beat
    length : beats - 1
    size : log2 of the bytes of a beat, at most 2
    kind : BurstType, 2 bits
    """

    def __init__(self, *, address_width):
        super().__init__(
            {
                "address": unsigned(address_width),
                "length": unsigned(8),
                "size": unsigned(3),
                "kind": unsigned(2),
            }
        )


class BurstStep(wiring.Component):
    """Combinational: the address of the beat after the current one, and whether the burst is legal.

    Members
    -------
    burst : In(Burst)
        The burst, with the address of the current beat.
    address : Out(address_width)
        Of the next beat; narrow, unaligned, fixed and wrapping bursts included.
    legal : Out(1)
        The size fits the bus, the type exists, a wrapping burst has 2, 4, 8 or 16 beats.
    """

    module_name = "termac_burst_step"

    def __init__(self, *, address_width):
        self.address_width = address_width
        layout = Burst(address_width=address_width)
        super().__init__(
            {
                "burst": In(layout),
                "address": Out(address_width),
                "legal": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        burst, address = self.burst, self.burst.address
        # Byte, half word, word: the bits below the size become zero after the first beat.
        ahead = Signal(len(address))
        # A wrapping burst spans at most 16 beats of 4 bytes: only these bits ever change.
        inside = Signal(6)
        with m.Switch(burst.size):
            for size in range(3):
                with m.Case(size):
                    m.d.comb += [
                        ahead.eq(Cat(Const(0, size), address[size:] + 1)),
                        inside.eq(Cat(Const((1 << size) - 1, size), burst.length)),
                    ]
        wrapped = (address[:6] & ~inside) | (ahead[:6] & inside)
        with m.Switch(burst.kind):
            with m.Case(BurstType.FIXED):
                m.d.comb += self.address.eq(address)
            with m.Case(BurstType.WRAP):
                m.d.comb += self.address.eq(Cat(wrapped[:6], address[6:]))
            with m.Default():
                m.d.comb += self.address.eq(ahead)
        wraps = Cat(burst.length == beats - 1 for beats in (2, 4, 8, 16)).any()
        m.d.comb += self.legal.eq(
            (burst.size != 3)
            & ~burst.size[2]
            & (burst.kind != BurstType.RESERVED)
            & ((burst.kind != BurstType.WRAP) | wraps)
        )
        return m
