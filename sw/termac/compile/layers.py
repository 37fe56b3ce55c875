"""Layers, what one run of the array and its drains computes, and what each operator becomes there.

Every layer is a convolution, perhaps followed by the addition of a residual tensor or by a maximum
over a pooling window. Nodes without weights become convolutions with an identity matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.errors import ModelError
from termac.graph import Add, AvgPool, Conv, Graph, MaxPool, Node, Shortcut, Tensor, Terms

__all__ = ["JOINS", "LAYERS", "Join", "Layer", "Linear", "Residual", "preferred_operand"]

IDENTITY_WEIGHT, IDENTITY_MULTIPLIER = 2, 1 << 30  # 2 * 2**30 = 2**31: exactly one


@dataclass(frozen=True, eq=False)
class Linear:
    """A convolution with its requantization.

    Parameters
    ----------
    weights : int16 [out_channels, kernel_height, kernel_width, in_channels]
    bias : int64 [out_channels], within int32; the zero point of the input is folded in
    multiplier, shift : int64 [out_channels], 0 .. 2**31-1 and 0..31
    stride : (y, x)
    padding : (top, left)
    low, high : clamp of the stored value
    zero : zero point of the output
    pad_value : stored value outside the image
    terms : how to split the weights, where cells keep terms; None: whatever loses nothing
    """

    weights: NDArray[np.int16]
    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    stride: tuple[int, int]
    padding: tuple[int, int]
    low: int
    high: int
    zero: int
    pad_value: int
    terms: Terms | None = None

    @property
    def fields(self) -> dict[str, int]:
        """Fields of the descriptor that say what the drains do with the sums."""
        return {"out_zero": self.zero, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Residual:
    """Addition of a stored tensor to the outputs of a convolution.

    Parameters
    ----------
    node : the addition
    tensor : name of the stored operand
    swapped : the convolution is the second operand of ``node``
    stride : image pixels of ``tensor`` per output pixel, (y, x)
    """

    node: Add
    tensor: str
    swapped: bool
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of the accelerator.

    Parameters
    ----------
    name : name of the layer and of the tensor that it writes
    nodes : names of the graph nodes it computes, in order
    input : tensor that the convolution reads
    linear : the convolution
    pool, pool_stride : window of the maximum over convolution outputs, (1, 1) for none
    residual : the addition, if any
    macs : multiplications of the graph's nodes (depthwise nodes count their own channel only)
    """

    name: str
    nodes: tuple[str, ...]
    input: str
    linear: Linear
    pool: tuple[int, int] = (1, 1)
    pool_stride: tuple[int, int] = (1, 1)
    residual: Residual | None = None
    macs: int = 0

    @cached_property
    def channelwise(self) -> bool:
        """Whether every output channel reads the input channel of its own number only."""
        weights = self.linear.weights
        if weights.shape[0] != weights.shape[3]:
            return False
        return not (weights.any(axis=(1, 2)) & ~np.eye(len(weights), dtype=bool)).any()

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.input,) if self.residual is None else (self.input, self.residual.tensor)


def _fold(weights: NDArray, bias: NDArray, zero: int, name: str) -> NDArray[np.int64]:
    """Bias minus what the input's zero point adds: every tap reads it, also outside the image."""
    folded = bias.astype(np.int64) - zero * weights.astype(np.int64).sum(axis=(1, 2, 3))
    if folded.size and (folded.min() < -(1 << 31) or folded.max() >= 1 << 31):
        raise ModelError(
            f"node {name!r}: bias with the zero point folded in reaches "
            f"{max(folded, key=abs)}, more than 32 bits"
        )
    return folded


def _identity(source: Tensor, target: Tensor, *, before: int = 0, name: str) -> Linear:
    """1x1 convolution that copies values exactly; other channels of the target hold its zero."""
    channels, out = source.shape[2], target.shape[2]
    weights = np.zeros((out, 1, 1, channels), np.int16)
    weights[before + np.arange(channels), 0, 0, np.arange(channels)] = IDENTITY_WEIGHT
    low, high = target.limits
    return Linear(
        weights=weights,
        bias=_fold(weights, np.zeros(out), source.zero_point, name),
        multiplier=np.full(out, IDENTITY_MULTIPLIER),
        shift=np.zeros(out, np.int64),
        stride=(1, 1),
        padding=(0, 0),
        low=low,
        high=high,
        zero=source.zero_point,
        pad_value=source.zero_point,
    )


