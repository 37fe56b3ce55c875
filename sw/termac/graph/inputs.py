"""From samples in a model's own units to the stored values of a graph's input."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError, InputWarning
from termac.graph.integer import Graph
from termac.graph.samples import check_samples, to_nhwc
from termac.graph.tensor import Tensor

__all__ = [
    "CLIPPED_SHARE",
    "check_range",
    "clip_input",
    "clipped",
    "quantize_input",
    "quantize_values",
]

CLIPPED_SHARE = 0.01
"""Share of clipped input values from which on they are worth a word."""


def quantize_input(
    graph: Graph, samples: NDArray[np.generic], *, quantized: bool = False
) -> NDArray[np.int8]:
    """Samples in the model's own layout as the graph's int8 input ``[N, height, width, channels]``.

    Samples are real values of the model's own input, whether they come as integers or in floating
    point: they are divided by the input's scale, rounded (ties to even) and clipped.

    Parameters
    ----------
    graph : Graph
    samples : [N, *input_layout], or one sample without the batch axis
    quantized : bool
        The samples are stored values of the input tensor already. They must be integers.

    Warns
    -----
    InputWarning
        If more than :data:`CLIPPED_SHARE` of the values are clipped.

    Raises
    ------
    InputError
        If the shape is wrong, a value is NaN or infinite, or a stored value is out of range or no
        integer.
    """
    values, finding = clip_input(graph, samples, quantized=quantized)
    if finding is not None:
        warnings.warn(finding, InputWarning, stacklevel=2)
    return values


def clip_input(
    graph: Graph, samples: NDArray[np.generic], *, quantized: bool = False
) -> tuple[NDArray[np.int8], str | None]:
    """What :func:`quantize_input` returns, and its warning as a text.

    Returns
    -------
    values : int8 [N, height, width, channels]
    finding : str or None
        One line if more than :data:`CLIPPED_SHARE` of the values are clipped.

    Raises
    ------
    InputError
        If :func:`quantize_input` raises it.
    """
    tensor = graph.tensors[graph.input]
    samples = check_samples(samples, graph.input_layout)
    finding = None
    if quantized:
        if samples.dtype.kind == "f":
            raise InputError(
                f"input is of type {samples.dtype}, but stored values are integers: these are real "
                "values, so leave out that they are quantized"
            )
        check_range(samples, tensor)
        values = samples.astype(np.int8)
    else:
        finding = _clipping(samples, tensor)
        values = quantize_values(samples, tensor)
    return np.asarray(to_nhwc(values, tensor.shape, graph.channels_first), np.int8), finding


def quantize_values(values: NDArray[np.generic], tensor: Tensor) -> NDArray[np.int8]:
    """Real values as stored values of a tensor: rounded (ties to even) and clipped."""
    low, high = tensor.limits
    return np.clip(_rounded(values, tensor), low, high).astype(np.int8)


def check_range(values: NDArray[np.generic], tensor: Tensor) -> None:
    """Stored values must be what the bits of their tensor hold.

    Raises
    ------
    InputError
        Names the range of the values and that of the tensor.
    """
    low, high = tensor.limits
    smallest, largest = int(values.min()), int(values.max())
    if smallest < low or largest > high:
        raise InputError(
            f"input values span {smallest}..{largest}, tensor {tensor.name!r} of {tensor.bits} "
            f"bits holds {low}..{high}"
        )


def _rounded(values: NDArray[np.generic], tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(np.rint(values.astype(np.float64) / tensor.scale) + tensor.zero_point)


def clipped(values: NDArray[np.generic], tensor: Tensor) -> NDArray[np.bool_]:
    """Where real values are beyond what a tensor holds, and by more than rounding."""
    low, high = tensor.limits
    rounded = _rounded(values, tensor)
    return np.asarray((rounded < low) | (rounded > high))


def _clipping(samples: NDArray[np.generic], tensor: Tensor) -> str | None:
    """One line if too many samples lie outside what a tensor holds."""
    share = float(np.mean(clipped(samples, tensor)))
    if share <= CLIPPED_SHARE:
        return None
    first, last = tensor.span
    return (
        f"{share:.1%} of the input values are clipped: they span {samples.min():.4g}.."
        f"{samples.max():.4g}, input {tensor.name!r} holds {first:.4g}..{last:.4g} since "
        "calibration; scale them as the calibration data, or calibrate with samples like these"
    )
