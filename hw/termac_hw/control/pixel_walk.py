"""Walking output pixels: where the vectors of a pass are in the input and in the output."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from termac.arch import DESCRIPTOR_FIELDS
from termac.arch.program import COORDINATE_WIDTH

from termac_hw.control.descriptor import Descriptor

__all__ = ["ADDRESS", "PixelWalk", "Position", "RowTile"]

ADDRESS = signed(DESCRIPTOR_FIELDS["in_origin"].width)
"""Shape of address arithmetic: origins may lie before the tensor."""

_SHAPES = {
    "y": signed(COORDINATE_WIDTH + 2),
    "x": signed(COORDINATE_WIDTH + 2),
    "input": ADDRESS,
    "residual": ADDRESS,
}


class Position(wiring.Signature):
    """Where a vector is, seen from the walk.

    Members
    -------
    y, x : Out(signed)
        Input coordinates of its origin, in pixels.
    input, residual : Out(signed)
        Word addresses of its origin and of its residual word.
    """

    def __init__(self):
        super().__init__({name: Out(shape) for name, shape in _SHAPES.items()})


class RowTile(wiring.Signature):
    """Which part of the output a row tile is, seen from the walk.

    Members
    -------
    block : Out
        Its first output block: word of a pixel.
    phase : Out
        Which part of the word it fills (``tiles_per_word`` > 1).
    """

    def __init__(self, config):
        super().__init__(
            {
                "block": Out(DESCRIPTOR_FIELDS["out_blocks"].width),
                "phase": Out(max(1, ceil_log2(config.tiles_per_word))),
            }
        )


class PixelWalk(wiring.Component):
    """Steps from vector to vector of a chunk, back to its start for the next pass, and on.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    start : In(1)
        A layer starts.
    layer : In(Descriptor)
        Its descriptor.
    take : In(1)
        The next pass begins in the cycle after.
    tile, chunk : In(1)
        Of that pass: the first of a row tile, or the first of a further chunk.
    running : In(1)
        Another pass has not ended before this cycle.
    advance : In(1)
        Last cycle of a vector; vectors take at least four.
    here : Out(Position)
        Of the running vector.
    output : Out
        Word address of its output.
    row_tile : Out(RowTile)
        That the vector belongs to.
    parameters : Out
        First parameter of the row tile.
    """

    module_name = "termac_pixel_walk"
    FIELDS = (
        "origin_y", "origin_x", "stride_y", "stride_x", "in_origin", "in_step", "in_wrap",
        "in_tile", "residual_origin", "residual_step", "residual_wrap", "out_base", "out_blocks",
        "out_width", "parameters",
    )  # fmt: skip
    """Fields of the descriptor that it needs."""

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "layer": In(Descriptor(self.FIELDS)),
                "take": In(1),
                "tile": In(1),
                "chunk": In(1),
                "running": In(1),
                "advance": In(1),
                "here": Out(Position()),
                "output": Out(ADDRESS.width),
                "row_tile": Out(RowTile(config)),
                "parameters": Out(ceil_log2(config.parameter_depth)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # First vector of the coming row tile, first vector of this chunk, this vector.
        tile, saved, here = map(_position, ("tile", "saved", "this"))
        following = self._following(m, here)
        m.d.comb += [getattr(self.here, name).eq(here[name]) for name in _SHAPES]
        m.d.comb += self.output.eq(here["output"])
        with m.If(self.advance):
            m.d.sync += _copy(here, following)
        with m.If(self.take):
            with m.If(self.tile):
                m.d.sync += [_copy(here, tile), _copy(saved, tile)]
            with m.Elif(self.chunk):
                for name, register in here.items():
                    onward = Mux(self.running, following[name], register)
                    m.d.sync += [register.eq(onward), saved[name].eq(onward)]
            with m.Else():
                m.d.sync += _copy(here, saved)
        self._tiles(m, tile)
        return m

    def _following(self, m, here):
        """The next vector, ready by the third cycle of this one (the shortest has four)."""
        layer = self.layer
        following = _position("following")
        wrap = Signal()
        m.d.sync += [
            wrap.eq(here["column"] + 1 == layer.out_width),
            following["column"].eq(Mux(wrap, 0, here["column"] + 1)),
            following["y"].eq(here["y"] + Mux(wrap, layer.stride_y, 0)),
            following["x"].eq(Mux(wrap, layer.origin_x, here["x"] + layer.stride_x)),
            following["input"].eq(here["input"] + Mux(wrap, layer.in_wrap, layer.in_step)),
            following["residual"].eq(
                here["residual"] + Mux(wrap, layer.residual_wrap, layer.residual_step)
            ),
            following["output"].eq(here["output"] + layer.out_blocks),
        ]
        return following

    def _tiles(self, m, tile):
        """First vector, output block and part of the word of each row tile, as it is taken."""
        layer = self.layer
        tiles_per_word, words_per_tile = self.config.tiles_per_word, self.config.words_per_tile
        tile_block = Signal.like(self.row_tile.block)
        tile_phase = Signal.like(self.row_tile.phase)
        tile_parameters = Signal.like(self.parameters)
        with m.If(self.start):
            m.d.sync += [
                tile["column"].eq(0),
                tile["y"].eq(layer.origin_y),
                tile["x"].eq(layer.origin_x),
                tile["input"].eq(layer.in_origin),
                tile["residual"].eq(layer.residual_origin),
                tile["output"].eq(layer.out_base),
                tile_block.eq(0),
                tile_phase.eq(0),
                tile_parameters.eq(layer.parameters),
            ]
        word_done = tile_phase == tiles_per_word - 1 if tiles_per_word > 1 else 1
        with m.If(self.take & self.tile):
            m.d.sync += [
                self.row_tile.block.eq(tile_block),
                self.row_tile.phase.eq(tile_phase),
                self.parameters.eq(tile_parameters),
                tile_parameters.eq(tile_parameters + self.config.segments),
                tile_phase.eq(Mux(word_done, 0, tile_phase + 1)),
            ]
            with m.If(word_done):
                m.d.sync += [
                    tile["input"].eq(tile["input"] + layer.in_tile),
                    tile["residual"].eq(tile["residual"] + words_per_tile),
                    tile["output"].eq(tile["output"] + words_per_tile),
                    tile_block.eq(tile_block + words_per_tile),
                ]


def _position(name):
    """Registers of a position, and of column and address of its output, by field."""
    shapes = {"column": unsigned(COORDINATE_WIDTH), **_SHAPES, "output": unsigned(ADDRESS.width)}
    return {field: Signal(shape, name=f"{name}_{field}") for field, shape in shapes.items()}


def _copy(target, source):
    return [register.eq(source[name]) for name, register in target.items()]
