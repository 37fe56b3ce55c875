"""Parameter-free ("option A") shortcut: every n-th pixel, channels padded with zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from termac.graph.node import FloatNode, Node
from termac.graph.tensor import Shape, Tensor

__all__ = ["FloatShortcut", "Shortcut"]

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class FloatShortcut(FloatNode):
    """Every ``stride``-th pixel, ``before`` and ``after`` zero channels added around.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    stride : (y, x)
    before, after : numbers of channels
    """

    KEEPS_VALUES = True

    input: str
    stride: tuple[int, int]
    before: int
    after: int

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return _output_shape(self, shapes[self.input])

    def evaluate(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return _widened(self, values[self.input], 0)


@dataclass(frozen=True, kw_only=True)
class Shortcut(Node):
    """Every ``stride``-th pixel in integers, channels padded with the zero point.

    ``y[i, j, before + c] = x[i*sy, j*sx, c]``; other channels hold the zero point. Scale, zero
    point and bits of input and output are the same.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    stride : (y, x)
    before, after : numbers of channels
    """

    input: str
    stride: tuple[int, int]
    before: int
    after: int

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return _output_shape(self, shapes[self.input])

    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        return _widened(self, values[self.input], tensors[self.input].zero_point)


def _output_shape(node: FloatShortcut | Shortcut, source: Shape) -> Shape:
    if min(node.stride) < 1 or min(node.before, node.after) < 0:
        raise ValueError(f"stride {node.stride} with {node.before} and {node.after} channels")
    height, width = (-(-source[axis] // node.stride[axis]) for axis in range(2))
    return height, width, node.before + source[2] + node.after


def _widened(node: FloatShortcut | Shortcut, x: NDArray[Value], fill: int) -> NDArray[Value]:
    x = x[:, :: node.stride[0], :: node.stride[1]]
    pads = ((0, 0), (0, 0), (0, 0), (node.before, node.after))
    return np.pad(x, pads, constant_values=fill)
