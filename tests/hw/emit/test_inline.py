"""Expressions that move to where they are used keep their value."""

import pytest
from termac_hw.emit.inline import inline, narrow
from termac_hw.emit.module import VerilogModule


def inlined(*lines, width=8):
    """The statements that are left of ``lines``, in a module with nets of ``width`` bits."""
    nets = [f"  wire [{width - 1}:0] {name};" for name in "abcxy"]
    text = "\n".join(
        ["module demo(a, b, c, x);", *nets, "  wire [7:0] _0_;", "  wire _1_;", *lines, "endmodule"]
    )
    module = VerilogModule.read(text)
    narrow(module)
    inline(module)
    return [str(statement).strip() for statement in module.body]


def test_sum_moves_to_a_target_as_wide_as_it_was():
    assert inlined("  assign _0_ = a + b;", "  assign x = _0_;") == ["assign x = a + b;"]


@pytest.mark.parametrize(
    "use",
    [
        "{ 7'h00, _0_ == y }",  # compared in 4 bits, the carry would be lost
        "{ 1'h0, _0_ }",
        "_0_ & c",
        "_0_ >> 1'h1",
    ],
)
def test_carry_of_narrow_operands_is_kept(use):
    assert len(inlined("  assign _0_ = a + b;", f"  assign x = {use};", width=4)) == 2


def test_truncated_sum_does_not_grow():
    lines = ["  assign _0_ = a + b;", "  assign x = _0_ + c;"]
    assert len(inlined(*lines, width=16)) == 2


def test_complement_is_not_extended():
    assert len(inlined("  assign _0_ = ~ a[7:0];", "  assign x = _0_ & c;", width=16)) == 2
    assert inlined("  assign _0_ = ~ a;", "  assign x = _0_ & c;") == ["assign x = ~a & c;"]


def test_comparison_moves_anywhere():
    lines = ["  assign _1_ = a == b;", "  assign x = c + _1_;"]
    assert inlined(*lines) == ["assign x = c + (a == b);"]


def test_what_is_used_twice_stays():
    lines = ["  assign _0_ = a & b;", "  assign x = _0_;", "  assign y = _0_;"]
    assert len(inlined(*lines)) == 3


def test_lists_of_bits_become_operations():
    lines = ["  assign _1_ = { a[0], b[0] } != 2'h0;", "  assign x = _1_ ? a : b;"]
    assert inlined(*lines) == ["assign x = (a[0] | b[0]) ? a : b;"]


def test_unused_carry_is_dropped():
    lines = ["  assign _0_[3:0] = a + b;", "  assign x = { c[3:0], _0_[3:0] };"]
    assert inlined(*lines, width=4) == ["assign x = { c[3:0], a + b };"]
