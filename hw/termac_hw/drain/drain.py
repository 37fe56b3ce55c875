"""Drain lane: from the sums of S rows to bytes in the activation memory."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from termac.arch.records import DRAIN_LAYER, destination_layout, vector_layout

from termac_hw.drain.accumulator import Accumulator
from termac_hw.drain.assembler import Assembler
from termac_hw.drain.delay_line import DelayLine
from termac_hw.drain.pace import delayed
from termac_hw.drain.pooling import Pooling
from termac_hw.drain.requantize import Requantizer
from termac_hw.drain.residual import ResidualAdder
from termac_hw.emit import place
from termac_hw.layouts import struct
from termac_hw.memory.write import TABLE_WRITE, parameter_write

__all__ = ["Drain"]


class Drain(wiring.Component):
    """One result per cycle from S rows: accumulate, requantize, add a residual, pool, write.

    Everything travels through the whole pipeline, whatever the layer needs, so the latency is one
    constant: byte j of a vector is assembled j + ``LATENCY`` cycles after ``start``.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    clear : In(1)
        Layer start: empty the residual queues, forget ``overrun``.
    layer : In(DRAIN_LAYER)
        Fields of the layer descriptor, constant while results are in the pipeline.
    start : In(1)
        Result 0 is valid. Result j is taken j cycles later. Starts are at least S cycles apart.
    vector : In(vector_layout)
        Record of the vector, valid from ``start`` until the next one.
    results : In(ArrayLayout(signed(result_width), S))
        Results of the rows.
    destination : In(destination_layout)
        Where the bytes go, valid for S cycles from ``LATENCY`` cycles after ``start``.
    parameter_write : In(MemoryWrite)
        Channel parameters, from the host.
    table_write : In(MemoryWrite)
        Operand tables, from the sequencer.
    residual_push : In(units)
        A slice of ``unit`` bytes arrives, in vector order. At most 15 vectors ahead of use, the
        last slice of a vector before its ``start`` plus ``RESIDUAL_LATENCY`` cycles.
    residual_data : In(ArrayLayout(unsigned(8 * unit), units))
        The slices.
    write_valid : Out(units)
        A request of each unit. It is raised S + ``LATENCY`` cycles after ``start`` for a vector
        with ``sum_last``, ``pool_last`` and ``destination.enable``.
    write_ready : In(units)
        The request of a unit is granted, which must be within S cycles.
    write_address : Out
        Word, the same for all units.
    write_phase : Out
        Part of the word, the same for all units.
    write_data : Out(8 * S)
        Bytes of all units, row 0 lowest.
    overrun : Out(1)
        A request was not granted in time and its bytes are lost. Sticky until ``clear``.
    """

    module_name = "termac_drain"

    RESIDUAL_LATENCY = Accumulator.LATENCY + Requantizer.LATENCY - ResidualAdder.LEAD
    POOLING_LATENCY = RESIDUAL_LATENCY + ResidualAdder.LATENCY + Requantizer.LATENCY - Pooling.LEAD
    LATENCY = POOLING_LATENCY + Pooling.LATENCY

    def __init__(self, config):
        self.config = config
        destination = struct(destination_layout(config))
        units = config.segments // config.unit
        super().__init__(
            {
                "clear": In(1),
                "layer": In(struct(DRAIN_LAYER)),
                "start": In(1),
                "vector": In(struct(vector_layout(config))),
                "results": In(data.ArrayLayout(signed(config.result_width), config.segments)),
                "destination": In(destination),
                "parameter_write": In(parameter_write(config)),
                "table_write": In(TABLE_WRITE),
                "residual_push": In(units),
                "residual_data": In(data.ArrayLayout(unsigned(8 * config.unit), units)),
                "write_valid": Out(units),
                "write_ready": In(units),
                "write_address": Out(destination["address"].shape),
                "write_phase": Out(destination["phase"].shape),
                "write_data": Out(8 * config.segments),
                "overrun": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config, layer = self.config, self.layer
        tokens = delayed(m, self.start, self.LATENCY, "token")
        accumulator, assembler = Accumulator(config), Assembler(config)
        requantizer, add_requantizer = Requantizer(), Requantizer()
        adder, pooling = ResidualAdder(config), Pooling(config)
        bypass_cycles = ResidualAdder.LATENCY - ResidualAdder.LEAD + Requantizer.LATENCY
        bypass = DelayLine(signed(8), cycles=bypass_cycles)
        for name, child in (
            ("accumulator", accumulator), ("requantizer", requantizer), ("adder", adder),
            ("add_requantizer", add_requantizer), ("bypass", bypass), ("pooling", pooling),
            ("assembler", assembler),
        ):  # fmt: skip
            m.submodules[name] = place(child, platform, name)

        # The record of a vector is handed on every S cycles or less, always in the cycle before
        # its holder may take the next one; so it follows the results without a queue.
        before_adder = self.RESIDUAL_LATENCY - 1
        before_pooling = self.POOLING_LATENCY - 1
        record, at, adder_record = self.vector, -1, None
        while at < before_pooling:
            at = min(at + config.segments, before_pooling)
            held = Signal.like(record, name=f"vector_{at}", reset_less=True)
            with m.If(tokens[at]):
                m.d.sync += held.eq(record)
            record = held
            if adder_record is None and at >= before_adder:
                adder_record = held
        is_output = Signal(reset_less=True)
        with m.If(tokens[self.LATENCY - 1]):
            m.d.sync += is_output.eq(record.sum_last & record.pool_last)

        connect(m, flipped(self.parameter_write), accumulator.parameter_write)
        connect(m, flipped(self.table_write), adder.table_write)
        value = Signal(signed(8))
        m.d.comb += [
            accumulator.start.eq(self.start),
            accumulator.vector.eq(self.vector),
            accumulator.results.eq(self.results),
            requantizer.x.eq(accumulator.sum),
            requantizer.multiplier.eq(accumulator.multiplier),
            requantizer.shift.eq(accumulator.shift),
            requantizer.zero.eq(layer.out_zero),
            requantizer.low.eq(layer.low),
            requantizer.high.eq(layer.high),
            adder.clear.eq(self.clear),
            adder.start.eq(tokens[self.RESIDUAL_LATENCY]),
            adder.complete.eq(adder_record.sum_last),
            adder.value.eq(requantizer.y),
            adder.residual_push.eq(self.residual_push),
            adder.residual_data.eq(self.residual_data),
            add_requantizer.x.eq(adder.sum),
            add_requantizer.multiplier.eq(layer.add_multiplier[:31]),
            add_requantizer.shift.eq(layer.add_shift),
            add_requantizer.zero.eq(layer.add_zero),
            add_requantizer.low.eq(layer.add_low),
            add_requantizer.high.eq(layer.add_high),
            bypass.input.eq(requantizer.y),
            value.eq(Mux(layer.residual, add_requantizer.y, bypass.output)),
            pooling.start.eq(tokens[self.POOLING_LATENCY]),
            pooling.vector.eq(record),
            pooling.value.eq(value),
            assembler.clear.eq(self.clear),
            assembler.start.eq(tokens[self.LATENCY]),
            assembler.enable.eq(is_output),
            assembler.destination.eq(self.destination),
            assembler.byte.eq(pooling.pooled << layer.align),
            assembler.write_ready.eq(self.write_ready),
            self.write_valid.eq(assembler.write_valid),
            self.write_address.eq(assembler.write_address),
            self.write_phase.eq(assembler.write_phase),
            self.write_data.eq(assembler.write_data),
            self.overrun.eq(assembler.overrun),
        ]
        return m
