"""From the position of a vector and the tap table to the reads of the activation memory."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import DESCRIPTOR_FIELDS, TAP
from termac.arch.program import COORDINATE_WIDTH

from termac_hw.control.descriptor import Descriptor
from termac_hw.control.pixel_walk import ADDRESS, Position, RowTile
from termac_hw.layouts import struct
from termac_hw.memory.bank import ReadRequest

__all__ = ["ReadPipeline"]


class _Read(data.StructLayout):
    """What is known of a read before its address is.

    Members
    -------
    tap, residual : what it is; none of both, or one
    step : number of the tap or of the residual word
    token, phase : for the cells and the drains
    absent : nothing is read, whatever the coordinates
    """

    def __init__(self, config):
        super().__init__(
            {
                "tap": 1,
                "residual": 1,
                "step": DESCRIPTOR_FIELDS["time"].width,
                "token": 1,
                "absent": 1,
                "phase": RowTile(config).members["phase"].shape,
            }
        )


class ReadPipeline(wiring.Component):
    """One read per cycle of a vector: its S taps, then the residual words that its sums need.

    What a cycle of a vector reads is on ``request`` four cycles later.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    layer : In(Descriptor)
        Descriptor of the running layer.
    running : In(1)
        A vector is being issued.
    cycle : In
        Of the vector, from 0.
    residuals : In(1)
        The vector completes sums, so it needs residual words if the layer has any.
    token : In(1)
        For the cells, see :class:`termac_hw.memory.bank.ReadRequest`.
    here : In(Position)
        Of the vector.
    row_tile : In(RowTile)
        That the vector belongs to.
    tap : In(TAP)
        Tap of the cycle before.
    request : Out(ReadRequest)
        To bank 0.
    misses : Out(1)
        The read in the stage before ``request`` lies outside the activation memory.
    """

    module_name = "termac_read_pipeline"
    FIELDS = ("residual", "residual_low", "residual_high", "in_height", "in_width")
    """Fields of the descriptor that it needs."""

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "layer": In(Descriptor(self.FIELDS)),
                "running": In(1),
                "cycle": In(DESCRIPTOR_FIELDS["time"].width),
                "residuals": In(1),
                "token": In(1),
                "here": In(Position()),
                "row_tile": In(RowTile(config)),
                "tap": In(struct(TAP)),
                "request": Out(ReadRequest(config)),
                "misses": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        read, base = self._choose(m)
        y = Signal.like(self.here.y, name="y_1")
        x = Signal.like(self.here.x, name="x_1")
        m.d.sync += [y.eq(self.here.y), x.eq(self.here.x)]
        self._request(m, *self._locate(m, read, base, y, x))
        return m

    def _choose(self, m):
        """Stage 0: a tap, whose record is being read, or a residual word, or nothing."""
        layer, config = self.layer, self.config
        segments = config.segments
        read = Signal(_Read(config), name="read_1")
        base = Signal(ADDRESS, name="base_1")
        is_tap = Signal()
        word = Signal.like(self.cycle)
        m.d.comb += [is_tap.eq(self.cycle < segments), word.eq(self.cycle - segments)]
        block = self.row_tile.block + word
        is_word = ~is_tap & (self.cycle < segments + config.words_per_tile)
        m.d.sync += [
            read.tap.eq(self.running & is_tap),
            read.residual.eq(self.running & layer.residual & self.residuals & is_word),
            read.step.eq(Mux(is_tap, self.cycle, word)),
            read.token.eq(self.token),
            read.absent.eq((block < layer.residual_low) | (block >= layer.residual_high)),
            read.phase.eq(self.row_tile.phase),
            base.eq(Mux(is_tap, self.here.input, self.here.residual)),
        ]
        return read, base

    def _locate(self, m, read, base, y, x):
        """Stage 1 takes the tap (block RAM is slow, so it does nothing else), stage 2 adds."""
        read_2 = Signal.like(read)
        tap = Signal(struct(TAP))
        base_2 = Signal.like(base)
        y_2 = Signal.like(y)
        x_2 = Signal.like(x)
        m.d.sync += [
            read_2.eq(read),
            tap.eq(self.tap),
            base_2.eq(base),
            y_2.eq(y),
            x_2.eq(x),
        ]
        read_3 = Signal.like(read)
        address = Signal(ADDRESS)
        tap_y = Signal(signed(COORDINATE_WIDTH + 3))
        tap_x = Signal(signed(COORDINATE_WIDTH + 3))
        m.d.sync += [
            read_3.eq(read_2),
            read_3.absent.eq(Mux(read_2.residual, read_2.absent, ~tap.valid)),
            address.eq(base_2 + Mux(read_2.residual, read_2.step, tap.offset)),
            tap_y.eq(y_2 + tap.dy),
            tap_x.eq(x_2 + tap.dx),
        ]
        return read_3, address, tap_y, tap_x

    def _request(self, m, read, address, y, x):
        """Stage 3: padding and bounds; stage 4 is the request."""
        layer = self.layer
        outside = Signal()
        pad = Signal()
        m.d.comb += [
            outside.eq(
                (y < 0) | (y >= layer.in_height.as_unsigned())
                | (x < 0) | (x >= layer.in_width.as_unsigned())
            ),
            pad.eq(read.absent | (outside & ~read.residual)),
            self.misses.eq(
                (read.tap | read.residual) & ~pad
                & ((address < 0) | (address >= self.config.activation_depth))
            ),
        ]  # fmt: skip
        m.d.sync += [
            self.request.address.eq(address),
            self.request.pad.eq(pad),
            self.request.load.eq(read.tap),
            self.request.segment.eq(read.step),
            self.request.token.eq(read.tap & read.token),
            self.request.residual.eq(read.residual),
            self.request.word.eq(read.step),
            self.request.phase.eq(read.phase),
        ]
