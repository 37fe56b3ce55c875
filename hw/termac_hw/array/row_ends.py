"""Row ends of the whole array: sums of beats in, one result per row and vector out."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from termac.arch.cells import DOUBLES

from termac_hw.cells import cell_kind
from termac_hw.cells.kinds import ROW_SETTINGS
from termac_hw.emit import place

__all__ = ["RowEnds"]


class RowEnds(wiring.Component):
    """R row ends and the control that walks down with the activations.

    Members
    -------
    sums : In(ArrayLayout(signed(sum_width), R))
        Partial sums at the right edge of the array.
    first : In(1)
        First beat of a vector, aligned with row 0. It walks down by ``shared_rows`` rows a cycle.
    last : In(1)
        Last beat of a vector, likewise.
    doubles : In(doubles)
        Bit t: double before beat t of a vector. Only if the row ends double on demand.
    clear : In(1)
        Pulse between layers. Only if the row ends count vectors.
    results : Out(ArrayLayout(signed(result_width), R))
        Row r is valid one cycle after its ``last``, until the next vector ends.
    """

    module_name = "termac_row_ends"

    def __init__(self, config):
        self.config = config
        kind = cell_kind(config.cell)
        super().__init__(
            {
                "sums": In(data.ArrayLayout(signed(config.sum_width), config.rows)),
                "first": In(1),
                "last": In(1),
                **{name: In(ROW_SETTINGS[name]) for name in kind.row_settings},
                "results": Out(data.ArrayLayout(signed(config.result_width), config.rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        kind = cell_kind(config.cell)
        walking = {"first": self.first, "last": self.last}
        if "doubles" in kind.row_settings:
            rest = Signal(DOUBLES - 1)
            mask = Mux(self.first, self.doubles, rest)
            m.d.sync += rest.eq(mask[1:])
            walking["double"] = mask[0]
        for row in range(config.rows):
            if row and row % config.shared_rows == 0:
                group = row // config.shared_rows
                for name, signal in walking.items():
                    walking[name] = Signal(name=f"{name}_{group}")
                    m.d.sync += walking[name].eq(signal)
            end = kind.RowEnd(config)
            m.submodules[f"row_{row}"] = place(end, platform, f"row_{row}")
            m.d.comb += [end.sum.eq(self.sums[row]), self.results[row].eq(end.result)]
            m.d.comb += [getattr(end, name).eq(signal) for name, signal in walking.items()]
            if "clear" in kind.row_settings:
                m.d.comb += end.clear.eq(self.clear)
        return m
