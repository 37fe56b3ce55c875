"""What quantization makes of every operator: its integer node, and the scale that it needs.

Arithmetic as in TFLite: see :mod:`termac.graph.requantize`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.compress.quantize.bias import BIAS_LIMIT, bias_units
from termac.graph import (
    Add,
    AvgPool,
    Conv,
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatMaxPool,
    FloatNode,
    FloatShortcut,
    MaxPool,
    Node,
    Shortcut,
    Tensor,
)
from termac.graph.node import FloatActivated, table_entry
from termac.graph.operators.add import ADD_SHIFT
from termac.graph.requantize import quantize_multiplier
from termac.graph.tensor import Shape
from termac.terms.budget import TermBudget

__all__ = ["RULES", "WEIGHT_LIMIT", "Rule", "Scales", "multiplier_pair"]

WEIGHT_LIMIT = 127
TASK = "quantization (RULES in termac.compress.quantize.operators)"


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales, zero points and bits of a network's tensors, while it is quantized.

    Parameters
    ----------
    shapes : (height, width, channels) by tensor name
    roots : by tensor name, the tensor whose scale and zero point it shares
    bits : by tensor name
    parameters : scale and zero point by root tensor
    budgets : integers and terms that layers were trained for, by name of the convolution
    weights : weight scale per output channel, float64 [out_channels], by name of the convolution
    """

    shapes: Mapping[str, Shape]
    roots: Mapping[str, str]
    bits: Mapping[str, int]
    parameters: dict[str, tuple[float, int]]
    budgets: Mapping[str, TermBudget]
    weights: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def of(self, tensor: str) -> float:
        """Scale of a tensor."""
        return self.parameters[self.roots[tensor]][0]

    def tensor(self, name: str) -> Tensor:
        """Description of a tensor with the scale that it has now."""
        scale, zero = self.parameters[self.roots[name]]
        return Tensor(name, self.shapes[name], scale, zero, self.bits[name])

    def widen(self, node: FloatNode) -> None:
        """Enlarge the scale of a node's output until every multiplier of the node is below 1.

        The zero point stays: it keeps the range's proportions. The inputs must have their final
        scale.

        Raises
        ------
        ModelError
            If quantization does not know the operator.
        """
        needed = table_entry(RULES, node, TASK).least_scale(node, self)
        scale, zero = self.parameters[node.name]
        self.parameters[node.name] = max(scale, needed), zero

    def integer(self, node: FloatNode) -> Node:
        """The node in integers, once all scales are final.

        Raises
        ------
        ModelError
            If quantization does not know the operator.
        """
        return table_entry(RULES, node, TASK).integer(node, self)


def _any_scale(node: FloatNode, scales: Scales) -> float:
    return 0.0


@dataclass(frozen=True)
class Rule:
    """How one operator is quantized.

    Parameters
    ----------
    integer : called with the float node and the final scales, gives the integer node
    least_scale : called with the float node and the scales so far; the smallest scale of the output
        with which every requantization multiplier is below 1
    """

    integer: Callable[[Any, Scales], Node]
    least_scale: Callable[[Any, Scales], float] = _any_scale


def multiplier_pair(real: float) -> tuple[int, int]:
    """Multiplier and shift of a real; 1, which a scale just wide enough gives, counts as less.

    That is 1 - 2**-31; see :func:`termac.graph.requantize.quantize_multiplier`.
    """
    return quantize_multiplier(min(real, 1 - 2.0**-31))


def _limits(node: FloatActivated, tensor: Tensor) -> tuple[int, int]:
    """Clamp of the stored values: the tensor's limits and the fused ReLU."""
    low, high = tensor.limits
    if node.relu:
        low = max(low, tensor.zero_point)
        if node.ceiling is not None:
            high = min(high, tensor.zero_point + round(node.ceiling / tensor.scale))
    return low, max(low, high)


def _convolution_scale(node: FloatConv, scales: Scales) -> float:
    """Also chooses the scales of the weights."""
    in_scale = scales.of(node.input)
    weights = _weight_scales(node, in_scale, scales.of(node.name), scales.budgets.get(node.name))
    scales.weights[node.name] = weights
    return in_scale * float(weights.max())


