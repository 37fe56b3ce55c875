"""The vector engine: walks output pixels and issues one activation read per cycle."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect
from amaranth.utils import ceil_log2
from termac.arch import TAP
from termac.arch.records import vector_layout

from termac_hw.control.descriptor import Descriptor, LayerControl, connect_fields
from termac_hw.control.pixel_walk import PixelWalk
from termac_hw.control.read_pipeline import ReadPipeline
from termac_hw.emit import place
from termac_hw.layouts import struct
from termac_hw.memory.bank import ReadRequest
from termac_hw.memory.write import MemoryWrite

__all__ = ["Destination", "Engine", "Pass"]


class Pass(data.StructLayout):
    """One pass over one chunk, as the loader announces it once its weights are (nearly) in place.

    Members
    -------
    tap : address of its first tap
    count : vectors of the chunk, at least 1
    sum_first, sum_last, pool_first, pool_last : as in the pass record
    tile : first pass of a row tile: start again at the first vector
    chunk : first pass of a further chunk: go on where the last one ended
    last : last pass of the layer
    half : which half of the cells' terms it uses, if they keep terms
    """

    def __init__(self, config):
        super().__init__(
            {
                "tap": ceil_log2(config.tap_depth),
                "count": ceil_log2(config.accumulator_depth + 1),
                "sum_first": 1,
                "sum_last": 1,
                "pool_first": 1,
                "pool_last": 1,
                "tile": 1,
                "chunk": 1,
                "last": 1,
                **({"half": 1} if config.kind.terms else {}),
            }
        )


class Destination(data.StructLayout):
    """Where a vector's results go.

    Members
    -------
    address : first word of the row tile at this output pixel
    phase : which part of the word the row tile fills (``tiles_per_word`` > 1)
    enable : one bit per word of the row tile: the word exists and is to be written
    """

    def __init__(self, config):
        super().__init__(
            {
                "address": ceil_log2(config.activation_depth),
                "phase": max(1, ceil_log2(config.tiles_per_word)),
                "enable": config.words_per_tile,
            }
        )


class Engine(wiring.Component):
    """Issues the reads of every vector of a layer.

    A pass taken from ``passes`` at cycle t issues its first read in cycle t+1 and the last one
    ``count * time`` cycles after t; passes follow each other without a gap. A read issued in
    cycle i reaches the first bank in cycle i + ``ISSUE_LATENCY``.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    control : In(LayerControl)
        From the sequencer.
    layer : In(Descriptor)
        Descriptor of the running layer.
    passes : In(stream of Pass)
        From the loader.
    request : Out(ReadRequest)
        To bank 0.
    first, last : Out(1)
        First and last beat of a vector, in the cycle of issue.
    push : Out(1)
        First cycle of a vector.
    vector : Out(``vector_layout``)
        What the drains must know of it, with ``push``.
    destination : Out(Destination)
        Where its results go, with ``push``.
    running : Out(1)
        A pass is being issued.
    ended : Out(1)
        Pulse in the last cycle of every pass.
    finished : Out(1)
        Pulse in the last cycle of the layer's last pass.
    address_error : Out(1)
        A read or write lay outside the activation memory. Sticky until ``control.start``.
    tap_write : In(MemoryWrite)
        Tap table, from the host.
    """

    module_name = "termac_engine"
    ISSUE_LATENCY = 4
    FIELDS = ("beats", "time", "last_time", "out_blocks", *PixelWalk.FIELDS, *ReadPipeline.FIELDS)
    """Fields of the descriptor that it needs."""

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "control": In(LayerControl()),
                "layer": In(Descriptor(self.FIELDS)),
                "passes": In(stream.Signature(Pass(config))),
                "request": Out(ReadRequest(config)),
                "first": Out(1),
                "last": Out(1),
                "push": Out(1),
                "vector": Out(struct(vector_layout(config))),
                "destination": Out(Destination(config)),
                "running": Out(1),
                "ended": Out(1),
                "finished": Out(1),
                "address_error": Out(1),
                "tap_write": In(MemoryWrite(words=config.tap_depth, shape=TAP.width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        walk, reads = PixelWalk(config), ReadPipeline(config)
        m.submodules.walk = place(walk, platform, "walk")
        m.submodules.reads = place(reads, platform, "reads")
        work = Signal(Pass(config))
        cycle = Signal.like(reads.cycle)  # of the vector
        fresh = Signal()  # first vector of the pass
        self._issue(m, walk, work, cycle, fresh)

        taps = self._taps(m)
        m.d.comb += taps.addr.eq(work.tap + cycle)
        connect_fields(m, self.layer, reads.layer)
        connect(m, walk.here, reads.here)
        connect(m, walk.row_tile, reads.row_tile)
        m.d.comb += [
            reads.running.eq(self.running),
            reads.cycle.eq(cycle),
            reads.residuals.eq(work.sum_last),
            reads.token.eq(work.half if config.kind.terms else fresh),
            reads.tap.eq(taps.data),
            self.request.eq(reads.request),
        ]
        beyond = self._records(m, walk, work, cycle)
        with m.If(self.control.start):
            m.d.sync += self.address_error.eq(0)
        with m.Elif(beyond | reads.misses):
            m.d.sync += self.address_error.eq(1)
        return m

    def _taps(self, m):
        """The tap table, written by the host; its read port."""
        m.submodules.taps = taps = Memory(
            shape=unsigned(TAP.width), depth=self.config.tap_depth, init=[]
        )
        write = taps.write_port()
        m.d.comb += [
            write.addr.eq(self.tap_write.address),
            write.data.eq(self.tap_write.data),
            write.en.eq(self.tap_write.enable),
        ]
        return taps.read_port(domain="sync")

    def _issue(self, m, walk, work, cycle, fresh):
        """Takes passes, counts their vectors and the cycles of each."""
        layer, item = self.layer, self.passes.payload
        connect_fields(m, layer, walk.layer)
        remaining = Signal.like(work.count)
        time = Signal.like(layer.time)
        m.d.comb += time.eq(Mux(work.sum_last, layer.last_time, layer.time))
        # Both flags are found one cycle early, or the handshake would wait for their comparisons.
        vector_ends = Signal()
        last_vector = Signal()
        index = Signal(self.vector.shape()["index"].shape)
        m.d.sync += vector_ends.eq(self.running & (cycle + 2 == time))
        m.d.comb += [
            self.ended.eq(vector_ends & last_vector),
            self.finished.eq(self.ended & work.last),
            self.passes.ready.eq(~self.running | self.ended),
            walk.start.eq(self.control.start),
            walk.running.eq(self.running),
            walk.advance.eq(vector_ends),
            walk.take.eq(self.passes.valid & self.passes.ready),
            walk.tile.eq(item.tile),
            walk.chunk.eq(item.chunk),
            self.vector.index.eq(index),
        ]
        with m.If(self.running):
            m.d.sync += cycle.eq(cycle + 1)
        with m.If(vector_ends):
            m.d.sync += [
                cycle.eq(0),
                fresh.eq(0),
                remaining.eq(remaining - 1),
                last_vector.eq(remaining == 2),
                index.eq(index + 1),
            ]
        with m.If(self.ended):
            m.d.sync += self.running.eq(0)
        with m.If(walk.take):
            m.d.sync += [
                work.eq(item),
                remaining.eq(item.count),
                last_vector.eq(item.count == 1),
                index.eq(0),
                cycle.eq(0),
                fresh.eq(1),
                self.running.eq(1),
            ]
        with m.If(self.control.halt):
            m.d.sync += [self.running.eq(0), vector_ends.eq(0)]

    def _records(self, m, walk, work, cycle):
        """Records for the drains, with ``push``; whether one writes outside the memory."""
        layer, row_tile = self.layer, walk.row_tile
        starts = self.running & (cycle == 0)
        m.d.comb += [
            self.push.eq(starts),
            self.first.eq(starts),
            self.last.eq(self.running & (cycle + 1 == layer.beats)),
            self.vector.sum_first.eq(work.sum_first),
            self.vector.sum_last.eq(work.sum_last),
            self.vector.pool_first.eq(work.pool_first),
            self.vector.pool_last.eq(work.pool_last),
            self.vector.parameters.eq(walk.parameters),
            self.destination.address.eq(walk.output),
            self.destination.phase.eq(row_tile.phase),
        ]
        writes = work.sum_last & work.pool_last
        beyond = 0
        for word in range(self.config.words_per_tile):
            enable = self.destination.enable[word]
            m.d.comb += enable.eq(writes & (row_tile.block + word < layer.out_blocks))
            beyond |= self.push & enable & (walk.output + word >= self.config.activation_depth)
        return beyond
