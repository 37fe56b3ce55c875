"""Cells and row ends in Lattice ECP5 primitives.

yosys folds the AND of a gated addition into no carry chain and sees no wide multiplexer in a lane
select, although an ECP5 has both. With them a bit-plane cell (12-bit sums, yosys 0.70, LUT-eq =
LUT4 + 2 CCU2C) takes 16 instead of 26 LUT-eq at 8 lanes, 20 instead of 41 (33 with ``-nowidelut``)
at 16; the flip-flops stay 44 and 54. A row end takes 33 instead of 51. At 8 lanes and 16 columns a
term cell takes 49 instead of 79, a term-pair cell 52 instead of 92.

Without primitives, operand order, a select by indexing and hand-shared multiplexers made no
difference. A weight register gated by its reset saves 8 LUTs of a bit-plane cell for 7 more
flip-flops, and of those an ECP5 has fewer to spare.
"""

from amaranth.hdl import Cat, Const, Instance, Mux, Signal, signed
from termac.arch import Config

from termac_hw.cells.bit_plane import BitPlaneCell, RowEnd
from termac_hw.cells.term import TermCell
from termac_hw.cells.term_pair import TermPairCell
from termac_hw.emit import emit_verilog

__all__ = [
    "Ecp5BitPlaneCell",
    "Ecp5RowEnd",
    "Ecp5TermCell",
    "Ecp5TermPairCell",
    "ecp5_primitives",
]


class Ecp5BitPlaneCell(BitPlaneCell):
    """The same hardware as :class:`BitPlaneCell`, under the same module name."""

    def _select(self, m, bits, index, suffix):
        return _wide_select(m, bits, index, Const(0, 1), suffix)

    def _gated_add(self, m, addend, value, enable, suffix):
        return _gated_sum(m, addend, value, [enable] * len(addend), suffix)


class Ecp5RowEnd(RowEnd):
    """The same hardware as :class:`~termac_hw.cells.bit_plane.RowEnd`, under the same name."""

    def _join(self, m, acc):
        width = self.config.result_width
        operand = Signal(signed(width))
        doubled = Signal(width)
        m.d.comb += [
            operand.eq(Mux(self.first, ~self.sum, self.sum)),
            doubled.eq(Cat(self.first, acc)),
        ]
        return _gated_sum(m, operand, doubled, [1] + [~self.first] * (width - 1), "")


class _TermSelect:
    """The lane select of a cell that keeps terms: its first LUTs invert as well."""

    def _select(self, m, lanes, term, suffix):
        width = len(self.INVERTED)
        selected = []
        for bit, inverted in enumerate(self.INVERTED):
            negative = term.negative & inverted
            bits = lanes[bit::width]
            selected.append(_wide_select(m, bits, term.lane, negative, f"{suffix}_{bit}"))
        return Cat(selected)


class Ecp5TermCell(_TermSelect, TermCell):
    """The same hardware as :class:`~termac_hw.cells.term.TermCell`, under the same name."""

    def _add(self, m, addend, product, suffix):
        value, double, negative = product
        addend = Cat(negative, addend)  # a place below the lowest, for the carry
        single = Cat(negative, value).as_signed()
        doubled = Cat(negative, negative, value).as_signed()
        enables = double.replicate(len(addend))
        return _sum(m, _if_set, addend, enables, single, doubled, suffix)[1:]


class Ecp5TermPairCell(_TermSelect, TermPairCell):
    """The same hardware as :class:`~termac_hw.cells.term_pair.TermPairCell`, of the same name."""

    def _decode(self, m, weight_exponent, lane_exponent, suffix):
        """Nine LUTs; left to itself, abc makes up to three times as many."""
        w, x = weight_exponent, lane_exponent
        low = w[0], x[0], w[1], x[1]

        def low_sum(a, b, c, d):
            return a + b + 2 * (c + d)

        def high_sum(a, b, c, d):
            return a + b + 2 * c + d

        carry = _lut(m, lambda *bits: low_sum(*bits) > 3, low, f"fine{suffix}_carry")
        high = w[2], x[2], x[3], carry
        return [
            _lut(m, lambda *bits, n=n, total=total: total(*bits) % 4 == n, inputs, f"{name}_{n}")
            for name, total, inputs in (
                (f"fine{suffix}", low_sum, low), (f"coarse{suffix}", high_sum, high),
            )
            for n in range(4)
        ]  # fmt: skip

    def _add(self, m, addend, product, suffix):
        fine, coarse, negative = product
        addend = Cat(negative, addend)  # a place below the lowest, for the carry
        fines = Cat(0, *[fine] * 4)
        coarses = Cat(0, *(wire.replicate(4) for wire in coarse))
        signs = negative.replicate(len(addend))
        return _sum(m, _and_xor, addend, fines, coarses, signs, suffix)[1:]


