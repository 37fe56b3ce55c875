"""The sequencer: runs a program from `start` to `done`, layer by layer, and watches it."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from termac.arch import DESCRIPTOR_WORDS, HEADER, PASS, TABLE_ENTRIES, Opcode
from termac.arch.cells import DATA_TERMS, TERMS
from termac.arch.registers import COUNTERS, LOG_ENTRIES, ErrorCode
from termac.arch.timing import drain_cycles, most_beats

from termac_hw.axi.registers import register_ports
from termac_hw.control.descriptor import Descriptor
from termac_hw.layouts import struct
from termac_hw.memory.write import TABLE_WRITE, MemoryWrite

__all__ = ["Sequencer"]

_REGISTERS = (
    "start", "clear", "program", "watchdog", "busy", "done", "error", "error_layer", "layer",
    "cycles", *COUNTERS, "log_index", "log_cycles",
)  # fmt: skip
"""Registers whose values the sequencer takes or has, by port."""


class Sequencer(wiring.Component):
    """Fetches layer descriptors and residual tables, starts the loader and the engine, waits.

    A wrong program ends in ``error`` with a named code and the number of the layer; the machine is
    then idle again and may be started with another program.

    Members
    -------
    start, clear, program, watchdog, log_index : In
        From the registers, see :func:`termac_hw.axi.registers.register_ports`. ``clear`` resets
        ``done`` and ``error`` while idle. A ``watchdog`` of 0 means no limit.
    busy, done, error, error_layer, layer : Out
        Status.
    cycles, issue, stall_weights, setup, drain : Out(32)
        Performance counters of the last or current run.
    log_cycles : Out(32)
        ``cycles`` at the end of layer ``log_index``, two cycles after the index.
    layer_start, halt, descriptor : to loader and engine
    layer_clear : pulse before a layer starts: reset the residual queues of the drains
    record_address, record : program memory read port of the loader
    running, finished : from the engine
    address_error, overrun : faults, from loader and engine, from the drains
    table_write : Out(MemoryWrite)
        Residual operand tables, to all drains.
    program_write : In(MemoryWrite)
        Program memory, from the host.
    """

    module_name = "termac_sequencer"

    def __init__(self, config):
        self.config = config
        registers = register_ports(config)
        super().__init__(
            {
                **{name: registers[name].flip() for name in _REGISTERS},
                "layer_start": Out(1),
                "halt": Out(1),
                "layer_clear": Out(1),
                "descriptor": Out(Descriptor()),
                "record_address": In(17),
                "record": Out(PASS.width),
                "running": In(1),
                "finished": In(1),
                "address_error": In(1),
                "overrun": In(1),
                "table_write": Out(TABLE_WRITE),
                "program_write": In(MemoryWrite(words=config.program_depth, shape=32)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        layer = self.descriptor

        m.submodules.words = words = Memory(shape=unsigned(32), depth=config.program_depth, init=[])
        read = words.read_port(domain="sync")
        write = words.write_port()
        word = Signal(32, reset_less=True)
        m.d.comb += [
            write.addr.eq(self.program_write.address),
            write.data.eq(self.program_write.data),
            write.en.eq(self.program_write.enable),
            self.record.eq(word),
        ]
        # Block RAM is slow: its output goes into a register before anything looks at it.
        m.d.sync += word.eq(read.data)
        header = data.View(struct(HEADER), word)

        pointer = Signal(17)  # next program word
        table = Signal(17)
        step = Signal(range(max(2 * TABLE_ENTRIES, drain_cycles(config)) + 2))
        fetched = Cat(
            Signal(32, name=f"word_{i}", reset_less=True) for i in range(DESCRIPTOR_WORDS)
        )
        m.d.comb += self.descriptor.eq(fetched)

        # A fault ends any state but IDLE: `fault` gathers it, a cycle later every state leaves on
        # `failed` and lets the pipeline run empty before the machine may be started again.
        fault = Signal(ErrorCode)
        found = Signal(ErrorCode)
        failed = Signal()
        active = Signal()
        m.d.sync += found.eq(fault)
        m.d.comb += failed.eq(active & (found != ErrorCode.NONE))

        def fail(code):
            return fault.eq(code)

        def leave():
            with m.If(failed):
                m.d.sync += self.busy.eq(1)
                m.next = "FLUSH"

        with m.FSM(name="state") as fsm:
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [
                    pointer.eq(self.program),
                    self.done.eq(0),
                    self.error.eq(ErrorCode.NONE),
                    self.layer.eq(0),
                    self.error_layer.eq(0),
                    self.busy.eq(1),
                ]
                m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += read.addr.eq(pointer)
                m.d.sync += pointer.eq(pointer + 1)
                m.next = "WAIT HEADER"
                leave()
            with m.State("WAIT HEADER"):
                m.next = "CHECK HEADER"
                leave()
            with m.State("CHECK HEADER"):
                m.d.sync += step.eq(0)
                m.next = "FETCH"
                with m.If(
                    (header.opcode != Opcode.HEADER)
                    | (header.config != config.hash32 & ((1 << 28) - 1))
                ):
                    m.d.comb += fail(ErrorCode.CONFIG)
                leave()
            with m.State("FETCH"):
                # Word i arrives two cycles after its address.
                m.d.comb += read.addr.eq(pointer)
                m.d.sync += step.eq(step + 1)
                with m.If(step < DESCRIPTOR_WORDS):
                    m.d.sync += pointer.eq(pointer + 1)
                for index in range(DESCRIPTOR_WORDS):
                    with m.If(step == index + 2):
                        m.d.sync += fetched[32 * index : 32 * index + 32].eq(word)
                with m.If(step == DESCRIPTOR_WORDS + 1):
                    m.next = "CHECK"
                with m.If(step == 2):
                    with m.If(header.opcode == Opcode.END):
                        m.d.sync += [self.done.eq(1), self.busy.eq(0)]
                        m.next = "IDLE"
                    with m.Elif(header.opcode != Opcode.LAYER):
                        m.d.comb += fail(ErrorCode.OPCODE)
                leave()
            with m.State("CHECK"):
                m.d.sync += [step.eq(0), table.eq(layer.table)]
                m.d.comb += self.layer_clear.eq(1)
                m.next = "RUN"
                with m.If(layer.residual):
                    m.next = "TABLES"
                shortest = config.segments
                with_residual = config.segments + config.words_per_tile
                with m.If(
                    (layer.beats == 0)
                    | (layer.beats > most_beats(config))
                    | (layer.time < shortest)
                    | (layer.time < layer.beats)
                    | (layer.last_time < shortest)
                    | (layer.last_time < layer.beats)
                    | (layer.residual & (layer.last_time < with_residual))
                    | (layer.row_tiles == 0)
                    | (layer.passes == 0)
                    | (layer.vectors == 0)
                    | (layer.out_width == 0)
                    | (layer.out_blocks == 0)
                ):
                    m.d.comb += fail(ErrorCode.GEOMETRY)
                wrong = []
                if config.kind.keeps_terms:
                    wrong += [layer.terms == 0, layer.terms > TERMS]
                if config.kind.splits_data:
                    wrong += [layer.data_terms == 0, layer.data_terms > DATA_TERMS]
                    wrong.append(layer.beats != layer.terms * layer.data_terms)
                elif config.kind.keeps_terms:
                    wrong.append(layer.beats != layer.terms)
                elif config.kind.serial_sums:
                    wrong.append(layer.beats != 8)
                if wrong:
                    with m.If(Cat(wrong).any()):
                        m.d.comb += fail(ErrorCode.BUDGET)
                with m.If(
                    layer.residual & (layer.table + 2 * TABLE_ENTRIES > config.program_depth)
                ):
                    m.d.comb += fail(ErrorCode.ADDRESS)
                leave()
            with m.State("TABLES"):
                m.d.comb += [
                    read.addr.eq(table),
                    self.table_write.enable.eq(step >= 2),
                    self.table_write.address.eq(step - 2),
                    self.table_write.data.eq(word),
                ]
                m.d.sync += [table.eq(table + 1), step.eq(step + 1)]
                with m.If(step == 2 * TABLE_ENTRIES + 1):
                    m.next = "RUN"
                leave()
            with m.State("RUN"):
                m.d.comb += self.layer_start.eq(1)
                m.next = "LAYER"
                leave()
            with m.State("LAYER"):
                m.d.comb += read.addr.eq(self.record_address)
                m.d.sync += step.eq(drain_cycles(config) - 1)
                with m.If(self.finished):
                    m.next = "DRAIN"
                leave()
            with m.State("DRAIN"):
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.d.sync += [self.layer.eq(self.layer + 1), step.eq(0)]
                    m.next = "FETCH"
                with m.If(self.overrun):
                    m.d.comb += fail(ErrorCode.OVERRUN)
                leave()

            with m.State("FLUSH"):
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"

        idle = fsm.ongoing("IDLE")
        flush = fsm.ongoing("FLUSH")
        m.d.comb += [active.eq(~(idle | flush)), self.halt.eq(~active)]
        with m.If((fsm.ongoing("LAYER") | fsm.ongoing("DRAIN")) & self.address_error):
            m.d.comb += fail(ErrorCode.ADDRESS)
        with m.If(active & (pointer > config.program_depth)):
            m.d.comb += fail(ErrorCode.ADDRESS)
        expired = Signal()
        m.d.sync += expired.eq(active & (self.watchdog != 0) & (self.cycles >= self.watchdog))
        with m.If(active & expired):
            m.d.comb += fail(ErrorCode.WATCHDOG)
        with m.If(failed):
            m.d.sync += [
                self.error.eq(found),
                self.error_layer.eq(self.layer),
                self.done.eq(0),
                step.eq(drain_cycles(config)),
            ]

        with m.If(self.clear & idle):
            m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]

        # Counters.
        with m.If(self.start & idle):
            m.d.sync += [getattr(self, name).eq(0) for name in ("cycles", *COUNTERS)]
        with m.Elif(active):
            in_layer = fsm.ongoing("LAYER")
            in_drain = fsm.ongoing("DRAIN")
            counted = {
                "issue": in_layer & self.running,
                "stall_weights": in_layer & ~self.running,
                "setup": ~(in_layer | in_drain),
                "drain": in_drain,
            }
            m.d.sync += self.cycles.eq(self.cycles + 1)
            for name in COUNTERS:
                counter = getattr(self, name)
                m.d.sync += counter.eq(counter + counted[name])

        m.submodules.log = log = Memory(shape=unsigned(32), depth=LOG_ENTRIES, init=[])
        log_read = log.read_port(domain="sync")
        log_write = log.write_port()
        m.d.comb += [
            log_read.addr.eq(self.log_index),
            log_write.addr.eq(self.layer),
            log_write.data.eq(self.cycles + 1),
            log_write.en.eq(fsm.ongoing("DRAIN") & (step == 0) & (self.layer < LOG_ENTRIES)),
        ]
        m.d.sync += self.log_cycles.eq(log_read.data)
        return m
