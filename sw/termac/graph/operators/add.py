"""Element-wise addition of two tensors of one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.graph.node import FloatActivated, Node, Requantized
from termac.graph.requantize import requantize
from termac.graph.tensor import Shape, Tensor

__all__ = ["ADD_SHIFT", "Add", "FloatAdd"]

ADD_SHIFT = 20
"""Left shift of the operands of an addition, as in TFLite."""


@dataclass(frozen=True, kw_only=True)
class FloatAdd(FloatActivated):
    """Element-wise addition of two tensors of one shape, with an optional ReLU.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    first, second : names of the tensors that are added
    relu : clamp below at 0
    ceiling : clamp above, or None; only with ``relu``
    """

    READS = ("first", "second")

    first: str
    second: str

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return _output_shape(shapes[self.first], shapes[self.second])

    def evaluate(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return self.activated(values[self.first] + values[self.second])


@dataclass(frozen=True, kw_only=True)
class Add(Requantized, Node):
    """Element-wise addition of two tensors of one shape, as TFLite's int8 ADD.

    ``t_k = requantize((x_k - z_k) << 20, multiplier_k, shift_k)``;
    ``y = clamp(requantize(t_0 + t_1, multiplier, shift) + z_out, low, high)``.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    first, second : names of the tensors that are added
    multipliers, shifts : of the two operands, 0 .. 2**31-1 and 0..31
    multiplier, shift : of the sum, 0 .. 2**31-1 and 0..31
    low, high : clamp of the stored value (fused ReLU included)
    """

    READS = ("first", "second")

    first: str
    second: str
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    multiplier: int
    shift: int
    low: int
    high: int

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return _output_shape(shapes[self.first], shapes[self.second])

    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        total = np.zeros(1, np.int64)
        for name, multiplier, shift in zip(self.inputs, self.multipliers, self.shifts, strict=True):
            centred = values[name].astype(np.int64) - tensors[name].zero_point
            total = total + requantize(centred << ADD_SHIFT, multiplier, shift)
        return self.requantized(total, tensors[self.name].zero_point)


def _output_shape(first: Shape, second: Shape) -> Shape:
    if first != second:
        raise ValueError(f"operands differ in shape: {first} and {second}")
    return first
