"""The bit-plane cell: one activation bit plane per cycle, no multiplier, no accumulator.

A dot product over p-bit activations is the sum over planes of ``2**k`` times the sum of those
weights whose activation has bit k set. The inner sum is all a cell contributes to: it adds its
weight, or nothing, to the partial sum that passes by. Shifting and accumulating the planes happens
once per row, in :class:`RowEnd`, instead of once per cell.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config

from termac_hw.cells import base
from termac_hw.cells.base import SwappingCell

__all__ = ["BitPlaneCell", "Feeder", "RowEnd", "lane_bundle_width"]


def lane_bundle_width(config: Config) -> int:
    """Bits of one column's lane bundle: one activation bit per lane, then the swap token."""
    return config.lanes + 1


class BitPlaneCell(SwappingCell):
    """Adds its weight to the partial sum that passes by, if its activation's bit is set.

    Latency: a plane on ``lanes_in`` in cycle t is on ``lanes_out`` in t+1, and ``sum_out`` in t+3
    is ``sum_in`` of cycle t+2 plus the weight if the plane's bit of the selected lane is set.
    One plane per cycle, no bubbles. The sum never overflows: ``sum_width`` holds ``columns``
    weights. Ports: :class:`~termac_hw.cells.base.Cell`.

    Data registers have no reset: what they hold before the first swap is never used.
    """

    lane_bundle_width = staticmethod(lane_bundle_width)

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes(m)
        for row in range(self.config.shared_rows):
            suffix = self._suffix(row)
            value, lane = self._active(m, row, lanes)
            bit = Signal(name=f"bit{suffix}", reset_less=True)
            total = Signal(signed(self.config.sum_width), name=f"sum{suffix}", reset_less=True)
            m.d.sync += [
                bit.eq(self._select(m, lanes[:-1], lane, suffix)),
                total.eq(self._gated_add(m, self.sum_in[row], value, bit, suffix)),
            ]
            m.d.comb += self.sum_out[row].eq(total)
        return m

    # The whole combinational logic of a cell: what a vendor's primitives may replace. Written so
    # that Verilator evaluates it without branches: a thousand cells simulate twice as fast as with
    # multiplexer trees, and synthesis makes the same of it.

    def _select(self, m, bits, index, suffix):
        """The indexed bit."""
        return (bits >> index)[0]

    def _gated_add(self, m, addend, value, enable, suffix):
        """The addend, plus the value if enabled."""
        return addend + (value & enable.replicate(len(value)).as_signed())


class Feeder(wiring.Component):
    """Serializes the lanes of one column, most significant plane first.

    Bytes rotate; what comes after the last plane of a vector is ignored at the row ends.

    Members
    -------
    load : In(1)
        A word arrives.
    token : In(1)
        The word is the first of a pass: send the swap token with its first plane.
    word : In(8 * alpha)
        A byte of each lane, lane 0 lowest.
    lanes : Out(alpha + 1)
        A bit of each lane and the swap token.
    """

    module_name = "termac_feeder"

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "load": In(1),
                "token": In(1),
                "word": In(8 * config.lanes),
                "lanes": Out(lane_bundle_width(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        swap = Signal()
        m.d.sync += swap.eq(self.load & self.token)
        bits = []
        for lane in range(self.config.lanes):
            serial = Signal(8, name=f"serial_{lane}", reset_less=True)
            byte = self.word[8 * lane : 8 * lane + 8]
            m.d.sync += serial.eq(Mux(self.load, byte, serial.rotate_left(1)))
            bits.append(serial[7])
        m.d.comb += self.lanes.eq(Cat(bits, swap))
        return m


class RowEnd(base.RowEnd):
    """Joins the plane sums of a row, most significant plane first, into the sum of a vector.

    ``next = -sum if first else 2 * acc + sum``: the first plane is the sign plane of the two's
    complement activations. ``result`` takes ``next`` with the last plane, is valid one cycle after
    ``last``, and stays until the cycle after the next ``last``. Planes of a vector are contiguous.
    Between vectors any ``sum`` is ignored, because ``first`` starts afresh. A vector of one plane
    has ``first`` and ``last`` at once. No overflow with up to 8 planes. Ports:
    :class:`~termac_hw.cells.base.RowEnd`.
    """

    def elaborate(self, platform):
        m = Module()
        width = self.config.result_width
        acc = Signal(signed(width - 1), reset_less=True)
        acc_next = Signal(signed(width))
        result = Signal(signed(width), reset_less=True)
        m.d.comb += [acc_next.eq(self._join(m, acc)), self.result.eq(result)]
        m.d.sync += acc.eq(acc_next)
        with m.If(self.last):
            m.d.sync += result.eq(acc_next)
        return m

    def _join(self, m, acc):
        """One adder: -sum is ~sum + 1, and the one to add takes the free bit of the doubled acc."""
        operand = Mux(self.first, ~self.sum, self.sum)
        return operand + Cat(self.first, Mux(self.first, 0, acc)).as_signed()
