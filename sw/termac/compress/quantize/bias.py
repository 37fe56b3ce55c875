"""Biases in accumulator units, and their correction for the mean quantization error.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2, with means measured on the calibration data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.graph import Conv, FloatConv, FloatGraph, Graph, golden

__all__ = ["BIAS_LIMIT", "bias_units", "correct_biases"]

BIAS_LIMIT = 1 << 29
"""Largest bias, in accumulator units; what is left of int32 belongs to the products."""


def bias_units(bias: NDArray[np.floating], unit: NDArray[np.float64]) -> NDArray[np.int32]:
    """Biases in accumulator units, int32 [channels], rounded and clipped to +-BIAS_LIMIT.

    Parameters
    ----------
    bias : real values, [channels]
    unit : real value of one accumulator unit, float64 [channels]
    """
    return np.clip(np.rint(bias / unit), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)


def _mean_patch(x: NDArray[np.float32], node: FloatConv) -> NDArray[np.float64]:
    """Mean over samples and output pixels of what each tap sees, ``[kh, kw, in_channels]``."""
    top, left, bottom, right = node.padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    _, height, width, channels = node.weights.shape
    rows = (x.shape[1] - height) // node.stride[0] * node.stride[0] + 1
    columns = (x.shape[2] - width) // node.stride[1] * node.stride[1] + 1
    patch = np.empty((height, width, channels))
    for ky in range(height):
        for kx in range(width):
            seen = x[:, ky : ky + rows : node.stride[0], kx : kx + columns : node.stride[1]]
            patch[ky, kx] = seen.mean(axis=(0, 1, 2), dtype=np.float64)
    return patch


def correct_biases(graph: FloatGraph, result: Graph, x: NDArray[np.float32]) -> None:
    """Shift every bias by the mean error of its channel, layer after layer, in place.

    Parameters
    ----------
    graph : FloatGraph
    result : its quantized graph, whose biases change
    x : float32 [N, height, width, channels], calibration inputs
    """
    exact = graph.evaluate(x)
    values = {result.input: golden.quantize_values(x, result.tensors[result.input])}
    for node, float_node in zip(result.nodes, graph.nodes, strict=True):
        if isinstance(node, Conv) and isinstance(float_node, FloatConv):
            assert node.weight_scale is not None
            tensor = result.tensors[node.input]
            unit = tensor.scale * node.weight_scale
            axes = (1, 2, 3)
            wanted = (float_node.weights * _mean_patch(exact[node.input], float_node)).sum(axes)
            seen = _mean_patch(
                values[node.input].astype(np.float32) - tensor.zero_point, float_node
            )
            found = (node.weights * seen).sum(axes) * unit
            node.bias[:] = bias_units(float_node.bias + wanted - found, unit)
        values[node.name] = node.evaluate(values, result.tensors)
