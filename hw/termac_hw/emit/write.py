"""A module as Verilog: contract, ports in groups, declarations, statements."""

import re
import textwrap
from itertools import groupby

from termac_hw.emit.docstrings import PortText

__all__ = ["write_module"]

_WIDTH = 100
_CLOCKS = {"clk": "clock", "rst": "reset, synchronous, active high"}


def write_module(module, contract, ports):
    """Text of a module.

    Parameters
    ----------
    module : VerilogModule
    contract : str
        Said above the module.
    ports : dict from port to PortText
        What is said of it, in the order in which ports are listed. Clock and reset come first.
    """
    ports = {name: PortText(text) for name, text in _CLOCKS.items()} | ports
    order = [name for name in ports if name in module.nets]
    lines = textwrap.wrap(contract, _WIDTH, initial_indent="// ", subsequent_indent="// ")
    lines.append(f"module {module.name}(")
    for first, group in groupby(order, _groups(order, ports).__getitem__):
        if first != order[0]:
            lines.append("")
        if ports[first].interface_text:
            title = f"{ports[first].interface}: {ports[first].interface_text}"
            lines += textwrap.wrap(title, _WIDTH, initial_indent="  // ", subsequent_indent="  // ")
        for name in group:
            end = "" if name == order[-1] else ","
            lines += _port(module.nets[name], name, end, ports[name].text)
    lines.append(");")
    inner = {name: net for name, net in module.nets.items() if not net.direction}
    for name in sorted(inner, key=_rank(inner)):
        lines += _declare(inner[name], name)
    lines += [f"  wire {text};" for text in module.wires.values()]
    for statement in module.body:
        lines += _wrap(str(statement))
    return "\n".join([*lines, "endmodule"]) + "\n"


def _wrap(line):
    indent = re.match(" *", line)[0] + "    "
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _groups(names, ports):
    """First port of the group of each: an interface, neighbours of equal prefix, or neither."""
    prefixes = [re.match(r"[a-z]+", name)[0] for name in names]
    groups, before = {}, None
    for index, name in enumerate(names):
        prefix = ports[name].interface
        if name in _CLOCKS:
            prefix = "clocks"
        elif not prefix and prefixes[index] in prefixes[max(0, index - 1) : index + 2 : 2]:
            prefix = prefixes[index] + "_"
        groups[name] = groups[names[index - 1]] if index and prefix == before else name
        before = prefix
    return groups


def _port(net, name, end, text):
    """Lines of a port."""
    init = f" = {net.init}" if net.init is not None else ""
    start = f"  {net.direction} {net} {name}{init}{end}"
    if not text:
        return [start]
    first, *more = textwrap.wrap(text, max(_WIDTH - len(start) - 5, 40))
    return [f"{start}  // {first}", *(f"{' ' * len(start)}  // {line}" for line in more)]


def _rank(nets):
    """Memories, registers, wires; each in alphabetical order, numbers as numbers."""

    def rank(name):
        net = nets[name]
        parts = re.split(r"(\d+)", name)
        natural = [int(part) if part.isdecimal() else part for part in parts]
        return (net.depth is None, net.kind, natural)

    return rank


def _declare(net, name):
    """Lines of a declaration.

    Memories may return anything for a word that is written in the same cycle: none of the
    accelerator is ever read at the address that is being written, because layers run empty before
    the next one starts, and the distances inside a layer are constants. Without the attribute,
    yosys keeps "the old word" alive with registers beside every block RAM.
    """
    if net.depth:
        return ["  (* no_rw_check *)", f"  {net} {name} [{net.depth - 1}:0];"]
    init = f" = {net.init}" if net.init is not None else ""
    return [f"  {net} {name}{init};"]
