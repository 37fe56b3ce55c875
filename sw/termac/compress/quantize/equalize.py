"""Channels of very different size brought closer, without changing what the network computes.

An activation tensor has one scale, so channels far smaller than the largest are rounded to nothing.
A filter may be divided, and what reads its channel multiplied, by the same positive factor: a
rectifier and pooling pass it on. Source: Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", 2019, section 4.1. Different from the paper: weights have a scale
per filter here, so the range of the activations is weighed against the range of the readers'
weights, and factors are powers of two, which is exact in floating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from termac.compress.quantize.quality import measure_quality
from termac.compress.quantize.quantize import quantize
from termac.graph import FloatAvgPool, FloatConv, FloatGraph, FloatMaxPool

__all__ = ["LEAST_GAIN", "equalize", "equalize_if_better"]

LEAST_GAIN = 3.0
"""dB that the output must gain; below, a network stays as it is."""
SPREAD = 16
"""Ratio of factors within a tensor from which it is worth the trouble."""
ROUNDS = 3
SAMPLES = 64
"""Calibration samples that ranges and gain are measured on."""


def equalize_if_better(
    graph: FloatGraph, samples: NDArray[np.generic], *, bits: int | Mapping[str, int] = 8
) -> FloatGraph:
    """The network equalized, with a note, if its output gains at least 3 dB; else the same object.

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout], in the model's own layout; the last 64 are used
    bits : of the activations, see :func:`termac.compress.quantize.quantize.quantize`

    Raises
    ------
    InputError
        If the samples do not fit the model.
    """
    samples = samples[-SAMPLES:] if samples.ndim > len(graph.input_layout) else samples
    better, changed = _equalized(graph, samples)
    if not changed:
        return graph
    before, after = (
        measure_quality(which, quantize(which, samples, bits=bits), samples)
        .signal_to_noise[graph.output]
        for which in (graph, better)
    )  # fmt: skip
    if not after >= before + LEAST_GAIN:
        return graph
    note = (
        f"the scales of filters differ by orders of magnitude in {', '.join(map(repr, changed))}: "
        "equalized, which changes no answer in floating point and lifts the output by "
        f"{after - before:.0f} dB, to {after:.0f} dB over the noise"
    )
    return replace(better, notes=[*graph.notes, note])


def equalize(graph: FloatGraph, samples: NDArray[np.generic]) -> FloatGraph:
    """Divide filters and multiply their readers by powers of two, in every tensor that spreads.

    Only tensors that a convolution writes, without a ceiling, and that nothing but convolutions
    read, possibly through pooling. Outputs stay the same to the last bit.

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout], in the model's own layout; ranges are measured on all of them

    Raises
    ------
    InputError
        If the samples do not fit the model.
    """
    return _equalized(graph, samples)[0]


def _equalized(graph: FloatGraph, samples: NDArray[np.generic]) -> tuple[FloatGraph, list[str]]:
    """The network and the convolutions whose filters were divided."""
    convolutions = {node.name: node for node in graph.nodes if isinstance(node, FloatConv)}
    readers = {name: _readers(graph, name) for name in convolutions}
    free = [name for name in convolutions if convolutions[name].ceiling is None and readers[name]]
    ranges = _ranges(graph, samples, free)
    factors = {name: np.ones(len(ranges[name])) for name in free}
    for _ in range(ROUNDS):
        for name in free:
            step = _factors(ranges[name] / factors[name], [convolutions[r] for r in readers[name]])
            _scale(convolutions, name, readers[name], step)
            factors[name] = factors[name] * step
    changed = [name for name in free if factors[name].max() >= SPREAD * factors[name].min()]
    if not changed:
        return graph, []
    convolutions = {node.name: node for node in graph.nodes if isinstance(node, FloatConv)}
    for name in changed:
        _scale(convolutions, name, readers[name], factors[name])
    nodes = [convolutions.get(node.name, node) for node in graph.nodes]
    return replace(graph, nodes=nodes), changed


def _readers(graph: FloatGraph, tensor: str) -> list[str]:
    """Convolutions that read a tensor, also through pooling; none if anything else does."""
    found: list[str] = []
    if tensor == graph.output:
        return []
    for node in graph.consumers(tensor):
        if isinstance(node, FloatConv):
            found.append(node.name)
        elif isinstance(node, FloatMaxPool) or (
            isinstance(node, FloatAvgPool) and node.ceiling is None
        ):
            behind = _readers(graph, node.name)
            if not behind:
                return []
            found += behind
        else:
            return []
    return found


def _ranges(
    graph: FloatGraph, samples: NDArray[np.generic], names: list[str]
) -> dict[str, NDArray[np.float64]]:
    """Largest magnitude of every channel, by tensor."""
    ranges = {name: np.zeros(graph.shapes[name][2]) for name in names}
    for values in graph.batches(graph.samples(samples, "calibration data")):
        for name in names:
            largest = np.abs(values[name]).max(axis=(0, 1, 2))
            ranges[name] = np.maximum(ranges[name], largest)
    return ranges


def _factors(ranges: NDArray[np.float64], readers: list[FloatConv]) -> NDArray[np.float64]:
    """Powers of two that bring ranges of channels and of their readers' weights to one ratio."""
    weights = np.zeros(len(ranges))
    for reader in readers:
        size = np.abs(reader.weights).max(axis=(1, 2), initial=0).astype(np.float64)
        peaks = np.maximum(size.max(axis=1, keepdims=True), 1e-300)  # a scale per filter
        weights = np.maximum(weights, (size / peaks).max(axis=0, initial=0))
    live = (ranges > 0) & (weights > 0)
    exponents = np.zeros(len(ranges))
    if live.any():
        exponents[live] = 0.5 * np.log2(ranges[live] / weights[live])
        exponents[live] -= np.median(exponents[live])
    return np.exp2(np.clip(np.rint(exponents), -30, 30))


def _scale(
    convolutions: dict[str, FloatConv], name: str, readers: list[str], factors: NDArray[np.float64]
) -> None:
    """Divide the filters of one convolution and multiply what reads them, in place of the dict."""
    exact = factors.astype(np.float32)
    writer = convolutions[name]
    convolutions[name] = replace(
        writer, weights=writer.weights / exact[:, None, None, None], bias=writer.bias / exact
    )
    for reader in dict.fromkeys(readers):
        node = convolutions[reader]
        convolutions[reader] = replace(node, weights=node.weights * exact)
