"""Convolution, and the fully connected layer as a convolution over the whole image.

The integer products are matrix products of integers held in floating point, because BLAS is fast.
They are exact: every product and every partial sum, in whatever order, is an integer of at most
``max_x * sum |w|``. Below 2**24 float32 and below 2**53 float64 represent all of them. The dtype is
chosen by that bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.errors import ModelError
from termac.graph.node import FloatActivated, Node, Requantized
from termac.graph.tensor import Shape, Tensor
from termac.graph.windows import window_shape, windows
from termac.terms.digits import limit
from termac.terms.terms import Terms

__all__ = ["Conv", "FloatConv"]


@dataclass(frozen=True, kw_only=True)
class FloatConv(FloatActivated):
    """Convolution, zeros outside the image, then the clamp of a ReLU.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    weights : float32 [out_channels, kernel_height, kernel_width, in_channels]
    bias : float32 [out_channels]
    stride : (y, x)
    padding : (top, left, bottom, right)
    relu : clamp below at 0
    ceiling : clamp above, or None; only with ``relu``
    """

    input: str
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def kernel(self) -> tuple[int, int]:
        """Window (y, x)."""
        return _kernel(self)

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return _output_shape(self, shapes[self.input])

    def evaluate(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        view = windows(values[self.input], self.kernel, self.stride, self.padding, 0.0)
        columns = view.transpose(0, 1, 2, 4, 5, 3).reshape(*view.shape[:3], -1)
        y = columns @ self.weights.reshape(len(self.weights), -1).T + self.bias
        return self.activated(y)


@dataclass(frozen=True, kw_only=True)
class Conv(Requantized, Node):
    """Convolution in integers.

    ``acc[o] = bias[o] + sum_{ky,kx,i} weights[o,ky,kx,i] * (x[y*sy+ky-pt, x*sx+kx-pl, i] - z_in)``,
    outside the image x = z_in. Then
    ``y = clamp(requantize(acc, multiplier[o], shift[o]) + z_out, low, high)``.

    Parameters
    ----------
    name : str
        Also the name of the output tensor.
    input : str
    weights : int8 or int16 [out_channels, kernel_height, kernel_width, in_channels]
        Within +-255; more than int8 holds only where ``terms`` says how.
    bias : int32 [out_channels], in units of input scale * weight scale (no zero point folded in)
    multiplier : int32 [out_channels], 0 .. 2**31-1
    shift : int [out_channels], 0..31, right shift
    stride : (y, x)
    padding : (top, left, bottom, right)
    low, high : clamp of the stored value (fused ReLU included)
    weight_scale : float64 [out_channels], for reports only
    terms : how to split it, where cells keep terms; None: whatever loses nothing
    """

    input: str
    weights: NDArray[np.int8] = field(metadata={"dtype": np.int16})
    bias: NDArray[np.int32] = field(metadata={"dtype": np.int32})
    multiplier: NDArray[np.int32] = field(metadata={"dtype": np.int32})
    shift: NDArray[np.int32] = field(metadata={"dtype": np.int32})
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    low: int
    high: int
    weight_scale: NDArray[np.float64] | None = field(default=None, metadata={"dtype": np.float64})
    terms: Terms | None = None

    @property
    def kernel(self) -> tuple[int, int]:
        """Window (y, x)."""
        return _kernel(self)

    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        return _output_shape(self, shapes[self.input])

    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        sums = self.accumulate(values[self.input], tensors[self.input])
        return self.requantized(sums, tensors[self.name].zero_point)

    def accumulate(self, x: NDArray[np.int8], source: Tensor) -> NDArray[np.int64]:
        """Accumulators before requantization, ``[N, height, width, channels]``.

        With ``terms.data`` only the largest terms of ``x - zero point`` count.

        Parameters
        ----------
        x : int8 [N, height, width, channels]
        source : the tensor that ``x`` are values of

        Raises
        ------
        ModelError
            If an accumulator exceeds int32, where the hardware would wrap around.
        """
        low, _ = source.limits
        taken = self._taken(source)
        largest = int(np.abs(taken).max())
        magnitude = np.abs(self.weights.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0)
        dtype = np.float32 if largest * int(magnitude) < 1 << 24 else np.float64
        if self.terms is not None and self.terms.data:
            centred = taken.astype(dtype)[x.astype(np.int16) - low]
        else:
            centred = np.subtract(x, source.zero_point, dtype=dtype)
        view = windows(centred, self.kernel, self.stride, self.padding, 0)
        columns = view.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.weights[0].size)
        matrix = self.weights.reshape(len(self.weights), -1).T.astype(dtype)
        sums = (columns @ matrix).astype(np.int64) + self.bias
        if sums.min(initial=0) < -(1 << 31) or sums.max(initial=0) >= 1 << 31:
            raise ModelError(f"layer {self.name!r}: an accumulator exceeds 32 bits")
        return sums.reshape(*view.shape[:3], len(self.weights))

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        channels = self.weights.shape[:1]
        vectors = (self.bias, self.multiplier, self.shift)
        if self.weights.ndim != 4 or any(array.shape != channels for array in vectors):
            raise ValueError("arrays are of differing channels")
        super().check(tensors)

    def _taken(self, source: Tensor) -> NDArray[np.int64]:
        """What every stored value counts as, from the smallest to the largest."""
        low, high = source.limits
        centred = np.arange(low, high + 1) - source.zero_point
        if self.terms is None or not self.terms.data:
            return centred
        budget, encoding = self.terms.data, self.terms.encoding
        return limit(centred[:, None], group=1, budget=budget, encoding=encoding)[:, 0]


def _kernel(node: FloatConv | Conv) -> tuple[int, int]:
    _, height, width, _ = node.weights.shape
    return height, width


def _output_shape(node: FloatConv | Conv, source: Shape) -> Shape:
    filters, *_, channels = node.weights.shape
    if channels != source[2]:
        raise ValueError(f"weights take {channels} channels, the input has {source[2]}")
    height, width, _ = window_shape(source, node.kernel, node.stride, node.padding)
    return height, width, filters