def _weight_scales(
    node: FloatConv, in_scale: float, out_scale: float, budget: TermBudget | None
) -> NDArray[np.float64]:
    """Weight scale per output channel, float64 [out_channels].

    The largest weight decides: it is 127, or what the network was trained for. Unless the bias then
    exceeded its limit, as it would in a channel without weights. Such a channel is all bias, in
    steps of at most 1/256 of an output step.
    """
    largest = np.abs(node.weights.astype(np.float64)).max(axis=(1, 2, 3), initial=0)
    bias = np.abs(node.bias.astype(np.float64))
    floor = np.maximum(bias / (in_scale * BIAS_LIMIT), out_scale / in_scale * 2.0**-24)
    empty = largest == 0
    floor[empty] = np.maximum(floor[empty], out_scale / in_scale / 256)
    peaks = np.full(len(largest), WEIGHT_LIMIT) if budget is None else np.array(budget.peaks)
    return np.maximum(largest / np.maximum(peaks, 1), floor)


def _convolution(node: FloatConv, scales: Scales) -> Conv:
    out, in_scale = scales.tensor(node.name), scales.of(node.input)
    weight_scales, budget = scales.weights[node.name], scales.budgets.get(node.name)
    pairs = [multiplier_pair(in_scale * float(scale) / out.scale) for scale in weight_scales]
    low, high = _limits(node, out)
    return Conv(
        name=node.name,
        input=node.input,
        weights=_weights(node, weight_scales, budget),
        bias=bias_units(node.bias, in_scale * weight_scales),
        multiplier=np.array([multiplier for multiplier, _ in pairs], np.int32),
        shift=np.array([shift for _, shift in pairs], np.int32),
        stride=node.stride,
        padding=node.padding,
        low=low,
        high=high,
        weight_scale=weight_scales,
        terms=budget.terms if budget else None,
    )


def _weights(
    node: FloatConv, scales: NDArray[np.float64], budget: TermBudget | None
) -> NDArray[np.int8]:
    """Integer weights, int16 where a network was trained for more than int8 holds."""
    limit = WEIGHT_LIMIT if budget is None else max(budget.peaks)
    weights = np.clip(np.rint(node.weights / scales[:, None, None, None]), -limit, limit)
    weights = weights.astype(np.int8 if limit <= WEIGHT_LIMIT else np.int16)
    if budget is not None and budget.terms is not None:
        # Weights far below the bias's steps have a scale that they were not trained for.
        trained = np.abs(weights).max(axis=(1, 2, 3), initial=0) == budget.peaks
        weights[~trained] = 0
    return weights


def _addition(node: FloatAdd, scales: Scales) -> Add:
    out = scales.tensor(node.name)
    pair = (scales.of(node.first), scales.of(node.second))
    twice = 2 * max(pair)
    (m0, s0), (m1, s1) = (quantize_multiplier(scale / twice) for scale in pair)
    multiplier, shift = multiplier_pair(twice / ((1 << ADD_SHIFT) * out.scale))
    low, high = _limits(node, out)
    return Add(
        name=node.name,
        first=node.first,
        second=node.second,
        multipliers=(m0, m1),
        shifts=(s0, s1),
        multiplier=multiplier,
        shift=shift,
        low=low,
        high=high,
    )


def _average_scale(node: FloatAvgPool, scales: Scales) -> float:
    return scales.of(node.input) / (node.kernel[0] * node.kernel[1])


def _average(node: FloatAvgPool, scales: Scales) -> AvgPool:
    out, area = scales.tensor(node.name), node.kernel[0] * node.kernel[1]
    multiplier, shift = multiplier_pair(scales.of(node.input) / (area * out.scale))
    low, high = _limits(node, out)
    return AvgPool(
        name=node.name,
        input=node.input,
        kernel=node.kernel,
        stride=node.stride,
        padding=node.padding,
        multiplier=multiplier,
        shift=shift,
        low=low,
        high=high,
    )


def _maximum(node: FloatMaxPool, scales: Scales) -> MaxPool:
    return MaxPool(
        name=node.name,
        input=node.input,
        kernel=node.kernel,
        stride=node.stride,
        padding=node.padding,
    )


def _shortcut(node: FloatShortcut, scales: Scales) -> Shortcut:
    return Shortcut(
        name=node.name,
        input=node.input,
        stride=node.stride,
        before=node.before,
        after=node.after,
    )


RULES: dict[type[FloatNode], Rule] = {
    FloatAdd: Rule(_addition),
    FloatAvgPool: Rule(_average, least_scale=_average_scale),
    FloatConv: Rule(_convolution, least_scale=_convolution_scale),
    FloatMaxPool: Rule(_maximum),
    FloatShortcut: Rule(_shortcut),
}
"""Rule by operator."""
