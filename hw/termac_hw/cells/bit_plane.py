"""The bit-plane cell: one activation bit plane per cycle, no multiplier, no accumulator.

A dot product over p-bit activations is the sum over planes of ``2**k`` times the sum of those
weights whose activation has bit k set. The inner sum is all a cell contributes to: it adds its
weight, or nothing, to the partial sum that passes by. Shifting and accumulating the planes happens
once per row, in :class:`RowEnd`, instead of once per cell.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config

from termac_hw.layouts import struct

__all__ = ["BitPlaneCell", "Feeder", "RowEnd", "lane_bundle_width"]


def lane_bundle_width(config: Config) -> int:
    """Bits of one column's lane bundle: one activation bit per lane, then the swap token."""
    return config.lanes + 1


class BitPlaneCell(wiring.Component):
    """One column of ``shared_rows`` neighbouring rows that share the lane registers.

    Latency: a plane on ``lanes_in`` in cycle t is on ``lanes_out`` in t+1, and ``sum_out`` in t+3
    is ``sum_in`` of cycle t+2 plus the weight if the plane's bit of the selected lane is set.
    One plane per cycle, no bubbles.

    A swap token on ``lanes_in`` in cycle t makes the shadow weight the active one, for that very
    plane on. The select is taken from the shadow at the end of cycle t, the value at the end of
    t+1: the shadow must hold still in t and t+1, and may shift again in t+1 (a shift takes effect
    at the end of its cycle). The sum never overflows: ``sum_width`` holds ``columns`` weights.

    Data registers have no reset: what they hold before the first swap is never used.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    lanes_in, lanes_out : alpha + 1 bits
        Activation bit of each lane, then the swap token; from the row above, to the row below.
    shift : 1
        Move the shadow weights one column to the right.
    weight_in, weight_out : shared_rows x weight
        Shadow weight of the left neighbour; own shadow weight. Layout:
        :attr:`termac.arch.Config.weight_layout`.
    sum_in, sum_out : shared_rows x signed(sum_width)
        Partial sum of one plane from the left; to the right.
    """

    module_name = "termac_cell"

    def __init__(self, config: Config):
        self.config = config
        bundle = lane_bundle_width(config)
        weights = data.ArrayLayout(unsigned(config.weight_width), config.shared_rows)
        sums = data.ArrayLayout(signed(config.sum_width), config.shared_rows)
        super().__init__(
            {
                "lanes_in": In(bundle),
                "lanes_out": Out(bundle),
                "shift": In(1),
                "weight_in": In(weights),
                "weight_out": Out(weights),
                "sum_in": In(sums),
                "sum_out": Out(sums),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        weight_struct = struct(config.weight_layout)

        lanes = Signal(self.lanes_in.shape(), reset_less=True)
        m.d.sync += lanes.eq(self.lanes_in)
        m.d.comb += self.lanes_out.eq(lanes)
        swap_in, swap = self.lanes_in[-1], lanes[-1]

        for row in range(config.shared_rows):
            suffix = f"_{row}" if config.shared_rows > 1 else ""
            shadow = Signal(weight_struct, name=f"shadow{suffix}", reset_less=True)
            value = Signal(signed(8), name=f"value{suffix}", reset_less=True)
            lane = Signal(config.lane_width, name=f"lane{suffix}", reset_less=True)
            bit = Signal(name=f"bit{suffix}", reset_less=True)
            total = Signal(signed(config.sum_width), name=f"sum{suffix}", reset_less=True)

            with m.If(self.shift):
                m.d.sync += shadow.eq(self.weight_in[row])
            with m.If(swap_in):
                m.d.sync += lane.eq(shadow.lane)
            with m.If(swap):
                m.d.sync += value.eq(shadow.value)
            m.d.sync += [
                bit.eq(self._select(m, lanes[:-1], lane, suffix)),
                total.eq(self._gated_add(m, self.sum_in[row], value, bit, suffix)),
            ]
            m.d.comb += [
                self.weight_out[row].eq(shadow),
                self.sum_out[row].eq(total),
            ]
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
    load, token, word : 1, 1, alpha bytes
        A word arrives; it is the first of a pass: send the swap token with its first plane.
    lanes : alpha + 1 bits
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


class RowEnd(wiring.Component):
    """Joins the plane sums of a row, most significant plane first, into the sum of a vector.

    ``next = -sum if first else 2 * acc + sum``: the first plane is the sign plane of the two's
    complement activations. ``result`` takes ``next`` with the last plane, is valid one cycle after
    ``last``, and stays until the cycle after the next ``last``. Planes of a vector are contiguous;
    between vectors any ``sum`` is ignored, because ``first`` starts afresh. A vector of one plane
    has ``first`` and ``last`` at once. No overflow with up to 8 planes.

    Members
    -------
    sum : signed(sum_width)
        Plane sum of the row's last column.
    first, last : 1
        The sum belongs to the first; last plane of a vector.
    result : signed(result_width)
    """

    module_name = "termac_row_end"

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "sum": In(signed(config.sum_width)),
                "first": In(1),
                "last": In(1),
                "result": Out(signed(config.result_width)),
            }
        )

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
