"""Computes nodes whose inputs are all known, if the result and the work are of sensible size.

A model of a kilobyte can ask for constants of gigabytes. So the size of a result is told by ONNX's
shape inference before anything is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

__all__ = ["ConstantEvaluator"]

MOST_BYTES = 1 << 27
"""Bytes of all computed constants, unless the weights of the file are as large."""
MOST_WORK = 1 << 31
"""Numbers read and written to compute all of them, with the same exception."""

_SHAPING = 1 << 10
"""Numbers of an input that may decide the shape of a result."""
_PARTS_OF_INPUT = ("Compress", "NonZero", "Unique")
"""Operators whose result has an unknown size, but none beyond rank * input."""
_MATRIX = ("Gemm", "MatMul")
_LINEAR = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "CastLike",
    "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Cos", "Cosh", "CumSum",
    "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp",
    "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu",
    "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "OneHot",
    "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL1",
    "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round", "ScatterElements",
    "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softplus",
    "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile",
    "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
))  # fmt: skip
"""Operators whose work grows with the size of inputs and results; of others with its square."""


class ConstantEvaluator:
    """Runs single nodes on known inputs.

    Parameters
    ----------
    model : onnx.ModelProto
        Its operator sets count, and the size of its weights.
    weights : bytes of the weights that the file holds
    """

    def __init__(self, model: onnx.ModelProto, weights: int) -> None:
        self._opsets = list(model.opset_import)
        self._version = model.ir_version
        self._bytes = max(MOST_BYTES, 4 * weights)
        self._work = max(MOST_WORK, 8 * weights)

    def run(self, node: onnx.NodeProto, known: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Outputs by name.

        Raises
        ------
        ValueError
            If an output is too large, or the node cannot be computed; says why.
        """
        inputs = {name: known[name] for name in node.input if name}
        if any(array.dtype.kind in "OSU" for array in inputs.values()):
            raise ValueError("text is not supported")
        single = self._model(node, inputs)
        self._charge(node, inputs, single)
        try:
            results = ReferenceEvaluator(single).run(None, dict(inputs))
            arrays = [np.asarray(result) for result in results]  # type: ignore[arg-type]
        except Exception as error:  # whatever the evaluator's operator raises
            raise ValueError(_reason(error)) from None
        return dict(zip([name for name in node.output if name], arrays, strict=True))

    def _model(self, node: onnx.NodeProto, inputs: Mapping[str, NDArray]) -> onnx.ModelProto:
        try:
            typed = [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
                )
                for name, array in inputs.items()
            ]
            outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
            graph = helper.make_graph([node], "constant", typed, outputs)
            single = helper.make_model(graph, opset_imports=self._opsets)
        except Exception as error:  # types that ONNX does not know raise all kinds
            raise ValueError(_reason(error)) from None
        single.ir_version = self._version
        return single

    def _charge(
        self, node: onnx.NodeProto, inputs: Mapping[str, NDArray], single: onnx.ModelProto
    ) -> None:
        """Refuse a node that costs more bytes or work than there are left."""
        sizes = [inputs[name].size for name in node.input if name]
        read = sum(sizes)
        size, count = self._result(node, inputs, single)
        if node.op_type in _MATRIX:
            first = inputs[node.input[0]]
            work = count * max(first.shape, default=1)
        elif node.op_type == "Einsum":
            work = math.prod(sizes)
        else:
            work = read + count if node.op_type in _LINEAR else (read + count) ** 2
        if size > self._bytes:
            raise ValueError(f"the constant is too large: {size:,} bytes, {self._bytes:,} are left")
        if work > self._work:
            raise ValueError(f"it takes too much work on {read + count:,} numbers")
        self._bytes -= size
        self._work -= work

    def _result(
        self, node: onnx.NodeProto, inputs: Mapping[str, NDArray], single: onnx.ModelProto
    ) -> tuple[int, int]:
        """(bytes, numbers) of all outputs."""
        if node.op_type in _PARTS_OF_INPUT:
            count = sum(max(1, array.ndim) * array.size for array in inputs.values())
            return 8 * count * len(node.output), count * len(node.output)
        told = onnx.ModelProto()
        told.CopyFrom(single)
        told.graph.initializer.extend(
            numpy_helper.from_array(array, name)
            for name, array in inputs.items()
            if array.size <= _SHAPING
        )
        try:
            told = onnx.shape_inference.infer_shapes(told, data_prop=True)
        except Exception as error:
            raise ValueError(_reason(error)) from None
        size = count = 0
        for output in told.graph.output:
            kind = output.type.tensor_type
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
            if not kind.HasField("shape") or min(dims, default=0) < 0:
                raise ValueError("the size of its result is not known before it is computed")
            numbers = math.prod(dims)
            count += numbers
            size += numbers * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        return size, count


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
