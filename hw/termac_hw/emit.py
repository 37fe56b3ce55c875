"""Verilog from components: every distinct component becomes one module, emitted once.

``Elaboratable`` hierarchies converted the usual way yield one module per *instance*: a thousand
cells give a thousand modules. Here a parent places its children with :func:`place`. In Amaranth's
simulator a placed child is an ordinary submodule; while Verilog is emitted it is converted on its
own, once, and the parent holds an ``Instance`` of it. Memories and other ordinary submodules are
flattened into the component that holds them.
"""

import re
from collections import Counter
from functools import partial
from pathlib import Path

from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Fragment, Instance, ResetSignal, Shape, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib.data import Layout
from amaranth.lib.wiring import In, Signature

__all__ = ["WAIVERS", "Emission", "emit_verilog", "place", "write_verilog"]

WAIVERS = Path(__file__).with_name("waivers.vlt")
"""The reviewed Verilator waivers for everything that is emitted."""

_KEYWORDS = frozenset(  # of SystemVerilog
    re.findall(
        r"\w+",
        """
        accept_on alias always always_comb always_ff always_latch and assert assign assume
        automatic before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez
        cell chandle checker class clocking cmos config const constraint context continue cover
        covergroup coverpoint cross deassign default defparam design disable dist do edge else end
        endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup
        endinterface endmodule endpackage endprimitive endprogram endproperty endsequence
        endspecify endtable endtask enum event eventually expect export extends extern final
        first_match for force foreach forever fork forkjoin function generate genvar global highz0
        highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include
        initial inout input inside instance int integer interconnect interface intersect join
        join_any join_none large let liblist library local localparam logic longint macromodule
        matches medium modport module nand negedge nettype new nexttime nmos nor noshowcancelled
        not notif0 notif1 null or output package packed parameter pmos posedge primitive priority
        program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect
        pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg
        reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always
        s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
        showcancelled signed small soft solve specify specparam static string strong strong0
        strong1 struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task this
        throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior
        trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
        vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with
        within wor xnor xor
        """,
    )
)

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
    """

    def __init__(self):
        self.modules = {}
        self._domains = {}
        self._fingerprints = {}

    def place(self, component, name=None):
        """Convert a component if it is new; return an ``Instance`` of its module."""
        module_name = self.add(component)
        ports = _ports(component)
        arguments = []
        for port_name, (signal, direction) in ports.items():
            kind = "i" if direction is PortDirection.Input else "o"
            arguments.append((kind, port_name, signal))
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
                text, is_used = _drop_unused_input(text, signal.name if signal is not None else "")
                used.append(signal.name if is_used else None)
            domains.append((domain, *used))
        self._domains[module_name] = domains
        text = _prefer_own_names(_drop_fields(_drop_zero_contents(text)), nets)
        return _rename_keywords(_number_ports_from_one(text))


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
    verilog = _clean_up("\n".join(emission.modules.values()), names)
    bodies = {}
    for match in re.finditer(r"^module (\w+)\(.*?^endmodule\n", verilog, re.M | re.S):
        bodies[match[1]] = _allow_collisions(_drop_unused_nets(_legalize(match[0])))
    return "\n".join([_header(top), *(bodies[name] for name in names)])


def write_verilog(top, path):
    """Write :func:`emit_verilog` to a file, with the lint waivers (``waivers.vlt``) beside it."""
    path = Path(path)
    path.write_text(emit_verilog(top))
    (path.parent / WAIVERS.name).write_text(WAIVERS.read_text())


def _ports(component):
    """Flat port name -> (signal, direction), without ports of no bits."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if len(signal):
            direction = PortDirection.Input if member.flow == In else PortDirection.Output
            ports["__".join(map(str, path))] = (signal, direction)
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
    """Name the nets between a fragment and its instances after instance and port; the names."""
    names = set()
    for child, name, _src_loc in fragment.subfragments:
        if isinstance(child, Instance) and hasattr(child, "placed_ports"):
            for port_name, (signal, _direction) in child.placed_ports.items():
                signal.name = f"{child.placed_name or name or child.type}_{port_name}"
                names.add(signal.name)
        else:
            names |= _name_nets(child)
    return names


