"""Text clean-ups between Amaranth and readable Verilog: first on RTLIL, then on Verilog."""

import re
from collections import Counter
from functools import partial

__all__ = ["clean_rtlil", "clean_verilog", "drop_unused_input"]

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


def clean_rtlil(text, nets):
    """Make one component's RTLIL readable; ``nets``: names made up for the ports of children."""
    text = _prefer_own_names(_drop_fields(_drop_zero_contents(text)), nets)
    return _rename_keywords(_number_ports_from_one(text))


def clean_verilog(module):
    """Make one Verilog module of yosys readable and its memories mappable to block RAM."""
    return _allow_collisions(_drop_unused_nets(_legalize(module)))


def drop_unused_input(text, name):
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
        r"^(  reg (?:\[\d+:\d+\] )?\w+ \[\d+:\d+\];)",
        r"  (* no_rw_check *)\n\1",
        module,
        flags=re.M,
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
