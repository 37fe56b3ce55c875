"""Maximum over a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.graph.node import FloatNode, Node
from termac.graph.tensor import Shape, Tensor
from termac.graph.windows import window_shape, windows

__all__ = ["FloatMaxPool", "MaxPool"]


@dataclass(frozen=True, kw_only=True)
class FloatMaxPool(FloatNode):
    """Maximum over a window; positions outside the image are ignored.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    kernel, stride : (y, x)
    padding : (top, left, bottom, right)
    """

    KEEPS_VALUES = True

    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return window_shape(shapes[self.input], self.kernel, self.stride, self.padding)

    def evaluate(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        view = windows(values[self.input], self.kernel, self.stride, self.padding, -np.inf)
        return view.max(axis=(-2, -1))


@dataclass(frozen=True, kw_only=True)
class MaxPool(Node):
    """Maximum over a window; positions outside the image are ignored. Scale and zero point stay.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    kernel, stride : (y, x)
    padding : (top, left, bottom, right)
    """

    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return window_shape(shapes[self.input], self.kernel, self.stride, self.padding)

    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        view = windows(values[self.input], self.kernel, self.stride, self.padding, -128)
        return view.max(axis=(-2, -1))