def _convolution(graph: Graph, node: Conv) -> Layer:
    source, target = graph.tensors[node.input], graph.tensors[node.name]
    weights = node.weights.astype(np.int16)
    linear = Linear(
        weights=weights,
        bias=_fold(weights, node.bias, source.zero_point, node.name),
        multiplier=node.multiplier.astype(np.int64),
        shift=node.shift.astype(np.int64),
        stride=node.stride,
        padding=node.padding[:2],
        low=node.low,
        high=node.high,
        zero=target.zero_point,
        pad_value=source.zero_point,
        terms=node.terms,
    )
    layer = Layer(name=node.name, nodes=(node.name,), input=node.input, linear=linear)
    weight_count = weights.size // (weights.shape[3] if layer.channelwise else 1)
    return replace(layer, macs=weight_count * target.shape[0] * target.shape[1])


def _average(graph: Graph, node: AvgPool) -> Layer:
    source, target = graph.tensors[node.input], graph.tensors[node.name]
    channels = source.shape[2]
    weights = np.zeros((channels, *node.kernel, channels), np.int16)
    weights[np.arange(channels), :, :, np.arange(channels)] = 1
    linear = Linear(
        weights=weights,
        bias=_fold(weights, np.zeros(channels), source.zero_point, node.name),
        multiplier=np.full(channels, node.multiplier),
        shift=np.full(channels, node.shift),
        stride=node.stride,
        padding=node.padding[:2],
        low=node.low,
        high=node.high,
        zero=target.zero_point,
        pad_value=source.zero_point,
    )
    return Layer(name=node.name, nodes=(node.name,), input=node.input, linear=linear)


def _maximum(graph: Graph, node: MaxPool) -> Layer:
    """A pool of its own: an identity convolution per window position, the lowest value outside."""
    source, target = graph.tensors[node.input], graph.tensors[node.name]
    linear = _identity(source, target, name=node.name)
    pad_value = source.limits[0] if any(node.padding) else source.zero_point
    return Layer(
        name=node.name,
        nodes=(node.name,),
        input=node.input,
        linear=replace(linear, padding=node.padding[:2], pad_value=pad_value),
        pool=node.kernel,
        pool_stride=node.stride,
    )


def _shortcut(graph: Graph, node: Shortcut) -> Layer:
    source, target = graph.tensors[node.input], graph.tensors[node.name]
    linear = _identity(source, target, before=node.before, name=node.name)
    return Layer(
        name=node.name,
        nodes=(node.name,),
        input=node.input,
        linear=replace(linear, stride=node.stride),
    )


def preferred_operand(graph: Graph, names: Iterable[str]) -> str:
    """Operand of an addition whose layer the sum joins: the latest convolution, if there is one."""
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    convolutions = {node.name for node in graph.nodes if isinstance(node, Conv)}
    return max(names, key=lambda name: (name in convolutions, order.get(name, -1)))


def _addition(graph: Graph, node: Add) -> Layer:
    """An identity of one operand, to which the other is added."""
    own = preferred_operand(graph, node.inputs)
    source = graph.tensors[own]
    linear = _identity(source, source, name=node.name)
    return _sum(graph, Layer(name=own, nodes=(), input=own, linear=linear), node)


def _sum(graph: Graph, layer: Layer, node: Add) -> Layer:
    """The layer of one operand, to which the other is added."""
    swapped = layer.name != node.first
    other = node.first if swapped else node.second
    return replace(
        layer,
        name=node.name,
        nodes=(*layer.nodes, node.name),
        residual=Residual(node=node, tensor=other, swapped=swapped),
    )


def _pooled(graph: Graph, layer: Layer, node: MaxPool) -> Layer | None:
    """The layer of a convolution with the maximum over its outputs."""
    if any(node.padding):
        return None
    return replace(
        layer,
        name=node.name,
        nodes=(*layer.nodes, node.name),
        pool=node.kernel,
        pool_stride=node.stride,
    )


LAYERS: dict[type[Node], Callable[[Graph, Any], Layer]] = {
    Add: _addition,
    AvgPool: _average,
    Conv: _convolution,
    MaxPool: _maximum,
    Shortcut: _shortcut,
}
"""By operator: the layer that computes a node on its own."""


@dataclass(frozen=True)
class Join:
    """How the only reader of a tensor becomes part of the layer that writes the tensor.

    Parameters
    ----------
    make : called with the graph, the layer and the reader, gives one layer for both, or None
    compare : whether one layer may be slower than two, so that the cycles must be compared
    """

    make: Callable[[Graph, Layer, Any], Layer | None]
    compare: bool = False


JOINS: dict[tuple[type[Node], type[Node]], Join] = {
    (AvgPool, Add): Join(_sum),
    (Conv, Add): Join(_sum),
    (Conv, MaxPool): Join(_pooled, compare=True),
    (Shortcut, Add): Join(_sum),
}
"""By operators of writer and reader; other pairs stay layers of their own."""
