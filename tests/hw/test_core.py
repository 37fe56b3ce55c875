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


def test_the_ports_of_the_top_are_two_buses_and_two_flags():
    text = emit_verilog(Core(load_config("tiny")))
    top = re.search(r"^module termac\b.*?^endmodule", text, re.M | re.S)[0]
    found = re.findall(r"\b(input|output)\s+(?:wire |reg )?(?:\[(\d+):0\] )?(\w+)", top)
    ports = {name: (direction, int(high or 0) + 1) for direction, high, name in found}
    burst = {"id": 4, "addr": 19, "len": 8, "size": 3, "burst": 2}
    wanted = {
        "clk": ("input", 1),
        "rst": ("input", 1),
        "busy": ("output", 1),
        "done": ("output", 1),
    }
    for bus, address, identity, last in (
        ("s_axi", burst, {"id": 4}, {"last": 1}), ("s_axil", {"addr": 12}, {}, {}),
    ):  # fmt: skip
        for channel, payload in (
            ("aw", address), ("w", {"data": 32, "strb": 4, **last}), ("b", {"resp": 2, **identity}),
            ("ar", address), ("r", {"data": 32, "resp": 2, **identity, **last}),
        ):  # fmt: skip
            ways = ("input", "output") if channel in ("aw", "w", "ar") else ("output", "input")
            for name, width in {**payload, "valid": 1}.items():
                wanted[f"{bus}_{channel}{name}"] = (ways[0], width)
            wanted[f"{bus}_{channel}ready"] = (ways[1], 1)
    assert ports == wanted
