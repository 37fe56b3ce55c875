"""Chooses scale and zero point of every activation tensor from calibration data.

Range search: the clipping range whose squared quantization error, over a histogram of the
calibration values, is smallest (after "mean squared error" calibration in the survey by
Nagel et al., "A White Paper on Neural Network Quantization", 2021, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError
from termac.graph import FloatGraph

__all__ = ["Range", "affine_parameters", "counted_tensors", "find_ranges", "sharing_roots"]

BINS = 2048
"""Bins of a calibration histogram."""


@dataclass(frozen=True)
class Range:
    """Real values that a tensor must represent; always includes 0."""

    low: float
    high: float


def affine_parameters(span: Range, bits: int) -> tuple[float, int]:
    """(scale, zero point) so that ``bits``-bit integers cover a range and 0 is exact."""
    smallest, largest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    width = span.high - span.low
    if not width > 0:
        return 1.0, smallest
    scale = width / (largest - smallest)
    zero = round(smallest - span.low / scale)
    return scale, min(max(zero, smallest), largest)


def sharing_roots(graph: FloatGraph) -> dict[str, str]:
    """By tensor: the tensor whose scale and zero point it shares.

    Operators that keep the values of their input, such as maximum pooling, share its scale.
    """
    roots = {graph.input: graph.input}
    for node in graph.nodes:
        roots[node.name] = roots[node.inputs[0]] if node.KEEPS_VALUES else node.name
    return roots


def counted_tensors(graph: FloatGraph) -> list[str]:
    """Tensors whose values decide their range: the output, and what a node computes with.

    Of a tensor that is only pooled nobody sees the smaller values.
    """
    return [
        name
        for name in graph.shapes
        if name == graph.output or not all(node.KEEPS_VALUES for node in graph.consumers(name))
    ]


def find_ranges(
    graph: FloatGraph, x: NDArray[np.float32], bits: Mapping[str, int]
) -> dict[str, Range]:
    """Best range by root tensor (see :func:`sharing_roots`).

    Parameters
    ----------
    graph : FloatGraph
    x : float32 [N, height, width, channels], calibration inputs
    bits : bits of every tensor; equal within a sharing group

    Raises
    ------
    InputError
        If a tensor becomes infinite on the calibration data.
    """
    roots = sharing_roots(graph)
    counted = counted_tensors(graph)
    low: dict[str, float] = dict.fromkeys(roots.values(), 0.0)
    high: dict[str, float] = dict.fromkeys(roots.values(), 0.0)
    for values in graph.batches(x):
        for name in counted:
            root = roots[name]
            # np.minimum, unlike min, keeps a NaN
            low[root] = float(np.minimum(low[root], values[name].min()))
            high[root] = float(np.maximum(high[root], values[name].max()))
    for root in low:
        if not np.isfinite((low[root], high[root])).all():
            raise InputError(
                f"tensor {root!r} becomes infinite on the calibration data; check its scaling"
            )
    counts = {root: np.zeros(BINS) for root in low}
    for values in graph.batches(x):
        for name in counted:
            root = roots[name]
            if high[root] > low[root]:
                limits = (low[root], high[root])
                counts[root] += np.histogram(values[name], BINS, limits)[0]
    output = roots[graph.output]
    return {
        root: Range(low[root], high[root])
        # every class score counts, the rare large ones most of all
        if root == output
        else best_range(counts[root], Range(low[root], high[root]), bits[root])
        for root in low
    }


def best_range(counts: NDArray[np.float64], span: Range, bits: int) -> Range:
    """The part of ``span`` with the least squared error for values counted in equal bins."""
    if not span.high > span.low:
        return span
    edges = np.linspace(span.low, span.high, len(counts) + 1)
    # zero is exact: a bin's worth of zeros (after a ReLU, most values) must not count as error
    centres = (edges[:-1] + edges[1:]) / 2
    centres[(edges[:-1] <= 0) & (edges[1:] >= 0)] = 0
    used = counts > 0
    centres, weights = centres[used], counts[used]

    def error(candidate: Range) -> float:
        scale, zero = affine_parameters(candidate, bits)
        smallest, largest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        stored = np.clip(np.rint(centres / scale) + zero, smallest, largest)
        return float((weights * (scale * (stored - zero) - centres) ** 2).sum())

    def search(candidates: Iterable[Range]) -> Range:
        return min(candidates, key=error)

    steps = np.concatenate([np.linspace(1.0, 0.5, 51), np.linspace(0.48, 0.04, 23)])
    best = search(Range(span.low * step, span.high * step) for step in steps)
    # then each side alone, starting from the common factor
    best = search(Range(best.low, span.high * step) for step in steps)
    return search(Range(span.low * step, best.high) for step in steps)
