"""The sequencer: runs a program from `start` to `done`, layer by layer, and watches it."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from termac.arch import (
    DESCRIPTOR,
    DESCRIPTOR_FIELDS,
    DESCRIPTOR_WORDS,
    HEADER,
    PASS,
    TABLE_ENTRIES,
    Opcode,
)
from termac.arch.registers import COUNTERS, REGISTERS, ErrorCode
from termac.arch.timing import drain_cycles

from termac_hw.axi.registers import register_ports
from termac_hw.control.checker import Checker
from termac_hw.control.counters import Counters
from termac_hw.control.descriptor import Descriptor, LayerControl, connect_fields
from termac_hw.control.loader import RECORD_ADDRESS_WIDTH
from termac_hw.emit import place
from termac_hw.layouts import field_shape, struct
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

    Parameters
    ----------
    config : :class:`termac.arch.Config`
    fields : iterable of :class:`str`
        Fields of the descriptor that other blocks need.

    Members
    -------
    start, clear, program, watchdog, log_index : In
        From the registers, see :func:`termac_hw.axi.registers.register_ports`. ``clear`` resets
        ``done`` and ``error`` while idle. A program ends in an error in cycle
        ``watchdog`` unless it ends without one; 0 means no limit.
    busy, done, error, error_layer, layer : Out
        Status.
    cycles, issue, stall_weights, setup, drain : Out(32)
        Performance counters of the last or current run.
    log_cycles : Out(32)
        ``cycles`` at the end of layer ``log_index``, two cycles after the index.
    control : Out(LayerControl)
        To loader and engine.
    descriptor : Out(Descriptor)
        Of the running layer.
    layer_clear : Out(1)
        Pulse before a layer starts: reset the residual queues of the drains.
    record_address : In
        Address of a pass record, from the loader.
    record : Out(PASS)
        That record, two cycles later.
    running : In(1)
        The engine issues a pass.
    finished : In(1)
        Last cycle of the layer's last pass, from the engine.
    address_error : In(1)
        An address was wrong, from loader and engine.
    overrun : In(1)
        A write came too late, from the drains.
    table_write : Out(MemoryWrite)
        Residual operand tables, to all drains.
    program_write : In(MemoryWrite)
        Program memory, from the host.
    """

    module_name = "termac_sequencer"

    def __init__(self, config, fields):
        self.config = config
        registers = register_ports(config)
        super().__init__(
            {
                **{name: registers[name].flip() for name in _REGISTERS},
                "control": Out(LayerControl()),
                "descriptor": Out(Descriptor(fields)),
                "layer_clear": Out(1),
                "record_address": In(RECORD_ADDRESS_WIDTH),
                "record": Out(struct(PASS)),
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
        checker, counters = Checker(self.config), Counters(self.config)
        m.submodules.checker = place(checker, platform, "checker")
        m.submodules.counters = place(counters, platform, "counters")
        walk = _Walk(
            self.config, {*self.descriptor.signature.members, *checker.layer.signature.members}
        )
        self._memory(m, walk)
        connect_fields(m, walk.layer, checker.layer)
        connect_fields(m, walk.layer, self.descriptor)
        m.d.comb += walk.descriptor_error.eq(checker.error)

        states = {
            "HEADER": self._header, "WAIT HEADER": self._wait_header,
            "CHECK HEADER": self._check_header, "FETCH": self._fetch, "CHECK": self._check,
            "TABLES": self._tables, "RUN": self._run, "LAYER": self._layer, "DRAIN": self._drain,
        }  # fmt: skip
        with m.FSM(name="state") as fsm:
            with m.State("IDLE"):
                self._idle(m, walk)
            for name, state in states.items():
                with m.State(name):
                    state(m, walk)
                    with m.If(walk.failed):
                        m.d.sync += self.busy.eq(1)
                        m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.sync += walk.step.eq(walk.step - 1)
                with m.If(walk.step == 0):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
        m.d.comb += [
            walk.idle.eq(fsm.ongoing("IDLE")),
            walk.active.eq(~(walk.idle | fsm.ongoing("FLUSH"))),
            walk.in_layer.eq(fsm.ongoing("LAYER")),
            walk.in_drain.eq(fsm.ongoing("DRAIN")),
            self.control.halt.eq(~walk.active),
        ]
        self._watch(m, walk)
        self._count(m, walk, counters)
        return m

    def _memory(self, m, walk):
        """The program memory, written by the host. What is read arrives two cycles later."""
        m.submodules.words = words = Memory(
            shape=unsigned(32), depth=self.config.program_depth, init=[]
        )
        read = words.read_port(domain="sync")
        write = words.write_port()
        m.d.comb += [
            write.addr.eq(self.program_write.address),
            write.data.eq(self.program_write.data),
            write.en.eq(self.program_write.enable),
            read.addr.eq(walk.address),
            self.record.eq(walk.word),
        ]
        # Block RAM is slow: its output goes into a register before anything looks at it.
        m.d.sync += walk.word.eq(read.data)

    def _idle(self, m, walk):
        with m.If(self.start):
            m.d.sync += [
                walk.pointer.eq(self.program),
                self.done.eq(0),
                self.error.eq(ErrorCode.NONE),
                self.layer.eq(0),
                self.error_layer.eq(0),
                self.busy.eq(1),
            ]
            m.next = "HEADER"
        with m.If(self.clear):
            m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]

    def _header(self, m, walk):
        m.d.comb += walk.address.eq(walk.pointer)
        m.d.sync += walk.pointer.eq(walk.pointer + 1)
        m.next = "WAIT HEADER"

    def _wait_header(self, m, walk):
        m.next = "CHECK HEADER"

    def _check_header(self, m, walk):
        header = data.View(struct(HEADER), walk.word)
        config = self.config.hash32 & HEADER["config"].limits[1]
        m.d.sync += walk.step.eq(0)
        m.next = "FETCH"
        with m.If((header.opcode != Opcode.HEADER) | (header.config != config)):
            m.d.comb += walk.fault.eq(ErrorCode.CONFIG)

    def _fetch(self, m, walk):
        """Descriptor or END; word i arrives two cycles after its address."""
        header = data.View(struct(HEADER), walk.word)
        m.d.comb += walk.address.eq(walk.pointer)
        m.d.sync += walk.step.eq(walk.step + 1)
        with m.If(walk.step < DESCRIPTOR_WORDS):
            m.d.sync += walk.pointer.eq(walk.pointer + 1)
        for index, layout in enumerate(DESCRIPTOR):
            word = data.View(struct(layout), walk.word)
            with m.If(walk.step == index + 2):
                m.d.sync += [
                    getattr(walk.layer, field.name).eq(word[field.name])
                    for field in layout.fields
                    if hasattr(walk.layer, field.name)
                ]
        with m.If(walk.step == DESCRIPTOR_WORDS + 1):
            m.next = "CHECK"
        with m.If(walk.step == 2):
            with m.If(header.opcode == Opcode.END):
                m.d.comb += walk.ends.eq(1)
                m.d.sync += [self.done.eq(1), self.busy.eq(0)]
                m.next = "IDLE"
            with m.Elif(header.opcode != Opcode.LAYER):
                m.d.comb += walk.fault.eq(ErrorCode.OPCODE)

    def _check(self, m, walk):
        m.d.sync += [walk.step.eq(0), walk.table.eq(walk.layer.table)]
        m.d.comb += [self.layer_clear.eq(1), walk.fault.eq(walk.descriptor_error)]
        m.next = "RUN"
        with m.If(walk.layer.residual):
            m.next = "TABLES"

    def _tables(self, m, walk):
        m.d.comb += [
            walk.address.eq(walk.table),
            self.table_write.enable.eq(walk.step >= 2),
            self.table_write.address.eq(walk.step - 2),
            self.table_write.data.eq(walk.word),
        ]
        m.d.sync += [walk.table.eq(walk.table + 1), walk.step.eq(walk.step + 1)]
        with m.If(walk.step == 2 * TABLE_ENTRIES + 1):
            m.next = "RUN"

    def _run(self, m, walk):
        m.d.comb += self.control.start.eq(1)
        m.next = "LAYER"

    def _layer(self, m, walk):
        """Loader and engine work; the loader reads its records."""
        m.d.comb += walk.address.eq(self.record_address)
        m.d.sync += walk.step.eq(drain_cycles(self.config) - 1)
        with m.If(self.finished):
            m.next = "DRAIN"

    def _drain(self, m, walk):
        """The last outputs of a layer are on their way."""
        m.d.sync += walk.step.eq(walk.step - 1)
        with m.If(walk.step == 0):
            m.d.sync += [self.layer.eq(self.layer + 1), walk.step.eq(0)]
            m.next = "FETCH"
        with m.If(self.overrun):
            m.d.comb += walk.fault.eq(ErrorCode.OVERRUN)

    def _watch(self, m, walk):
        """Faults end any state but IDLE: `fault` gathers them, a cycle later `failed` ends it.

        The pipeline then runs empty before the machine may be started again.
        """
        found = Signal(ErrorCode)
        m.d.sync += found.eq(walk.fault)
        with m.If((walk.in_layer | walk.in_drain) & self.address_error):
            m.d.comb += walk.fault.eq(ErrorCode.ADDRESS)
        with m.If(walk.active & (walk.pointer > self.config.program_depth)):
            m.d.comb += walk.fault.eq(ErrorCode.ADDRESS)
        # The last cycle that the watchdog allows, found one cycle early. A program may end in it.
        expired = Signal()
        with m.If(walk.idle):
            m.d.sync += expired.eq(self.watchdog == 1)
        with m.Else():
            m.d.sync += expired.eq((self.watchdog != 0) & (self.cycles + 2 >= self.watchdog))
        late = expired & ~walk.ends
        m.d.comb += walk.failed.eq(walk.active & ((found != ErrorCode.NONE) | late))
        with m.If(walk.failed):
            m.d.sync += [
                self.error.eq(Mux(found == ErrorCode.NONE, ErrorCode.WATCHDOG, found)),
                self.error_layer.eq(self.layer),
                self.done.eq(0),
                walk.step.eq(drain_cycles(self.config)),
            ]

    def _count(self, m, walk, counters):
        counted = {
            "issue": walk.in_layer & self.running,
            "stall_weights": walk.in_layer & ~self.running,
            "setup": ~(walk.in_layer | walk.in_drain),
            "drain": walk.in_drain,
        }
        m.d.comb += [
            counters.clear.eq(self.start & walk.idle),
            counters.active.eq(walk.active),
            *(getattr(counters, f"count_{name}").eq(counted[name]) for name in COUNTERS),
            counters.layer.eq(self.layer),
            counters.layer_ends.eq(walk.in_drain & (walk.step == 0)),
            counters.log_index.eq(self.log_index),
            *(
                getattr(self, name).eq(getattr(counters, name))
                for name in ("cycles", *COUNTERS, "log_cycles")
            ),
        ]


class _Walk:
    """Registers and wires that the states of the sequencer share."""

    def __init__(self, config, fields):
        self.address = Signal(ceil_log2(config.program_depth))  # of the program word to read
        self.word = Signal(32, reset_less=True)  # read two cycles before
        # A program may run out of its memory: one bit more than an address.
        self.pointer = Signal(REGISTERS["PROGRAM"].fields.width + 1)  # next program word
        self.table = Signal(DESCRIPTOR_FIELDS["table"].width + 1)  # next word of the tables
        self.step = Signal(range(max(2 * TABLE_ENTRIES, drain_cycles(config)) + 2))
        self.layer = _Layer(fields)
        self.descriptor_error = Signal(ErrorCode)
        self.fault = Signal(ErrorCode)
        self.failed = Signal()
        self.ends = Signal()  # this is the last cycle of the program
        # States.
        self.idle = Signal()
        self.active = Signal()
        self.in_layer = Signal()
        self.in_drain = Signal()


class _Layer:
    """Registers of the descriptor, by field."""

    def __init__(self, fields):
        for name in Descriptor(fields).members:
            shape = field_shape(DESCRIPTOR_FIELDS[name])
            setattr(self, name, Signal(shape, name=f"layer_{name}", reset_less=True))
