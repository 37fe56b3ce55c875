"""A delay in LUT RAM instead of flip-flops."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["DelayLine"]


class DelayLine(wiring.Component):
    """``output`` is ``input``, ``cycles`` later. It is undefined for the first ``cycles`` cycles.

    A ring of ``cycles - 1`` places with an asynchronous read port, and a register: the place
    written in this cycle still holds what was written one round ago.

    Parameters
    ----------
    shape : Amaranth shape
    cycles : :class:`int`
        3 .. 17. A LUT RAM has 16 places.

    Members
    -------
    input : In(shape)
        Value.
    output : Out(shape)
        The value ``cycles`` earlier.
    """

    def __init__(self, shape, *, cycles):
        if not 3 <= cycles <= 17:
            raise ValueError(f"Length of a delay line must be 3 to 17 cycles, not {cycles!r}")
        self.shape = Shape.cast(shape)
        self.cycles = cycles
        super().__init__({"input": In(self.shape), "output": Out(self.shape)})

    @property
    def module_name(self):
        sign = "s" if self.shape.signed else "u"
        return f"termac_delay_line_{sign}{self.shape.width}_{self.cycles}"

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = Memory(shape=self.shape, depth=self.cycles - 1, init=[])
        write, read = ring.write_port(), ring.read_port(domain="comb")
        place = Signal(range(self.cycles - 1))
        m.d.sync += place.eq(Mux(place == self.cycles - 2, 0, place + 1))
        m.d.comb += [
            write.addr.eq(place),
            write.en.eq(1),
            write.data.eq(self.input),
            read.addr.eq(place),
        ]
        m.d.sync += self.output.eq(read.data)
        return m
