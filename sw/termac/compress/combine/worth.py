"""What it costs to lose a weight: the energy that it adds to the outputs of its layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.graph import FloatConv, FloatGraph

__all__ = ["Worth"]


@dataclass(frozen=True, eq=False)
class Worth:
    """Weight**2 times the mean square of the input channel that it reads.

    The criterion of M. Sun et al., "A Simple and Effective Pruning Approach for Large Language
    Models", ICLR 2024 (there its root, per channel of the input).

    Parameters
    ----------
    weights : float64 [filters, kernel height, kernel width, channels], by name of the convolution
    power : mean square of every input channel, float64 [channels], by name of the convolution
    """

    weights: dict[str, NDArray[np.float64]]
    power: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, graph: FloatGraph, samples: NDArray[np.generic]) -> Worth:
        """Look at ``samples``, [N, *input_layout] in the model's own layout."""
        power = _channel_power(graph, samples)
        weights = {
            node.name: node.weights.astype(np.float64) ** 2 * power[node.name]
            for node in graph.nodes
            if isinstance(node, FloatConv)
        }
        return cls(weights, power)


def _channel_power(
    graph: FloatGraph, samples: NDArray[np.generic]
) -> dict[str, NDArray[np.float64]]:
    x = graph.samples(samples, "calibration data")
    sums: dict[str, NDArray[np.float64]] = {}
    for values in graph.batches(x):
        for node in graph.nodes:
            if isinstance(node, FloatConv):
                tensor = values[node.input].astype(np.float64)
                power = np.square(tensor).mean(axis=(1, 2)).sum(axis=0)
                sums[node.name] = sums.get(node.name, 0) + power
    return {name: total / len(x) for name, total in sums.items()}
