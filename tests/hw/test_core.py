"""The whole accelerator as Verilog: clean, complete, each module once."""

import re
import subprocess

import pytest
from termac.arch import load_config, preset_names
from termac_hw.core import Core
from termac_hw.emit import WAIVERS, emit_verilog
from termac_sim.launch import verilator_folder


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_clean_under_verilator_wall(name, tmp_path):
    text = emit_verilog(Core(load_config(name)))
    (tmp_path / "accelerator.v").write_text(text)
    run = subprocess.run(
        [verilator_folder() / "verilator", "--lint-only", "-Wall", "--top-module", "termac",
         str(WAIVERS), "accelerator.v"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    modules = re.findall(r"^module (\w+)", text, re.M)
    assert len(modules) == len(set(modules))
    assert modules[-1] == "termac"
    assert {"termac_cell", "termac_row", "termac_array", "termac_drain", "termac_bank"} <= {
        *modules
    }
    assert "\\" not in text.replace("\\\n", ""), "escaped identifiers are hard to read"
