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
    request : In(ReadRequest)
        From the engine or the bank before.
    request_out : Out(ReadRequest)
        To the next bank, S cycles later.
    pad : In(8)
        Stored byte for taps outside the image.
    residual_pad : In(8)
        Stored byte for residual words outside the tensor.
    clear : In(1)
        Pulse before a layer starts. Only if the cell's feeders take it.
    terms : In(terms)
        Terms of a pass, from the layer descriptor. Only if the cell's feeders take it.
    hese : In(1)
        Encode activations by HESE instead of NAF. Only if there is an encoder.
    centred : In(1)
        Encode activations relative to ``pad``. Only if there is an encoder.
    lanes : Out(S * lane_bundle_width)
        Lane bundles of the S columns, see :mod:`termac_hw.cells.kinds`.
    residual_push : Out(1)
        A residual slice of alpha bytes is here.
    residual_word : Out
        Which of the row tile's output words it belongs to.
    residual_phase : Out
        Which part of an output word the row tile fills.
    residual_data : Out(8 * alpha)
        The slice.
    write_valid : In(requesters)
        Requester n writes unit ``n % (alpha/unit)`` of the bank's bytes.
    write_ready : Out(requesters)
        The request is granted.
    write_address : In(ArrayLayout(unsigned, requesters))
        Word of each requester.
    write_data : In(ArrayLayout(unsigned(8 * unit), requesters))
        Bytes of each requester.
    host_read : In(1)
        Read at the host's address. Usable while the machine is idle.
    host_read_address : In
        Word to read.
    host_data : Out(8 * alpha)
        The word, two cycles after its address.
    host_write : In(MemoryWrite)
        From the host, one enable per byte. What is read in the cycle of a write is undefined.
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
        stages = self._request_stages(m)
        word = self._read(m, words.read_port(), stages[2])
        self._feed(m, platform, word, stages)
        self._write(m, words.write_port(granularity=8))
        return m

    def _request_stages(self, m):
        """The request 0 to S cycles later; the last one is for the next bank."""
        stages = [self.request]
        for cycle in range(self.config.segments):
            stage = Signal(self.request_layout, name=f"request_{cycle + 1}")
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        m.d.comb += self.request_out.eq(stages[-1])
        return stages

    def _read(self, m, read, current):
        """The word, or padding, that ``current`` asked for two cycles earlier."""
        lanes = self.config.lanes
        stored = Signal(8 * lanes, reset_less=True)
        m.d.comb += [
            read.addr.eq(Mux(self.host_read, self.host_read_address, self.request.address)),
            read.en.eq(1),
            self.host_data.eq(stored),
        ]
        # Block RAM is slow: its output goes into a register before anything looks at it.
        m.d.sync += stored.eq(read.data)
        pad = Signal(8)
        word = Signal(8 * lanes)
        m.d.comb += [
            pad.eq(Mux(current.residual, self.residual_pad, self.pad)),
            word.eq(Mux(current.pad, Cat(pad for _ in range(lanes)), stored)),
        ]
        m.d.sync += [
            self.residual_push.eq(current.residual),
            self.residual_word.eq(current.word),
            self.residual_phase.eq(current.phase),
            self.residual_data.eq(word),
        ]

        return word

    def _feed(self, m, platform, word, stages):
        """Feeders: what the lanes carry from one word to the next."""
        config = self.config
        kind = cell_kind(config.cell)
        coded, load = word, stages[2]
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

    def _write(self, m, write):
        """Writes: fixed priority, one register between the grant and the memory."""
        config = self.config
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
