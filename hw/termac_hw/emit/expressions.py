"""Expressions of the Verilog that yosys writes: parsed, measured, printed again.

yosys writes one operation a statement, so the grammar is small: names with constant slices, words
of memories, numbers, ``{...}``, ``$signed(...)``, calls, unary and binary operators, ``?:``.
"""

import re
from dataclasses import dataclass, replace

__all__ = ["Expression", "Reader", "is_closed", "join", "leaves", "rebuild"]

_TOKEN = re.compile(
    r"\s*(\$\w+|\d+'[hdb][\w?]+|[A-Za-z_]\w*|\d+|<<<|>>>|===|!==|[=!<>]=|<<|>>|&&|\|\||~\^|\S)"
)
_SHIFTS = frozenset(["<<", ">>", "<<<", ">>>"])
_TESTS = frozenset(["==", "!=", "===", "!==", "<", "<=", ">", ">=", "&&", "||"])
_BITWISE = frozenset(["&", "|", "^", "~^"])
_ARITHMETIC = frozenset(["+", "-", "*", "/", "%"])
_BINARY = _SHIFTS | _TESTS | _BITWISE | _ARITHMETIC
_REDUCTIONS = _BITWISE | {"!"}
_ASSOCIATIVE = frozenset(["&", "|", "^"])


@dataclass(frozen=True)
class Expression:
    """One operation and its operands.

    Members
    -------
    operator : str
        ``name``, ``number``, ``word`` (of a memory), ``call``, ``{}``, ``$signed``, ``?`` or an
        operator as Verilog writes it. An operator with one operand is unary.
    operands : tuple of Expression
    width : int
        Bits, as if the expression stood alone ("self-determined" in the standard).
    text : str
        Name or number.
    high, low : int or None
        Slice of a name; None for all of it.
    """

    operator: str
    operands: tuple = ()
    width: int = 1
    text: str = ""
    high: int | None = None
    low: int | None = None

    @property
    def is_whole_name(self):
        return self.operator == "name" and self.high is None

    def __str__(self):
        operator, operands = self.operator, self.operands
        if operator in ("name", "number"):
            if self.high is None:
                return self.text
            bits = f"{self.high}:{self.low}" if self.high != self.low else str(self.high)
            return f"{self.text}[{bits}]"
        if operator == "word":
            return f"{self.text}[{operands[0]}]"
        if operator == "call":
            return f"{self.text}({', '.join(map(str, operands))})"
        if operator == "$signed":
            return f"$signed({operands[0]})"
        if operator == "{}":
            parts = _parts(operands)
            alone = len(parts) == 1 and parts[0].startswith("{")
            return parts[0] if alone else "{ " + ", ".join(parts) + " }"
        if operator == "?":
            condition, yes, no = operands
            otherwise = str(no) if no.operator == "?" else _operand(no)
            return f"{_operand(condition)} ? {_operand(yes)} : {otherwise}"
        if len(operands) == 1:
            return operator + _operand(operands[0])
        return f" {operator} ".join(_operand(operand, operator) for operand in operands)


def _operand(expression, parent=None):
    """Text of an operand, in parentheses where it is an operation of its own."""
    operator, count = expression.operator, len(expression.operands)
    atom = operator in ("name", "number", "word", "call", "{}", "$signed") or (
        count == 1 and operator in "~!" and parent is not None
    )
    if atom or (operator == parent and operator in _ASSOCIATIVE and count > 1):
        return str(expression)
    return f"({expression})"


def _parts(operands):
    """Texts of the parts of a concatenation, equal bits in a row as ``{n{bit}}``."""
    bits = []
    for index, part in enumerate(operands):
        before = operands[index - 1] if index else None
        if before is not None and part.high is not None and part.high == part.low + 1:
            top = replace(part, width=1, low=part.high)
            if before == top:  # a sign extension, say: yosys joins the last copy and its neighbour
                bits += [top, replace(part, width=1, high=part.low)]
                continue
        bits.append(part)
    texts, run = [], 0
    for index, part in enumerate(bits):
        run += 1
        if index + 1 == len(bits) or bits[index + 1] != part:
            many = run > 1 and part.operator == "name"
            texts += [f"{{{run}{{{part}}}}}"] if many else [str(part)] * run
            run = 0
    return texts


def join(operator, *operands):
    """An operation of operands, as wide as it is where it stands alone."""
    width = max((operand.width for operand in operands), default=1)
    if is_closed(Expression(operator, operands)):
        width = sum(operand.width for operand in operands) if operator == "{}" else 1
    elif operator in _SHIFTS:
        width = operands[0].width
    elif operator == "?":
        width = max(operand.width for operand in operands[1:])
    return Expression(operator, operands, width)


