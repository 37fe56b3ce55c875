"""The weight loader: walks row tiles, chunks and passes, one pass ahead of the engine."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import DESCRIPTOR_FIELDS, PASS
from termac.arch.cells import TERMS, TERMS_AHEAD
from termac.arch.timing import offer_read, swap_to_shift, tile_words

from termac_hw.control.descriptor import Descriptor, LayerControl
from termac_hw.control.engine import Pass
from termac_hw.layouts import struct
from termac_hw.memory.weights import WeightRequest

__all__ = ["RECORD_ADDRESS_WIDTH", "Loader"]

RECORD_ADDRESS_WIDTH = DESCRIPTOR_FIELDS["records"].width + 1
"""Bits of the address of a pass record: one more than its field, to see what runs out of memory."""


class Loader(wiring.Component):
    """Loads the weights of the next pass into the cells and announces the pass.

    The shadow registers are free once the swap token of the running pass has left the last row of
    a group; a cell may take its shadow weight as soon as its row has been shifted through. Both
    are known distances, so the interlock is a counter: passes follow each other after
    ``max(count * time, reload_cycles)`` cycles.

    Cells that keep terms take them one after the other, C words each, into the half of their
    memory that the running pass does not use; it is free when the running pass has begun
    everywhere. Passes of more terms than half the memory use all of it: the next terms wait until
    the last vector is through.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    control : In(LayerControl)
        From the sequencer.
    layer : In(Descriptor)
        Descriptor of the running layer.
    record_address : Out
        Address of a pass record in the program memory.
    record : In(PASS)
        That record, two cycles later.
    request : Out(WeightRequest)
        To the weight bank of group 0.
    passes : Out(stream of Pass)
        To the engine.
    ended : In(1)
        From the engine, if cells keep terms: last cycle of a pass.
    address_error : Out(1)
        A weight, tap, parameter or record lay outside its memory. Sticky until ``control.start``.
    """

    module_name = "termac_loader"

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "control": In(LayerControl()),
                "layer": In(Descriptor(self.fields(config))),
                "record_address": Out(RECORD_ADDRESS_WIDTH),
                "record": In(struct(PASS)),
                "request": Out(WeightRequest(config)),
                "passes": Out(stream.Signature(Pass(config))),
                **({"ended": In(1)} if config.kind.terms else {}),
                "address_error": Out(1),
            }
        )

    @staticmethod
    def fields(config):
        """Fields of the descriptor that it needs."""
        fields = ("row_tiles", "passes", "vectors", "taps", "records", "weights", "weights_tile",
                  "parameters")  # fmt: skip
        return (*fields, "terms") if config.kind.terms else fields

    def elaborate(self, platform):
        m = Module()
        walk = _Walk(self.config)
        item = self.passes.payload
        m.d.comb += [
            self.record_address.eq(walk.record_address),
            self.passes.valid.eq(walk.offered),
            self.request.valid.eq(walk.reading),
            self.request.address.eq(walk.address),
            item.count.eq(Mux(walk.last_chunk, walk.remaining, self.config.accumulator_depth)),
            item.tile.eq(walk.new_tile),
            item.chunk.eq(walk.new_chunk),
            item.last.eq(walk.last_pass & walk.last_chunk & walk.last_tile),
            item.tap.eq(walk.tap),
            walk.last_chunk.eq(walk.remaining <= self.config.accumulator_depth),
            walk.last_pass.eq(walk.number + 1 == self.layer.passes),
            walk.last_tile.eq(walk.tile + 1 == self.layer.row_tiles),
        ]
        with m.If(walk.hold != 0):
            m.d.sync += walk.hold.eq(walk.hold - 1)
        if self.config.kind.terms:
            self._count_terms(m, walk)
        else:
            m.d.comb += [
                walk.words.eq(self.config.columns),
                walk.offer.eq(offer_read(self.config, 1) - 1),
                walk.free.eq(1),
            ]
        with m.FSM(name="state"):
            with m.State("IDLE"), m.If(self.control.start):
                self._start(m, walk)
                m.next = "RECORD"
            with m.State("RECORD"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.next = "DECODE"
            with m.State("DECODE"):
                self._decode(m, walk)
                m.next = "SHIFT"
            with m.State("SHIFT"):
                self._shift(m, walk)
                with m.If((walk.count == walk.words) & (~walk.offered | self.passes.ready)):
                    m.next = "NEXT"
                with m.If(self.control.halt):
                    m.d.sync += walk.offered.eq(0)
                    m.next = "IDLE"
            with m.State("NEXT"):
                self._next(m, walk)
                m.next = "RECORD"
                with m.If(walk.last_pass & walk.last_chunk & walk.last_tile):
                    m.next = "IDLE"
        return m

    def _count_terms(self, m, walk):
        """Words of a tile of terms; which column of which term the next word is for."""
        config, terms = self.config, self.layer.terms
        columns = config.columns
        m.d.sync += [
            walk.words.eq(columns * terms),
            walk.offer.eq(columns * terms + (offer_read(config, 1) - columns - 1)),
            walk.deep.eq(terms > TERMS_AHEAD),
        ]
        m.d.comb += [
            self.request.place.eq(walk.place),
            self.request.store.eq(walk.column == columns - 1),
            walk.free.eq(~walk.busy),
        ]
        with m.If(walk.busy & self.ended):
            m.d.sync += [walk.busy.eq(0), walk.hold.eq(swap_to_shift(config))]

    def _start(self, m, walk):
        layer = self.layer
        m.d.sync += [
            walk.tile.eq(0),
            walk.number.eq(0),
            walk.remaining.eq(layer.vectors),
            walk.base.eq(layer.weights),
            walk.tap.eq(layer.taps),
            walk.record_address.eq(layer.records),
            walk.parameters.eq(layer.parameters),
            walk.new_tile.eq(1),
            walk.new_chunk.eq(0),
            walk.hold.eq(0),
            self.address_error.eq(0),
        ]
        if self.config.kind.terms:
            m.d.sync += [walk.busy.eq(0), self.passes.payload.half.eq(0)]

    def _decode(self, m, walk):
        """The record is there: where its weights are, and whether all that it names exists."""
        config, record, item = self.config, self.record, self.passes.payload
        m.d.sync += [
            walk.address.eq(walk.base + record.weights),
            walk.count.eq(0),
            item.sum_first.eq(record.sum_first),
            item.sum_last.eq(record.sum_last),
            item.pool_first.eq(record.pool_first),
            item.pool_last.eq(record.pool_last),
        ]
        if config.kind.terms:
            m.d.sync += [walk.column.eq(0), walk.place.eq(Mux(item.half, TERMS_AHEAD, 0))]
        with m.If(
            (walk.record_address >= config.program_depth)
            | (walk.tap + config.segments > config.tap_depth)
            | (walk.parameters + config.segments > config.parameter_depth)
        ):
            m.d.sync += self.address_error.eq(1)

    def _shift(self, m, walk):
        """Read the tile, offer its pass; the last word is there when the swap token gets there."""
        config, item = self.config, self.passes.payload
        begun = walk.count != 0
        may_begin = (walk.hold == 0) & walk.free
        m.d.comb += walk.reading.eq((walk.count != walk.words) & (begun | may_begin))
        with m.If(walk.reading):
            m.d.sync += [walk.address.eq(walk.address + 1), walk.count.eq(walk.count + 1)]
            if config.kind.terms:
                m.d.sync += walk.column.eq(walk.column + 1)
                with m.If(self.request.store):
                    m.d.sync += [walk.column.eq(0), walk.place.eq(walk.place + 1)]
            with m.If(walk.count == walk.offer):
                m.d.sync += walk.offered.eq(1)
            with m.If(walk.address >= config.weight_depth):
                m.d.sync += self.address_error.eq(1)
        with m.If(walk.offered & self.passes.ready):
            m.d.sync += [walk.offered.eq(0), walk.hold.eq(swap_to_shift(config))]
            if config.kind.terms:
                m.d.sync += [walk.busy.eq(walk.deep), item.half.eq(~item.half & ~walk.deep)]

    def _next(self, m, walk):
        """Step to the next pass, chunk or row tile."""
        layer, config = self.layer, self.config
        m.d.sync += [
            walk.number.eq(walk.number + 1),
            walk.tap.eq(walk.tap + config.segments),
            walk.record_address.eq(walk.record_address + 1),
            walk.new_tile.eq(0),
            walk.new_chunk.eq(0),
        ]
        with m.If(walk.last_pass):
            m.d.sync += [
                walk.number.eq(0),
                walk.tap.eq(layer.taps),
                walk.record_address.eq(layer.records),
                walk.new_chunk.eq(1),
                walk.remaining.eq(walk.remaining - config.accumulator_depth),
            ]
            with m.If(walk.last_chunk):
                m.d.sync += [
                    walk.remaining.eq(layer.vectors),
                    walk.new_tile.eq(1),
                    walk.new_chunk.eq(0),
                    walk.tile.eq(walk.tile + 1),
                    walk.base.eq(walk.base + layer.weights_tile),
                    walk.parameters.eq(walk.parameters + config.segments),
                ]


class _Walk:
    """Registers and wires that the states of the loader share.

    Addresses have a bit more than their fields, parameters two, so that what runs out of a memory
    is seen.
    """

    def __init__(self, config):
        fields = DESCRIPTOR_FIELDS
        # Row tile, chunk and pass.
        self.tile = Signal(fields["row_tiles"].width)
        self.number = Signal(fields["passes"].width)
        self.remaining = Signal(fields["vectors"].width)  # of this row tile, this chunk included
        self.new_tile = Signal()
        self.new_chunk = Signal()
        self.last_tile = Signal()
        self.last_chunk = Signal()
        self.last_pass = Signal()
        # Where its records lie.
        self.base = Signal(fields["weights"].width + 1)  # first weight word of the row tile
        self.tap = Signal(fields["taps"].width + 1)
        self.record_address = Signal(RECORD_ADDRESS_WIDTH)
        self.parameters = Signal(fields["parameters"].width + 2)
        # Words of the tile: already read, to be offered after, in all.
        self.count = Signal(range(tile_words(config, TERMS) + 1))
        self.words = Signal.like(self.count)
        self.offer = Signal.like(self.count)
        self.address = Signal.like(self.base)  # of the next one
        self.reading = Signal()
        # The pass, and when the next tile may be read.
        self.offered = Signal()
        self.hold = Signal(range(swap_to_shift(config) + 1))
        self.free = Signal()
        if config.kind.terms:
            self.column = Signal(range(config.columns))
            self.place = Signal(range(TERMS))
            self.deep = Signal()  # a pass fills all places
            self.busy = Signal()  # with such a pass
