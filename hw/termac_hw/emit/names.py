"""Names for nets that have none, and for the fields of structures."""

import re
from dataclasses import replace

from termac_hw.emit.expressions import leaves, rebuild
from termac_hw.emit.module import ANONYMOUS

__all__ = ["name_fields", "name_nets"]

_LONGEST = 32
_LONGEST_MEANING = 24
_ROUNDS = 3
_ROLES = ("next", "enable", "reset")
_NOUNS = {
    "+": "sum", "-": "difference", "*": "product", "?": "choice", "<<": "shifted",
    ">>": "shifted", ">>>": "shifted", "<<<": "shifted", "|": "joined", "&": "masked",
    "^": "flipped", "~": "inverted", "{}": "bits", "call": "choice", "==": "match",
    "!=": "differs", "<": "below", "<=": "within", ">": "above", ">=": "beyond", "!": "none",
    "&&": "both", "||": "either",
}  # fmt: skip
_VERBS = {
    "+": "plus", "-": "minus", "==": "is", "!=": "is_not", "<": "below", "<=": "up_to",
    ">": "above", ">=": "from", "&": "and", "|": "or",
}  # fmt: skip


def name_nets(module):
    """Name anonymous nets after what they are (``phase_is_4``) or what they are for.

    A value that a register takes is ``REGISTER_next``, the condition under which it does
    ``REGISTER_enable``, that of its reset ``REGISTER_reset``. The operand of what ``NET`` is
    assigned is ``NET_sum``, ``NET_choice`` and so on after its own operation. What a name cannot
    tell in so many letters, and what takes more than three such steps, stays anonymous.
    """
    for _ in range(_ROUNDS):
        values = {s.target: s.value for s in module.body if s.kind == "assign"}
        names = {}

        def give(net, name, names=names):
            known = net in module.nets or net in module.functions
            if known and ANONYMOUS.fullmatch(net) and net not in names and len(name) <= _LONGEST:
                names[net] = module.fresh(name, names.values())

        for net, value in values.items():
            meaning = _meaning(value)
            if meaning and len(meaning) <= _LONGEST_MEANING:
                give(net, meaning)
        for role in ("value", "condition", "operand"):
            for net, name in _purposes(module, role, values):
                give(net, name)
        module.rename(names)


def _meaning(value):
    """A name that says all of a simple expression, or None."""
    operands = value.operands
    if value.operator == "!" and operands[0].operator == "name":
        return _noun(operands[0]) and f"{_noun(operands[0])}_is_0"
    if value.operator not in _VERBS or len(operands) != 2:
        return None
    left, right = map(_noun, operands)
    return f"{left}_{_VERBS[value.operator]}_{right}" if left and right else None


def _noun(value):
    """A name or a number as a part of a name."""
    if value.operator == "$signed":
        return _noun(value.operands[0])
    if value.operator == "number":
        base, digits = re.fullmatch(r"\d+'(.)(\w+)", value.text).groups()
        number = int(digits, {"h": 16, "d": 10, "b": 2}[base]) if "x" not in digits else 1 << 16
        return str(number) if number < 1 << 12 else None
    if value.operator != "name" or ANONYMOUS.fullmatch(value.text):
        return None
    if value.high is None:
        return value.text.rstrip("_")
    bits = f"{value.high}" if value.high == value.low else f"{value.high}_{value.low}"
    return f"{value.text}_{bits}"


def _purposes(module, role, values):
    """Pairs of a net and a name that tells what it is for."""
    for statement in module.body:
        base = (re.search(r"\w+", statement.target) or [""])[0]
        stem = base.rstrip("_")  # of a keyword
        if statement.kind == "port" or ANONYMOUS.fullmatch(base):
            continue
        value = statement.value
        if role == "value" and statement.kind in ("store", "if") and value is not None:
            if value.is_whole_name:
                yield value.text, f"{stem}_next"
            for leaf in leaves(value):
                if leaf.operator == "word":
                    for address in leaves(leaf.operands[0]):
                        yield address.text, f"{leaf.text}_address"
        if role == "condition" and statement.kind == "if" and statement.parts[1].is_whole_name:
            is_reset = value is not None and value.operator == "number"
            if statement.target:
                purpose = "reset" if is_reset and "else" not in statement.parts[0] else "enable"
                yield statement.parts[1].text, f"{stem}_{purpose}"
        if role == "operand" and value is not None:
            target = _base(stem)
            if value.text in module.nets and module.nets[value.text].kind == "reg":
                yield value.text, f"{stem}_part"
            for leaf in leaves(value):
                if leaf.operator == "call":
                    yield leaf.text, f"{target}_select"
                operation = values.get(leaf.text)
                noun = _NOUNS.get(operation.operator) if operation is not None else None
                if noun:
                    yield leaf.text, f"{target}_{noun}"


def _base(name):
    """What a net is for, without what it is."""
    return re.sub(rf"_(?:{'|'.join([*_ROLES, *_NOUNS.values()])})(?:_\d+)?$", "", name)


def name_fields(module, fields):
    """Read the fields of structures through wires of their names.

    Parameters
    ----------
    module : VerilogModule
    fields : dict from net to list of (field, lowest bit, width)
    """
    wires = {}

    def change(leaf, _context):
        if leaf.high is None:
            return leaf
        for name, low, width in fields.get(leaf.text, ()):
            if low <= leaf.low and leaf.high < low + width:
                key = leaf.text, low, width
                if key not in wires:
                    wires[key] = module.fresh(name)
                    bits = f"{low + width - 1}:{low}" if width > 1 else str(low)
                    kind = f"[{width - 1}:0] " if width > 1 else ""
                    module.wires[wires[key]] = f"{kind}{wires[key]} = {leaf.text}[{bits}]"
                part = (None, None) if leaf.width == width else (leaf.high - low, leaf.low - low)
                return replace(leaf, text=wires[key], high=part[0], low=part[1])
        return leaf

    for statement in module.body:
        statement.parts = [
            part if isinstance(part, str) else rebuild(part, change) for part in statement.parts
        ]
