"""Post-training quantization of a float graph to the integer graph.

Weights: int8, symmetric, one scale per output channel (-127..127). Activations: 1..8 bits with
one scale and zero point per tensor, chosen in :mod:`termac.compress.quantize.calibrate`.
Arithmetic as in TFLite. Biases are corrected so that the mean of every channel over the
calibration data stays what it was in floating point: :mod:`termac.compress.quantize.bias`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from termac.compress.quantize.bias import BIAS_LIMIT, bias_units, correct_biases
from termac.compress.quantize.calibrate import affine_parameters, find_ranges, sharing_roots
from termac.errors import ConfigError, ModelError
from termac.graph import (
    Add,
    AvgPool,
    Conv,
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatGraph,
    FloatMaxPool,
    FloatNode,
    FloatShortcut,
    Graph,
    MaxPool,
    Node,
    Shortcut,
    Tensor,
)
from termac.graph.operators.add import ADD_SHIFT
from termac.graph.requantize import quantize_multiplier
from termac.terms.budget import TermBudget

__all__ = ["check_accumulators", "multiplier_pair", "quantize"]

WEIGHT_LIMIT = 127
CORRECTION_SAMPLES = 64
"""Calibration samples that the bias correction measures means on."""


def quantize(
    graph: FloatGraph,
    calibration: NDArray[np.generic],
    *,
    bits: int | Mapping[str, int] = 8,
    correct_bias: bool = True,
    budgets: Mapping[str, TermBudget] | None = None,
) -> Graph:
    """Quantize a float graph.

    Parameters
    ----------
    graph : FloatGraph
    calibration : [N, *input_layout]
        Typical inputs in the model's own layout; 100 to 1000 are plenty.
    bits : int or mapping from tensor name to int
        Bits of the activations, 1..8. One number holds for every tensor but the output, which
        keeps 8 because no layer reads it. Tensors that a mapping does not name have 8. Input and
        output of a maximum pooling or a shortcut have the same: naming one is enough.
    correct_bias : bool
        Correct the biases for the mean quantization error.
    budgets : mapping from layer name to TermBudget, optional
        Integers and terms that the network was trained for; its biases then allow for the error.

    Raises
    ------
    InputError
        If the calibration data has the wrong shape, or holds NaN or infinity.
    ConfigError
        If ``bits`` is out of range, names an unknown tensor, or contradicts itself.
    ModelError
        If a layer cannot be expressed in 32-bit accumulators.
    """
    x = graph.samples(calibration, "calibration data")
    widths = _tensor_bits(graph, bits)
    ranges = find_ranges(graph, x, widths)
    roots = sharing_roots(graph)
    parameters = {root: affine_parameters(span, widths[root]) for root, span in ranges.items()}
    weight_scales: dict[str, NDArray[np.float64]] = {}
    budgets = budgets or {}
    for node in graph.nodes:  # a root's inputs have their final scale before it
        if roots[node.name] == node.name:
            budget = budgets.get(node.name)
            parameters[node.name] = _widened(node, parameters, roots, widths, weight_scales, budget)
    tensors = {
        name: Tensor(name, shape, *parameters[roots[name]], widths[name])
        for name, shape in graph.shapes.items()
    }
    result = Graph(
        name=graph.name,
        tensors=tensors,
        nodes=[
            _integer_node(node, tensors, weight_scales, budgets.get(node.name))
            for node in graph.nodes
        ],
        input=graph.input,
        output=graph.output,
        input_layout=graph.input_layout,
        output_layout=graph.output_layout,
        host_op=graph.host_op,
        notes=list(graph.notes),
        channels_first=graph.channels_first,
    )
    if correct_bias and not budgets:
        correct_biases(graph, result, x[:CORRECTION_SAMPLES])
    for integer in result.nodes:
        if isinstance(integer, Conv):
            check_accumulators(integer, tensors[integer.input])
    return result


def _tensor_bits(graph: FloatGraph, bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits by tensor name, equal within every sharing group."""
    roots = sharing_roots(graph)
    if isinstance(bits, Mapping):
        given = dict(bits)
        for name in given:
            if name not in graph.shapes:
                raise ConfigError(
                    f"bits: there is no tensor {name!r}; tensors: {', '.join(graph.shapes)}"
                )
    else:
        output = roots[graph.output]
        given = {name: bits for name in graph.shapes if roots[name] != output}
        if output == graph.input:  # nothing but pooling: the input is the output
            given = dict.fromkeys(graph.shapes, bits)
    by_root: dict[str, tuple[str, int]] = {}
    for name, width in given.items():
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 8:
            raise ConfigError(f"bits of tensor {name!r} must be an integer 1..8, not {width!r}")
        other, known = by_root.setdefault(roots[name], (name, width))
        if known != width:
            raise ConfigError(
                f"tensors {other!r} and {name!r} share one scale (pooling or shortcut between "
                f"them): their bits must be equal, not {known} and {width}"
            )
    return {name: by_root.get(roots[name], ("", 8))[1] for name in graph.shapes}


