"""Row group: the cells of ``shared_rows`` neighbouring rows, side by side."""

from amaranth.hdl import Cat, Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config
from termac.arch.cells import PLACE_WIDTH

from termac_hw.cells import cell_kind
from termac_hw.emit import place

__all__ = ["RowGroup"]


class RowGroup(wiring.Component):
    """C cells in a chain; partial sums and shadow weights travel right, lanes travel down.

    Latency: if column c gets its lanes of a beat in cycle t+c, ``sums`` of that beat is valid in
    cycle t+C+2; ``lanes_out`` is ``lanes_in`` one cycle later. C cycles of ``shift`` fill the
    shadow registers; the word of the first one ends in column C-1.

    Members
    -------
    lanes_in : In(C * lane_bundle_width)
        Lane bundle of each column, column 0 lowest.
    lanes_out : Out(C * lane_bundle_width)
        The bundles one cycle later, for the row group below.
    shift : In(1)
        Move the shadow weights one column to the right.
    store : In(1)
        Store the shifted words as a term. Only if cells keep terms.
    place : In(PLACE_WIDTH)
        Number of that term. Only if cells keep terms.
    weights : In(shared_rows * weight_width)
        Enter column 0 while ``shift`` is high, row 0 of the group lowest.
    sums : Out(ArrayLayout(signed(sum_width), shared_rows))
        Partial sums of the last column.
    """

    module_name = "termac_row"

    def __init__(self, config: Config):
        self.config = config
        keeps_terms = config.kind.keeps_terms
        lanes_width = config.columns * cell_kind(config.cell).lane_bundle_width(config)
        super().__init__(
            {
                "lanes_in": In(lanes_width),
                "lanes_out": Out(lanes_width),
                "shift": In(1),
                **({"store": In(1), "place": In(PLACE_WIDTH)} if keeps_terms else {}),
                "weights": In(config.shared_rows * config.weight_width),
                "sums": Out(data.ArrayLayout(signed(config.sum_width), config.shared_rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        kind = cell_kind(config.cell)
        width = kind.lane_bundle_width(config)
        weights, sums = self.weights, 0
        lanes_out = []
        for column in range(config.columns):
            cell = kind.Cell(config)
            m.submodules[f"cell_{column}"] = place(cell, platform, f"cell_{column}")
            m.d.comb += [
                cell.lanes_in.eq(self.lanes_in[column * width : (column + 1) * width]),
                cell.shift.eq(self.shift),
                cell.weight_in.eq(weights),
                cell.sum_in.eq(sums),
            ]
            if config.kind.keeps_terms:
                m.d.comb += [cell.store.eq(self.store), cell.place.eq(self.place)]
            lanes_out.append(cell.lanes_out)
            weights, sums = cell.weight_out, cell.sum_out
        m.d.comb += [self.lanes_out.eq(Cat(lanes_out)), self.sums.eq(sums)]
        return m
