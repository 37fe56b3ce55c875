"""The vector engine: walks output pixels and issues one activation read per cycle."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from termac.arch import TAP
from termac.arch.program import COORDINATE_WIDTH
from termac.arch.records import vector_layout

from termac_hw.control.descriptor import Descriptor
from termac_hw.layouts import struct
from termac_hw.memory.bank import ReadRequest
from termac_hw.memory.write import MemoryWrite

__all__ = ["Destination", "Engine", "Pass"]

ADDRESS_WIDTH = 20
"""Bits of address arithmetic (signed): origins may lie before the tensor."""


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
                **({"half": 1} if config.kind.keeps_terms else {}),
            }
        )


class Position(data.StructLayout):
    """Where a vector is: output column, input coordinates, input, residual and output address."""

    def __init__(self):
        super().__init__(
            {
                "column": COORDINATE_WIDTH,
                "y": signed(COORDINATE_WIDTH + 2),
                "x": signed(COORDINATE_WIDTH + 2),
                "input": signed(ADDRESS_WIDTH),
                "residual": signed(ADDRESS_WIDTH),
                "output": unsigned(ADDRESS_WIDTH),
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

    Members
    -------
    start : layer start; ``descriptor`` is valid from here to the end of the layer
    halt : drop everything
    passes : stream of Pass
    request : ReadRequest to bank 0
    first, last : first and last beat of a vector, in the cycle of issue
    push, vector, destination : records of a vector, in its first cycle
    running : a pass is being issued
    ended : pulse in the last cycle of every pass
    finished : pulse in the last cycle of the layer's last pass
    address_error : sticky until ``start``: a read or write beyond the activation memory
    tap_write : In(MemoryWrite)
        Tap table, from the host.
    """

    module_name = "termac_engine"
    ISSUE_LATENCY = 4

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "halt": In(1),
                "descriptor": In(Descriptor()),
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
        layer = self.descriptor
        segments = config.segments
        tap_layout = struct(TAP)

        m.submodules.taps = taps = Memory(
            shape=unsigned(TAP.width), depth=config.tap_depth, init=[]
        )
        tap_read = taps.read_port(domain="sync")
        tap_write = taps.write_port()
        m.d.comb += [
            tap_write.addr.eq(self.tap_write.address),
            tap_write.data.eq(self.tap_write.data),
            tap_write.en.eq(self.tap_write.enable),
        ]

        # --- Where we are -------------------------------------------------------------------
        # `tile`: first vector of the coming row tile; `saved`: of this chunk; `here`: this vector.
        tile = Signal(Position())
        saved = Signal(Position())
        here = Signal(Position())
        # `following`: the next one, ready by the third cycle of a vector (the shortest has four).
        following = Signal(Position())
        wrap = Signal()
        m.d.sync += [
            wrap.eq(here.column + 1 == layer.out_width),
            following.column.eq(Mux(wrap, 0, here.column + 1)),
            following.y.eq(here.y + Mux(wrap, layer.stride_y, 0)),
            following.x.eq(Mux(wrap, layer.origin_x, here.x + layer.stride_x)),
            following.input.eq(here.input + Mux(wrap, layer.in_wrap, layer.in_step)),
            following.residual.eq(
                here.residual + Mux(wrap, layer.residual_wrap, layer.residual_step)
            ),
            following.output.eq(here.output + layer.out_blocks),
        ]

        # Output block and, if several row tiles share a word, the part of it that a tile fills.
        tiles_per_word, words_per_tile = config.tiles_per_word, config.words_per_tile
        tile_block = Signal(16)
        block = Signal(16)
        tile_phase = Signal(max(1, ceil_log2(tiles_per_word)))
        phase_of_word = Signal.like(tile_phase)
        parameters = Signal(ceil_log2(config.parameter_depth))
        tile_parameters = Signal.like(parameters)
        word_done = tile_phase == tiles_per_word - 1 if tiles_per_word > 1 else 1

        with m.If(self.start):
            m.d.sync += [
                tile.column.eq(0),
                tile.y.eq(layer.origin_y),
                tile.x.eq(layer.origin_x),
                tile.input.eq(layer.in_origin),
                tile.residual.eq(layer.residual_origin),
                tile.output.eq(layer.out_base),
                tile_block.eq(0),
                tile_phase.eq(0),
                tile_parameters.eq(layer.parameters),
            ]

        # --- Passes and vectors --------------------------------------------------------------
        work = Signal(Pass(config))
        remaining = Signal.like(work.count)
        index = Signal(ceil_log2(config.accumulator_depth))
        phase = Signal(7)
        running = Signal()
        fresh = Signal()  # first vector of the pass
        time = Signal(7)
        m.d.comb += time.eq(Mux(work.sum_last, layer.last_time, layer.time))
        # Both flags are found one cycle early, or the handshake would wait for their comparisons.
        vector_ends = Signal()
        last_vector = Signal()
        pass_ends = Signal()
        m.d.sync += vector_ends.eq(running & (phase + 2 == time))
        m.d.comb += [
            pass_ends.eq(vector_ends & last_vector),
            self.passes.ready.eq(~running | pass_ends),
            self.running.eq(running),
            self.ended.eq(pass_ends),
            self.finished.eq(pass_ends & work.last),
        ]
        with m.If(running):
            m.d.sync += phase.eq(phase + 1)
        with m.If(vector_ends):
            m.d.sync += [
                phase.eq(0),
                fresh.eq(0),
                here.eq(following),
                remaining.eq(remaining - 1),
                last_vector.eq(remaining == 2),
                index.eq(index + 1),
            ]
        with m.If(pass_ends):
            m.d.sync += running.eq(0)
        item = self.passes.payload
        with m.If(self.passes.valid & self.passes.ready):
            m.d.sync += [
                work.eq(item),
                remaining.eq(item.count),
                last_vector.eq(item.count == 1),
                index.eq(0),
                phase.eq(0),
                fresh.eq(1),
                running.eq(1),
            ]
            with m.If(item.tile):
                m.d.sync += [
                    here.eq(tile),
                    saved.eq(tile),
                    block.eq(tile_block),
                    phase_of_word.eq(tile_phase),
                    parameters.eq(tile_parameters),
                    tile_parameters.eq(tile_parameters + segments),
                    tile_phase.eq(Mux(word_done, 0, tile_phase + 1)),
                ]
                with m.If(word_done):
                    m.d.sync += [
                        tile.input.eq(tile.input + layer.in_tile),
                        tile.residual.eq(tile.residual + words_per_tile),
                        tile.output.eq(tile.output + words_per_tile),
                        tile_block.eq(tile_block + words_per_tile),
                    ]
            with m.Elif(item.chunk):
                onward = Mux(running, following, here)
                m.d.sync += [here.eq(onward), saved.eq(onward)]
            with m.Else():
                m.d.sync += here.eq(saved)
        with m.If(self.halt):
            m.d.sync += [running.eq(0), vector_ends.eq(0)]

        # --- Records for the drains, in the first cycle of a vector ----------------------------
        m.d.comb += [
            self.push.eq(running & (phase == 0)),
            self.first.eq(running & (phase == 0)),
            self.last.eq(running & (phase + 1 == layer.beats)),
            self.vector.index.eq(index),
            self.vector.sum_first.eq(work.sum_first),
            self.vector.sum_last.eq(work.sum_last),
            self.vector.pool_first.eq(work.pool_first),
            self.vector.pool_last.eq(work.pool_last),
            self.vector.parameters.eq(parameters),
            self.destination.address.eq(here.output),
            self.destination.phase.eq(phase_of_word),
        ]
        writes = work.sum_last & work.pool_last
        beyond = 0
        for word in range(words_per_tile):
            enable = self.destination.enable[word]
            m.d.comb += enable.eq(writes & (block + word < layer.out_blocks))
            beyond |= self.push & enable & (here.output + word >= config.activation_depth)

        # --- Stage 0: read the tap table -------------------------------------------------------
        m.d.comb += tap_read.addr.eq(work.tap + phase)
        stage1 = Signal(
            data.StructLayout(
                {
                    "tap": 1,
                    "residual": 1,
                    "step": phase.shape(),
                    "token": 1,
                    "absent": 1,
                    "phase": phase_of_word.shape(),
                }
            )
        )
        base1 = Signal(signed(ADDRESS_WIDTH))
        y1 = Signal.like(here.y)
        x1 = Signal.like(here.x)
        residual_word = Signal.like(phase)
        m.d.comb += residual_word.eq(phase - segments)
        residual_block = block + residual_word
        is_tap = phase < segments
        m.d.sync += [
            stage1.tap.eq(running & is_tap),
            stage1.residual.eq(
                running & layer.residual & work.sum_last
                & ~is_tap & (phase < segments + words_per_tile)
            ),
            stage1.step.eq(Mux(is_tap, phase, residual_word)),
            stage1.token.eq(work.half if config.kind.keeps_terms else fresh),
            stage1.absent.eq(
                (residual_block < layer.residual_low) | (residual_block >= layer.residual_high)
            ),
            stage1.phase.eq(phase_of_word),
            base1.eq(Mux(is_tap, here.input, here.residual)),
            y1.eq(here.y),
            x1.eq(here.x),
        ]  # fmt: skip

        # --- Stage 1: the tap arrives; block RAM is slow, so nothing else happens to it ----------
        stage2 = Signal(stage1.shape())
        tap = Signal(tap_layout)
        base2 = Signal(signed(ADDRESS_WIDTH))
        y2 = Signal.like(here.y)
        x2 = Signal.like(here.x)
        m.d.sync += [
            stage2.eq(stage1),
            tap.eq(tap_read.data),
            base2.eq(base1),
            y2.eq(y1),
            x2.eq(x1),
        ]

        # --- Stage 2: addresses and coordinates ------------------------------------------------
        stage3 = Signal(stage1.shape())
        address3 = Signal(signed(ADDRESS_WIDTH))
        y3 = Signal(signed(COORDINATE_WIDTH + 3))
        x3 = Signal(signed(COORDINATE_WIDTH + 3))
        m.d.sync += [
            stage3.eq(stage2),
            stage3.absent.eq(Mux(stage2.residual, stage2.absent, ~tap.valid)),
            address3.eq(base2 + Mux(stage2.residual, stage2.step, tap.offset)),
            y3.eq(y2 + tap.dy),
            x3.eq(x2 + tap.dx),
        ]

        # --- Stage 3: padding; stage 4 is the request --------------------------------------------
        outside = Signal()
        pad = Signal()
        m.d.comb += [
            outside.eq(
                (y3 < 0) | (y3 >= layer.in_height.as_unsigned())
                | (x3 < 0) | (x3 >= layer.in_width.as_unsigned())
            ),
            pad.eq(stage3.absent | (outside & ~stage3.residual)),
        ]  # fmt: skip
        misses = (address3 < 0) | (address3 >= config.activation_depth)
        bad_read = (stage3.tap | stage3.residual) & ~pad & misses
        m.d.sync += [
            self.request.address.eq(address3),
            self.request.pad.eq(pad),
            self.request.load.eq(stage3.tap),
            self.request.segment.eq(stage3.step),
            self.request.token.eq(stage3.tap & stage3.token),
            self.request.residual.eq(stage3.residual),
            self.request.word.eq(stage3.step),
            self.request.phase.eq(stage3.phase),
        ]
        with m.If(self.start):
            m.d.sync += self.address_error.eq(0)
        with m.Elif(beyond | bad_read):
            m.d.sync += self.address_error.eq(1)
        return m
