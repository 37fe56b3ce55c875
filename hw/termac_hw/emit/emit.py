"""Verilog from components: every distinct component becomes one module, emitted once.

``Elaboratable`` hierarchies converted the usual way yield one module per *instance*: a thousand
cells give a thousand modules. Here a parent places its children with :func:`place`. In Amaranth's
simulator a placed child is an ordinary submodule; while Verilog is emitted it is converted on its
own, once, and the parent holds an ``Instance`` of it. Memories and other ordinary submodules are
flattened into the component that holds them.
"""

import re
from pathlib import Path

from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Fragment, Instance, ResetSignal, Shape, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib.data import Layout
from amaranth.lib.wiring import In, Signature

from termac_hw.emit.rtlil import clean_rtlil, drop_unused_input, struct_fields
from termac_hw.emit.verilog import port_name, readable

__all__ = ["WAIVERS", "Emission", "emit_verilog", "place", "write_verilog"]

WAIVERS = Path(__file__).with_name("waivers.vlt")
"""The reviewed Verilator waivers for everything that is emitted."""

_PLAIN = (bool, int, str, bytes, float, type, type(None), Shape, Layout, Signature)


def place(component, platform, name=None):
    """Make a child component part of its parent: ``m.submodules.NAME = place(child, platform)``.

    The parent then drives and reads the child's port signals as with any submodule.

    Parameters
    ----------
    component : :class:`amaranth.lib.wiring.Component`
        The child. Equal ``module_name`` (a Verilog identifier) must mean equal hardware.
    platform : object
        What ``elaborate`` got: ``None`` in the simulator, an :class:`Emission` for Verilog.
    name : :class:`str`
        Prefix of the nets to the child's ports in the Verilog; the submodule's name if absent.

    Returns
    -------
    The component itself, or an ``Instance`` wired to its port signals.

    Raises
    ------
    ValueError
        If another component of that module name was different hardware.
    """
    if not isinstance(platform, Emission):
        return component
    return platform.place(component, name)


class Emission:
    """Collects the distinct modules of one design; handed to ``elaborate`` as the platform.

    Members
    -------
    modules : dict from module name to RTLIL text, children before parents
        As Amaranth writes it, without unused clocks and resets.
    components : dict from module name to a component of it
    nets : dict from module name to set of str
        Names made up for the ports of children and memories.
    """

    def __init__(self):
        self.modules = {}
        self.components = {}
        self.nets = {}
        self._domains = {}
        self._fingerprints = {}

    def place(self, component, name=None):
        """Convert a component if it is new; return an ``Instance`` of its module."""
        module_name = self.add(component)
        ports = _ports(component)
        arguments = []
        for port, (signal, direction) in ports.items():
            kind = "i" if direction is PortDirection.Input else "o"
            arguments.append((kind, port, signal))
        for domain, clk, rst in self._domains[module_name]:
            if clk:
                arguments.append(("i", clk, ClockSignal(domain)))
            if rst:
                arguments.append(("i", rst, ResetSignal(domain, allow_reset_less=True)))
        instance = Instance(module_name, *arguments)
        instance.placed_ports = ports
        instance.placed_name = name
        return instance

    def add(self, component):
        """Convert a component and, recursively, what it places. Returns its module name."""
        module_name = component.module_name
        if not re.fullmatch(r"[A-Za-z_]\w*", module_name):
            raise ValueError(f"Module name must be a Verilog identifier, not {module_name!r}")
        fingerprint = _fingerprint(component)
        known = self._fingerprints.setdefault(module_name, set())
        if fingerprint is not None and fingerprint in known:
            component._MustUse__used = True  # no warning that it was never elaborated
            return module_name
        text = self._convert(component, module_name)
        if self.modules.setdefault(module_name, text) != text:
            raise ValueError(
                f"Two different components share the module name {module_name!r}; "
                f"make {type(component).__name__}.module_name tell them apart"
            )
        if fingerprint is not None:
            known.add(fingerprint)
        return module_name

    def _convert(self, component, module_name):
        fragment = Fragment.get(component, self)
        nets = _name_nets(fragment)
        ports = _ports(component)
        text, _names = rtlil.convert_fragment(fragment, ports, module_name, emit_src=False)
        domains = []
        for domain in sorted(fragment.domains):
            used = []
            for signal in (fragment.domains[domain].clk, fragment.domains[domain].rst):
                text, is_used = drop_unused_input(text, signal.name if signal is not None else "")
                used.append(signal.name if is_used else None)
            domains.append((domain, *used))
        self._domains[module_name] = domains
        self.components[module_name] = component
        self.nets[module_name] = nets
        return text


