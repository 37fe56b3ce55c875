"""An integer graph as a JSON document and NumPy arrays, and back. Deterministic, no pickle.

Nodes are written and read field by field, as their class declares them: integers, floats, strings,
tuples of these, dataclasses of these, and arrays (metadata ``dtype``). A field
with a default may be missing from a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from termac.errors import ImageError
from termac.graph.integer import Graph
from termac.graph.node import Node
from termac.graph.tensor import Tensor

__all__ = ["load_graph", "save_graph"]

FORMAT = 2
"""Version of the document; other versions are refused."""


def save_graph(graph: Graph) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(document, arrays): the document holds only JSON types, arrays are named ``0003.bias``.

    The same graph gives the same document and arrays; floats survive JSON exactly.
    """
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for index, node in enumerate(graph.nodes):
        record: dict[str, Any] = {"kind": type(node).__name__}
        for field in fields(node):
            value = getattr(node, field.name)
            if value is None:
                continue
            if "dtype" in field.metadata:
                key = f"{index:04d}.{field.name}"
                arrays[key] = np.ascontiguousarray(value, field.metadata["dtype"])
                value = key
            record[field.name] = _plain(value)
        nodes.append(record)
    document = {
        "format": FORMAT,
        "name": graph.name,
        "input": graph.input,
        "output": graph.output,
        "input_layout": _plain(graph.input_layout),
        "output_layout": _plain(graph.output_layout),
        "host_op": graph.host_op,
        "notes": list(graph.notes),
        "channels_first": graph.channels_first,
        "tensors": [
            {
                "name": tensor.name,
                "shape": _plain(tensor.shape),
                "scale": float(tensor.scale),
                "zero_point": int(tensor.zero_point),
                "bits": int(tensor.bits),
            }
            for tensor in graph.tensors.values()
        ],
        "nodes": nodes,
    }
    return document, arrays


def load_graph(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Graph:
    """Inverse of :func:`save_graph`.

    Raises
    ------
    ImageError
        If something is missing, of the wrong type or shape, or refers to an unknown tensor.
    """
    try:
        if document["format"] != FORMAT:
            raise ImageError(
                f"graph has format {document['format']!r}, this version reads {FORMAT}"
            )
        tensors = {record["name"]: _tensor(record) for record in document["tensors"]}
        graph = Graph(
            name=document["name"],
            tensors=tensors,
            nodes=[_node(record, arrays) for record in document["nodes"]],
            input=document["input"],
            output=document["output"],
            input_layout=_integers(document["input_layout"]),
            output_layout=_integers(document["output_layout"]),
            host_op=document["host_op"],
            notes=list(document["notes"]),
            channels_first=bool(document["channels_first"]),
        )
    except KeyError as error:
        raise ImageError(f"graph is incomplete: {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ImageError(f"graph is damaged: {error}") from None
    _check(graph)
    return graph


def _plain(value: Any) -> Any:
    """Tuples as lists, dataclasses as mappings, NumPy scalars as Python numbers."""
    if is_dataclass(value):
        return {key: _plain(part) for key, part in vars(value).items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _integers(values: Any) -> tuple[int, ...]:
    return tuple(_value(int, value) for value in values)


def _tensor(record: Mapping[str, Any]) -> Tensor:
    height, width, channels = _integers(record["shape"])
    zero_point, bits = _integers((record["zero_point"], record["bits"]))
    scale = float(record["scale"])
    if min(height, width, channels) < 1 or not 1 <= bits <= 8 or not 0 < scale < np.inf:
        raise ValueError(f"tensor {record['name']!r} has impossible values")
    return Tensor(record["name"], (height, width, channels), scale, zero_point, bits)


def _node(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Node:
    kind = Node.kinds().get(record["kind"])
    if kind is None:
        raise ValueError(f"node kind {record['kind']!r} is unknown")
    return _record(kind, record, arrays)


def _record(kind: type[Any], record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """A dataclass from its fields; a field without a default must be there."""
    hints, values = get_type_hints(kind), {}
    for field in fields(kind):
        name = field.name
        if name not in record and field.default is not MISSING:
            continue
        value = record[name]
        if "dtype" in field.metadata:
            values[name] = np.asarray(arrays[value])
            if values[name].dtype != field.metadata["dtype"]:
                raise ValueError(f"array {value!r} is of type {values[name].dtype}")
        else:
            values[name] = _value(hints[name], value)
    return kind(**values)


_SCALARS = {int: "integers", float: "numbers", bool: "booleans", str: "strings"}


def _value(hint: Any, value: Any) -> Any:
    """A value out of a JSON document as the type that a field is declared with."""
    if get_origin(hint) in (Union, UnionType):  # optional: None is never written
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if is_dataclass(hint):
        return _record(hint, value, {})  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if items[-1] is Ellipsis:
            items = items[:1] * len(value)
        if not isinstance(value, list) or len(value) != len(items):
            raise ValueError(f"{len(items)} values expected, not {value!r}")
        return tuple(_value(item, part) for item, part in zip(items, value, strict=True))
    if type(value) is not hint and not (hint is float and type(value) is int):
        raise ValueError(f"{_SCALARS[hint]} expected, not {value!r}")
    if hint is int and not -(1 << 31) <= value < 1 << 31:
        raise ValueError("integer beyond 32 bits")
    return value


def _check(graph: Graph) -> None:
    """Every tensor that is read exists and was written before, and has the shape it must have."""
    written = {graph.input}
    for node in graph.nodes:
        for name in node.inputs:
            if name not in written:
                raise ImageError(f"graph: node {node.name!r} reads unknown tensor {name!r}")
        if node.name in written:
            raise ImageError(f"graph: tensor {node.name!r} is written twice")
        written.add(node.name)
    if graph.output not in written:
        raise ImageError(f"graph: output {graph.output!r} is written by no node")
    missing = written - set(graph.tensors)
    if missing:
        raise ImageError(f"graph: tensor {sorted(missing)[0]!r} is not described")
    for node in graph.nodes:
        try:
            node.check(graph.tensors)
        except ValueError as error:
            raise ImageError(f"graph: node {node.name!r}: {error}") from None
