"""The integer graph: what a quantized network computes, independent of any hardware.

Tensors are NHWC without the batch axis: ``(height, width, channels)``; a vector is ``(1, 1, n)``.
A node reads tensors by name and writes one tensor that carries its own name. Values are ``int8``
within ``bits`` bits: ``-2**(bits-1) .. 2**(bits-1)-1``; real = scale * (value - zero_point).

The arithmetic is TFLite's reference: see :mod:`termac.graph.requantize`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.terms.terms import Terms

__all__ = [
    "Add",
    "AvgPool",
    "Conv",
    "Graph",
    "MaxPool",
    "Node",
    "Shortcut",
    "Tensor",
]


@dataclass(frozen=True)
class Tensor:
    """A quantized activation tensor (one image).

    Parameters
    ----------
    name : str
    shape : (height, width, channels)
    scale, zero_point : real = scale * (value - zero_point)
    bits : 1..8
    """

    name: str
    shape: tuple[int, int, int]
    scale: float
    zero_point: int
    bits: int = 8

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest stored value."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1


@dataclass(frozen=True, kw_only=True)
class Conv:
    """Convolution, or a fully connected layer as a convolution over the whole input.

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

    name: str
    input: str
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    low: int
    high: int
    weight_scale: NDArray[np.float64] | None = None
    terms: Terms | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class Add:
    """Element-wise addition of two tensors of one shape, as TFLite's int8 ADD.

    ``t_k = requantize((x_k - z_k) << 20, multiplier_k, shift_k)``;
    ``y = clamp(requantize(t_0 + t_1, multiplier, shift) + z_out, low, high)``.
    """

    name: str
    first: str
    second: str
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    multiplier: int
    shift: int
    low: int
    high: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """Maximum over a window; positions outside the image are ignored. Scale and zero point stay.

    ``padding`` is (top, left, bottom, right).
    """

    name: str
    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class AvgPool:
    """Mean over a window: ``clamp(requantize(sum(x - z_in), multiplier, shift) + z_out)``.

    The multiplier holds the division by the window and the change of scale. Positions outside the
    image count as real zeros (``count_include_pad``).
    """

    name: str
    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    multiplier: int
    shift: int
    low: int
    high: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """Parameter-free ("option A") shortcut: every ``stride``-th pixel, channels padded with zeros.

    ``y[i, j, before + c] = x[i*sy, j*sx, c]``; other channels hold the zero point. Scale, zero
    point and bits of input and output are the same.
    """

    name: str
    input: str
    stride: tuple[int, int]
    before: int
    after: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


Node = Conv | Add | MaxPool | AvgPool | Shortcut


@dataclass
class Graph:
    """Nodes in execution order and the tensors they read and write.

    Parameters
    ----------
    name : str
    tensors : by name; the input and one per node
    nodes : in topological order
    input, output : tensor names
    input_layout : shape of one sample in the model's own layout, e.g. ``(1, 28, 28)`` (CHW)
    output_layout : shape of one output sample in the model's own layout, e.g. ``(10,)``
    host_op : ``"softmax"``, ``"log_softmax"`` or ``""``: what the host applies to the real output
    notes : what was changed on the way from the model, one sentence each
    channels_first : the model's own layout is CHW (ONNX); False: HWC (TFLite)
    """

    name: str
    tensors: dict[str, Tensor]
    nodes: list[Node]
    input: str
    output: str
    input_layout: tuple[int, ...]
    output_layout: tuple[int, ...]
    host_op: str = ""
    notes: list[str] = field(default_factory=list)
    channels_first: bool = True

    def consumers(self, tensor: str) -> list[Node]:
        """Nodes that read a tensor, in execution order."""
        return [node for node in self.nodes if tensor in node.inputs]

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
