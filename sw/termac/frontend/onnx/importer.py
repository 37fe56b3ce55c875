"""Walks an ONNX graph node by node and builds the float graph.

Every ONNX tensor is either a known array (weights, and whatever follows from known arrays and
shapes; the batch size counts as 1) or a :class:`Value`: a tensor of the float graph and how ONNX
sees it. What an operator becomes is in :mod:`termac.frontend.onnx.operators`; scalings and ReLUs
are merged into their neighbours afterwards by :mod:`termac.frontend.merge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from termac.errors import ModelError
from termac.frontend.merge import RawNode, merge
from termac.frontend.onnx.constants import ConstantEvaluator
from termac.graph import FloatGraph

__all__ = ["Importer", "Operation", "Value"]

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)
_FLOAT_TYPES = [helper.tensor_dtype_to_np_dtype(kind) for kind in _FLOATS]
_RANDOM = ("Random", "Bernoulli", "Multinomial")


@dataclass(frozen=True)
class Value:
    """An ONNX activation tensor.

    Parameters
    ----------
    tensor : name of the float graph's tensor
    dims : ONNX shape without the batch axis: (channels, height, width) or (features,), whose
        features are in channels, height, width order
    padding : (top, left, bottom, right) zeros around the tensor that its reader must add
    padded_by : the Pad operation responsible for them
    """

    tensor: str
    dims: tuple[int, ...]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    padded_by: Operation | None = None


class Operation:
    """One ONNX node with its attributes and its inputs resolved.

    Reading an input of the wrong kind raises a :class:`ModelError` that names the node.
    """

    def __init__(self, importer: Importer, node: onnx.NodeProto) -> None:
        self.importer = importer
        self.node = node
        self.kind = node.op_type
        self.name = node.name or (node.output[0] if node.output else node.op_type)
        self.attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            self.attributes[attribute.name] = (
                value.decode(errors="replace") if isinstance(value, bytes) else value
            )

    def fail(self, reason: str) -> NoReturn:
        raise ModelError(f"{self.importer.path}: node {self.name!r} ({self.kind}): {reason}")

    def has(self, index: int) -> bool:
        return index < len(self.node.input) and self.node.input[index] != ""

    def is_constant(self, index: int) -> bool:
        return self.has(index) and self.node.input[index] in self.importer.constants

    def constant(self, index: int, what: str) -> NDArray[Any]:
        """A known input array."""
        if not self.has(index):
            self.fail(f"input {index} ({what}) is missing")
        name = self.node.input[index]
        if name not in self.importer.constants:
            self.fail(f"{what} {name!r} must be a constant, it is computed from the model's input")
        return self.importer.constants[name]

    def weights(self, index: int, what: str) -> NDArray[np.float64]:
        """A known input array of finite numbers."""
        constant = np.asarray(self.constant(index, what))
        if constant.dtype not in _FLOAT_TYPES:
            self.fail(
                f"{what} {self.node.input[index]!r} is of type {constant.dtype}, must be floating "
                "point as the input"
            )
        with np.errstate(invalid="ignore"):
            array = constant.astype(np.float64)
        if not np.isfinite(array).all():
            self.fail(f"{what} {self.node.input[index]!r} holds NaN or infinity")
        return array

    def value(self, index: int, padded: bool = False) -> Value:
        """An input that depends on the model's input; ``padded``: the caller applies padding."""
        if not self.has(index):
            self.fail(f"input {index} is missing")
        name = self.node.input[index]
        if name not in self.importer.values:
            self.fail(f"input {name!r} must depend on the model's input, it is a constant")
        value = self.importer.values[name]
        if value.padded_by is not None and not padded:
            value.padded_by.fail(
                f"spatial padding is supported only directly before Conv, not before {self.kind}"
            )
        return value

    def image(self, index: int, padded: bool = False) -> tuple[Value, tuple[int, int, int]]:
        """An input of rank 4 and the (height, width, channels) of its tensor."""
        value = self.value(index, padded)
        if len(value.dims) != 3:
            dims = "x".join(map(str, value.dims))
            self.fail(f"input must be N x channels x height x width, it is N x {dims}")
        return value, self.importer.shapes[value.tensor]

    def emit(self, node: RawNode, dims: tuple[int, ...] | None = None) -> None:
        """Append a node; its tensor is the operation's first output.

        Parameters
        ----------
        node : whatever the operation becomes
        dims : ONNX shape of the output without the batch axis, (channels, height, width) if None
        """
        try:
            shape = node.output_shape(self.importer.shapes)
        except ValueError as error:
            self.fail(str(error))
        self.importer.nodes.append(node)
        self.importer.shapes[node.name] = shape
        height, width, channels = shape
        self.alias(Value(node.name, dims or (channels, height, width)))

    def alias(self, value: Value) -> None:
        """Let the operation's first output be an existing value."""
        self.importer.values[self.node.output[0]] = value


