"""Windows that slide over the pixels of NHWC tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from termac.graph.tensor import Shape

__all__ = ["output_size", "window_shape", "windows"]


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Positions of a window along one axis; zero or less if it does not fit."""
    return (size + before + after - kernel) // stride + 1


def window_shape(
    shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> Shape:
    """Shape of a tensor with one value per window and channel.

    Parameters
    ----------
    shape : (height, width, channels)
    kernel, stride : (y, x)
    padding : (top, left, bottom, right)

    Raises
    ------
    ValueError
        If a number is out of range or no window fits.
    """
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        raise ValueError(f"window {kernel} with stride {stride} and padding {padding}")
    height, width = (
        output_size(shape[axis], kernel[axis], stride[axis], padding[axis], padding[axis + 2])
        for axis in range(2)
    )
    if min(height, width) < 1:
        raise ValueError(f"a window of {kernel} does not fit {shape[:2]} pixels")
    return height, width, shape[2]


def windows(
    x: NDArray[Any],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    fill: float,
) -> NDArray[Any]:
    """View ``[N, out_height, out_width, channels, kernel_height, kernel_width]``.

    Parameters
    ----------
    x : [N, height, width, channels]
    kernel, stride : (y, x)
    padding : (top, left, bottom, right)
    fill : value of the padding
    """
    top, left, bottom, right = padding
    if any(padding):
        pads = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, pads, constant_values=fill)
    view = sliding_window_view(x, kernel, axis=(1, 2))  # type: ignore[call-overload]
    return view[:, :: stride[0], :: stride[1]]
