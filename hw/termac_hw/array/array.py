"""The systolic array: row groups on top of each other. Weights stay, activations walk down."""

from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import PLACE_WIDTH

from termac_hw.array.row import RowGroup
from termac_hw.cells import cell_kind
from termac_hw.emit import place

__all__ = ["Array"]


class Array(wiring.Component):
    """R x C cells, in R / shared_rows row groups.

    Latency: if column c gets its lanes of a beat in cycle t+c, ``sums[r]`` of that beat is valid
    in cycle t+C+2+r//shared_rows. One beat per cycle.

    The shadow weights of row r, column c must hold still in cycles t+c+r//shared_rows and one
    later, where t is the cycle of a swap token on column 0. Since a shift moves S rows at once,
    its first cycle may be t+C+last, with ``last`` the group of the last of these rows, and its
    last cycle must be t'+first-1 for the next swap at t'.

    Members
    -------
    lanes : In(C * lane_bundle_width)
        Lane bundles of row 0, column 0 lowest.
    shift : In(drains)
        Bit g moves the shadow weights of rows g*S .. g*S+S-1 one column to the right.
    store : In(drains)
        Bit g stores the shadow words of those rows as a term. Only if cells keep terms.
    place : In(ArrayLayout(unsigned(PLACE_WIDTH), drains))
        Number of that term. Only if cells keep terms.
    weights : In(R * weight_width)
        Enter column 0 of their row while it shifts, row 0 lowest.
    sums : Out(ArrayLayout(signed(sum_width), R))
        Partial sums at the right edge.
    """

    module_name = "termac_array"

    def __init__(self, config: Config):
        self.config = config
        keeps_terms = config.kind.keeps_terms
        places = data.ArrayLayout(unsigned(PLACE_WIDTH), config.drains)
        bundle = cell_kind(config.cell).lane_bundle_width(config)
        super().__init__(
            {
                "lanes": In(config.columns * bundle),
                "shift": In(config.drains),
                **({"store": In(config.drains), "place": In(places)} if keeps_terms else {}),
                "weights": In(config.rows * config.weight_width),
                "sums": Out(data.ArrayLayout(signed(config.sum_width), config.rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        width = config.shared_rows * config.weight_width
        lanes = self.lanes
        for index in range(config.rows // config.shared_rows):
            group = RowGroup(config)
            m.submodules[f"group_{index}"] = place(group, platform, f"group_{index}")
            drain = index * config.shared_rows // config.segments
            if config.kind.keeps_terms:
                m.d.comb += [group.store.eq(self.store[drain]), group.place.eq(self.place[drain])]
            m.d.comb += [
                group.lanes_in.eq(lanes),
                group.shift.eq(self.shift[drain]),
                group.weights.eq(self.weights[index * width : (index + 1) * width]),
            ]
            lanes = group.lanes_out
            for row in range(config.shared_rows):
                m.d.comb += self.sums[index * config.shared_rows + row].eq(group.sums[row])
        return m
