"""How much the output of a network depends on what one of its layers loses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from termac.compress.combine.packing import Packing
from termac.graph import FloatConv, FloatGraph

__all__ = ["measure_sensitivity", "with_mask"]

SAMPLES = 96
WANTED_LOSS = 0.3
"""Share of worth that a layer loses while it is measured, as nearly as whole passes allow."""

LEAST_LOSS = 0.02


def with_mask(graph: FloatGraph, node: str, mask: NDArray[np.bool_]) -> FloatGraph:
    """The network with some weights of one convolution removed.

    ``mask``: bool [filters, weights of a filter], in the order (ky, kx, channel).
    """

    def masked(old: FloatConv) -> FloatConv:
        weights = np.where(mask.reshape(old.weights.shape), old.weights, np.float32(0))
        return replace(old, weights=weights)

    nodes = [
        masked(old) if isinstance(old, FloatConv) and old.name == node else old
        for old in graph.nodes
    ]
    return replace(graph, nodes=nodes)


def measure_sensitivity(
    graph: FloatGraph,
    samples: NDArray[np.generic],
    packings: list[Packing],
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, float]:
    """Error of the network's output per squared share of worth lost, by convolution.

    The output error is the squared difference over the output's variance. On trained networks it
    grows with about the square of the loss, so one measurement per layer is enough.

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout], in the model's own layout, of which the first 96 are used
    packings : of all convolutions
    progress : called with (layers done, layers, name)
    """
    x = graph.samples(samples, "calibration data")[:SAMPLES]
    expected = _output(graph, x)
    scale = max(float(expected.var()), 1e-30)
    result = {}
    for number, packing in enumerate(packings):
        if progress is not None:
            progress(number, len(packings), packing.node)
        lost = 1 - packing.curve
        lossy = lost > LEAST_LOSS
        if not lossy.any():
            result[packing.node] = 1.0
            continue
        passes = int(np.where(lossy, np.abs(lost - WANTED_LOSS), np.inf).argmin()) + 1
        _, mask = packing.fit(passes)
        lost_now = 1 - packing.worth[mask].sum() / max(packing.worth.sum(), 1e-300)
        error = np.square(_output(with_mask(graph, packing.node, mask), x) - expected).mean()
        result[packing.node] = float(error) / scale / max(lost_now, LEAST_LOSS) ** 2
    return result


def _output(graph: FloatGraph, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([values[graph.output] for values in graph.batches(x)])
