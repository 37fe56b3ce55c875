"""Cells that are only measured, to compare the shipped ones with, and a grid to time any cell in.

They keep the contract of :mod:`termac_hw.cells.kinds`: lanes down, sums right, three registers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out
from termac.arch import Config
from termac.arch.cells import Term, TermPair, Traits
from termac_hw.cells.term import TermCell
from termac_hw.emit import place

__all__ = ["Grid", "OwnExponentCell", "OwnExponents", "ParallelCell"]


class _OwnExponent(Term):
    """Terms as ``term_pair`` stores them, times whole activations."""

    product_width = 16
    scale = TermPair.scale


class OwnExponents(Config):
    """A configuration of term cells whose terms have an exponent each.

    Products are up to ``128 * 2**7``, so partial sums take 6 bits more; row ends would not shift.
    """

    @property
    def kind(self) -> Traits:
        return _OwnExponent()

    @classmethod
    def of(cls, config: Config) -> OwnExponents:
        return cls(**{field.name: getattr(config, field.name) for field in fields(config)})


class OwnExponentCell(TermCell):
    """A term cell that shifts by itself: ``+-2**exponent * x[lane]`` in one beat.

    Half of the shifter lies in front of the product register, half behind.
    """

    module_name = "own_exponent_cell"

    def _product(self, m, lanes, term, suffix):
        """Registers of the lane's activation, inverted if negative, at 0 or 4 places further up."""
        value = Signal(signed(12), name=f"value{suffix}", reset_less=True)
        exponent = Signal(2, name=f"exponent{suffix}", reset_less=True)
        negative = Signal(name=f"negative{suffix}", reset_less=True)
        selected = Cat(term.negative.replicate(4), self._select(m, lanes, term, suffix)).as_signed()
        m.d.sync += [
            value.eq(selected >> (4 * ~term.exponent[2:3])),
            exponent.eq(term.exponent[:2]),
            negative.eq(term.negative),
        ]
        with m.If(~term.used):
            m.d.sync += [value.eq(0), negative.eq(0)]
        return value, exponent, negative

    def _add(self, m, addend, product, suffix):
        """The addend plus the value, shifted further by up to 3; ones come in below if negative."""
        value, exponent, negative = product
        shifted = Cat(negative.replicate(3), value).as_signed() >> ~exponent
        return (Cat(negative, addend).as_signed() + Cat(negative, shifted).as_signed())[1:]


class ParallelCell(Component):
    """A plain int8 multiplier of a weight-stationary array, one MAC per cycle.

    Weights are double-buffered as in :class:`~termac_hw.cells.bit_plane.BitPlaneCell`: a swap token
    makes the shadow weight the active one.

    Members
    -------
    lanes_in, lanes_out : activation, swap token
    shift, weight_in, weight_out : shadow weights, one column to the right
    sum_in, sum_out : signed(24)
    """

    module_name = "parallel_cell"

    def __init__(self) -> None:
        super().__init__(
            {
                "lanes_in": In(9), "lanes_out": Out(9), "shift": In(1), "weight_in": In(signed(8)),
                "weight_out": Out(signed(8)), "sum_in": In(signed(24)), "sum_out": Out(signed(24)),
            }
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        lanes, weight = Signal(9, reset_less=True), Signal(signed(8), reset_less=True)
        shadow, product = Signal(signed(8), reset_less=True), Signal(signed(16), reset_less=True)
        total = Signal(signed(24), reset_less=True)
        m.d.sync += [
            lanes.eq(self.lanes_in),
            product.eq(lanes[:8].as_signed() * weight),
            total.eq(self.sum_in + product),
        ]
        with m.If(self.shift):
            m.d.sync += shadow.eq(self.weight_in)
        with m.If(self.lanes_in[-1]):
            m.d.sync += weight.eq(shadow)
        m.d.comb += [
            self.lanes_out.eq(lanes), self.weight_out.eq(shadow), self.sum_out.eq(total),
        ]  # fmt: skip
        return m


class Grid(Component):
    """Rows and columns of any cell. Inputs beside lanes, weights and sums reach all at once.

    Members
    -------
    lanes, weights : what enters the top of every column; the left of every row
    sums : what leaves the right of every row
    """

    module_name = "grid"

    def __init__(self, make: Callable[[], Component], rows: int, columns: int) -> None:
        self.cells = [[make() for _ in range(columns)] for _ in range(rows)]
        ports = {
            path[0]: (member.flow, Value.cast(value))
            for path, member, value in self.cells[0][0].signature.flatten(self.cells[0][0])
        }
        inputs = [name for name, (flow, _) in ports.items() if flow == In]
        self.shared = [n for n in inputs if n not in ("lanes_in", "weight_in", "sum_in")]
        super().__init__(
            {
                "lanes": In(columns * len(ports["lanes_in"][1])),
                "weights": In(rows * len(ports["weight_in"][1])),
                "sums": Out(rows * len(ports["sum_out"][1])),
                **{name: In(len(ports[name][1])) for name in self.shared},
            }
        )

    def elaborate(self, platform):
        m = Module()
        columns = len(self.cells[0])
        width = len(self.lanes) // columns
        lanes = [self.lanes.word_select(column, width) for column in range(columns)]
        sums = []
        for row, cells in enumerate(self.cells):
            weight = self.weights.word_select(row, len(self.weights) // len(self.cells))
            total = Value.cast(0)
            for column, cell in enumerate(cells):
                name = f"cell_{row}_{column}"
                m.submodules[name] = place(cell, platform, name)
                inputs = {"lanes_in": lanes[column], "weight_in": weight, "sum_in": total}
                inputs |= {name: getattr(self, name) for name in self.shared}
                for port, value in inputs.items():
                    m.d.comb += Value.cast(getattr(cell, port)).eq(value)
                lanes[column] = cell.lanes_out
                weight, total = Value.cast(cell.weight_out), Value.cast(cell.sum_out)
            sums.append(total)
        m.d.comb += self.sums.eq(Cat(sums))
        return m
