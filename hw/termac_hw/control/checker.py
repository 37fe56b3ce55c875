"""What is wrong with a layer descriptor, as far as its fields alone tell."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch import TABLE_ENTRIES
from termac.arch.registers import ErrorCode
from termac.arch.timing import most_beats

from termac_hw.cells import cell_kind
from termac_hw.control.descriptor import Descriptor

__all__ = ["Checker"]


class Checker(wiring.Component):
    """Combinational: the error of a descriptor, the last of its table that applies.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    layer : In(Descriptor)
        The descriptor.
    error : Out(ErrorCode)
        Why it cannot be run; ``NONE`` if it can.
    """

    module_name = "termac_checker"
    FIELDS = ("beats", "time", "last_time", "residual", "row_tiles", "passes", "vectors",
              "out_width", "out_blocks", "table")  # fmt: skip
    """Fields of the descriptor that every cell's checker needs."""

    def __init__(self, config):
        self.config = config
        fields = (*self.FIELDS, *cell_kind(config.cell).budget_fields)
        super().__init__({"layer": In(Descriptor(fields)), "error": Out(ErrorCode)})

    def elaborate(self, platform):
        m = Module()
        for code, faults in self._faults().items():
            if faults:
                with m.If(reduce(or_, faults)):
                    m.d.comb += self.error.eq(code)
        return m

    def _faults(self):
        """What leads to each error."""
        layer, config = self.layer, self.config
        shortest = config.segments
        tables_end = layer.table + 2 * TABLE_ENTRIES
        return {
            ErrorCode.GEOMETRY: [
                layer.beats == 0,
                layer.beats > most_beats(config),
                layer.time < shortest,
                layer.time < layer.beats,
                layer.last_time < shortest,
                layer.last_time < layer.beats,
                layer.residual & (layer.last_time < shortest + config.words_per_tile),
                layer.row_tiles == 0,
                layer.passes == 0,
                layer.vectors == 0,
                layer.out_width == 0,
                layer.out_blocks == 0,
            ],
            ErrorCode.BUDGET: cell_kind(config.cell).budget_faults(layer),
            ErrorCode.ADDRESS: [layer.residual & (tables_end > config.program_depth)],
        }