def emit_verilog(top):
    """Verilog of a component and everything that it places.

    The same configuration gives the same bytes on every machine. Clock and reset of the ``sync``
    domain are ``clk`` and ``rst`` (synchronous, active high).

    Parameters
    ----------
    top : :class:`amaranth.lib.wiring.Component`
        A placeable component. If it has a ``config``, the header comment states it.

    Returns
    -------
    str
        All modules, children before parents, the top module last.
    """
    emission = Emission()
    emission.add(top)
    names = list(emission.modules)
    texts = [clean_rtlil(text, emission.nets[name]) for name, text in emission.modules.items()]
    verilog = _to_verilog("\n".join(texts), names)
    bodies = {}
    for match in re.finditer(r"^module (\w+)\(.*?^endmodule\n", verilog, re.M | re.S):
        name = match[1]
        fields = struct_fields(emission.modules[name])
        bodies[name] = readable(match[0], emission.components[name], fields)
    return "\n".join([_header(top), *(bodies[name] for name in names)])


def write_verilog(top, path):
    """Write :func:`emit_verilog` to a file, with the lint waivers (``waivers.vlt``) beside it."""
    path = Path(path)
    path.write_text(emit_verilog(top))
    (path.parent / WAIVERS.name).write_text(WAIVERS.read_text())


def _ports(component):
    """Flat port name -> (signal, direction), without ports of no bits.

    A port of an interface is called after both: ``awaddr`` of ``s_axi`` is ``s_axi_awaddr``.
    """
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if len(signal):
            direction = PortDirection.Input if member.flow == In else PortDirection.Output
            name = port_name(path)
            if name in ports:
                raise ValueError(f"{type(component).__name__} has two ports named {name!r}")
            ports[name] = (signal, direction)
    return ports


def _fingerprint(component):
    """A key that equal components share, or None if the component keeps more than plain values.

    Only a shortcut: components without one are converted and compared as text.
    """
    hidden = ("_Component__", "_MustUse__")  # Amaranth's own attributes
    ports = set(component.signature.members)
    values = {
        key: value
        for key, value in vars(component).items()
        if key not in ports and not key.startswith(hidden)
    }
    values["signature"] = component.signature

    def is_plain(value):
        if isinstance(value, (tuple, list)):
            return all(map(is_plain, value))
        if isinstance(value, dict):
            return all(map(is_plain, value.values()))
        frozen = getattr(type(value), "__dataclass_params__", None)
        return isinstance(value, _PLAIN) or (frozen is not None and frozen.frozen)

    if not all(map(is_plain, values.values())):
        return None
    return type(component), tuple(sorted((key, repr(value)) for key, value in values.items()))


def _name_nets(fragment):
    """Name nets to instances and memories after instance or memory, and port; the names."""
    names = set()
    for child, name, _src_loc in fragment.subfragments:
        if isinstance(child, MemoryInstance):
            names |= _name_memory(child, name or "memory")
            continue
        if isinstance(child, Instance) and hasattr(child, "placed_ports"):
            for port, (signal, _direction) in child.placed_ports.items():
                signal.name = f"{child.placed_name or name or child.type}_{port}"
                names.add(signal.name)
        else:
            names |= _name_nets(child)
    return names


def _name_memory(memory, name):
    """Name the nets to a memory ``NAME_read_address`` and so on; the names."""
    names = set()
    for kind, ports in (("read", memory._read_ports), ("write", memory._write_ports)):
        for index, port in enumerate(ports):
            number = f"_{index}" if len(ports) > 1 else ""
            for part, value in (
                ("address", port._addr),
                ("data", port._data),
                ("enable", port._en),
            ):
                if isinstance(value, Signal):
                    value.name = f"{name}_{kind}{number}_{part}"
                    names.add(value.name)
    return names


def _to_verilog(text, names):
    """Flatten, fold enables and resets into the flip-flops, and write Verilog.

    Without ``opt_dff`` every register has an ``always @*`` block with its enable and reset, which
    simulates several times slower; without the ``opt_clean`` before it, it finds nothing.
    """
    text = text.replace("attribute \\top 1\n", "")  # else flatten keeps only what that one uses
    for name in names:  # an attribute, because the built-in yosys has no command to set one
        module = f"\nmodule \\{name}\n"
        text = text.replace(module, f"\nattribute \\keep_hierarchy 1{module}")
    script = [
        f"read_rtlil <<rtlil\n{text}\nrtlil",
        "proc",
        "flatten",
        "opt_expr",
        "opt_merge * t:$*dff* %d",
        "opt_clean",
        "opt_dff",
        "opt_merge * t:$*dff* %d",
        "opt_expr -mux_undef -mux_bool",  # what a register is not told to take, it need not choose
        "wreduce t:$add t:$sub t:$mul",  # carries that nobody reads
        "opt_clean",  # not -purge: it prefers the name of a net to the name of its register
        "write_verilog -noattr",
    ]
    yosys = find_yosys(lambda version: version >= (0, 40))
    return yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True)


def _header(top):
    lines = [f"Termac: {top.module_name}", "Generated file: change the generator instead."]
    config = getattr(top, "config", None)
    if config is not None:
        fields = getattr(type(config), "__dataclass_fields__", {})
        lines += [f"  {key} = {getattr(config, key)!r}" for key in fields]
        if hasattr(config, "digest"):
            lines.append(f"configuration {config.digest}")
    return "".join(f"// {line}\n" for line in lines)