def _invertible_mux(a, b, c, d):
    return (b if c else a) ^ d


def _wide_select(m, bits, index, inverted, suffix):
    """The indexed bit, ``inverted`` or not.

    Pairs of lanes in LUT4, pairs of those in PFUMX, the rest of the tree in L6MUX21.
    """
    bits = list(bits)
    if len(bits) == 1:
        return bits[0] ^ inverted
    for level, select in enumerate(index):
        outputs = []
        for number, (low, high) in enumerate(zip(bits[::2], bits[1::2], strict=True)):
            name = f"{suffix}_{level}_{number}"
            if level == 0:
                inputs = low, high, select, inverted
                outputs.append(_lut(m, _invertible_mux, inputs, f"mux{name}"))
                continue
            output = Signal(name=f"select{name}")
            if level == 1:
                mux = Instance("PFUMX", i_BLUT=low, i_ALUT=high, i_C0=select, o_Z=output)
            else:
                mux = Instance("L6MUX21", i_D0=low, i_D1=high, i_SD=select, o_Z=output)
            m.submodules[f"mux{name}"] = mux
            outputs.append(output)
        bits = outputs
    return bits[0]


def _lut(m, function, inputs, name):
    """A function of four bits as one LUT."""
    output = Signal(name=f"{name}_out")
    ports = {f"i_{port}": value for port, value in zip("ABCD", inputs, strict=True)}
    m.submodules[name] = Instance("LUT4", p_INIT=_init(function), **ports, o_Z=output)
    return output


def _init(function):
    """Truth table of a LUT."""
    inputs = ((n & 1, n >> 1 & 1, n >> 2 & 1, n >> 3) for n in range(16))
    return Const(sum(bool(function(*bits)) << n for n, bits in enumerate(inputs)), 16)


def _gated_sum(m, addend, value, enables, suffix):
    """The addend plus those bits of the sign-extended value that are enabled."""
    return _sum(m, _and, addend, value, Const(0, len(addend)), Cat(enables), suffix)


# What is added at a place. Nothing where c and d are 0: there a CCU2C takes its carry from.


def _and(b, c, d):
    return b & d


def _if_set(b, c, d):
    return d if b else c


def _and_xor(b, c, d):
    return (b & c) ^ d


def _sum(m, operand, addend, b, c, d, suffix):
    """The addend plus, bit by bit, what ``operand`` makes of the sign-extended b, c and d.

    A CCU2C adds A and any function of B, C and D: where their XOR, its LUT, is 0, both are equal
    and the carry is A. It takes that from the part of the LUT that C = D = 0 select.
    """
    assert not any(operand(b, 0, 0) for b in (0, 1))
    init = _init(lambda a, b, c, d: a ^ operand(b, c, d))
    width = len(addend)
    total = Signal(width + width % 2, name=f"total{suffix}")
    a, b, c, d = (
        _named(m, value, len(total), f"{name}{suffix}")
        for name, value in zip("abcd", (addend, b, c, d), strict=True)
    )
    carry = Const(0, 1)
    for low in range(0, width, 2):
        high = low + 1
        carry_out = Signal(name=f"carry{suffix}_{low}")
        m.submodules[f"add{suffix}_{low}"] = Instance(
            "CCU2C", p_INIT0=init, p_INIT1=init, p_INJECT1_0="NO", p_INJECT1_1="NO",
            i_CIN=carry, o_COUT=carry_out,
            i_A0=a[low], i_B0=b[low], i_C0=c[low], i_D0=d[low], o_S0=total[low],
            i_A1=a[high], i_B1=b[high], i_C1=c[high], i_D1=d[high], o_S1=total[high],
        )  # fmt: skip
        carry = carry_out
    return total[:width].as_signed()


def _named(m, value, width, name):
    """A signal of that width."""
    signal = Signal(width, name=name)
    m.d.comb += signal.eq(value)
    return signal


_PRIMITIVES = {
    "bit_plane": (Ecp5BitPlaneCell, Ecp5RowEnd),
    "term": (Ecp5TermCell,),
    "term_pair": (Ecp5TermPairCell,),
}


def ecp5_primitives(config: Config) -> str:
    """Verilog of ``termac_cell``, and ``termac_row_end`` if it gains, for an ECP5.

    Read it after the generated Verilog, overwriting (``read_verilog -overwrite``), and synthesize
    as usual. Empty for a cell that has no version in primitives.
    """
    return "\n".join(emit_verilog(part(config)) for part in _PRIMITIVES.get(config.cell, ()))
