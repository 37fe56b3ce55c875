"""From a module as yosys writes it to one that people read."""

import re
from collections import Counter
from functools import partial

from termac_hw.emit.docstrings import contract, describe
from termac_hw.emit.inline import fold_copies, inline, narrow
from termac_hw.emit.module import VerilogModule
from termac_hw.emit.names import name_fields, name_nets
from termac_hw.emit.write import write_module

__all__ = ["port_name", "readable"]


def port_name(path):
    """Name of a port: one of an interface has that of the interface in front."""
    return "_".join(map(str, path))


def readable(text, component, fields):
    """One Verilog module of yosys, with names, ports one a line, and what the docstring says.

    Parameters
    ----------
    text : str
        The module.
    component : :class:`amaranth.lib.wiring.Component`
        What it was made of.
    fields : dict
        Fields of structures, see :func:`termac_hw.emit.rtlil.struct_fields`.
    """
    module = VerilogModule.read(_drop_unused_nets(_legalize(text)))
    fold_copies(module)
    module.rename(
        {name: module.fresh(name.replace("__", "_")) for name in module.nets if "__" in name}
    )
    narrow(module)
    inline(module)
    name_fields(module, fields)
    name_nets(module)
    ports = {}
    for path, text in describe(component).items():
        name = port_name(path)
        ports[name if name in module.nets else f"{name}_"] = text  # a keyword of Verilog
    return write_module(module, contract(component), ports)


def _legalize(module):
    """Replace a module's escaped identifiers (``\\fifo.level``) by plain ones (``fifo_level``)."""
    taken = set(re.findall(r"(?<![\\\w.$])\w+", module))
    names = {}

    def rename(match):
        if match[1] not in names:
            name = base = re.sub(r"\W+", "_", match[1]).rstrip("_")
            count = 1
            while name in taken:
                count += 1
                name = f"{base}_{count}"
            taken.add(name)
            names[match[1]] = name
        return names[match[1]]

    return re.sub(r"\\(\S+) ", rename, module)


def _drop_unused_nets(module):
    """Remove nets that are assigned but never read, until there are none."""
    declaration = re.compile(r"^  wire (?:signed )?(?:\[\d+:\d+\] )?(\w+);\n", re.M)
    assignment = re.compile(r"^  assign (\w+)(?:\[[\d:]+\])? = .*;\n", re.M)
    ports = set(re.findall(r"\w+", module[: module.index(";")]))
    while True:
        uses = Counter(re.findall(r"(?<![\w.'])[A-Za-z_]\w*", module))
        assigned = Counter(match[1] for match in assignment.finditer(module))
        unused = {
            match[1]
            for match in declaration.finditer(module)
            if uses[match[1]] == 1 + assigned[match[1]] and match[1] not in ports
        }
        if not unused:
            return module
        for pattern in (declaration, assignment):
            module = pattern.sub(partial(_drop_if, unused), module)


def _drop_if(names, match):
    return "" if match[1] in names else match[0]
