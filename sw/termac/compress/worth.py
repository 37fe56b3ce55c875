"""What it costs to lose a weight: the energy that it adds to the outputs of its layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.frontend.float_graph import FloatConv, FloatGraph

__all__ = ["channel_power"]


def channel_power(
    graph: FloatGraph, samples: NDArray[np.generic]
) -> dict[str, NDArray[np.float64]]:
    """Mean square of every input channel, float64 [channels], by name of the convolution.

    Weight**2 times this is the criterion of M. Sun et al., "A Simple and Effective Pruning Approach
    for Large Language Models", ICLR 2024 (there the square root, per channel of the input).

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout], in the model's own layout
    """
    x = graph.samples(samples, "calibration data")
    sums: dict[str, NDArray[np.float64]] = {}
    for values in graph.batches(x):
        for node in graph.nodes:
            if isinstance(node, FloatConv):
                tensor = values[node.input].astype(np.float64)
                power = np.square(tensor).mean(axis=(1, 2)).sum(axis=0)
                sums[node.name] = sums.get(node.name, 0) + power
    return {name: total / len(x) for name, total in sums.items()}
