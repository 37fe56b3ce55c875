"""The float graph: what a frontend reads from a model file, before any quantization.

It has the nodes and the NHWC tensors of :mod:`termac.graph.integer`, in floating point. Batch
normalization, scalings, ReLU and constants are already merged into the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from termac.errors import InputError
from termac.graph.samples import apply_host_op, check_samples, from_nhwc, to_nhwc

__all__ = [
    "FloatAdd",
    "FloatAvgPool",
    "FloatConv",
    "FloatGraph",
    "FloatMaxPool",
    "FloatNode",
    "FloatShortcut",
    "evaluate_node",
    "output_size",
]


def output_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Positions of a window along one axis; zero or less if it does not fit."""
    return (size + before + after - kernel) // stride + 1


@dataclass(frozen=True, kw_only=True)
class FloatConv:
    """Convolution, zeros outside the image, then the clamp of :func:`_activate`.

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

    name: str
    input: str
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    relu: bool = False
    ceiling: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class FloatAdd:
    """Element-wise addition of two tensors of one shape, with an optional ReLU."""

    name: str
    first: str
    second: str
    relu: bool = False
    ceiling: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class FloatMaxPool:
    """Maximum over a window; positions outside the image are ignored."""

    name: str
    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class FloatAvgPool:
    """Mean over a window, zeros outside the image. With kernel (1, 1): a ReLU on its own."""

    name: str
    input: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    relu: bool = False
    ceiling: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, kw_only=True)
class FloatShortcut:
    """Every ``stride``-th pixel, ``before`` and ``after`` zero channels added around."""

    name: str
    input: str
    stride: tuple[int, int]
    before: int
    after: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


FloatNode = FloatConv | FloatAdd | FloatMaxPool | FloatAvgPool | FloatShortcut


@dataclass
class FloatGraph:
    """Nodes in execution order and the shapes of the tensors they read and write.

    Parameters
    ----------
    name : str
    shapes : (height, width, channels) by tensor name; the input and one per node
    nodes : in topological order
    input, output : tensor names
    input_layout, output_layout : shape of one sample in the model's own layout
    host_op : ``"softmax"``, ``"log_softmax"`` or ``""``
    notes : what the frontend changed, one sentence each
    channels_first : the model's own layout is CHW (ONNX), not HWC
    properties : metadata of the model file
    """

    name: str
    shapes: dict[str, tuple[int, int, int]]
    nodes: list[FloatNode]
    input: str
    output: str
    input_layout: tuple[int, ...]
    output_layout: tuple[int, ...]
    host_op: str = ""
    notes: list[str] = field(default_factory=list)
    channels_first: bool = True
    properties: dict[str, str] = field(default_factory=dict)

    def consumers(self, tensor: str) -> list[FloatNode]:
        """Nodes that read a tensor, in execution order."""
        return [node for node in self.nodes if tensor in node.inputs]

    def samples(self, values: NDArray[np.generic], what: str = "input") -> NDArray[np.float32]:
        """Check samples in the model's own layout and reorder them to float32 NHWC.

        Raises
        ------
        InputError
            If the shape is wrong or a value is NaN or infinite.
        """
        checked = check_samples(values, self.input_layout, what)
        with np.errstate(over="ignore"):
            x = checked.astype(np.float32)
        if not np.isfinite(x).all():
            raise InputError(f"{what} holds values beyond the range of float32")
        return np.asarray(to_nhwc(x, self.shapes[self.input], self.channels_first), np.float32)

    def evaluate(self, x: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """All tensors for inputs ``[N, height, width, channels]``, by name, float32 NHWC.

        Memory grows with N: use :meth:`batches` or :meth:`predict` for many samples.
        """
        values = {self.input: np.asarray(x, np.float32)}
        for node in self.nodes:
            values[node.name] = evaluate_node(node, values)
        return values

    def batches(
        self, x: NDArray[np.floating], size: int = 32
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """:meth:`evaluate` for ``size`` samples at a time."""
        for start in range(0, len(x), size):
            yield self.evaluate(x[start : start + size])

    def predict(self, samples: NDArray[np.generic]) -> NDArray[np.float32]:
        """The model's float output ``[N, *output_layout]``, host operation included.

        ``samples`` are in the model's own layout.
        """
        results = [
            from_nhwc(values[self.output], self.output_layout, self.channels_first)
            for values in self.batches(self.samples(samples))
        ]
        return apply_host_op(np.concatenate(results), self.host_op)  # type: ignore[arg-type]


def _activate(y: NDArray[np.float32], relu: bool, ceiling: float | None) -> NDArray[np.float32]:
    if relu:
        np.maximum(y, 0, out=y)
        if ceiling is not None:
            np.minimum(y, np.float32(ceiling), out=y)
    return y


def _windows(
    x: NDArray[np.float32],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    fill: float,
) -> NDArray[np.float32]:
    """View ``[N, out_height, out_width, channels, kernel_height, kernel_width]``."""
    top, left, bottom, right = padding
    if any(padding):
        pads = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, pads, constant_values=fill)
    view = sliding_window_view(x, kernel, axis=(1, 2))  # type: ignore[call-overload]
    return view[:, :: stride[0], :: stride[1]]


def evaluate_node(node: FloatNode, values: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Output of one node, float32 NHWC, from the tensors it reads."""
    if isinstance(node, FloatAdd):
        return _activate(values[node.first] + values[node.second], node.relu, node.ceiling)
    x = values[node.input]
    if isinstance(node, FloatShortcut):
        x = x[:, :: node.stride[0], :: node.stride[1]]
        return np.pad(x, ((0, 0), (0, 0), (0, 0), (node.before, node.after)))
    if isinstance(node, FloatConv):
        out_channels, height, width, _ = node.weights.shape
        view = _windows(x, (height, width), node.stride, node.padding, 0.0)
        columns = view.transpose(0, 1, 2, 4, 5, 3).reshape(*view.shape[:3], -1)
        y = columns @ node.weights.reshape(out_channels, -1).T + node.bias
        return _activate(y, node.relu, node.ceiling)
    if isinstance(node, FloatMaxPool):
        view = _windows(x, node.kernel, node.stride, node.padding, -np.inf)
        return view.max(axis=(-2, -1))
    view = _windows(x, node.kernel, node.stride, node.padding, 0.0)
    return _activate(view.mean(axis=(-2, -1)), node.relu, node.ceiling)
