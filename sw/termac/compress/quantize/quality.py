"""How near an integer graph comes to the float graph, layer by layer, on given samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.graph import Graph, golden
from termac.graph.floating import FloatGraph

__all__ = ["SAMPLES", "Quality", "decibels", "measure_quality"]

SAMPLES = 256
"""Samples that are looked at, the last ones: what combining and terms were not fitted to."""
BATCH = 32


@dataclass(frozen=True)
class Quality:
    """What the way to integers cost.

    Parameters
    ----------
    signal_to_noise : dB, by name of the tensor
        Mean square of the float tensor over that of the difference; infinite without any.
    output_error : squared error of the network's output, over its variance
    agreement : share of samples with the largest output at the same place, 0..1
        None if a sample's output is not a vector.
    samples : that were looked at
    """

    signal_to_noise: Mapping[str, float]
    output_error: float
    agreement: float | None
    samples: int


def decibels(signal: float, noise: float) -> float:
    """Ratio of two powers in dB; infinite without noise, also where there is no signal."""
    if noise <= 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


def measure_quality(model: FloatGraph, graph: Graph, samples: NDArray[np.generic]) -> Quality:
    """Compare the tensors of a float graph and of an integer graph made from it.

    Parameters
    ----------
    model : FloatGraph
    graph : Graph
        Has the nodes of ``model``; weights may be pruned or rounded.
    samples : [N, *input_layout], in the model's own layout; the last 256 are used

    Raises
    ------
    InputError
        If the samples do not fit the model.
    """
    x = model.samples(samples, "calibration data")[-SAMPLES:]
    signal = dict.fromkeys(graph.tensors, 0.0)
    noise = dict.fromkeys(graph.tensors, 0.0)
    equal = 0
    outputs, errors = [], 0.0
    for start in range(0, len(x), BATCH):
        part = x[start : start + BATCH]
        exact = model.evaluate(part)
        stored = golden.quantize_values(part, graph.tensors[graph.input])
        values = golden.run(graph, stored)
        for name, tensor in graph.tensors.items():
            real = tensor.scale * (values[name].astype(np.float64) - tensor.zero_point)
            squared = float(np.square(real - exact[name]).sum())
            signal[name] += float(np.square(exact[name], dtype=np.float64).sum())
            noise[name] += squared
            if name == graph.output:
                wanted = exact[name].reshape(len(part), -1)
                equal += int((wanted.argmax(axis=1) == real.reshape(wanted.shape).argmax(1)).sum())
                outputs.append(wanted)
                errors += squared
    output = np.concatenate(outputs)
    variance = max(float(output.var(axis=0, dtype=np.float64).sum()), 1e-30)
    is_vector = graph.tensors[graph.output].shape[:2] == (1, 1) and output.shape[1] > 1
    return Quality(
        signal_to_noise={name: decibels(signal[name], noise[name]) for name in graph.tensors},
        output_error=errors / len(x) / variance,
        agreement=equal / len(x) if is_vector else None,
        samples=len(x),
    )
