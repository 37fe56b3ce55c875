"""The weight loader: walks row tiles, chunks and passes, one pass ahead of the engine."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import PASS
from termac.arch.cells import TERMS, TERMS_AHEAD
from termac.arch.timing import offer_read, swap_to_shift, tile_words

from termac_hw.control.descriptor import Descriptor
from termac_hw.control.engine import Pass
from termac_hw.layouts import struct
from termac_hw.memory.weights import WeightRequest

__all__ = ["Loader"]


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

    Members
    -------
    start, halt, descriptor : from the sequencer
    record_address, record : read port of the program memory, data two cycles later
    request : WeightRequest to the weight bank of group 0
    passes : stream of Pass to the engine
    ended : from the engine: last cycle of a pass
    address_error : sticky until ``start``: a weight, tap, parameter or record out of its memory
    """

    module_name = "termac_loader"

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "halt": In(1),
                "descriptor": In(Descriptor()),
                "record_address": Out(17),
                "record": In(PASS.width),
                "request": Out(WeightRequest(config)),
                "passes": Out(stream.Signature(Pass(config))),
                **({"ended": In(1)} if config.kind.keeps_terms else {}),
                "address_error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        layer = self.descriptor
        columns = config.columns
        record = data.View(struct(PASS), self.record)

        # Row tile and pass:
        tile = Signal(16)
        number = Signal(16)
        remaining = Signal(20)  # vectors of this row tile not yet begun, this chunk included
        base = Signal(21)  # first weight word of the row tile
        tap = Signal(17)
        record_address = Signal(17)
        parameters = Signal(18)
        new_tile = Signal()
        new_chunk = Signal()
        depth = config.accumulator_depth
        last_chunk = remaining <= depth
        last_pass = number + 1 == layer.passes
        last_tile = tile + 1 == layer.row_tiles

        address = Signal(21)
        item = self.passes.payload
        hold = Signal(range(swap_to_shift(config) + 1))
        # Words of the tile: already read, to be offered after, in all.
        keeps_terms = config.kind.keeps_terms
        count = Signal(range(tile_words(config, TERMS) + 1))
        words = Signal.like(count)
        offer = Signal.like(count)
        m.d.sync += [words.eq(columns), offer.eq(offer_read(config, 1) - 1)]
        if keeps_terms:
            column = Signal(range(columns))
            place = Signal(range(TERMS))
            deep = Signal()
            busy = Signal()
            m.d.sync += [
                words.eq(columns * layer.terms),
                offer.eq(columns * layer.terms + (offer_read(config, 1) - columns - 1)),
                deep.eq(layer.terms > TERMS_AHEAD),
            ]
            m.d.comb += [
                self.request.place.eq(place),
                self.request.store.eq(column == columns - 1),
            ]
        ahead = ~busy if keeps_terms else 1
        m.d.comb += [
            self.record_address.eq(record_address),
            item.count.eq(Mux(last_chunk, remaining, depth)),
            item.tile.eq(new_tile),
            item.chunk.eq(new_chunk),
            item.last.eq(last_pass & last_chunk & last_tile),
            item.tap.eq(tap),
        ]
        with m.If(hold != 0):
            m.d.sync += hold.eq(hold - 1)
        if keeps_terms:
            with m.If(busy & self.ended):
                m.d.sync += [busy.eq(0), hold.eq(swap_to_shift(config))]

        offered = Signal()
        reading = Signal()
        m.d.comb += [
            self.passes.valid.eq(offered),
            self.request.valid.eq(reading),
            self.request.address.eq(address),
        ]
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [
                    tile.eq(0),
                    number.eq(0),
                    remaining.eq(layer.vectors),
                    base.eq(layer.weights),
                    tap.eq(layer.taps),
                    record_address.eq(layer.records),
                    parameters.eq(layer.parameters),
                    new_tile.eq(1),
                    new_chunk.eq(0),
                    hold.eq(0),
                    *([busy.eq(0), item.half.eq(0)] if keeps_terms else []),
                    self.address_error.eq(0),
                ]
                m.next = "RECORD"
            with m.State("RECORD"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.next = "DECODE"
            with m.State("DECODE"):
                if keeps_terms:
                    m.d.sync += [column.eq(0), place.eq(Mux(item.half, TERMS_AHEAD, 0))]
                m.d.sync += [
                    address.eq(base + record.weights),
                    count.eq(0),
                    item.sum_first.eq(record.sum_first),
                    item.sum_last.eq(record.sum_last),
                    item.pool_first.eq(record.pool_first),
                    item.pool_last.eq(record.pool_last),
                ]
                with m.If(
                    (record_address >= config.program_depth)
                    | (tap + config.segments > config.tap_depth)
                    | (parameters + config.segments > config.parameter_depth)
                ):
                    m.d.sync += self.address_error.eq(1)
                m.next = "SHIFT"
            with m.State("SHIFT"):
                # The last word is in its cell just when the swap token of the pass gets there.
                m.d.comb += reading.eq((count != words) & ((count != 0) | ((hold == 0) & ahead)))
                with m.If(reading):
                    m.d.sync += [address.eq(address + 1), count.eq(count + 1)]
                    if keeps_terms:
                        m.d.sync += column.eq(column + 1)
                        with m.If(self.request.store):
                            m.d.sync += [column.eq(0), place.eq(place + 1)]
                    with m.If(count == offer):
                        m.d.sync += offered.eq(1)
                    with m.If(address >= config.weight_depth):
                        m.d.sync += self.address_error.eq(1)
                with m.If(offered & self.passes.ready):
                    m.d.sync += [offered.eq(0), hold.eq(swap_to_shift(config))]
                    if keeps_terms:
                        m.d.sync += [busy.eq(deep), item.half.eq(~item.half & ~deep)]
                with m.If((count == words) & (~offered | self.passes.ready)):
                    m.next = "NEXT"
                with m.If(self.halt):
                    m.d.sync += offered.eq(0)
                    m.next = "IDLE"
            with m.State("NEXT"):
                m.d.sync += [
                    number.eq(number + 1),
                    tap.eq(tap + config.segments),
                    record_address.eq(record_address + 1),
                    new_tile.eq(0),
                    new_chunk.eq(0),
                ]
                m.next = "RECORD"
                with m.If(last_pass):
                    m.d.sync += [
                        number.eq(0),
                        tap.eq(layer.taps),
                        record_address.eq(layer.records),
                        new_chunk.eq(1),
                        remaining.eq(remaining - depth),
                    ]
                    with m.If(last_chunk):
                        m.d.sync += [
                            remaining.eq(layer.vectors),
                            new_tile.eq(1),
                            new_chunk.eq(0),
                            tile.eq(tile + 1),
                            base.eq(base + layer.weights_tile),
                            parameters.eq(parameters + config.segments),
                        ]
                        with m.If(last_tile):
                            m.next = "IDLE"
        return m
