"""What each ONNX operator becomes in the float graph.

Every function takes one :class:`~termac.frontend.onnx.importer.Operation`, checks that it can be
kept exactly, and emits a node or an alias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.frontend.merge import Affine, Relu
from termac.frontend.onnx import layers as onnx_layers
from termac.frontend.onnx import shapes as onnx_shapes
from termac.frontend.onnx.importer import Operation, Value
from termac.graph import FloatAdd

__all__ = ["OPERATIONS"]


def _relu(op: Operation) -> None:
    _emit_relu(op, None)


def _emit_relu(op: Operation, ceiling: float | None) -> None:
    value = op.value(0)
    node = Relu(name=op.importer.node_name(op), input=value.tensor, ceiling=ceiling)
    op.emit(node, value.dims)


def _clip(op: Operation) -> None:
    limits: list[float | None] = []
    for index, key in ((1, "min"), (2, "max")):
        if op.has(index):
            limit: Any = op.constant(index, key)
            if np.size(limit) != 1:
                op.fail(f"{key} must be one number")
            limits.append(float(np.reshape(limit, ())))
        else:
            limits.append(op.attributes.get(key))
    low, high = limits
    if low != 0:
        op.fail(f"min must be 0 (a ReLU with a ceiling), not {low}")
    if high is not None and (math.isnan(high) or high <= 0):
        op.fail(f"max must be above 0, not {high}")
    _emit_relu(op, None if high is None or high >= 1e30 else high)


def _batch_normalization(op: Operation) -> None:
    value = op.value(0)
    if op.attributes.get("training_mode", 0) or len([n for n in op.node.output if n]) > 1:
        op.fail("it is in training mode; call model.eval() before exporting")
    names = ("scale", "bias", "mean", "variance")
    arrays = [op.weights(i, name) for i, name in enumerate(names, 1)]
    channels = op.importer.shapes[value.tensor][2]
    for name, array in zip(names, arrays, strict=True):
        if array.shape != (channels,):
            op.fail(f"{name} has {array.size} values for {channels} channels")
    gamma, beta, mean, variance = arrays
    if (variance < 0).any():
        op.fail("variance is negative")
    epsilon = op.attributes.get("epsilon", 1e-5)
    if not (variance + epsilon > 0).all():
        op.fail("variance plus epsilon is zero")
    if len(value.dims) == 1 and op.importer.shapes[value.tensor][:2] != (1, 1):
        op.fail("supported after Flatten only if the image is 1x1; move it before Flatten")
    scale = gamma / np.sqrt(variance + epsilon)
    _emit_affine(op, value, scale, beta - mean * scale)


def _emit_affine(
    op: Operation, value: Value, scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    shape = op.importer.shapes[value.tensor]
    channels = shape[2]
    for what, array in (("scale", scale), ("offset", shift)):
        if array.shape != (channels,):
            op.fail(f"{what} has {array.size} values for {channels} channels")
    node = Affine(name=op.importer.node_name(op), input=value.tensor, scale=scale, shift=shift)
    op.emit(node, value.dims)


def _per_channel(op: Operation, index: int, value: Value) -> NDArray[np.float64]:
    """A constant operand as one number per channel of the tensor."""
    array = op.weights(index, "operand")
    rank = len(value.dims) + 1
    height, width, channels = op.importer.shapes[value.tensor]
    if array.size == 1 and array.ndim <= rank:
        return np.full(channels, float(array.reshape(())))
    if rank == 2 and (height, width) != (1, 1):
        op.fail("a constant per feature of a flattened image is not supported")
    wanted = [1, channels] + [1] * (rank - 2)
    if [1] * (rank - array.ndim) + list(array.shape) != wanted:
        op.fail(
            f"constant operand of shape {list(array.shape)} is not supported, "
            f"only one number or one per channel {wanted}"
        )
    return array.reshape(-1)


def _arithmetic(op: Operation) -> None:
    constants = [index for index in (0, 1) if op.is_constant(index)]
    if not constants:
        first, second = op.value(0), op.value(1)
        if op.kind != "Add":
            op.fail("two computed tensors can only be added; one operand must be a constant")
        if first.dims != second.dims:
            op.fail(f"operands differ in shape: {list(first.dims)} and {list(second.dims)}")
        shape = op.importer.shapes[first.tensor]
        if shape != op.importer.shapes[second.tensor]:
            op.fail("operands were flattened from images of different shape")
        node = FloatAdd(name=op.importer.node_name(op), first=first.tensor, second=second.tensor)
        op.emit(node, first.dims)
        return
    value = op.value(1 - constants[0])
    operand = _per_channel(op, constants[0], value)
    one, zero = np.ones_like(operand), np.zeros_like(operand)
    if op.kind == "Add":
        scale, shift = one, operand
    elif op.kind == "Mul":
        scale, shift = operand, zero
    elif op.kind == "Sub":
        scale, shift = (one, -operand) if constants[0] == 1 else (-one, operand)
    else:
        if constants[0] == 0:
            op.fail("division by a computed tensor is not supported")
        if (operand == 0).any():
            op.fail("division by zero")
        scale, shift = 1 / operand, zero
    if (scale == 1).all() and (shift == 0).all():
        op.alias(value)
        return
    _emit_affine(op, value, scale, shift)


def _softmax(op: Operation) -> None:
    value = op.value(0)
    rank = len(value.dims) + 1
    axis = op.attributes.get("axis", -1 if op.importer.opset >= 13 else 1)
    if rank != 2 or axis not in (-1, 1):
        op.fail("supported only over the features of N x features, as the last node")
    op.importer.host_op = "softmax" if op.kind == "Softmax" else "log_softmax"
    op.alias(value)


def _identity(op: Operation) -> None:
    op.alias(op.value(0, padded=True))


def _dropout(op: Operation) -> None:
    if op.has(2) and bool(np.any(op.constant(2, "training_mode"))):
        op.fail("it is in training mode; call model.eval() before exporting")
    op.alias(op.value(0, padded=True))


def _cast(op: Operation) -> None:
    if op.attributes.get("to") not in (1, 10, 11, 16):  # float32, float16, float64, bfloat16
        op.fail("only casts between floating point types are supported")
    op.alias(op.value(0, padded=True))


OPERATIONS: Mapping[str, Callable[[Operation], None]] = {
    "Add": _arithmetic,
    "AveragePool": onnx_layers.pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": onnx_shapes.concat,
    "Conv": onnx_layers.conv,
    "Div": _arithmetic,
    "Dropout": _dropout,
    "Flatten": onnx_shapes.flatten,
    "Gemm": onnx_layers.gemm,
    "GlobalAveragePool": onnx_layers.global_pool,
    "GlobalMaxPool": onnx_layers.global_pool,
    "Identity": _identity,
    "LogSoftmax": _softmax,
    "MatMul": onnx_layers.matmul,
    "MaxPool": onnx_layers.pool,
    "Mul": _arithmetic,
    "Pad": onnx_shapes.pad,
    "ReduceMean": onnx_layers.reduce_mean,
    "Relu": _relu,
    "Reshape": onnx_shapes.reshape,
    "Slice": onnx_shapes.slice_,
    "Softmax": _softmax,
    "Squeeze": onnx_shapes.squeeze,
    "Sub": _arithmetic,
    "Transpose": onnx_shapes.transpose,
    "Unsqueeze": onnx_shapes.squeeze,
}
"""Import function by ONNX operator."""
