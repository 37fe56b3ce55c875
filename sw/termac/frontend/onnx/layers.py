"""ONNX operators with windows or weights: Conv, Gemm, MatMul and the pools."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.frontend.onnx.importer import Operation
from termac.graph import FloatAvgPool, FloatConv, FloatMaxPool
from termac.graph.windows import output_size

__all__ = ["conv", "gemm", "global_pool", "matmul", "pool", "reduce_mean"]


def _window(
    op: Operation,
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    extra: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Stride and padding of a Conv or pooling node whose windows fit the image.

    Parameters
    ----------
    shape : (height, width, channels) of the input
    kernel : (y, x)
    extra : (top, left, bottom, right) that a Pad node before it adds

    Returns
    -------
    (y, x) and (top, left, bottom, right)
    """
    strides = op.attributes.get("strides", [1, 1])
    dilations = op.attributes.get("dilations", [1, 1])
    if any(d != 1 for d in dilations):
        op.fail(f"dilations {dilations} are not supported, only 1")
    if len(strides) != 2 or min(strides) < 1:
        op.fail(f"strides {strides} must be two positive numbers")
    auto_pad = op.attributes.get("auto_pad", "NOTSET")
    pads = [0, 0, 0, 0]
    if auto_pad in ("NOTSET", ""):
        pads = list(op.attributes.get("pads", pads))
        if len(pads) != 4 or min(pads) < 0:
            op.fail(f"pads {pads} must be four numbers that are not negative")
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(2):
            size = shape[axis] + extra[axis] + extra[axis + 2]
            steps = -(-size // strides[axis])
            total = max((steps - 1) * strides[axis] + kernel[axis] - size, 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
            pads[axis], pads[axis + 2] = before, after
    elif auto_pad != "VALID":
        op.fail(f"auto_pad {auto_pad!r} is unknown")
    pads = [p + e for p, e in zip(pads, extra, strict=True)]
    if op.attributes.get("ceil_mode", 0):
        for axis in range(2):
            size = shape[axis] + pads[axis] + pads[axis + 2]
            steps = -(-(size - kernel[axis]) // strides[axis])
            if steps * strides[axis] >= shape[axis] + pads[axis]:
                steps -= 1  # a window may not start in the padding at the end
            missing = steps * strides[axis] + kernel[axis] - size
            if missing > 0 and op.kind != "MaxPool":
                op.fail("ceil_mode with windows that leave the image is not supported")
            pads[axis + 2] += max(missing, 0)
    sizes = [output_size(shape[a], kernel[a], strides[a], pads[a], pads[a + 2]) for a in range(2)]
    if min(sizes) < 1:
        op.fail(
            f"kernel {kernel[0]}x{kernel[1]} does not fit the image of {shape[0]}x{shape[1]} pixels"
        )
    top, left, bottom, right = pads
    return (strides[0], strides[1]), (top, left, bottom, right)


def conv(op: Operation) -> None:
    """Conv of one group, with the spatial padding that a Pad before it left to it."""
    value, shape = op.image(0, padded=True)
    weights = op.weights(1, "weight")
    if weights.ndim != 4 or 0 in weights.shape:
        op.fail(f"weight has shape {list(weights.shape)}, must have 4 axes, none of them empty")
    group = op.attributes.get("group", 1)
    if group != 1:
        op.fail(f"grouped convolution (group={group}) is not supported, only group=1")
    if weights.shape[1] != shape[2]:
        op.fail(f"weight takes {weights.shape[1]} channels, the input has {shape[2]}")
    kernel = (weights.shape[2], weights.shape[3])
    if list(op.attributes.get("kernel_shape", kernel)) != list(kernel):
        op.fail(f"kernel_shape {op.attributes['kernel_shape']} differs from the weight's {kernel}")
    stride, padding = _window(op, shape, kernel, value.padding)
    channels = weights.shape[0]
    bias = op.weights(2, "bias").reshape(-1) if op.has(2) else np.zeros(channels)
    if bias.shape != (channels,):
        op.fail(f"bias has {bias.size} values for {channels} channels")
    node = FloatConv(
        name=op.importer.node_name(op, weights=1),
        input=value.tensor,
        weights=weights.transpose(0, 2, 3, 1).astype(np.float32),
        bias=bias.astype(np.float32),
        stride=stride,
        padding=padding,
    )
    op.emit(node)


def _linear(op: Operation, matrix: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
    """A fully connected layer, ``matrix [outputs, inputs]``, as convolution over the image."""
    value = op.value(0)
    if len(value.dims) != 1:
        dims = "x".join(map(str, value.dims))
        op.fail(f"input must be N x features, it is N x {dims}; flatten it first")
    height, width, channels = op.importer.shapes[value.tensor]
    outputs, inputs = matrix.shape
    if inputs != value.dims[0]:
        op.fail(f"weight takes {inputs} features, the input has {value.dims[0]}")
    # the features are in channels, height, width order
    weights = matrix.reshape(outputs, channels, height, width).transpose(0, 2, 3, 1)
    node = FloatConv(
        name=op.importer.node_name(op, weights=1),
        input=value.tensor,
        weights=np.ascontiguousarray(weights, dtype=np.float32),
        bias=bias.astype(np.float32),
        stride=(1, 1),
        padding=(0, 0, 0, 0),
    )
    op.emit(node, (outputs,))


def gemm(op: Operation) -> None:
    """Gemm with constant weights: a fully connected layer."""
    if op.attributes.get("transA", 0):
        op.fail("transA=1 is not supported")
    op.value(0)
    matrix = op.weights(1, "weight")
    if matrix.ndim != 2 or matrix.size == 0:
        op.fail(f"weight has shape {list(matrix.shape)}, must have 2 axes, none of them empty")
    if not op.attributes.get("transB", 0):
        matrix = matrix.T
    bias = np.zeros(len(matrix))
    if op.has(2):
        given = op.weights(2, "bias") * op.attributes.get("beta", 1.0)
        if given.size not in (1, len(matrix)):
            op.fail(f"bias has {given.size} values for {len(matrix)} outputs")
        bias = bias + given.reshape(-1)
    _linear(op, matrix * op.attributes.get("alpha", 1.0), bias)


def matmul(op: Operation) -> None:
    """MatMul with constant weights on the right: a fully connected layer without bias."""
    op.value(0)
    matrix = op.weights(1, "weight")
    if matrix.ndim != 2 or matrix.size == 0:
        op.fail(f"weight has shape {list(matrix.shape)}, must have 2 axes, none of them empty")
    _linear(op, matrix.T, np.zeros(matrix.shape[1]))


def pool(op: Operation) -> None:
    """MaxPool and AveragePool."""
    value, shape = op.image(0)
    if len([name for name in op.node.output if name]) > 1:
        op.fail("the indices of the maxima are not supported")
    kernel = op.attributes.get("kernel_shape", [])
    if len(kernel) != 2 or min(kernel) < 1:
        op.fail(f"kernel_shape {kernel} must be two positive numbers")
    kernel = (kernel[0], kernel[1])
    stride, padding = _window(op, shape, kernel)
    if any(p >= k for p, k in zip(padding, kernel * 2, strict=True)):
        op.fail(f"padding {list(padding)} must be smaller than the kernel {list(kernel)}")
    name = op.importer.node_name(op)
    node: FloatMaxPool | FloatAvgPool
    if op.kind == "MaxPool":
        node = FloatMaxPool(
            name=name, input=value.tensor, kernel=kernel, stride=stride, padding=padding
        )
    else:
        if any(padding) and not op.attributes.get("count_include_pad", 0):
            op.fail("padding that does not count (count_include_pad=0) is not supported")
        node = FloatAvgPool(
            name=name, input=value.tensor, kernel=kernel, stride=stride, padding=padding
        )
    op.emit(node)


def _mean_or_max(op: Operation, dims: tuple[int, ...]) -> None:
    value, (height, width, channels) = op.image(0)
    kind = FloatMaxPool if op.kind == "GlobalMaxPool" else FloatAvgPool
    node = kind(
        name=op.importer.node_name(op),
        input=value.tensor,
        kernel=(height, width),
        stride=(1, 1),
        padding=(0, 0, 0, 0),
    )
    op.emit(node, (channels, *dims))


def global_pool(op: Operation) -> None:
    """GlobalMaxPool and GlobalAveragePool: a window as large as the image."""
    _mean_or_max(op, (1, 1))


def reduce_mean(op: Operation) -> None:
    """ReduceMean over height and width: a global average pool."""
    value = op.value(0)
    axes = op.attributes.get("axes")
    if axes is None and op.has(1):
        axes = op.constant(1, "axes").reshape(-1).tolist()
    rank = len(value.dims) + 1
    if not axes and op.attributes.get("noop_with_empty_axes", 0):
        op.alias(value)
        return
    normal = sorted(a + rank if a < 0 else a for a in (axes or range(rank)))
    if rank != 4 or normal != [2, 3]:
        op.fail(f"axes {axes} are not supported, only the mean over height and width (2, 3)")
    _mean_or_max(op, (1, 1) if op.attributes.get("keepdims", 1) else ())