def is_closed(expression):
    """Whether its value does not depend on the width of what it is part of."""
    if len(expression.operands) == 1 and expression.operator in _REDUCTIONS:
        return True
    closed = ("{}", "call", "name", "number", "word")
    return expression.operator in _TESTS or expression.operator in closed


def leaves(expression):
    """All names of an expression, memories and functions included, as expressions."""
    if expression.text and expression.operator != "number":
        yield expression
    for operand in expression.operands:
        yield from leaves(operand)


def rebuild(expression, change, context=None):
    """The expression with every name replaced by ``change(name, context)``.

    ``context`` is the width in which an operand is evaluated, None if that is its own.
    """
    if expression.operator == "name":
        return change(expression, context)
    operator, operands = expression.operator, expression.operands
    if not operands:
        return expression
    wide = max(context or 0, expression.width)
    widths = [None] * len(operands)
    if operator == "?":
        widths = [None, wide, wide]
    elif operator in _SHIFTS:
        widths = [wide, None]
    elif operator in ("~", "-") or (operator in _BITWISE | _ARITHMETIC and len(operands) > 1):
        widths = [wide] * len(operands)
    elif operator in _TESTS and operator not in ("&&", "||"):
        widths = [max(operand.width for operand in operands)] * len(operands)
    changed = tuple(
        rebuild(operand, change, width) for operand, width in zip(operands, widths, strict=True)
    )
    if expression.text:
        return replace(expression, operands=changed)
    return join(operator, *changed)


class Reader:
    """Parses expressions; knows the widths of nets, of words of memories, and of functions.

    Parameters
    ----------
    widths : dict from name to bits
    memories : set of str
        Those of the names that are memories.
    """

    def __init__(self, widths, memories):
        self.widths, self.memories = widths, memories

    def parse(self, text, start=0):
        """The expression at ``start`` and where it ends."""
        first, place = self._operand(text, start)
        operator, after = self._token(text, place)
        if operator == "?":
            yes, after = self.parse(text, after)
            no, after = self.parse(text, self._skip(text, after, ":"))
            return join("?", first, yes, no), after
        if operator not in _BINARY:
            return first, place
        second, after = self._operand(text, after)
        return join(operator, first, second), after

    def _token(self, text, start):
        match = _TOKEN.match(text, start)
        return (match[1], match.end()) if match else ("", start)

    def _skip(self, text, start, expected):
        token, after = self._token(text, start)
        if token != expected:
            raise ValueError(f"Verilog must have {expected!r} here, not {text[start:]!r}")
        return after

    def _operand(self, text, start):
        token, after = self._token(text, start)
        if token == "(":
            inside, after = self.parse(text, after)
            return inside, self._skip(text, after, ")")
        if token == "{":
            parts, after = self._list(text, after, "}")
            return join("{}", *parts), after
        if token == "$signed":
            inside, after = self.parse(text, self._skip(text, after, "("))
            return join("$signed", inside), self._skip(text, after, ")")
        if token in ("~", "!", "|", "&", "^", "~^", "-"):
            inside, after = self._operand(text, after)
            return join(token, inside), after
        if "'" in token:
            return Expression("number", (), int(token.partition("'")[0]), token), after
        if token.isdecimal():
            return Expression("number", (), 32, token), after
        return self._name(token, text, after)

    def _name(self, name, text, after):
        if name not in self.widths:
            raise ValueError(f"Verilog must have the name of a net here, not {name!r}")
        width = self.widths[name]
        following, inside = self._token(text, after)
        if following == "(":
            arguments, after = self._list(text, inside, ")")
            return Expression("call", arguments, width, name), after
        if name in self.memories:
            address, after = self.parse(text, self._skip(text, after, "["))
            return Expression("word", (address,), width, name), self._skip(text, after, "]")
        match = re.compile(r"\s*\[(\d+)(?::(\d+))?\]").match(text, after)
        if match is None:
            return Expression("name", (), width, name), after
        high, low = int(match[1]), int(match[2] or match[1])
        return Expression("name", (), high - low + 1, name, high, low), match.end()

    def _list(self, text, start, end):
        parts, token, after = [], ",", start
        while token == ",":
            part, after = self.parse(text, after)
            parts.append(part)
            token, after = self._token(text, after)
        if token != end:
            raise ValueError(f"Verilog must have {end!r} here, not {token!r}")
        return tuple(parts), after
