"""Residual addition of a drain lane: operand tables, queues of residual slices."""

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac.arch import TABLE_ENTRIES
from termac.arch.timing import residual_queue_depth

from termac_hw.drain.pace import beats, pair_enables, select
from termac_hw.memory.write import TABLE_WRITE

__all__ = ["ResidualAdder"]


class ResidualAdder(wiring.Component):
    """Sums of two rescaled operands, one per cycle: ``table0[value] + table1[residual byte]``.

    TFLite rescales both operands of an ADD before it adds them. An operand has 256 values, so a
    table replaces its multiplier. The tables must keep the sum within 32 bits.

    Residual bytes arrive as slices of ``unit`` bytes in vector order, ahead of use, and wait in one
    queue per slice. A slice is taken in every vector whose sums are complete.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    clear : In(1)
        Empty the queues.
    start : In(1)
        Value 0 follows in ``LEAD`` cycles, value j is j cycles later.
    complete : In(1)
        Take the slices. Read S-1 cycles after ``start`` only.
    value : In(signed(8))
        Operand of the first table.
    residual_push : In(slices)
        A slice of ``unit`` bytes arrives, at most 15 vectors ahead of use.
    residual_data : In(ArrayLayout(unsigned(8 * unit), slices))
        The slices. One pushed in one cycle can be used in the next.
    table_write : In(MemoryWrite)
        Operand tables, from the sequencer.
    sum : Out(signed(32))
        Of value j, j + ``LATENCY`` cycles after ``start``.
    """

    module_name = "termac_residual_adder"
    LEAD = 1
    LATENCY = 4

    def __init__(self, config):
        self.config = config
        slices = config.segments // config.unit
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "complete": In(1),
                "value": In(signed(8)),
                "residual_push": In(slices),
                "residual_data": In(data.ArrayLayout(unsigned(8 * config.unit), slices)),
                "table_write": In(TABLE_WRITE),
                "sum": Out(signed(32)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, write = self.config, self.table_write
        beat, active = beats(m, self.start, config.segments, "value")
        pairs = pair_enables(m, beat, active, "value")

        queue_depth = residual_queue_depth(config)
        # Queues: each slice has its own write position, all are read together.
        read_slot = Signal(range(queue_depth))
        last_beat = beat == config.segments - 1
        with m.If(self.clear):
            m.d.sync += read_slot.eq(0)
        with m.Elif(last_beat & self.complete):
            m.d.sync += read_slot.eq(read_slot + 1)
        words = []
        for index in range(len(self.residual_push)):
            m.submodules[f"queue_{index}"] = queue = Memory(
                shape=unsigned(8 * config.unit), depth=queue_depth, init=[]
            )
            queue_write, queue_read = queue.write_port(), queue.read_port(domain="comb")
            write_slot = Signal(range(queue_depth), name=f"write_slot_{index}")
            with m.If(self.clear):
                m.d.sync += write_slot.eq(0)
            with m.Elif(self.residual_push[index]):
                m.d.sync += write_slot.eq(write_slot + 1)
            m.d.comb += [
                queue_write.en.eq(self.residual_push[index]),
                queue_write.addr.eq(write_slot),
                queue_write.data.eq(self.residual_data[index]),
                queue_read.addr.eq(read_slot),
            ]
            words.append(queue_read.data)
        residuals = Cat(words)

        # 0: take a residual byte. 1: look up. 2: tables answer. 3: add.
        residual = Signal(8, reset_less=True)
        choices = [residuals.word_select(j, 8) for j in range(config.segments)]
        m.d.sync += residual.eq(select(m, choices, beat[0], pairs, "residual"))
        operands = []
        lookups = self.value.as_unsigned(), residual
        for number, byte in enumerate(lookups):
            m.submodules[f"table_{number}"] = table = Memory(
                shape=signed(32), depth=TABLE_ENTRIES, init=[]
            )
            table_write, table_read = table.write_port(), table.read_port()
            operand = Signal(signed(32), name=f"operand_{number}", reset_less=True)
            m.d.comb += [
                table_write.en.eq(write.enable & (write.address[8] == number)),
                table_write.addr.eq(write.address[:8]),
                table_write.data.eq(write.data),
                table_read.addr.eq(byte),
                table_read.en.eq(~table_write.en),
            ]
            m.d.sync += operand.eq(table_read.data)
            operands.append(operand)
        m.d.sync += self.sum.eq(operands[0] + operands[1])
        return m