def _prefer_own_names(text, nets):
    """Where a register or net also feeds a child or a memory port, keep its own name.

    Amaranth names a net after the first signal that it meets.
    """
    top, end, rest = text.partition("\nend\n")
    inner = set(re.findall(r"^  wire width \d+ (?:signed )?\\(\S+)$", top, re.M))
    swapped = {}
    for alias, name in re.findall(r"^connect \\(\S+) \\(\S+)(?: \[\d+:0\])?$", top, re.M):
        made_up = name in nets or "__" in name
        own = alias not in nets and "__" not in alias and alias[0] != "$"
        if made_up and own and {alias, name} <= inner and not {alias, name} & swapped.keys():
            swapped |= {alias: name, name: alias}

    def swap(match):
        return "\\" + swapped.get(match[1], match[1])

    lines = []
    for line in top.split("\n"):
        port = re.match(r" +(?:connect \\\S+ |(?:cell|memory|parameter) .*)", line)
        fixed = port.end() if port else 0  # names of other things: ports, modules, memories
        lines.append(line[:fixed] + re.sub(r"\\([^\s\[\]{}]+)", swap, line[fixed:]))
    return "\n".join(lines) + end + rest


def _drop_unused_input(text, name):
    """Remove a clock or reset input that nothing uses. Returns the text and whether it is used."""
    wire = re.search(rf"^ *wire width 1 input \d+ +\\{name}\n", text, re.M)
    if wire is None:
        return text, False
    if len(re.findall(rf"\\{name}(?![\w$.\[])", text)) > 1:
        return text, True
    return text[: wire.start()] + text[wire.end() :], False


def _drop_zero_contents(text):
    """Remove memory initialization that is all zero: it would be one Verilog line per word."""
    cell = r"^ *cell \$meminit_v2 .*?\n(?:(?! *end\n).*\n)*? *end\n"

    def keep(match):
        data = re.search(r"connect \\DATA (.*)", match[0])[1]
        return match[0] if any("1" in bits for bits in re.findall(r"'([01]*)", data)) else ""

    return re.sub(cell, keep, text, flags=re.M)


def _drop_fields(text):
    """Remove the wires that Amaranth adds to show the fields of a structure (``\\record.tag``)."""
    name = r"\\[^\s.\[]+[.\[]\S*"
    wire = rf"(?:^  attribute .*\n)*^  wire width \d+ (?:signed )?{name}\n"
    text = re.sub(wire, "", text, flags=re.M)
    return re.sub(rf"^connect {name} .*\n", "", text, flags=re.M)


def _number_ports_from_one(text):
    """Port number 0 means "no number" to yosys, which would list that port last."""
    wire = r"^( *wire width \d+ (?:signed )?(?:input|output) )(\d+)"
    return re.sub(wire, lambda match: f"{match[1]}{int(match[2]) + 1}", text, flags=re.M)


def _rename_keywords(text):
    """Append ``_`` to public names that are SystemVerilog keywords; yosys knows only Verilog's."""
    names = set(re.findall(r"\\([a-z]\w*)(?![\w$.])", text)) & _KEYWORDS
    for name in names:
        text = re.sub(rf"\\{name}(?![\w$.])", lambda match: f"{match[0]}_", text)
    return text


def _clean_up(text, names):
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
        "opt_clean",  # not -purge: it prefers the name of a net to the name of its register
        "write_verilog -noattr",
    ]
    yosys = find_yosys(lambda version: version >= (0, 40))
    return yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True)


def _legalize(module):
    """Replace a module's escaped identifiers (``\\fifo.level``) by plain ones (``fifo_level``)."""
    taken = set(re.findall(r"(?<![\\\w.$])\w+", module))
    names = {}

    def rename(match):
        if match[1] not in names:
            name = base = re.sub(r"\W+", "_", match[1])
            count = 1
            while name in taken:
                count += 1
                name = f"{base}_{count}"
            taken.add(name)
            names[match[1]] = name
        return names[match[1]]

    return re.sub(r"\\(\S+) ", rename, module)


def _allow_collisions(module):
    """Mark memories as free to return anything for a word that is written in the same cycle.

    No memory of the accelerator is ever read at the address that is being written: layers run
    empty before the next one starts, and the distances inside a layer are constants. Without the
    attribute, yosys keeps "the old word" alive with registers beside every block RAM.
    """
    return re.sub(
        r"^(  reg (?:\[\d+:\d+\] )?\w+ \[\d+:\d+\];)", r"  (* no_rw_check *)\n\1", module, flags=re.M
    )


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


def _header(top):
    lines = [f"Termac: {top.module_name}", "Generated file: change the generator instead."]
    config = getattr(top, "config", None)
    if config is not None:
        fields = getattr(type(config), "__dataclass_fields__", {})
        lines += [f"  {key} = {getattr(config, key)!r}" for key in fields]
        if hasattr(config, "digest"):
            lines.append(f"configuration {config.digest}")
    return "".join(f"// {line}\n" for line in lines)
