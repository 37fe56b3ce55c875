"""Post-training quantization of a float graph to the integer graph.

Weights: int8, symmetric, one scale per output channel (-127..127). Activations: 1..8 bits with
one scale and zero point per tensor, chosen in :mod:`termac.compress.quantize.calibrate`. What
becomes of every operator is in :mod:`termac.compress.quantize.operators`. Biases are corrected so
that the mean of every channel over the calibration data stays what it was in floating point:
:mod:`termac.compress.quantize.bias`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from termac.compress.quantize.bias import correct_biases
from termac.compress.quantize.calibrate import affine_parameters, find_ranges, sharing_roots
from termac.compress.quantize.operators import Scales
from termac.errors import ConfigError, ModelError
from termac.graph import Conv, FloatGraph, Graph, Tensor
from termac.terms.budget import TermBudget

__all__ = ["check_accumulators", "quantize"]

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
        If a layer cannot be expressed in 32-bit accumulators, or quantization does not know an
        operator.
    """
    x = graph.samples(calibration, "calibration data")
    widths = _tensor_bits(graph, bits)
    ranges = find_ranges(graph, x, widths)
    roots = sharing_roots(graph)
    parameters = {root: affine_parameters(span, widths[root]) for root, span in ranges.items()}
    scales = Scales(graph.shapes, roots, widths, parameters, budgets or {})
    for node in graph.nodes:  # a root's inputs have their final scale before it
        if roots[node.name] == node.name:
            scales.widen(node)
    tensors = {name: scales.tensor(name) for name in graph.shapes}
    result = Graph(
        name=graph.name,
        tensors=tensors,
        nodes=[scales.integer(node) for node in graph.nodes],
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


def check_accumulators(node: Conv, tensor: Tensor) -> None:
    """Check that no input overflows int32, also with the zero point folded into the bias.

    Parameters
    ----------
    node : Conv
    tensor : what the node reads

    Raises
    ------
    ModelError
        If an input could; names the layer.
    """
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
