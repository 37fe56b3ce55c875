"""The golden model: what an integer graph computes, exactly, in NumPy.

Convolutions are matrix products of integers held in floating point, because BLAS is fast. They are
exact: every product and every partial sum, in whatever order, is an integer of at most
``max_x * sum |w|``; below 2**24 float32 and below 2**53 float64 represent all of them. The dtype is
chosen by that bound. Nothing here knows the compiler or the hardware.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from termac.errors import InputError, ModelError
from termac.graph.integer import Add, AvgPool, Conv, Graph, MaxPool, Node, Shortcut, Tensor
from termac.graph.requantize import requantize
from termac.graph.samples import apply_host_op, check_samples, from_nhwc, to_nhwc
from termac.terms.digits import limit

__all__ = [
    "accumulate",
    "dequantize_output",
    "quantize_input",
    "quantize_values",
    "run",
    "run_node",
]

ADD_SHIFT = 20
"""Left shift of the operands of an addition, as in TFLite."""


def run(
    graph: Graph, x: NDArray[np.int8], *, outputs_only: bool = False, batch: int = 16
) -> dict[str, NDArray[np.int8]]:
    """All tensors of a graph for given inputs, by name, int8 ``[N, height, width, channels]``.

    Parameters
    ----------
    graph : Graph
    x : int8 [N, height, width, channels]
        Input, already quantized: see :func:`quantize_input`.
    outputs_only : bool
        Keep only the graph's output.
    batch : int
        Samples at a time; bounds the working memory, does not change any value.

    Raises
    ------
    InputError
        If ``x`` has the wrong shape, type or range.
    """
    tensor = graph.tensors[graph.input]
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[1:] != tensor.shape or len(x) == 0:
        found, wanted = "x".join(map(str, x.shape)), "x".join(map(str, ("N", *tensor.shape)))
        raise InputError(f"input has shape {found}, the graph takes {wanted} with N >= 1")
    if x.dtype.kind not in "iu":
        raise InputError(f"input is of type {x.dtype}, must be integer: see quantize_input")
    _check_range(x, tensor)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch!r}")
    names = [graph.output] if outputs_only else list(graph.tensors)
    kept = {name: np.empty((len(x), *graph.tensors[name].shape), np.int8) for name in names}
    last_reader = {name: node for node in graph.nodes for name in node.inputs}
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        values = {graph.input: x[part].astype(np.int8)}
        for node in graph.nodes:
            values[node.name] = run_node(graph, node, values)
            if outputs_only:
                for name in set(node.inputs):
                    if last_reader[name] is node and name != graph.output:
                        del values[name]
        for name in names:
            kept[name][part] = values[name]
    return kept


def run_node(graph: Graph, node: Node, values: dict[str, NDArray[np.int8]]) -> NDArray[np.int8]:
    """The output of one node, int8 ``[N, height, width, channels]``, from its inputs by name."""
    out = graph.tensors[node.name]
    if isinstance(node, Conv):
        y = requantize(accumulate(graph, node, values[node.input]), node.multiplier, node.shift)
        return np.clip(y + out.zero_point, node.low, node.high).astype(np.int8)
    if isinstance(node, Add):
        total = np.zeros(1, np.int64)
        for name, multiplier, shift in zip(node.inputs, node.multipliers, node.shifts, strict=True):
            centred = values[name].astype(np.int64) - graph.tensors[name].zero_point
            total = total + requantize(centred << ADD_SHIFT, multiplier, shift)
        y = requantize(total, node.multiplier, node.shift) + out.zero_point
        return np.clip(y, node.low, node.high).astype(np.int8)
    x = values[node.input]
    if isinstance(node, Shortcut):
        zero = graph.tensors[node.input].zero_point
        x = x[:, :: node.stride[0], :: node.stride[1]]
        pads = ((0, 0), (0, 0), (0, 0), (node.before, node.after))
        return np.pad(x, pads, constant_values=zero)
    if isinstance(node, MaxPool):
        return _windows(x, node.kernel, node.stride, node.padding, -128).max(axis=(-2, -1))
    if isinstance(node, AvgPool):
        zero = graph.tensors[node.input].zero_point
        view = _windows(x, node.kernel, node.stride, node.padding, zero)
        area = node.kernel[0] * node.kernel[1]
        total = view.sum(axis=(-2, -1), dtype=np.int64) - area * zero
        y = requantize(total, node.multiplier, node.shift) + out.zero_point
        return np.clip(y, node.low, node.high).astype(np.int8)
    raise ModelError(f"node {getattr(node, 'name', node)!r} is of no known kind")


def accumulate(graph: Graph, node: Conv, x: NDArray[np.int8]) -> NDArray[np.int64]:
    """Accumulators of a convolution before requantization, ``[N, height, width, channels]``.

    With ``node.terms.data`` only the largest terms of ``x - zero point`` count.

    Raises
    ------
    ModelError
        If an accumulator exceeds int32, where the hardware would wrap around.
    """
    tensor = graph.tensors[node.input]
    out_channels, height, width, _ = node.weights.shape
    low, _ = tensor.limits
    taken = _taken(tensor, node)
    largest = int(np.abs(taken).max())
    magnitude = np.abs(node.weights.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0)
    dtype = np.float32 if largest * int(magnitude) < 1 << 24 else np.float64
    if node.terms is not None and node.terms.data:
        centred = taken.astype(dtype)[x.astype(np.int16) - low]
    else:
        centred = np.subtract(x, tensor.zero_point, dtype=dtype)
    view = _windows(centred, (height, width), node.stride, node.padding, 0)
    columns = view.transpose(0, 1, 2, 4, 5, 3).reshape(-1, node.weights[0].size)
    matrix = node.weights.reshape(out_channels, -1).T.astype(dtype)
    sums = (columns @ matrix).astype(np.int64) + node.bias
    if sums.min(initial=0) < -(1 << 31) or sums.max(initial=0) >= 1 << 31:
        raise ModelError(f"layer {node.name!r}: an accumulator exceeds 32 bits")
    return sums.reshape(*view.shape[:3], out_channels)


def quantize_input(graph: Graph, samples: NDArray[np.generic]) -> NDArray[np.int8]:
    """Samples in the model's own layout as the graph's int8 input ``[N, height, width, channels]``.

    Floating point is divided by the input's scale, rounded (ties to even) and clipped; integers
    are taken as already quantized.

    Raises
    ------
    InputError
        If the shape is wrong, a float is NaN or infinite, or an integer is out of range.
    """
    tensor = graph.tensors[graph.input]
    samples = check_samples(samples, graph.input_layout)
    if samples.dtype.kind == "f":
        values = quantize_values(samples, tensor)
    else:
        _check_range(samples, tensor)
        values = samples.astype(np.int8)
    return np.asarray(to_nhwc(values, tensor.shape, graph.channels_first), np.int8)


def quantize_values(values: NDArray[np.generic], tensor: Tensor) -> NDArray[np.int8]:
    """Real values as stored values of a tensor: rounded (ties to even) and clipped."""
    low, high = tensor.limits
    scaled = np.rint(values.astype(np.float64) / tensor.scale) + tensor.zero_point
    return np.clip(scaled, low, high).astype(np.int8)


def dequantize_output(graph: Graph, y: NDArray[np.int8]) -> NDArray[np.float64]:
    """The graph's output ``[N, height, width, channels]`` as reals ``[N, *output_layout]``.

    The host operation (softmax or log_softmax, if any) is applied.
    """
    tensor = graph.tensors[graph.output]
    real = tensor.scale * (np.asarray(y, np.float64) - tensor.zero_point)
    laid_out = from_nhwc(real, graph.output_layout, graph.channels_first)
    return np.asarray(apply_host_op(np.asarray(laid_out, np.float64), graph.host_op), np.float64)


def _taken(tensor: Tensor, node: Conv) -> NDArray[np.int64]:
    """What a convolution takes every stored value for, from the smallest to the largest."""
    low, high = tensor.limits
    centred = np.arange(low, high + 1) - tensor.zero_point
    if node.terms is None or not node.terms.data:
        return centred
    terms = node.terms
    return limit(centred[:, None], group=1, budget=terms.data, encoding=terms.encoding)[:, 0]


def _check_range(values: NDArray[np.generic], tensor: Tensor) -> None:
    low, high = tensor.limits
    smallest, largest = int(values.min()), int(values.max())
    if smallest < low or largest > high:
        raise InputError(
            f"input values span {smallest}..{largest}, tensor {tensor.name!r} of {tensor.bits} "
            f"bits holds {low}..{high}"
        )


def _windows(
    x: NDArray, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], fill: int,
) -> NDArray:  # fmt: skip
    """View ``[N, out_height, out_width, channels, kernel_height, kernel_width]``."""
    top, left, bottom, right = padding
    if any(padding):
        pads = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, pads, constant_values=fill)
    view = sliding_window_view(x, kernel, axis=(1, 2))  # type: ignore[call-overload]
    return view[:, :: stride[0], :: stride[1]]
