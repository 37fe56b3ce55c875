"""The two blocks of combinational logic in a bit-plane cell, as modules of their own.

They are modules so that a vendor's primitives can take their place. yosys folds the AND of a gated
addition into no carry chain and sees no wide multiplexer in a select, although most FPGAs have
both; :mod:`termac_hw.cells.ecp5` is the same logic in ECP5 primitives.
"""

from amaranth.hdl import Module, Mux, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config

__all__ = ["GatedAdder", "LaneSelect"]


class GatedAdder(wiring.Component):
    """``total = addend + (value if enable else 0)``, combinational.

    Members
    -------
    addend, total : signed(sum_width)
    value : signed(8)
    enable : 1
    """

    module_name = "termac_gated_add"

    def __init__(self, config: Config):
        self.config = config
        super().__init__({
            "addend": In(signed(config.sum_width)),
            "value": In(signed(8)),
            "enable": In(1),
            "total": Out(signed(config.sum_width)),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(self.addend + Mux(self.enable, self.value, 0))
        return m


class LaneSelect(wiring.Component):
    """``selected = lanes[lane]``, combinational.

    Members
    -------
    lanes : alpha bits
    lane : log2(alpha) bits
    selected : 1
    """

    module_name = "termac_select"

    def __init__(self, config: Config):
        self.config = config
        super().__init__({
            "lanes": In(config.lanes),
            "lane": In(config.lane_width),
            "selected": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        bits = list(self.lanes)
        for place in self.lane:
            pairs = zip(bits[::2], bits[1::2], strict=True)
            bits = [Mux(place, high, low) for low, high in pairs]
        m.d.comb += self.selected.eq(bits[0])
        return m
