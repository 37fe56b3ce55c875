"""The bit-plane cell and its row end in Lattice ECP5 primitives.

yosys folds the AND of a gated addition into no carry chain and sees no wide multiplexer in a lane
select, although an ECP5 has both. With them a cell (12-bit sums, yosys 0.70, LUT-eq = LUT4 +
2 CCU2C) takes 16 instead of 26 LUT-eq at 8 lanes, 20 instead of 41 (33 with ``-nowidelut``) at 16;
the flip-flops stay 44 and 54. A row end takes 33 instead of 51.

Without primitives, operand order, a select by indexing and hand-shared multiplexers made no
difference. A weight register gated by its reset saves 8 LUTs of a cell for 7 more flip-flops, and
of those an ECP5 has fewer to spare.
"""

from amaranth.hdl import Cat, Const, Instance, Mux, Signal, signed
from termac.arch import Config

from termac_hw.cells.bit_plane import BitPlaneCell, RowEnd
from termac_hw.emit import emit_verilog

__all__ = ["Ecp5BitPlaneCell", "Ecp5RowEnd", "ecp5_primitives"]


class Ecp5BitPlaneCell(BitPlaneCell):
    """The same hardware as :class:`BitPlaneCell`, under the same module name."""

    def _select(self, m, bits, index, suffix):
        """Pairs of lanes in LUT4, pairs of those in PFUMX, the rest of the tree in L6MUX21."""
        bits = list(bits)
        for level, select in enumerate(index):
            outputs = []
            for number, (low, high) in enumerate(zip(bits[::2], bits[1::2], strict=True)):
                output = Signal(name=f"select{suffix}_{level}_{number}")
                if level == 0:
                    mux = Instance(
                        "LUT4", p_INIT=Const(0xCACA, 16), i_A=low, i_B=high, i_C=select,
                        i_D=Const(0, 1), o_Z=output,
                    )  # fmt: skip
                elif level == 1:
                    mux = Instance("PFUMX", i_BLUT=low, i_ALUT=high, i_C0=select, o_Z=output)
                else:
                    mux = Instance("L6MUX21", i_D0=low, i_D1=high, i_SD=select, o_Z=output)
                m.submodules[f"mux{suffix}_{level}_{number}"] = mux
                outputs.append(output)
            bits = outputs
        return bits[0]

    def _gated_add(self, m, addend, value, enable, suffix):
        return _gated_sum(m, addend, value, [enable] * len(addend), suffix)


class Ecp5RowEnd(RowEnd):
    """The same hardware as :class:`~termac_hw.cells.bit_plane.RowEnd`, under the same name."""

    def _join(self, m, acc):
        width = self.config.result_width
        operand, doubled = Signal(signed(width)), Signal(width)
        m.d.comb += [
            operand.eq(Mux(self.first, ~self.sum, self.sum)),
            doubled.eq(Cat(self.first, acc)),
        ]
        return _gated_sum(m, operand, doubled, [1] + [~self.first] * (width - 1), "")


def _gated_sum(m, addend, value, enables, suffix):
    """The addend plus those bits of the sign-extended value that are enabled.

    A CCU2C of INIT 96AA adds A and B where D is 1 and passes A where D is 0.
    """
    width = len(addend)
    total = Signal(width + width % 2, name=f"total{suffix}")
    a, b, d = (Signal(total.shape(), name=f"{name}{suffix}") for name in "abd")
    m.d.comb += [a.eq(addend), b.eq(value), d.eq(Cat(enables))]
    carry = Const(0, 1)
    for low in range(0, width, 2):
        high = low + 1
        carry_out = Signal(name=f"carry{suffix}_{low}")
        m.submodules[f"add{suffix}_{low}"] = Instance(
            "CCU2C",
            p_INIT0=Const(0x96AA, 16), p_INIT1=Const(0x96AA, 16),
            p_INJECT1_0="NO", p_INJECT1_1="NO",
            i_CIN=carry, o_COUT=carry_out,
            i_A0=a[low], i_B0=b[low], i_C0=Const(0, 1), i_D0=d[low], o_S0=total[low],
            i_A1=a[high], i_B1=b[high], i_C1=Const(0, 1), i_D1=d[high], o_S1=total[high],
        )  # fmt: skip
        carry = carry_out
    return total[:width].as_signed()


def ecp5_primitives(config: Config) -> str:
    """Verilog of ``termac_cell`` and ``termac_row_end`` for an ECP5.

    Read it after the generated Verilog, overwriting (``read_verilog -overwrite``), and synthesize
    as usual.
    """
    return emit_verilog(Ecp5BitPlaneCell(config)) + "\n" + emit_verilog(Ecp5RowEnd(config))
