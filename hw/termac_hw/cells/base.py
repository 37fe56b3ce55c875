"""What all cells and all row ends show to the array: their ports."""

from amaranth.hdl import Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import PLACE_WIDTH

from termac_hw.layouts import struct

__all__ = ["Cell", "RowEnd", "SwappingCell"]


class Cell(wiring.Component):
    """One column of ``shared_rows`` neighbouring rows that share the lane registers.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    lanes_in : In(lane_bundle_width)
        Lane bundle, from the row above.
    lanes_out : Out(lane_bundle_width)
        The bundle one cycle later, to the row below.
    shift : In(1)
        Move the shadow weights one column to the right.
    store : In(1)
        Keep the shadow words as the terms at ``place``. Only if cells keep terms.
    place : In(PLACE_WIDTH)
        Where to keep them. Only if cells keep terms.
    weight_in : In(ArrayLayout(weight_layout, shared_rows))
        Shadow weight of the left neighbour.
    weight_out : Out(ArrayLayout(weight_layout, shared_rows))
        Own shadow weight, to the right neighbour.
    sum_in : In(ArrayLayout(signed(sum_width), shared_rows))
        Partial sum of a beat, from the left.
    sum_out : Out(ArrayLayout(signed(sum_width), shared_rows))
        Partial sum of a beat, to the right.
    """

    module_name = "termac_cell"
    KEEPS_TERMS = False

    def __init__(self, config: Config):
        self.config = config
        bundle = self.lane_bundle_width(config)
        weights = data.ArrayLayout(unsigned(config.weight_width), config.shared_rows)
        sums = data.ArrayLayout(signed(config.sum_width), config.shared_rows)
        super().__init__(
            {
                "lanes_in": In(bundle),
                "lanes_out": Out(bundle),
                "shift": In(1),
                **({"store": In(1), "place": In(PLACE_WIDTH)} if self.KEEPS_TERMS else {}),
                "weight_in": In(weights),
                "weight_out": Out(weights),
                "sum_in": In(sums),
                "sum_out": Out(sums),
            }
        )

    @staticmethod
    def lane_bundle_width(config: Config) -> int:
        """Bits of one column's lane bundle."""
        raise NotImplementedError

    def _lanes(self, m):
        """The lane register."""
        lanes = Signal(self.lanes_in.shape(), reset_less=True)
        m.d.sync += lanes.eq(self.lanes_in)
        m.d.comb += self.lanes_out.eq(lanes)
        return lanes

    def _suffix(self, row):
        """End of the names of a row's signals: nothing if there is only one."""
        return f"_{row}" if self.config.shared_rows > 1 else ""

    def _shadow(self, m, row):
        """The shadow weight of a row, a register of the chain to the right."""
        shadow = Signal(
            struct(self.config.weight_layout), name=f"shadow{self._suffix(row)}", reset_less=True
        )
        with m.If(self.shift):
            m.d.sync += shadow.eq(self.weight_in[row])
        m.d.comb += self.weight_out[row].eq(shadow)
        return shadow


class SwappingCell(Cell):
    """A cell with one active weight per row, which a swap token takes from the shadow.

    The token is the highest bit of the lane bundle. A token on ``lanes_in`` in cycle t makes the
    shadow weight the active one, for that very beat on. The select is taken from the shadow at the
    end of cycle t, the value at the end of t+1: the shadow must hold still in t and t+1, and may
    shift again in t+1 (a shift takes effect at the end of its cycle).
    """

    def _active(self, m, row, lanes):
        """Value and lane of a row's active weight."""
        suffix = self._suffix(row)
        shadow = self._shadow(m, row)
        value = Signal(signed(8), name=f"value{suffix}", reset_less=True)
        lane = Signal(self.config.lane_width, name=f"lane{suffix}", reset_less=True)
        with m.If(self.lanes_in[-1]):
            m.d.sync += lane.eq(shadow.lane)
        with m.If(lanes[-1]):
            m.d.sync += value.eq(shadow.value)
        return value, lane


class RowEnd(wiring.Component):
    """Joins the sums of the beats of a row into the sum of a vector.

    ``result`` is valid one cycle after ``last``, until the cycle after the next ``last``. Between
    vectors any ``sum`` is ignored.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    sum : In(signed(sum_width))
        Sum of a beat, from the row's last column.
    first : In(1)
        The sum belongs to the first beat of a vector.
    last : In(1)
        The sum belongs to the last beat of a vector.
    clear : In(1)
        Between layers: forget a vector that an error has cut short. Only with ``CLEARS``.
    double : In(1)
        The beat is of the next lower power of two than the one before. Only with ``DOUBLES``.
    result : Out(signed(result_width))
        Sum of the vector.
    """

    module_name = "termac_row_end"
    CLEARS = False
    DOUBLES = False

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "sum": In(signed(config.sum_width)),
                "first": In(1),
                "last": In(1),
                **({"clear": In(1)} if self.CLEARS else {}),
                **({"double": In(1)} if self.DOUBLES else {}),
                "result": Out(signed(config.result_width)),
            }
        )
