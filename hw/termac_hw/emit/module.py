"""One Verilog module as yosys writes it: ports, nets and statements to work on."""

import re
from dataclasses import dataclass, field, replace

from termac_hw.emit.expressions import Reader, leaves

__all__ = ["ANONYMOUS", "Net", "Statement", "VerilogModule"]

ANONYMOUS = re.compile(r"_\d+_")
"""Names that yosys makes up."""

_DECLARATION = re.compile(
    r"  (input|output|wire|reg) (signed )?(?:\[(\d+):0\] )?(\w+)(?: \[(\d+):0\])?(?: = (.*))?;"
)
_FUNCTION = re.compile(r"  function (?:\[(\d+):0\] )?(\w+);")
_ASSIGN = re.compile(r"  assign (.*?) = ")
_IF = re.compile(r"    +(?:else )?if \(")
_STORE = re.compile(r"(?: +else)? +([A-Za-z_].*?) <= ")
_PORT = re.compile(r"    \.(\w+)\(")


@dataclass
class Net:
    """A declaration.

    Members
    -------
    kind : ``wire`` or ``reg``
    direction : ``input``, ``output`` or empty
    width : int
    depth : int or None
        Words, if it is a memory.
    init : str or None
        Value at power-up.
    """

    kind: str = "wire"
    direction: str = ""
    width: int = 1
    is_signed: bool = False
    depth: int | None = None
    init: str | None = None

    def __str__(self):
        """Type, as in front of the name."""
        bits = f"[{self.width - 1}:0]" if self.width > 1 or self.depth else ""
        return " ".join(filter(None, [self.kind, "signed" if self.is_signed else "", bits]))


@dataclass
class Statement:
    """A line: texts and expressions in turn.

    Members
    -------
    kind : str
        ``assign``, ``if``, ``store`` (to a register or a word), ``port`` (of a child) or ``text``.
    target : str
        What is assigned, or the name of the child's port.
    parts : list of str and Expression
    width : int
        Bits of the target.
    """

    kind: str
    target: str
    parts: list
    width: int = 0

    @property
    def value(self):
        """What is assigned; None for a condition without an assignment, and for text."""
        return self.parts[-2] if self.kind != "text" and self.target else None

    def __str__(self):
        return "".join(map(str, self.parts))

    def names(self):
        """Names that it mentions, each as often as it does."""
        for part in self.parts:
            if isinstance(part, str):
                yield from re.findall(r"(?<![\w.'$])[A-Za-z_]\w*", part.partition("//")[0])
            else:
                yield from (leaf.text for leaf in leaves(part))


@dataclass
class VerilogModule:
    """A module, taken apart.

    Members
    -------
    name : str
    nets : dict from name to Net
        Ports included.
    functions : dict from name to width
    wires : dict from name of a further wire to what it is
    body : list of Statement
    """

    name: str
    nets: dict = field(default_factory=dict)
    functions: dict = field(default_factory=dict)
    wires: dict = field(default_factory=dict)
    body: list = field(default_factory=list)

    @classmethod
    def read(cls, text):
        """Take the text of one module apart."""
        header, _, rest = text.partition(");\n")
        module = cls(re.match(r"module (\w+)", header)[1])
        lines = [line for line in rest.split("\n") if module._declare(line)]
        memories = {name for name, net in module.nets.items() if net.depth}
        widths = {name: net.width for name, net in module.nets.items()} | module.functions
        reader = Reader(widths, memories)
        within = False
        for line in lines[: lines.index("endmodule")]:
            within = (within or line.startswith("  function")) and line != "  endfunction"
            raw = within or line.startswith(("  function", "  endfunction", "  initial"))
            module.body.append(Statement("text", "", [line]) if raw else _statement(reader, line))
        return module

    def _declare(self, line):
        """Note a declaration; whether the line is a statement instead."""
        function = _FUNCTION.fullmatch(line)
        if function:
            self.functions[function[2]] = int(function[1] or 0) + 1
            return True
        match = _DECLARATION.fullmatch(line)
        if match is None:
            return True
        kind, sign, top, name, depth, init = match.groups()
        net = self.nets.setdefault(name, Net())
        if kind in ("input", "output"):
            net.direction = kind
        else:
            net.kind = kind
        net.width, net.is_signed = int(top or 0) + 1, bool(sign)
        net.depth, net.init = depth and int(depth) + 1, init
        return False

    def uses(self):
        """How often each name is mentioned, as target or as operand."""
        counts = dict.fromkeys(self.nets, 0)
        for statement in self.body:
            for name in statement.names():
                counts[name] = counts.get(name, 0) + 1
        return counts

    def rename(self, names):
        """Give nets and functions other names: a dict from old to new."""
        if not names:
            return
        pattern = re.compile(rf"(?<![\w.'$])(?:{'|'.join(names)})(?!\w)")

        def renamed(part):
            if isinstance(part, str):
                return pattern.sub(lambda match: names[match[0]], part)
            text = names.get(part.text, part.text) if part.operator != "number" else part.text
            return replace(part, text=text, operands=tuple(map(renamed, part.operands)))

        for statement in self.body:
            statement.target = renamed(statement.target)
            statement.parts = [renamed(part) for part in statement.parts]
        for table in (self.nets, self.functions):
            for old in names.keys() & table.keys():
                table[names[old]] = table.pop(old)

    def fresh(self, name, others=()):
        """The name, with a number after it if it is taken, here or among others."""
        taken = self.nets.keys() | self.functions.keys() | self.wires.keys() | set(others)
        number, base = 1, name
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        return name


def _statement(reader, line):
    for kind, pattern in (("assign", _ASSIGN), ("if", _IF), ("store", _STORE), ("port", _PORT)):
        match = pattern.match(line)
        if match is None or line[match.end()] in ')"':  # a port left open, a text as parameter
            continue
        parts, target = [match[0]], match[1] if match.groups() else ""
        expression, place = reader.parse(line, match.end())
        nested = re.match(r"\) (.*?) <= ", line[place:])
        if kind == "if" and nested:
            target = nested[1]
            parts += [expression, nested[0]]
            expression, place = reader.parse(line, place + nested.end())
        width = _width(reader, target) if kind != "port" else expression.width
        return Statement(kind, target, [*parts, expression, line[place:]], width)
    return Statement("text", "", [line])


def _width(reader, target):
    """Bits of what is assigned: a net, a slice, a word of a memory or a slice of it, several."""
    if not target:
        return 0
    expression, end = reader.parse(target)
    part = re.fullmatch(r"\[(\d+)(?::(\d+))?\]", target[end:].strip())
    return int(part[1]) - int(part[2] or part[1]) + 1 if part else expression.width
