"""What a component's docstring says of it and of its ports, as plain text."""

import inspect
import re
from dataclasses import dataclass

from amaranth.lib import stream, wiring

__all__ = ["PortText", "contract", "describe"]

_STREAM = {
    "payload": "what is offered",
    "valid": "the payload is offered",
    "ready": "the payload is taken",
}


@dataclass(frozen=True)
class PortText:
    """What is said of a port, and of the interface it belongs to; both may be empty."""

    text: str
    interface: str = ""
    interface_text: str = ""


def contract(component):
    """First sentence of a component's docstring."""
    return _sentence(inspect.cleandoc(type(component).__doc__ or "").partition("\n\n")[0])


def describe(component):
    """What is said of a component's ports: the first sentences of the entries in *Members*.

    Ports of an interface are looked up in the docstring of its signature. An entry without a
    sentence gives its type. A component or a signature that derives its ports from data may
    have a dict ``port_texts`` from port to what is said of it instead.

    Returns
    -------
    dict from path of a port, as ``signature.flatten`` gives it, to PortText
    """
    own = _known(component)
    texts = {}
    for path, _member, _value in component.signature.flatten(component):
        first, *rest = path
        signature = component.signature.members[first]
        if not rest or (not signature.is_port and signature.dimensions):
            texts[path] = PortText(own.get(first, ""))
            continue
        for name in rest[:-1]:
            signature = signature.signature.members[name]
        signature = signature.signature
        if isinstance(signature, wiring.FlippedSignature):
            signature = signature.flip()
        table = _STREAM if isinstance(signature, stream.Signature) else _known(signature)
        texts[path] = PortText(table.get(rest[-1], ""), str(first), own.get(first, ""))
    return texts


def _known(described):
    """Texts by name, of a component or a signature."""
    texts = getattr(described, "port_texts", {})
    return members(type(described)) | {name: _sentence(text) for name, text in texts.items()}


def members(cls):
    """Section *Members* of a class's docstring (numpydoc), and of its bases: name -> text."""
    return {name: text for base in reversed(cls.__mro__) for name, text in _entries(base).items()}


def _entries(cls):
    section = r"^Members\n-+\n(.*?)(?=^[^\n]+\n---|\Z)"
    found = re.search(section, inspect.cleandoc(cls.__doc__ or ""), re.M | re.S)
    entries = {}
    for entry in re.findall(r"^\S.*\n?(?:[ \t].*\n?|\n)*", found[1] if found else "", re.M):
        head, _, text = entry.partition("\n")
        names, _, kind = head.partition(" : ")
        sentence = _sentence(" ".join(text.split())) or _plain(kind)
        entries |= {name.strip(): sentence for name in names.split(",")}
    return entries


def _sentence(text):
    match = re.match(r".*?[.](?=\s|$)", text, re.S)
    return _plain(" ".join((match[0] if match else text).split()))


def _plain(text):
    """Without the marks of reStructuredText."""
    text = re.sub(r":[\w:]+:`~?(?:[\w.]*\.)?([^`]*)`", r"\1", text)
    return text.replace("``", "").replace("*/", "").rstrip(".")
