"""The window through which a host reaches every memory: an AXI4 slave."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from termac.arch.memory_map import REGION_WIDTH, MemoryMap

from termac_hw.axi.burst import Burst, BurstStep, Response
from termac_hw.axi.signature import Axi4
from termac_hw.emit import place
from termac_hw.memory.write import MemoryWrite

__all__ = ["ID_WIDTH", "READ_LATENCY", "AxiMemory"]

ID_WIDTH = 4
"""Bits of a transaction ID, unless told otherwise."""

READ_LATENCY = 2
"""Cycles from ``activation_read.address`` to ``activation_data``."""

_FIFO_DEPTH = READ_LATENCY + 2
"""Read beats on their way: latency, one cycle into the FIFO, one out of it. Fewer would stall."""


class AxiMemory(wiring.Component):
    """Serves the regions of :class:`termac.arch.memory_map.MemoryMap`, one beat per cycle.

    All burst types, sizes and lengths; one write and one read burst at a time, one cycle between
    bursts. Activations honour byte strobes and can be read. The other memories take whole beats
    only and are write-only. Entries wider than a beat are collected and written to their memory
    with their last beat; their beats must follow one another, from the first to the last, though
    bursts may end anywhere. Beats without any strobe and padding beats are ignored.

    Everything else answers SLVERR and changes nothing, beat by beat: holes of the memory map,
    reads of write-only regions, partial strobes or wrong order where whole entries are needed,
    illegal bursts, and every access while ``busy``. No AXI output depends combinationally on an
    AXI input.

    Parameters
    ----------
    config : :class:`termac.arch.Config`
    id_width : :class:`int`
        Bits of a transaction ID.

    Members
    -------
    s_axi : In(Axi4)
        AXI4 slave.
    busy : In(1)
        Refuse every access.
    program_write, tap_write : Out(MemoryWrite)
        Program memory and tap table.
    weight_write, parameter_write : Out(MemoryWrite)
        Weights and channel parameters, one enable per drain.
    activation_write : Out(MemoryWrite)
        Activations, one enable per byte of a word.
    activation_read : Out(enable, address)
        Never together with ``activation_write``.
    activation_data : In(8 * word_bytes)
        The word, ``READ_LATENCY`` cycles after its address.
    """

    module_name = "termac_axi_memory"

    def __init__(self, config, *, id_width=ID_WIDTH):
        if not isinstance(id_width, int) or not 1 <= id_width <= 32:
            raise ValueError(f"ID width must be 1 to 32 bits, not {id_width!r}")
        self.config = config
        self.id_width = id_width
        memory_map = MemoryMap(config)
        self.address_width = memory_map.address_width

        def write(region, enables):
            return Out(MemoryWrite(words=region.words, shape=region.width, enables=enables))

        activations = memory_map.activations
        super().__init__(
            {
                "s_axi": In(Axi4(address_width=self.address_width, id_width=id_width)),
                "busy": In(1),
                "program_write": write(memory_map.program, 1),
                "tap_write": write(memory_map.taps, 1),
                "weight_write": write(memory_map.weights, config.drains),
                "parameter_write": write(memory_map.parameters, config.drains),
                "activation_write": write(activations, config.word_bytes),
                "activation_read": Out(
                    data.StructLayout({"enable": 1, "address": ceil_log2(activations.words)})
                ),
                "activation_data": In(activations.width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        memory_map = MemoryMap(self.config)
        self._write(m, platform, memory_map)
        self._read(m, platform, memory_map)
        return m

    def _accept(self, m, platform, channel):
        """The address channel: the current burst, its ID, whether it is active, its BurstStep."""
        name = "write" if channel == "aw" else "read"
        burst = Signal(Burst(address_width=self.address_width), name=f"{name}_burst")
        identity = Signal(self.id_width, name=f"{name}_id")
        active = Signal(name=f"{name}_active")
        step = BurstStep(address_width=self.address_width)
        m.submodules[f"{name}_step"] = place(step, platform, f"{name}_step")
        m.d.comb += step.burst.eq(burst)

        def port(suffix):
            return getattr(self.s_axi, channel + suffix)

        m.d.comb += port("ready").eq(~active)
        with m.If(port("valid") & port("ready")):
            m.d.sync += [
                active.eq(1),
                identity.eq(port("id")),
                burst.address.eq(port("addr")),
                burst.length.eq(port("len")),
                burst.size.eq(port("size")),
                burst.kind.eq(port("burst")),
            ]
        return burst, identity, active, step

    def _write(self, m, platform, memory_map):
        """A beat is taken into a register first; what becomes of it is decided a cycle later."""
        burst, identity, active, step = self._accept(m, platform, "aw")
        taken = Signal()
        beat = Signal(
            data.StructLayout(
                {
                    "valid": 1,
                    "legal": 1,
                    "last": 1,
                    "address": self.address_width,
                    "data": 32,
                    "strobe": 4,
                }
            )
        )
        m.d.comb += [
            self.s_axi.wready.eq(active & ~self.s_axi.bvalid),
            taken.eq(self.s_axi.wvalid & self.s_axi.wready),
        ]
        with m.If(taken):
            m.d.sync += burst.address.eq(step.address)
            with m.If(self.s_axi.wlast):
                m.d.sync += active.eq(0)
        m.d.sync += [
            beat.valid.eq(taken),
            beat.legal.eq(step.legal & ~self.busy),
            beat.last.eq(self.s_axi.wlast),
            beat.address.eq(burst.address),
            beat.data.eq(self.s_axi.wdata),
            beat.strobe.eq(self.s_axi.wstrb),
        ]
        wrong = Signal()  # this beat
        self._answer(m, beat, wrong, identity)
        self._store(m, beat, wrong, memory_map)

    def _answer(self, m, beat, wrong, identity):
        """One response a burst: an error if any of its beats was wrong."""
        failed = Signal()  # an earlier beat of this burst
        with m.If(self.s_axi.bready):
            m.d.sync += self.s_axi.bvalid.eq(0)
        with m.If(beat.valid):
            m.d.sync += failed.eq(failed | wrong)
            with m.If(beat.last):
                m.d.sync += [
                    failed.eq(0),
                    self.s_axi.bvalid.eq(1),
                    self.s_axi.bid.eq(identity),
                    self.s_axi.bresp.eq(Mux(failed | wrong, Response.SLVERR, Response.OKAY)),
                ]

    def _store(self, m, beat, wrong, memory_map):
        """Finds the memory of a beat and writes to it, unless the beat is wrong."""
        entry = _Entry(memory_map)
        ports = {
            "program": self.program_write,
            "taps": self.tap_write,
            "weights": self.weight_write,
            "parameters": self.parameter_write,
            "activations": self.activation_write,
        }
        for region in memory_map.regions:
            port = ports[region.name]
            m.d.sync += port.enable.eq(0)
            m.d.comb += port.address.eq(entry.word)
            if region.readable:
                m.d.comb += port.data.eq(entry.data[:32].replicate(region.width // 32))
            else:
                m.d.comb += port.data.eq(entry.data)
        m.d.comb += wrong.eq(1)
        with m.If(beat.legal), m.Switch(beat.address[-REGION_WIDTH:]):
            for region in memory_map.regions:
                word, group, _ = _slices(region, beat.address)
                exists = _below(word, region.words) & _below(group, region.groups)
                store = self._store_bytes if region.readable else self._store_entry
                with m.Case(region.number), m.If(exists):
                    store(m, beat, wrong, entry, region, ports[region.name].enable)

    def _store_bytes(self, m, beat, wrong, entry, region, enable):
        """Activations: every beat is written on its own, with its strobes."""
        word, _, number = _slices(region, beat.address)
        m.d.comb += wrong.eq(0)
        with m.If(beat.valid & _below(number, region.beats) & beat.strobe.any()):
            m.d.sync += [
                entry.word.eq(word),
                entry.data[:32].eq(beat.data),
                entry.following.eq(0),  # that was the first beat of any entry
            ]
            for part in range(region.beats):
                with m.If(number == part):
                    m.d.sync += enable[4 * part : 4 * part + 4].eq(beat.strobe)

    def _store_entry(self, m, beat, wrong, entry, region, enable):
        """Other memories: whole beats in order, written together with the last of an entry."""
        word, group, number = _slices(region, beat.address)
        kept = _below(number, region.beats) & beat.strobe.any()
        in_order = (number == 0) | (beat.address[2:] == entry.following)
        stored = kept & beat.strobe.all() & in_order
        m.d.comb += wrong.eq(kept & ~stored)
        with m.If(beat.valid & stored):
            m.d.sync += [entry.word.eq(word), entry.following.eq(beat.address[2:] + 1)]
            for part in range(region.beats):
                with m.If(number == part):
                    m.d.sync += entry.data[32 * part : 32 * part + 32].eq(beat.data)
            with m.If(number == region.beats - 1):
                m.d.sync += enable.eq(Cat(group == i for i in range(region.groups)))

    def _read(self, m, platform, memory_map):
        region = memory_map.activations
        burst, identity, active, step = self._accept(m, platform, "ar")
        target, _, beat = _slices(region, burst.address)
        good = Signal()
        issue = Signal()
        left = Signal(8)  # beats behind the current one
        credit = Signal(range(_FIFO_DEPTH + 1), init=_FIFO_DEPTH)
        m.d.comb += [
            good.eq(
                ~self.busy
                & step.legal
                & (burst.address[-REGION_WIDTH:] == region.number)
                & _below(target, region.words)
            ),
            # The memories must not be read and written in one cycle; writes go first.
            issue.eq(active & (credit != 0) & ~self.activation_write.enable.any()),
            self.activation_read.enable.eq(issue & good),
            self.activation_read.address.eq(target),
        ]
        with m.If(~active):
            m.d.sync += left.eq(self.s_axi.arlen)
        with m.If(issue):
            m.d.sync += [burst.address.eq(step.address), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += active.eq(0)

        # What goes with the data, until it arrives.
        layout = data.StructLayout(
            {
                "valid": 1,
                "good": 1,
                "last": 1,
                "id": self.id_width,
                "beat": region.beat_width,
            }
        )
        stage = Signal(layout, name="request")
        m.d.comb += [
            stage.valid.eq(issue),
            stage.good.eq(good),
            stage.last.eq(left == 0),
            stage.id.eq(identity),
            stage.beat.eq(beat),
        ]
        for index in range(READ_LATENCY):
            delayed = Signal(layout, name=f"request_{index}")
            m.d.sync += delayed.eq(stage)
            stage = delayed
        part = Signal(32)
        with m.If(stage.good), m.Switch(stage.beat):
            for index in range(region.beats):
                with m.Case(index):
                    m.d.comb += part.eq(self.activation_data[32 * index : 32 * index + 32])

        record = data.StructLayout({"data": 32, "good": 1, "last": 1, "id": self.id_width})
        m.submodules.replies = replies = SyncFIFO(width=record.size, depth=_FIFO_DEPTH)
        reply = data.View(record, replies.r_data)
        m.d.comb += [
            replies.w_data.eq(Cat(part, stage.good, stage.last, stage.id)),
            replies.w_en.eq(stage.valid),
            replies.r_en.eq(self.s_axi.rready),
            self.s_axi.rvalid.eq(replies.r_rdy),
            self.s_axi.rdata.eq(reply.data),
            self.s_axi.rlast.eq(reply.last),
            self.s_axi.rid.eq(reply.id),
            self.s_axi.rresp.eq(Mux(reply.good, Response.OKAY, Response.SLVERR)),
        ]
        returned = self.s_axi.rvalid & self.s_axi.rready
        with m.If(issue & ~returned):
            m.d.sync += credit.eq(credit - 1)
        with m.If(returned & ~issue):
            m.d.sync += credit.eq(credit + 1)


class _Entry:
    """Registers that collect the beats of any memory's entry; an enable follows a cycle later."""

    def __init__(self, memory_map):
        regions = memory_map.regions
        self.data = Signal(max(region.width for region in regions if not region.readable))
        self.word = Signal(max(region.word_width for region in regions))
        # The only beat that may continue an entry.
        self.following = Signal(memory_map.address_width - 2)


def _slices(region, address):
    """Word, group and beat of a byte address; the word takes everything above, so holes show."""
    beat_end = 2 + region.beat_width
    group_end = beat_end + region.group_width
    return address[group_end:-REGION_WIDTH], address[beat_end:group_end], address[2:beat_end]


def _below(value, limit):
    """Whether ``value < limit``; for powers of two a matter of the bits above."""
    if limit & (limit - 1):
        return value < limit
    return ~value[limit.bit_length() - 1 :].any()
