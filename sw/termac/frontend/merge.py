"""Merges scalings, ReLUs and chained shortcuts into their neighbours, exactly.

Importers emit :class:`Affine` and :class:`Relu` wherever a model has them; the float graph has
neither. What cannot be merged becomes a node of its own: a 1x1 convolution with a diagonal
matrix, or a 1x1 average pool with ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.errors import ModelError
from termac.graph import (
    FloatAvgPool,
    FloatConv,
    FloatGraph,
    FloatNode,
    FloatShortcut,
)
from termac.graph.node import BaseNode, FloatActivated
from termac.graph.tensor import Shape

__all__ = ["Affine", "RawNode", "Relu", "merge"]


@dataclass(frozen=True, kw_only=True)
class Affine(BaseNode):
    """``y = x * scale + shift`` per channel.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    scale, shift : float64 [channels]
    """

    input: str
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return shapes[self.input]


@dataclass(frozen=True, kw_only=True)
class Relu(BaseNode):
    """``max(x, 0)``, then ``min(.., ceiling)`` if there is a ceiling.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    ceiling : upper clamp, or None
    """

    input: str
    ceiling: float | None

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return shapes[self.input]


RawNode = FloatNode | Affine | Relu


def merge(graph: FloatGraph, nodes: list[RawNode]) -> FloatGraph:
    """The graph with ``nodes`` merged; ``graph.output`` may move to the node it is merged into.

    Raises
    ------
    ModelError
        If merging makes a weight too large for float32.
    """
    merger = _Merger(graph, nodes)
    for node in nodes:
        merger.take(node)
    return merger.finish()


class _Merger:
    def __init__(self, graph: FloatGraph, nodes: list[RawNode]) -> None:
        self.graph = graph
        self.shapes = dict(graph.shapes)
        self.done: dict[str, RawNode] = {}
        self.renamed: dict[str, str] = {}
        self.reads: dict[str, int] = dict.fromkeys(graph.shapes, 0)
        self.reads[graph.output] += 1
        for node in nodes:
            for name in node.inputs:
                self.reads[name] += 1

    def take(self, node: RawNode) -> None:
        node = node.reading(*map(self._resolve, node.inputs))
        MERGES.get(type(node), _Merger.keep)(self, node)

    def keep(self, node: RawNode) -> None:
        self.done[node.name] = node

    def finish(self) -> FloatGraph:
        nodes: list[FloatNode] = []
        for raw in list(self.done.values()):
            node = self._diagonal(raw) if isinstance(raw, Affine) else raw
            assert not isinstance(node, (Affine, Relu))
            if isinstance(node, FloatConv) and not (
                np.isfinite(node.weights).all() and np.isfinite(node.bias).all()
            ):
                raise ModelError(
                    f"{self.graph.name}: the weights of layer {node.name!r} exceed float32 after "
                    "merging the scaling that follows it"
                )
            nodes.append(node)
        kept = {self.graph.input, *(node.name for node in nodes)}
        shapes = {name: shape for name, shape in self.shapes.items() if name in kept}
        output = self._resolve(self.graph.output)
        graph = replace(self.graph, nodes=nodes, shapes=shapes, output=output)
        _flatten_input(graph)
        return graph

    def _resolve(self, name: str) -> str:
        while name in self.renamed:
            name = self.renamed[name]
        return name

    def _absorb(self, gone: str, into: str) -> None:
        """Readers of ``gone`` read ``into`` from now on."""
        self.renamed[gone] = into
        self.reads[into] = self.reads[gone]

    def affine(self, node: Affine) -> None:
        source = self.done.get(node.input)
        alone = self.reads[node.input] == 1
        if isinstance(source, FloatConv) and not source.relu and alone:
            weights = source.weights * node.scale[:, None, None, None]
            bias = source.bias * node.scale + node.shift
            self.done[source.name] = _with_weights(source, weights, bias)
            self._absorb(node.name, source.name)
        elif isinstance(source, Affine) and alone:
            scale, shift = source.scale * node.scale, source.shift * node.scale + node.shift
            self.done[source.name] = replace(source, scale=scale, shift=shift)
            self._absorb(node.name, source.name)
        else:
            self.done[node.name] = node

    def conv(self, node: FloatConv) -> None:
        source = self.done.get(node.input)
        if (
            isinstance(source, Affine)
            and self.reads[node.input] == 1
            # outside the image the convolution sees 0, not the shift: exact without either only
            and not (any(node.padding) and source.shift.any())
        ):
            bias = node.bias + (node.weights * source.shift).sum(axis=(1, 2, 3))
            node = _with_weights(node, node.weights * source.scale, bias)
            node = replace(node, input=source.input)
            del self.done[source.name]
        self.done[node.name] = node

    def _diagonal(self, node: Affine) -> FloatConv:
        self.graph.notes.append(
            f"scaling {node.name!r} could not be merged into a convolution: "
            "it is a 1x1 convolution of its own"
        )
        channels = len(node.scale)
        weights = np.diag(node.scale).reshape(channels, 1, 1, channels)
        conv = FloatConv(
            name=node.name,
            input=node.input,
            weights=np.zeros((channels, 1, 1, channels), np.float32),
            bias=np.zeros(channels, np.float32),
            stride=(1, 1),
            padding=(0, 0, 0, 0),
        )
        return _with_weights(conv, weights, node.shift)

    def relu(self, node: Relu) -> None:
        name = node.input
        source = self.done.get(name)
        # max(., 0) commutes with whatever keeps values, such as the maximum and added zeros
        while isinstance(source, FloatNode) and source.KEEPS_VALUES and self.reads[name] == 1:
            name = source.inputs[0]
            source = self.done.get(name)
        if isinstance(source, Affine) and self.reads[name] == 1:
            source = self._diagonal(source)
        if isinstance(source, FloatActivated) and self.reads[name] == 1:
            ceilings = [c for c in (source.ceiling, node.ceiling) if c is not None]
            self.done[name] = replace(source, relu=True, ceiling=min(ceilings, default=None))
            self._absorb(node.name, node.input)
            return
        self.done[node.name] = FloatAvgPool(
            name=node.name,
            input=node.input,
            kernel=(1, 1),
            stride=(1, 1),
            padding=(0, 0, 0, 0),
            relu=True,
            ceiling=node.ceiling,
        )

    def shortcut(self, node: FloatShortcut) -> None:
        source = self.done.get(node.input)
        if isinstance(source, FloatShortcut) and self.reads[node.input] == 1:
            stride = (source.stride[0] * node.stride[0], source.stride[1] * node.stride[1])
            before, after = source.before + node.before, source.after + node.after
            self.done[source.name] = replace(source, stride=stride, before=before, after=after)
            self.shapes[source.name] = self.shapes[node.name]
            self._absorb(node.name, source.name)
        else:
            self.done[node.name] = node


MERGES: dict[type[BaseNode], Callable[[_Merger, Any], None]] = {
    Affine: _Merger.affine,
    FloatConv: _Merger.conv,
    FloatShortcut: _Merger.shortcut,
    Relu: _Merger.relu,
}
"""By operator: how a node is merged with what it reads. All others stay as they are."""


def _with_weights(
    node: FloatConv, weights: NDArray[np.floating], bias: NDArray[np.floating]
) -> FloatConv:
    with np.errstate(over="ignore"):  # checked at the end
        return replace(node, weights=weights.astype(np.float32), bias=bias.astype(np.float32))


def _flatten_input(graph: FloatGraph) -> None:
    """An image that only fully connected layers read is delivered as a vector.

    As an image of one channel it would waste most of every memory word.
    """
    height, width, channels = graph.shapes[graph.input]
    readers = graph.consumers(graph.input)
    if (height, width) == (1, 1) or graph.output == graph.input:
        return
    convs = [node for node in readers if isinstance(node, FloatConv)]
    if len(convs) < len(readers) or any(
        node.weights.shape[1:3] != (height, width) or any(node.padding) for node in convs
    ):
        return
    for index, node in enumerate(graph.nodes):
        if isinstance(node, FloatConv) and node.input == graph.input:
            flat = node.weights.transpose(0, 3, 1, 2).reshape(len(node.weights), 1, 1, -1)
            weights = np.ascontiguousarray(flat)
            graph.nodes[index] = replace(node, weights=weights, stride=(1, 1))
    graph.shapes[graph.input] = (1, 1, height * width * channels)
