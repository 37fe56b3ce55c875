"""From graph nodes to layers: every node on its own, or as part of the layer that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from termac.compile.layers import JOINS, LAYERS, Layer, preferred_operand
from termac.graph import Graph, Node
from termac.graph.node import table_entry

__all__ = ["fuse"]

TASK = "the compiler (LAYERS in termac.compile.layers)"


def fuse(graph: Graph, *, is_faster: Callable[[Layer, Layer, Layer], bool]) -> list[Layer]:
    """Layers of a graph in execution order.

    Parameters
    ----------
    graph : Graph
    is_faster : called with (first layer, second layer, both in one); whether to take the one

    Raises
    ------
    ModelError
        If the compiler does not know an operator, or a bias exceeds 32 bits.
    """
    layers: dict[str, Layer] = {}  # by the tensor that they write
    for node in graph.nodes:
        layer = table_entry(LAYERS, node, TASK)(graph, node)
        both = _joined(graph, node, layer, layers, is_faster)
        if both is not None:  # computed here instead of where the first one stood
            del layers[both[0]]
            layer = both[1]
        layers[node.name] = layer
    return list(layers.values())


def _joined(
    graph: Graph,
    node: Node,
    own: Layer,
    layers: Mapping[str, Layer],
    is_faster: Callable[[Layer, Layer, Layer], bool],
) -> tuple[str, Layer] | None:
    """A tensor that a node reads and one layer for its writer and the node; None: no join."""
    joins = {
        name: join
        for name in node.inputs
        if name in layers
        and node.inputs.count(name) == 1
        and len(graph.consumers(name)) == 1
        and name != graph.output
        and (join := JOINS.get((type(graph.node(name)), type(node)))) is not None
    }
    if not joins:
        return None
    name = preferred_operand(graph, joins)
    both = joins[name].make(graph, layers[name], node)
    if both is None or (joins[name].compare and not is_faster(layers[name], own, both)):
        return None
    return name, both
