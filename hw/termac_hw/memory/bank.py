"""Activation memory bank: storage, padding, lane feeders, write arbitration.

Bank b holds bytes ``b*alpha .. b*alpha+alpha-1`` of every word and feeds the S columns
``b*S .. b*S+S-1``. All banks run the same program of reads; bank b runs it ``b*S`` cycles later,
so that column c meets partial sums that took c hops to reach it, and nothing but the short read
request is delayed.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from termac_hw.cells import cell_kind
from termac_hw.cells.kinds import SETTINGS, connect_settings
from termac_hw.emit import place
from termac_hw.memory.write import MemoryWrite

__all__ = ["ActivationBank", "ReadRequest"]


class ReadRequest(data.StructLayout):
    """One read of an activation memory bank.

    Members
    -------
    address : word address
    pad : feed the padding value instead of the word
    load : the word is a tap: load it into the feeders of ``segment``
    segment : segment of the vector, 0 .. S-1
    token : first vector of a pass: the cells swap weights; if they keep terms, for all vectors:
        which half of their terms this pass uses
    residual : the word is a residual operand: hand it to the drains
    word : which of the row tile's output words the residual belongs to
    phase : which part of an output word the row tile fills (``tiles_per_word`` > 1)
    """

    def __init__(self, config):
        super().__init__(
            {
                "address": ceil_log2(config.activation_depth),
                "pad": 1,
                "load": 1,
                "segment": ceil_log2(config.segments),
                "token": 1,
                "residual": 1,
                "word": max(1, ceil_log2(config.words_per_tile)),
                "phase": max(1, ceil_log2(config.tiles_per_word)),
            }
        )


class ActivationBank(wiring.Component):
    """One byte bank of the activation memory with the feeders of its S columns.

    A request at cycle t puts the first beat of its word on ``lanes`` at t + ``feed_latency``, the
    residual slice on ``residual_data`` at t+LATENCY, and reaches ``request_out`` (the next bank) at
    t+S.

    Write requests are granted one per cycle, lowest index first. At most S requesters, each with
    one request per vector time of at least S cycles: every request is granted within S cycles.

    Members
    -------
    request, request_out : ReadRequest
        From the engine or the previous bank; to the next bank.
    pad, residual_pad : signed(8)
        Stored byte for taps outside the image; for absent residual words.
    clear, terms, hese, centred : those that the cell's feeders take
        See :mod:`termac_hw.cells.kinds`.
    lanes : S lane bundles, see :mod:`termac_hw.cells.kinds`
    residual_push, residual_word, residual_phase, residual_data
        A residual slice of alpha bytes.
    write_valid, write_ready : one bit per requester
        Requester n writes unit ``n % (alpha/unit)`` of the bank's bytes.
    write_address, write_data : per requester; word address and ``unit`` bytes
    host_read, host_read_address, host_data
        Host read port, usable while the machine is idle: data two cycles after the address.
    host_write : In(MemoryWrite)
        From the host, one enable per byte; what is read in the cycle of a write is undefined.
    """

    module_name = "termac_bank"
    LATENCY = 3

    def __init__(self, config):
        self.config = config
        kind = cell_kind(config.cell)
        self.request_layout = ReadRequest(config)
        self.requesters = config.words_per_tile * config.lanes // config.unit
        address = ceil_log2(config.activation_depth)
        super().__init__(
            {
                "request": In(self.request_layout),
                "request_out": Out(self.request_layout),
                "pad": In(8),
                "residual_pad": In(8),
                **{name: In(SETTINGS[name]) for name in kind.settings},
                "lanes": Out(config.segments * kind.lane_bundle_width(config)),
                "residual_push": Out(1),
                "residual_word": Out(self.request_layout["word"].shape),
                "residual_phase": Out(self.request_layout["phase"].shape),
                "residual_data": Out(8 * config.lanes),
                "write_valid": In(self.requesters),
                "write_ready": Out(self.requesters),
                "write_address": In(data.ArrayLayout(unsigned(address), self.requesters)),
                "write_data": In(data.ArrayLayout(unsigned(8 * config.unit), self.requesters)),
                "host_read": In(1),
                "host_read_address": In(address),
                "host_data": Out(8 * config.lanes),
                "host_write": In(
                    MemoryWrite(
                        words=config.activation_depth, shape=8 * config.lanes, enables=config.lanes
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.words = words = Memory(
            shape=unsigned(8 * config.lanes), depth=config.activation_depth, init=[]
        )
        read = words.read_port(domain="sync")
        write = words.write_port(granularity=8)

        stored = Signal(8 * config.lanes, reset_less=True)

        # The request, delayed by S cycles for the next bank.
        stages = [self.request]
        for _ in range(config.segments):
            stage = Signal(self.request_layout)
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        m.d.comb += self.request_out.eq(stages[-1])

        m.d.comb += [
            read.addr.eq(Mux(self.host_read, self.host_read_address, self.request.address)),
            read.en.eq(1),
            self.host_data.eq(stored),
        ]
        # Block RAM is slow: its output goes into a register before anything looks at it.
        m.d.sync += stored.eq(read.data)
        current = stages[2]  # the request whose word is stored now
        pad = Mux(current.residual, self.residual_pad, self.pad)
        word = Signal(8 * config.lanes)
        m.d.comb += word.eq(Mux(current.pad, Cat(pad for _ in range(config.lanes)), stored))
        m.d.sync += [
            self.residual_push.eq(current.residual),
            self.residual_word.eq(current.word),
            self.residual_phase.eq(current.phase),
            self.residual_data.eq(word),
        ]

        # Feeders: what the lanes carry from one word to the next.
        kind = cell_kind(config.cell)
        coded, load = word, current
        if kind.Encoder is not None:
            encoder = kind.Encoder(config)
            m.submodules.encoder = place(encoder, platform, "encoder")
            m.d.comb += [
                encoder.word.eq(word),
                encoder.zero.eq(Mux(self.centred, self.pad, 0)),
            ]
            connect_settings(m, self, encoder)
            coded, load = encoder.coded, stages[2 + config.kind.feed_delay]
        columns = []
        for segment in range(config.segments):
            feeder = kind.Feeder(config)
            m.submodules[f"feeder_{segment}"] = place(feeder, platform, f"feeder_{segment}")
            m.d.comb += [
                feeder.load.eq(load.load & (load.segment == segment)),
                feeder.token.eq(load.token),
                feeder.word.eq(coded),
            ]
            connect_settings(m, self, feeder)
            columns.append(feeder.lanes)
        m.d.comb += self.lanes.eq(Cat(columns))

        # Writes: fixed priority, one register between the grant and the memory.
        units = config.lanes // config.unit
        address = Signal.like(write.addr, reset_less=True)
        value = Signal(8 * config.unit, reset_less=True)
        enable = Signal(units)
        m.d.sync += enable.eq(0)
        addresses, values = Array(self.write_address), Array(self.write_data)
        taken = Const(0, 1)
        for index in range(self.requesters):
            grant = self.write_valid[index] & ~taken
            m.d.comb += self.write_ready[index].eq(grant)
            with m.If(grant):
                m.d.sync += [
                    address.eq(addresses[index]),
                    value.eq(values[index]),
                    enable.eq(1 << (index % units)),
                ]
            taken = taken | self.write_valid[index]
        host = Signal()
        granted = Cat(bit.replicate(config.unit) for bit in enable)
        m.d.comb += [
            host.eq(self.host_write.enable.any()),
            write.addr.eq(Mux(host, self.host_write.address, address)),
            write.data.eq(Mux(host, self.host_write.data, Cat(value for _ in range(units)))),
            write.en.eq(Mux(host, self.host_write.enable, granted)),
        ]
        return m
