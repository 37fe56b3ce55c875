"""Row ends of the whole array: plane sums in, one result per row and vector out."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from termac_hw.cells import cell_kind
from termac_hw.emit import place

__all__ = ["RowEnds"]


class RowEnds(wiring.Component):
    """R row ends and the plane control that walks down with the activations.

    Members
    -------
    sums : R x signed(sum_width)
        Partial sums at the right edge of the array.
    first, last : 1
        First and last plane of a vector, aligned with row 0; delayed here by one cycle per
        ``shared_rows`` rows.
    results : R x signed(result_width)
        Row r is valid one cycle after its ``last``, until the next vector ends.
    """

    module_name = "termac_row_ends"

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "sums": In(data.ArrayLayout(signed(config.sum_width), config.rows)),
                "first": In(1),
                "last": In(1),
                "results": Out(data.ArrayLayout(signed(config.result_width), config.rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        kind = cell_kind(config.cell)
        first, last = self.first, self.last
        for row in range(config.rows):
            if row and row % config.shared_rows == 0:
                group = row // config.shared_rows
                first_next = Signal(name=f"first_{group}")
                last_next = Signal(name=f"last_{group}")
                m.d.sync += [first_next.eq(first), last_next.eq(last)]
                first, last = first_next, last_next
            end = kind.RowEnd(config)
            m.submodules[f"row_{row}"] = place(end, platform, f"row_{row}")
            m.d.comb += [
                end.sum.eq(self.sums[row]),
                end.first.eq(first),
                end.last.eq(last),
                self.results[row].eq(end.result),
            ]
        return m
