"""Between a model's own sample layout and the NHWC tensors of a graph."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError

__all__ = ["apply_host_op", "check_samples", "from_nhwc", "to_nhwc"]


def check_samples(
    samples: NDArray[np.generic], layout: tuple[int, ...], what: str = "input"
) -> NDArray[np.generic]:
    """Samples as an array ``[N, *layout]``; one sample may come without the batch axis.

    Raises
    ------
    InputError
        If shape or type do not fit, there is no sample, or a value is NaN or infinite.
    """
    samples = np.asarray(samples)
    given = samples.shape
    if samples.ndim == len(layout):
        samples = samples[None]
    wanted = "x".join(("N", *map(str, layout)))
    if samples.ndim != len(layout) + 1 or samples.shape[1:] != tuple(layout):
        found, remedy = "x".join(map(str, given)), _remedy(given, tuple(layout))
        raise InputError(f"{what} has shape {found}, the model takes {wanted}{remedy}")
    if len(samples) == 0:
        raise InputError(f"{what} holds no samples; the model takes {wanted} with N >= 1")
    if samples.dtype.kind not in "fiu":
        raise InputError(f"{what} is of type {samples.dtype}, must be floating point or integer")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        first = np.argwhere(~np.isfinite(samples))[0].tolist()
        raise InputError(f"{what} holds NaN or infinity, first in sample {first[0]} at {first[1:]}")
    return samples


def _remedy(shape: tuple[int, ...], layout: tuple[int, ...]) -> str:
    """What makes samples of a shape fit a layout, if it is one of the usual mistakes."""
    if len(layout) != 3:
        return ""
    for sample in (shape, shape[1:]):
        if sample == (*layout[1:], layout[0]):
            axes = "(0, 3, 1, 2)" if len(shape) == 4 else "(2, 0, 1)"
            return f": these are channels last (NHWC); give numpy.transpose(x, {axes})"
        if sample == (layout[2], *layout[:2]):
            axes = "(0, 2, 3, 1)" if len(shape) == 4 else "(1, 2, 0)"
            return f": these are channels first (NCHW); give numpy.transpose(x, {axes})"
        if 1 in layout and sample == tuple(size for size in layout if size != 1):
            return f": the axis of one channel is missing; give x.reshape(-1, {str(layout)[1:]}"
    return ""


def to_nhwc(
    samples: NDArray[np.generic], shape: tuple[int, int, int], channels_first: bool = True
) -> NDArray[np.generic]:
    """Reorder ``[N, *layout]`` to ``[N, height, width, channels]``.

    Channels-first samples of any layout are read as ``[N, channels, height, width]`` in C order,
    so a flat vector ``[N, features]`` fits an image tensor and the other way round.
    """
    height, width, channels = shape
    if not channels_first:
        return np.ascontiguousarray(samples.reshape(-1, height, width, channels))
    planes = samples.reshape(-1, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def from_nhwc(
    values: NDArray[np.generic], layout: tuple[int, ...], channels_first: bool = True
) -> NDArray[np.generic]:
    """Inverse of :func:`to_nhwc`."""
    if math.prod(values.shape[1:]) != math.prod(layout):
        raise InputError(
            f"output has {math.prod(values.shape[1:])} values a sample, the model has "
            f"{math.prod(layout)}"
        )
    if channels_first:
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values).reshape(len(values), *layout)


def apply_host_op(values: NDArray[np.floating], host_op: str) -> NDArray[np.floating]:
    """What the host computes on real outputs ``[N, ..., classes]``: softmax, log_softmax or none.

    Raises
    ------
    ValueError
        If ``host_op`` is unknown.
    """
    if host_op == "":
        return values
    shifted = values - values.max(axis=-1, keepdims=True)
    total = np.exp(shifted).sum(axis=-1, keepdims=True)
    if host_op == "softmax":
        return np.exp(shifted) / total
    if host_op == "log_softmax":
        return shifted - np.log(total)
    raise ValueError(f"unknown host operation {host_op!r}")
