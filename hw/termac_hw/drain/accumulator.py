"""Accumulator memory of a drain lane, with the channel parameters that belong to its sums."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac.arch import PARAMETER
from termac.arch.records import SCALE, vector_layout

from termac_hw.drain.pace import beats, delayed, never_both, pair_enables, select
from termac_hw.layouts import struct
from termac_hw.memory.write import parameter_write

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Adds the results of S rows, one per cycle, to int32 sums that wrap.

    The first pass of a sum starts from the bias instead of the memory, so the bias needs no adder.
    A sum is read in the cycle its result is taken and written three cycles later: vectors may use
    the same index every four cycles.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    start : In(1)
        Result 0 is valid. Result j is taken j cycles later.
    vector : In(vector_layout)
        Record of the vector, valid from ``start`` until the next one.
    results : In(ArrayLayout(signed(result_width), S))
        Results of the rows.
    parameter_write : In(MemoryWrite)
        Channel parameters, from the host.
    sum : Out(signed(32))
        Of result j, j + ``LATENCY`` cycles after ``start``.
    multiplier : Out(31)
        Of the same channel, in the same cycle.
    shift : Out(5)
        Of the same channel, in the same cycle.
    """

    module_name = "termac_accumulator"
    LATENCY = 3

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "vector": In(struct(vector_layout(config))),
                "results": In(data.ArrayLayout(signed(config.result_width), config.segments)),
                "parameter_write": In(parameter_write(config)),
                "sum": Out(signed(32)),
                "multiplier": Out(31),
                "shift": Out(5),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, vector = self.config, self.vector
        segments = config.segments
        m.submodules.sums = sums = Memory(
            shape=signed(32), depth=config.accumulator_depth * segments, init=[]
        )
        m.submodules.biases = biases = Memory(
            shape=signed(32), depth=config.parameter_depth, init=[]
        )
        scale = struct(SCALE)
        m.submodules.scales = scales = Memory(
            shape=unsigned(scale.size), depth=config.parameter_depth, init=[]
        )
        sum_read, sum_write = sums.read_port(), sums.write_port()
        bias_read, bias_write = biases.read_port(), biases.write_port()
        scale_read, scale_write = scales.read_port(), scales.write_port()

        written = data.View(struct(PARAMETER), self.parameter_write.data)
        m.d.comb += [
            bias_write.en.eq(self.parameter_write.enable),
            bias_read.en.eq(~bias_write.en),
            bias_write.addr.eq(self.parameter_write.address),
            bias_write.data.eq(written.bias),
            scale_write.en.eq(self.parameter_write.enable),
            scale_read.en.eq(~scale_write.en),
            scale_write.addr.eq(self.parameter_write.address),
            scale_write.data.eq(Cat(written.multiplier[:31], written.shift)),
        ]
        tokens = delayed(m, self.start, 3, "token")

        # 0: take the result; read its sum and its bias.
        take_beat, taking = beats(m, self.start, segments, "take")
        pairs = pair_enables(m, take_beat, taking, "take")
        taken_1 = Signal(signed(config.result_width), reset_less=True)
        taken_2 = Signal.like(taken_1, reset_less=True)
        results = [self.results[row] for row in range(segments)]
        m.d.sync += [
            taken_1.eq(select(m, results, take_beat[0], pairs, "result")),
            taken_2.eq(taken_1),
        ]
        m.d.comb += [
            sum_read.addr.eq(Cat(take_beat, vector.index)),
            bias_read.addr.eq(vector.parameters + take_beat),
        ]
        # 1: the multiplier is needed later than the bias, so it is read later.
        first = Signal(reset_less=True)
        m.d.sync += scale_read.addr.eq(bias_read.addr)
        with m.If(tokens[0]):
            m.d.sync += first.eq(vector.sum_first)
        base = Signal(signed(32), reset_less=True)
        m.d.sync += base.eq(Mux(first, bias_read.data, sum_read.data))
        # 2: add.
        scale_data = data.View(scale, scale_read.data)
        index = Signal.like(vector.index, reset_less=True)
        m.d.sync += [
            self.sum.eq(base + taken_2),
            self.multiplier.eq(scale_data.multiplier),
            self.shift.eq(scale_data.shift),
        ]
        with m.If(tokens[2]):
            m.d.sync += index.eq(vector.index)
        # 3: write back.
        write_beat, active = beats(m, tokens[3], segments, "write")
        m.d.comb += [
            sum_write.addr.eq(Cat(write_beat, index)),
            sum_write.data.eq(self.sum),
            sum_write.en.eq(active),
            sum_read.en.eq(never_both(take_beat, write_beat, active)),
        ]
        return m
