"""Small hand-made ONNX files for the tests, and their reference results."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FLOAT = TensorProto.FLOAT


def node(kind, inputs, output, **attributes):
    """A node that carries the name of its output; ``inputs`` separated by blanks."""
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def write_model(
    path: Path, nodes, constants=None, shape=(None, 3, 8, 8), output="y", opset=17, elem_type=FLOAT
):
    """Write a model with input ``x`` of a shape (None: symbolic batch) and one output."""
    dims = [f"d{i}" if size is None else size for i, size in enumerate(shape)]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", elem_type, dims)],
        [helper.make_tensor_value_info(output, FLOAT, ["d0", "features"])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def reference(path: Path, x):
    """The model's output according to the ONNX reference evaluator."""
    return ReferenceEvaluator(onnx.load(str(path))).run(None, {"x": x})[0]
