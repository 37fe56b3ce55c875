"""A small placed hierarchy for the tests of the simulator build: cell, row, array."""

from amaranth.hdl import Const, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac_hw.emit import place

__all__ = ["CounterArray"]


class CounterCell(wiring.Component):
    """Adds ``step`` to its count and its count to a sum that comes from the left."""

    module_name = "counter_cell"

    def __init__(self):
        super().__init__({"step": In(4), "sum_in": In(8), "sum_out": Out(8)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(8)
        with m.If(self.step.any()):
            m.d.sync += count.eq(count + self.step)
        m.d.sync += self.sum_out.eq(self.sum_in + count)
        return m


class CounterRow(wiring.Component):
    module_name = "counter_row"

    def __init__(self, columns):
        self.columns = columns
        super().__init__({"step": In(4), "sum": Out(8)})

    def elaborate(self, platform):
        m = Module()
        total = Const(0, 8)
        for column in range(self.columns):
            cell = CounterCell()
            m.submodules[f"cell_{column}"] = place(cell, platform)
            m.d.comb += [cell.step.eq(self.step), cell.sum_in.eq(total)]
            total = cell.sum_out
        m.d.comb += self.sum.eq(total)
        return m


class CounterArray(wiring.Component):
    """Rows of counters; a memory holds the step of each of 16 phases; ``done`` after 16 cycles."""

    module_name = "counter_array"

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        super().__init__({"start": In(1), "done": Out(1), "sums": Out(8 * rows)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.steps = steps = Memory(shape=unsigned(4), depth=16, init=[])
        read = steps.read_port()
        phase = Signal(4)
        busy = Signal()
        valid = Signal()
        m.d.comb += read.addr.eq(phase)
        m.d.sync += valid.eq(busy)
        with m.If(self.start):
            m.d.sync += [busy.eq(1), self.done.eq(0)]
        with m.Elif(busy):
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == 15):
                m.d.sync += [busy.eq(0), self.done.eq(1)]
        for index in range(self.rows):
            row = CounterRow(self.columns)
            m.submodules[f"row_{index}"] = place(row, platform)
            m.d.comb += [
                row.step.eq(read.data & valid.replicate(4)),
                self.sums.word_select(index, 8).eq(row.sum),
            ]
        return m