class Importer:
    """State of one import: known arrays, values, and the float nodes so far."""

    def __init__(self, model: onnx.ModelProto, path: str | Path) -> None:
        self.path = path
        self.graph = model.graph
        self.properties = {entry.key: entry.value for entry in model.metadata_props}
        opsets = (o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.opset = max(opsets, default=0)
        self.model = model
        self.constants: dict[str, NDArray[Any]] = {}
        self.values: dict[str, Value] = {}
        self.nodes: list[RawNode] = []
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.notes: list[str] = []
        self.host_op = ""
        self.names: set[str] = set()
        self.input_name = ""
        self.input_readers = 0

    def unique(self, name: str) -> str:
        """A tensor name that is not taken yet."""
        base, number = name, 2
        while name in self.names:
            name, number = f"{base}_{number}", number + 1
        self.names.add(name)
        return name

    def node_name(self, operation: Operation, weights: int | None = None) -> str:
        """A short name: that of the PyTorch module if it can be told, else the node's own."""
        if weights is not None and operation.has(weights):
            name = operation.node.input[weights]
            if name.endswith(".weight") and not name.startswith("onnx::"):
                return self.unique(name.removesuffix(".weight"))
        name = operation.name
        if not name.startswith("/"):
            return self.unique(name.removeprefix("node_").replace("/", ".") or operation.kind)
        path: list[str] = []  # of modules: /layer1/layer1.0/conv1/Conv is layer1.0.conv1
        *scopes, last = name.strip("/").split("/")
        for scope in scopes:
            if path and scope.startswith(f"{path[-1]}."):
                path.pop()
            path.append(scope)
        if weights is None or not path:
            path.append(last)
        return self.unique(".".join(path))

    def run(self, operations: Mapping[str, Callable[[Operation], None]]) -> FloatGraph:
        """Import the whole graph; ``operations``: import function by operator.

        Raises
        ------
        ModelError
            If the model holds NaN or infinity, or something unsupported.
        """
        self._read_initializers()
        layout = self._read_input()
        if len(self.graph.output) != 1:
            names = ", ".join(repr(output.name) for output in self.graph.output)
            raise ModelError(f"{self.path}: one output is supported, the model has {names}")
        output = self.graph.output[0].name
        needed = self._needed(output)
        self.input_readers = sum(self.input_name in node.input for node in needed)
        for proto in needed:
            try:
                operation = Operation(self, proto)
                if self._fold(operation):
                    continue
                self._import(operation, operations)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # attributes and constants of shapes and types that no operator should have
                name = proto.name or (proto.output[0] if proto.output else "")
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise ModelError(
                    f"{self.path}: node {name!r} ({proto.op_type}): attributes or constant inputs "
                    f"do not go together: {reason}"
                ) from None
        if output not in self.values:
            raise ModelError(f"{self.path}: output {output!r} does not depend on the input")
        last = self.values[output]
        if last.padded_by is not None:
            last.padded_by.fail("spatial padding is supported only directly before Conv")
        graph = FloatGraph(
            name=Path(self.path).stem,
            shapes=self.shapes,
            nodes=[],
            input=self.values[self.input_name].tensor,
            output=last.tensor,
            input_layout=layout,
            output_layout=last.dims,
            host_op=self.host_op,
            notes=self.notes,
            properties=self.properties,
        )
        merged = merge(graph, self.nodes)
        if not merged.nodes:
            raise ModelError(f"{self.path}: the model computes nothing (output is its input)")
        return merged

    def _import(
        self, operation: Operation, operations: Mapping[str, Callable[[Operation], None]]
    ) -> None:
        """Hand a node on to the function of its operator."""
        proto = operation.node
        if proto.domain not in ("", "ai.onnx"):
            operation.fail(f"operators of domain {proto.domain!r} are not supported")
        if self.host_op:
            operation.fail(f"nothing may follow {self.host_op}: the host computes it")
        if proto.op_type not in operations:
            operation.fail(f"operator {proto.op_type} is not supported")
        operations[proto.op_type](operation)

    def _read_initializers(self) -> None:
        for tensor in self.graph.initializer:
            try:
                self.constants[tensor.name] = numpy_helper.to_array(tensor)
            except Exception as error:  # ValueError, TypeError, ... for damaged tensors
                reason = (str(error).splitlines() or ["damaged"])[0]
                raise ModelError(f"{self.path}: weight {tensor.name!r}: {reason}") from None
        if self.graph.sparse_initializer:
            raise ModelError(f"{self.path}: sparse initializers are not supported")
        weights = sum(array.nbytes for array in self.constants.values())
        self.evaluator = ConstantEvaluator(self.model, weights)

    def _read_input(self) -> tuple[int, ...]:
        inputs = [i for i in self.graph.input if i.name not in self.constants]
        if len(inputs) != 1:
            names = ", ".join(repr(i.name) for i in inputs) or "none"
            raise ModelError(f"{self.path}: one input is supported, the model has {names}")
        name = inputs[0].name
        where = f"{self.path}: input {name!r}"
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in _FLOATS:
            raise ModelError(f"{where} must be floating point (a float model is expected)")
        dims = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        if len(dims) not in (2, 4):
            raise ModelError(
                f"{where} must have 2 (batch, features) or 4 (batch, channels, height, width) "
                f"axes, it has {len(dims)}"
            )
        if dims[0] not in (None, 1):
            raise ModelError(
                f"{where} has a fixed batch of {dims[0]}; export with batch 1 or a dynamic batch"
            )
        for axis, size in enumerate(dims[1:], 1):
            if size is None or size < 1:
                raise ModelError(f"{where}: axis {axis} has no fixed size; export with fixed sizes")
        layout = tuple(int(size) for size in dims[1:] if size is not None)
        channels, height, width = layout if len(layout) == 3 else (layout[0], 1, 1)
        tensor = self.unique(name)
        self.shapes[tensor] = (height, width, channels)
        self.values[name] = Value(tensor, layout)
        self.input_name = name
        return layout

    def _needed(self, output: str) -> list[onnx.NodeProto]:
        """Nodes that the output depends on, in the file's (topological) order."""
        wanted = {output}
        needed = []
        for node in reversed(self.graph.node):
            if wanted & set(node.output):
                needed.append(node)
                wanted |= set(node.input) - {""}  # an omitted optional input has no name
        return needed[::-1]

    def _fold(self, operation: Operation) -> bool:
        """Compute a node whose inputs are all known; also Shape and Size of any tensor."""
        node = operation.node
        if node.op_type in ("Shape", "Size") and node.input[0] in self.values:
            dims: Sequence[int] = (1, *self.values[node.input[0]].dims)
            if node.op_type == "Size":
                self.constants[node.output[0]] = np.array(math.prod(dims), np.int64)
                return True
            start = operation.attributes.get("start", 0)
            end = operation.attributes.get("end", len(dims))
            self.constants[node.output[0]] = np.array(dims, np.int64)[start:end]
            return True
        if any(name and name not in self.constants for name in node.input):
            return False
        if node.op_type.startswith(_RANDOM):
            operation.fail("random numbers are not supported")
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            operation.fail("control flow is not supported; export the model without it")
        try:
            results = self.evaluator.run(node, self.constants)
        except ValueError as error:
            operation.fail(f"cannot be computed from its constant inputs: {error}")
        self.constants.update(results)
        return True
