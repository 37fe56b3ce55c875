"""Performance counters of a program, and the log of when its layers ended."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from termac.arch.registers import COUNTERS, LOG_ENTRIES

from termac_hw.axi.registers import register_ports, register_texts

__all__ = ["Counters"]

_REGISTERS = ("cycles", *COUNTERS, "layer", "log_index", "log_cycles")


class Counters(wiring.Component):
    """Counts cycles of the current or last program.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    clear : In(1)
        A program starts: all counters become 0.
    active : In(1)
        A cycle of the program.
    count_issue, count_stall_weights and so on : In(1)
        What the cycle counts as: one per name of :data:`termac.arch.registers.COUNTERS`.
    cycles, issue, stall_weights and so on : Out(32)
        Cycles so far, in all and of each kind.
    layer : In
        Number of the running layer.
    layer_ends : In(1)
        Pulse in its last cycle.
    log_index, log_cycles : In, Out(32)
        ``cycles`` at the end of layer ``log_index``, two cycles after the index.
    """

    module_name = "termac_counters"
    port_texts = register_texts() | {
        f"count_{name}": f"the cycle is one of {name}" for name in COUNTERS
    }

    def __init__(self, config):
        self.config = config
        registers = register_ports(config)
        values = {name: registers[name].flip() for name in _REGISTERS}
        super().__init__(
            {
                "clear": In(1),
                "active": In(1),
                **{f"count_{name}": In(1) for name in COUNTERS},
                **values,
                "layer": In(values["layer"].shape),
                "layer_ends": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        counters = {"cycles": 1} | {name: getattr(self, f"count_{name}") for name in COUNTERS}
        for name, counts in counters.items():
            counter = getattr(self, name)
            with m.If(self.clear):
                m.d.sync += counter.eq(0)
            with m.Elif(self.active):
                m.d.sync += counter.eq(counter + counts)

        m.submodules.log = log = Memory(shape=unsigned(32), depth=LOG_ENTRIES, init=[])
        read = log.read_port(domain="sync")
        write = log.write_port()
        m.d.comb += [
            read.addr.eq(self.log_index),
            write.addr.eq(self.layer),
            write.data.eq(self.cycles + 1),
            write.en.eq(self.layer_ends & (self.layer < LOG_ENTRIES)),
        ]
        m.d.sync += self.log_cycles.eq(read.data)
        return m
