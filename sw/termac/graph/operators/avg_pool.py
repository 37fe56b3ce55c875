"""Mean over a window. With a window of one pixel it is a ReLU on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.graph.node import FloatActivated, Node, Requantized
from termac.graph.tensor import Shape, Tensor
from termac.graph.windows import window_shape, windows

__all__ = ["AvgPool", "FloatAvgPool"]


@dataclass(frozen=True, kw_only=True)
class FloatAvgPool(FloatActivated):
    """Mean over a window, zeros outside the image. With kernel (1, 1): a ReLU on its own.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    kernel, stride : (y, x)
    padding : (top, left, bottom, right)
    relu : clamp below at 0
    ceiling : clamp above, or None; only with ``relu``
    """

    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return window_shape(shapes[self.input], self.kernel, self.stride, self.padding)

    def evaluate(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        view = windows(values[self.input], self.kernel, self.stride, self.padding, 0.0)
        return self.activated(view.mean(axis=(-2, -1)))


@dataclass(frozen=True, kw_only=True)
class AvgPool(Requantized, Node):
    """Mean over a window: ``clamp(requantize(sum(x - z_in), multiplier, shift) + z_out)``.

    The multiplier holds the division by the window and the change of scale. Positions outside the
    image count as real zeros (``count_include_pad``).

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    kernel, stride : (y, x)
    padding : (top, left, bottom, right)
    multiplier, shift : 0 .. 2**31-1 and 0..31
    low, high : clamp of the stored value (fused ReLU included)
    """

    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    multiplier: int
    shift: int
    low: int
    high: int

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return window_shape(shapes[self.input], self.kernel, self.stride, self.padding)

    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        zero = tensors[self.input].zero_point
        view = windows(values[self.input], self.kernel, self.stride, self.padding, zero)
        total = view.sum(axis=(-2, -1), dtype=np.int64) - self.kernel[0] * self.kernel[1] * zero
        return self.requantized(total, tensors[self.name].zero_point)
