"""Fewer nets without a name: what is used once is written where it is used."""

import re
from dataclasses import replace

from termac_hw.emit.expressions import is_closed, join, leaves, rebuild
from termac_hw.emit.module import ANONYMOUS

__all__ = ["fold_copies", "inline", "narrow"]

_LONGEST_PART = 70
"""Characters of an expression that is written inside another."""
_LONGEST_LINE = 100
_BITWISE = frozenset(["&", "|", "^", "?"])


def fold_copies(module):
    """Drop copies: a wire that only repeats an unnamed register, a port that repeats its signal.

    Amaranth joins the names of an interface and of its port by two underscores, a port by one.
    """
    names, kept = {}, []
    for statement in module.body:
        target = statement.target
        source = statement.parts[1] if statement.kind == "assign" else None
        if source is None or not source.is_whole_name or target not in module.nets:
            kept.append(statement)
            continue
        net, name = module.nets[source.text], source.text
        unnamed = ANONYMOUS.fullmatch(name) and net.kind == "reg"
        same = name.replace("__", "_") == target and not net.direction
        if name in names or not (unnamed or same):
            kept.append(statement)
            continue
        wire = module.nets.pop(target)
        net.direction, net.is_signed = wire.direction, wire.is_signed
        names[name] = target
    module.body = kept
    module.rename(names)


def narrow(module):
    """Drop the bits of unnamed wires that are neither assigned nor read: carries, mostly."""
    tops, sliced = {}, {}
    for statement in module.body:
        match = re.fullmatch(r"(_\d+_)\[(\d+):0\]", statement.target)
        if match and statement.kind == "assign":
            tops[match[1]] = int(match[2])
        for part in statement.parts:
            for leaf in () if isinstance(part, str) else leaves(part):
                sliced.setdefault(leaf.text, []).append(leaf.high)
    uses = module.uses()
    for name, top in list(tops.items()):
        highs = sliced.get(name, [])
        if len(highs) + 1 != uses[name] or not all(h is not None and h <= top for h in highs):
            del tops[name]
        else:
            module.nets[name].width = top + 1

    def change(leaf, _context):
        whole = leaf.text in tops and (leaf.high, leaf.low) == (tops[leaf.text], 0)
        return replace(leaf, high=None, low=None) if whole else leaf

    for statement in module.body:
        name = statement.target.partition("[")[0]
        if statement.kind == "assign" and name in tops:
            statement.target = name
            statement.parts[0] = f"  assign {name} = "
        statement.parts = [
            part if isinstance(part, str) else rebuild(part, change) for part in statement.parts
        ]


def inline(module):
    """Write expressions of unnamed wires into the one statement that uses them.

    Verilog evaluates an operand as wide as the widest one beside it and as the target. So an
    expression moves only to where that is the width it had as a net, or where more bits of it
    would be zeros, as those of the net were.
    """
    uses = module.uses()
    assigned = [statement for statement in module.body if statement.kind == "assign"]
    sources = {
        statement.target: statement
        for statement in assigned
        if ANONYMOUS.fullmatch(statement.target) and statement.target in module.nets
    }
    expanded, moved = set(), set()

    def expand(statement):
        if id(statement) in expanded:
            return
        expanded.add(id(statement))
        room = _LONGEST_LINE - len(str(statement))
        for index, part in enumerate(statement.parts):
            if isinstance(part, str):
                continue

            def change(leaf, context, root=part):
                nonlocal room
                source = sources.get(leaf.text) if leaf.is_whole_name else None
                if source is None:
                    return leaf
                expand(source)
                value = source.value
                again = value.operator == "~" and value.operands[0].operator == "name"
                length = len(str(value))
                if (uses[leaf.text] > 2 and not again) or length > min(_LONGEST_PART, room):
                    return leaf
                if not _fits(value, leaf.width, context, leaf is root):
                    return leaf
                room -= length - len(leaf.text)
                uses[leaf.text] -= 1
                moved.add(leaf.text)
                return value

            context = statement.width if index == len(statement.parts) - 2 else None
            statement.parts[index] = _simplify(rebuild(_simplify(part), change, context or None))

    for statement in module.body:
        expand(statement)
    gone = {name for name in moved if uses[name] == 1}
    module.body = [s for s in module.body if not (s.kind == "assign" and s.target in gone)]
    for name in gone:
        del module.nets[name]


def _fits(value, width, context, is_root):
    """Whether a net of so many bits may be replaced by its value; see :func:`inline`."""
    if is_closed(value) or context is None:
        return value.width == width
    if _is_signed(value):  # among other operands it would change how they are extended
        same = all(operand.width == width for operand in value.operands)
        return is_root and context == width and same and value.operator in "+-*"
    if context == width and (is_root or value.width == width):
        return value.width <= width  # narrower: a carry that only the target has room for
    return value.width == width and _extends_by_zero(value)


def _is_signed(value):
    return value.operator == "$signed" or (
        not is_closed(value) and any(map(_is_signed, value.operands))
    )


def _extends_by_zero(value):
    """Whether further bits of a value are zero, in a context that is wider."""
    if is_closed(value):
        return True
    operands = value.operands[1:] if value.operator == "?" else value.operands
    return value.operator in _BITWISE and all(map(_extends_by_zero, operands))


def _simplify(value):
    """Operations of single bits instead of reductions of lists: ``a | b`` for ``{a, b} != 0``."""
    operands = tuple(map(_simplify, value.operands))
    if value.text:
        return replace(value, operands=operands)
    operator, first = value.operator, operands[0]
    zero = len(operands) == 2 and re.fullmatch(r"\d+'[hdb]0+", operands[1].text)
    if first.operator == "{}" and all(part.width == 1 for part in first.operands):
        if operator in ("|", "&") and len(operands) == 1:
            return join(operator, *first.operands)
        if operator == "!=" and zero:
            return join("|", *first.operands)
    choice = [operand.text for operand in operands[1:]] == ["1'h1", "1'h0"]
    if operator == "?" and choice and first.width == 1 and _extends_by_zero(first):
        return first
    return join(operator, *operands)
