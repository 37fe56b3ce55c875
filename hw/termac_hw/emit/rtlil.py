"""What is cleaned up in the RTLIL of a component, before yosys makes Verilog of it."""

import re

__all__ = ["clean_rtlil", "drop_unused_input", "struct_fields"]

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


def struct_fields(text):
    """Fields of structures, as Amaranth shows them by wires (``\\record.tag``).

    Returns
    -------
    dict from signal to list of (field, lowest bit, width)
        Names as Verilog identifiers; a field within a field comes before the outer one.
    """
    fields = {}
    pattern = r"^connect \\(\S+?[.\[]\S*) \\([^\s.\[]+) \[(\d+)(?::(\d+))?\]$"
    for name, signal, high, low in re.findall(pattern, text, re.M):
        plain = re.sub(r"\W+", "_", name).strip("_")
        signal = f"{signal}_" if signal in _KEYWORDS else re.sub(r"\W", "_", signal)
        high, low = int(high), int(low or high)
        plain, signal = plain.replace("__", "_"), signal.replace("__", "_")
        fields.setdefault(signal, []).append((plain, low, high - low + 1))
    for found in fields.values():
        found.sort(key=lambda field: field[2])
    return fields


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
