"""An integer graph as a JSON document and NumPy arrays, and back. Deterministic, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.errors import ImageError
from termac.graph.integer import Add, AvgPool, Conv, Graph, MaxPool, Node, Shortcut, Tensor
from termac.terms.terms import Terms

__all__ = ["load_graph", "save_graph"]

FORMAT = 2
"""Version of the document; other versions are refused."""

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Conv, Add, MaxPool, AvgPool, Shortcut)
}
_ARRAYS = {
    "weights": np.int16,
    "bias": np.int32,
    "multiplier": np.int32,
    "shift": np.int32,
    "weight_scale": np.float64,
}


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
            if isinstance(node, Conv) and field.name in _ARRAYS:
                if value is not None:
                    key = f"{index:04d}.{field.name}"
                    arrays[key] = np.ascontiguousarray(value, _ARRAYS[field.name])
                    record[field.name] = key
            elif isinstance(value, Terms):
                record[field.name] = {key: _plain(part) for key, part in vars(value).items()}
            elif value is not None:
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
    """Tuples as lists, NumPy scalars as Python numbers."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _integers(values: Any) -> tuple[int, ...]:
    if any(isinstance(value, bool) or not isinstance(value, int) for value in values):
        raise ValueError(f"integers expected, not {values!r}")
    return tuple(values)


def _tensor(record: Mapping[str, Any]) -> Tensor:
    height, width, channels = _integers(record["shape"])
    zero_point, bits = _integers((record["zero_point"], record["bits"]))
    scale = float(record["scale"])
    if min(height, width, channels) < 1 or not 1 <= bits <= 8 or not 0 < scale < np.inf:
        raise ValueError(f"tensor {record['name']!r} has impossible values")
    return Tensor(record["name"], (height, width, channels), scale, zero_point, bits)


def _terms(record: Mapping[str, Any]) -> Terms:
    weights, data = _integers((record["weights"], record["data"]))
    exponents, encoding = _integers(record["exponents"]), record["encoding"]
    if not isinstance(encoding, str):
        raise ValueError(f"string expected, not {encoding!r}")
    return Terms(weights=weights, exponents=exponents, data=data, encoding=encoding)


def _node(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Node:
    kind = _KINDS.get(record["kind"])
    if kind is None:
        raise ValueError(f"node kind {record['kind']!r} is unknown")
    values: dict[str, Any] = {}
    for field in fields(kind):
        name = field.name
        if kind is Conv and name in _ARRAYS:
            if name == "weight_scale" and name not in record:
                continue
            values[name] = np.asarray(arrays[record[name]])
            if values[name].dtype != _ARRAYS[name]:
                raise ValueError(f"array {record[name]!r} is of type {values[name].dtype}")
            continue
        if name == "terms":
            values[name] = _terms(record[name]) if name in record else None
            continue
        value = record[name]
        if isinstance(value, list):
            value = _integers(value)
        elif not isinstance(value, str):
            (value,) = _integers((value,))
        values[name] = value
    node: Node = kind(**values)
    if isinstance(node, Conv):
        channels = node.weights.shape[:1]
        vectors = (node.bias, node.multiplier, node.shift)
        if node.weights.ndim != 4 or any(array.shape != channels for array in vectors):
            raise ValueError(f"node {node.name!r} has arrays of differing channels")
    return node


def _check(graph: Graph) -> None:
    """Every tensor that is read exists and was written before."""
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
