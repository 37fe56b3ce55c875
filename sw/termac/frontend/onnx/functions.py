"""How large a model becomes when its functions are inlined, told without inlining them.

Functions within functions multiply: 3 kB of them become millions of nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx

__all__ = ["inlined_size"]

_Key = tuple[str, str, str]


def inlined_size(model: onnx.ModelProto) -> tuple[int, int]:
    """(nodes, bytes of nodes) of a model whose functions are inlined, subgraphs included.

    Raises
    ------
    ValueError
        If a function calls itself, directly or by way of others.
    """
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    return _Sizes(functions).of(model.graph.node)


@dataclass
class _Sizes:
    functions: dict[_Key, onnx.FunctionProto]
    known: dict[_Key, tuple[int, int]] = field(default_factory=dict)
    open: list[_Key] = field(default_factory=list)

    def of(self, nodes: Iterable[onnx.NodeProto]) -> tuple[int, int]:
        total = [0, 0]
        for node in nodes:
            key = (node.domain, node.op_type, getattr(node, "overload", ""))
            sizes = [self.function(key) if key in self.functions else (1, node.ByteSize())]
            for attribute in node.attribute:
                graphs = [attribute.g] if attribute.HasField("g") else []
                sizes += [self.of(graph.node) for graph in (*graphs, *attribute.graphs)]
            for count, size in sizes:
                total[0] += count
                total[1] += size
        return total[0], total[1]

    def function(self, key: _Key) -> tuple[int, int]:
        if key not in self.known:
            if key in self.open or len(self.open) > 100:
                raise ValueError(f"function {key[1]!r} calls itself, or functions nest too deeply")
            self.open.append(key)
            self.known[key] = self.of(self.functions[key].node)
            self.open.pop()
        return self.known[key]
