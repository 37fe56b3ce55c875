"""What is doubtful about calibration data, one line each: numbers chosen from it may mean little.

A range that follows from one sample, or from a blank picture sent by mistake, quantizes without
any error and computes nonsense afterwards. Nothing here changes a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.compress.quantize.calibrate import counted_tensors
from termac.graph import FloatGraph, Graph, Tensor
from termac.graph.inputs import clipped

__all__ = ["CONSTANT_SHARE", "SAMPLES", "SATURATED_SHARE", "calibration_findings"]

CONSTANT_SHARE = 0.01
"""Values that differ by less than this share of the largest magnitude are nearly constant."""
SATURATED_SHARE = 0.05
"""Share of clipped calibration values from which on a tensor is worth a word."""
SAMPLES = 256
"""Samples that are looked at inside the network, the first ones; of the input, all."""


def calibration_findings(
    model: FloatGraph, graph: Graph, calibration: NDArray[np.generic]
) -> list[str]:
    """What is doubtful about a calibration, one line each; empty if nothing is.

    Parameters
    ----------
    model : FloatGraph
        Whose tensors were calibrated.
    graph : Graph
        The same network in integers.
    calibration : [N, *input_layout]
        Samples in the model's own layout, as the calibration had them.

    Raises
    ------
    InputError
        If the calibration data has the wrong shape, or holds NaN or infinity.
    """
    x = model.samples(calibration, "calibration data")
    seen = {name: _Seen() for name in counted_tensors(model)}
    first = _Seen()
    first.add(x, graph.tensors[graph.input])
    findings = [] if first.is_constant else _few_samples(x)
    for values in model.batches(x[:SAMPLES]):
        for name, found in seen.items():
            found.add(values[name], graph.tensors[name])
    for name, found in {**seen, graph.input: first}.items():
        line = found.finding(graph.tensors[name])
        if line is not None:
            findings.append(line)
    return findings


def _few_samples(x: NDArray[np.float32]) -> list[str]:
    """Whether samples [N, height, width, channels] are one, or as good as one."""
    advice = "every range follows from it alone; 100 to 1000 typical samples are plenty"
    if len(x) == 1:
        return [f"the calibration is a single sample: {advice}"]
    spread = float((x.max(axis=0) - x.min(axis=0)).max())
    if spread <= CONSTANT_SHARE * float(np.abs(x).max()):
        return [f"all {len(x)} samples of the calibration are nearly the same sample: {advice}"]
    return []


@dataclass
class _Seen:
    """Extremes of the values of a tensor, and how many were clipped."""

    least: float = np.inf
    greatest: float = -np.inf
    values: int = 0
    clipped: int = 0

    def add(self, values: NDArray[np.float32], tensor: Tensor) -> None:
        self.least = min(self.least, float(values.min()))
        self.greatest = max(self.greatest, float(values.max()))
        self.values += values.size
        self.clipped += int(np.count_nonzero(clipped(values, tensor)))

    @property
    def is_constant(self) -> bool:
        """Whether all values are nearly the same."""
        magnitude = max(abs(self.least), abs(self.greatest))
        return self.greatest - self.least <= CONSTANT_SHARE * magnitude

    def finding(self, tensor: Tensor) -> str | None:
        """One line, if these values are no good to calibrate a tensor with."""
        low, high = tensor.span
        share = self.clipped / self.values
        if self.is_constant:
            what = f"constant ({self.least:.4g})"
            if self.least != self.greatest:
                what = f"nearly constant ({self.least:.4g}..{self.greatest:.4g})"
            return (
                f"the calibration of tensor {tensor.name!r} is {what}: that it holds {low:.4g}.."
                f"{high:.4g} is no more than an assumption; calibrate with typical samples"
            )
        if share >= SATURATED_SHARE:
            return (
                f"calibration clips {share:.1%} of the values of tensor {tensor.name!r}: they span "
                f"{self.least:.4g}..{self.greatest:.4g}, it holds {low:.4g}..{high:.4g}; look for "
                "samples with outliers, or give activations more bits"
            )
        return None
