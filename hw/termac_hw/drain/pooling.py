"""Max pooling of a drain lane: a running maximum per output."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac.arch.records import vector_layout

from termac_hw.drain.pace import beats, delayed, never_both
from termac_hw.layouts import struct

__all__ = ["Pooling"]


class Pooling(wiring.Component):
    """Maximum over the positions of a pooling window, which come in separate passes.

    Without pooling every position is the first one. The running maximum is read ahead of its value
    and written back three cycles after: vectors may use the same index every four cycles.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    start : In(1)
        Value 0 follows in ``LEAD`` cycles, value j is j cycles later.
    vector : In(vector_layout)
        Record of the vector, valid for S cycles from ``start`` on. Fields used: ``index``,
        ``pool_first`` (forget the stored maximum) and ``sum_last`` (store the new one).
    value : In(signed(8))
        Value of a position.
    pooled : Out(signed(8))
        Maximum up to value j, j + ``LATENCY`` cycles after ``start``.
    """

    module_name = "termac_pooling"
    LEAD = 2
    LATENCY = 3

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "vector": In(struct(vector_layout(config))),
                "value": In(signed(8)),
                "pooled": Out(signed(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, vector = self.config, self.vector
        m.submodules.maxima = maxima = Memory(
            shape=signed(8), depth=config.accumulator_depth * config.segments, init=[]
        )
        read, write = maxima.read_port(), maxima.write_port()
        tokens = delayed(m, self.start, 3, "token")

        # 0: read. 1: the memory answers.
        read_beat, _ = beats(m, self.start, config.segments, "read")
        first = Signal(reset_less=True)
        stored = Signal(signed(8), reset_less=True)
        m.d.comb += read.addr.eq(Cat(read_beat, vector.index))
        m.d.sync += stored.eq(Mux(first, -128, read.data))
        with m.If(tokens[0]):
            m.d.sync += first.eq(vector.pool_first)
        # 2: compare.
        index = Signal.like(vector.index, reset_less=True)
        complete = Signal(reset_less=True)
        m.d.sync += self.pooled.eq(Mux(self.value > stored, self.value, stored))
        with m.If(tokens[2]):
            m.d.sync += [index.eq(vector.index), complete.eq(vector.sum_last)]
        # 3: write back.
        write_beat, active = beats(m, tokens[3], config.segments, "write")
        m.d.comb += [
            write.addr.eq(Cat(write_beat, index)),
            write.data.eq(self.pooled),
            write.en.eq(active & complete),
            read.en.eq(never_both(read_beat, write_beat, active & complete)),
        ]
        return m