def _widened(
    node: FloatNode,
    parameters: dict[str, tuple[float, int]],
    roots: dict[str, str],
    widths: dict[str, int],
    weight_scales: dict[str, NDArray[np.float64]],
    budget: TermBudget | None,
) -> tuple[float, int]:
    """Scale and zero point of a node's output, the scale large enough for multipliers below 1."""
    scale, zero = parameters[node.name]
    if isinstance(node, FloatConv):
        in_scale = parameters[roots[node.input]][0]
        scales = _weight_scales(node, in_scale, scale, budget)
        weight_scales[node.name] = scales
        needed = in_scale * float(scales.max())
    elif isinstance(node, FloatAvgPool):
        needed = parameters[roots[node.input]][0] / (node.kernel[0] * node.kernel[1])
    else:
        needed = 0.0
    if needed <= scale:
        return scale, zero
    return needed, zero  # the same zero point keeps the range's proportions


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


def multiplier_pair(real: float) -> tuple[int, int]:
    """Multiplier and shift of a real; 1, which a scale just wide enough gives, counts as less.

    That is 1 - 2**-31; see :func:`termac.graph.requantize.quantize_multiplier`.
    """
    return quantize_multiplier(min(real, 1 - 2.0**-31))


def _limits(node: FloatConv | FloatAdd | FloatAvgPool, tensor: Tensor) -> tuple[int, int]:
    """Clamp of the stored values: the tensor's limits and the fused ReLU."""
    low, high = tensor.limits
    if node.relu:
        low = max(low, tensor.zero_point)
        if node.ceiling is not None:
            high = min(high, tensor.zero_point + round(node.ceiling / tensor.scale))
    return low, max(low, high)


def _integer_node(
    node: FloatNode,
    tensors: dict[str, Tensor],
    weight_scales: dict[str, NDArray[np.float64]],
    budget: TermBudget | None,
) -> Node:
    out = tensors[node.name]
    if isinstance(node, FloatConv):
        in_scale = tensors[node.input].scale
        scales = weight_scales[node.name]
        limit = WEIGHT_LIMIT if budget is None else max(budget.peaks)
        weights = np.rint(node.weights / scales[:, None, None, None])
        weights = np.clip(weights, -limit, limit)
        weights = weights.astype(np.int8 if limit <= WEIGHT_LIMIT else np.int16)
        if budget is not None and budget.terms is not None:
            # Weights far below the bias's steps have a scale that they were not trained for.
            trained = np.abs(weights).max(axis=(1, 2, 3), initial=0) == budget.peaks
            weights[~trained] = 0
        pairs = [multiplier_pair(in_scale * float(scale) / out.scale) for scale in scales]
        low, high = _limits(node, out)
        return Conv(
            name=node.name,
            input=node.input,
            weights=weights,
            bias=bias_units(node.bias, in_scale * scales),
            multiplier=np.array([multiplier for multiplier, _ in pairs], np.int32),
            shift=np.array([shift for _, shift in pairs], np.int32),
            stride=node.stride,
            padding=node.padding,
            low=low,
            high=high,
            weight_scale=scales,
            terms=budget.terms if budget else None,
        )
    if isinstance(node, FloatAdd):
        scale_pair = (tensors[node.first].scale, tensors[node.second].scale)
        twice = 2 * max(scale_pair)
        (m0, s0), (m1, s1) = (quantize_multiplier(scale / twice) for scale in scale_pair)
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
    if isinstance(node, FloatAvgPool):
        area = node.kernel[0] * node.kernel[1]
        multiplier, shift = multiplier_pair(tensors[node.input].scale / (area * out.scale))
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
    if isinstance(node, FloatMaxPool):
        return MaxPool(
            name=node.name,
            input=node.input,
            kernel=node.kernel,
            stride=node.stride,
            padding=node.padding,
        )
    assert isinstance(node, FloatShortcut)
    return Shortcut(
        name=node.name,
        input=node.input,
        stride=node.stride,
        before=node.before,
        after=node.after,
    )


def check_accumulators(node: Conv, tensor: Tensor) -> None:
    """No input may overflow int32, also with the zero point folded into the bias."""
    low, high = tensor.limits
    zero = tensor.zero_point
    magnitude = np.abs(node.weights.astype(np.int64)).sum(axis=(1, 2, 3))
    most = max(high - zero, zero - low, -low)
    if node.terms is not None and node.terms.data:  # the largest term alone may be more than all
        most = 1 << (most - 1).bit_length()
    largest = most * magnitude + np.abs(node.bias.astype(np.int64))
    folded = np.abs(node.bias - zero * node.weights.astype(np.int64).sum(axis=(1, 2, 3)))
    if max(largest.max(), (folded - low * magnitude).max()) >= 1 << 31:
        raise ModelError(
            f"layer {node.name!r}: {node.weights[0].size} products exceed a 32-bit accumulator; "
            "split the layer or use fewer bits for its input"
        )
