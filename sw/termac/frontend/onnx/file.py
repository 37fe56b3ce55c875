"""Reads an ONNX file, external data included, and reports what is wrong with it in one line."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
import onnx.inliner
from google.protobuf.message import DecodeError, Message
from onnx import external_data_helper, helper

from termac.errors import ModelError
from termac.files import open_plain, read_plain
from termac.frontend.onnx.functions import inlined_size

__all__ = ["MOST_BYTES", "MOST_NODES", "read_onnx"]

MOST_NODES = 20_000
"""Nodes of a model, after its functions are inlined."""
MOST_BYTES = (1 << 31) - 1
"""Bytes of a file: no protobuf message is larger."""


def read_onnx(path: str | Path) -> onnx.ModelProto:
    """Read and check a model; functions that the file defines itself are inlined.

    Raises
    ------
    ModelError
        If the file or its external data is missing, truncated, or not a valid ONNX model, or if
        the model has more than :data:`MOST_NODES` nodes.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if not path.is_file():
        raise ModelError(f"{path}: not a file")
    model = _parse(path)
    if model.ir_version == 0 or not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model, or it has no nodes")
    try:
        _check_text(model)
        nodes, size = inlined_size(model)
    except ValueError as error:
        raise ModelError(f"{path}: not a valid ONNX model: {error}") from None
    if nodes > MOST_NODES or size > MOST_BYTES:
        raise ModelError(
            f"{path}: the model has {nodes:,} nodes of {size:,} bytes with its functions inlined, "
            f"more than {MOST_NODES:,} nodes or {MOST_BYTES:,} bytes"
        )
    try:
        _read_external(model, path.parent)
    except (ValueError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        raise ModelError(f"{path}: cannot be read: {reason}") from None
    try:
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # ValidationError is no subclass of anything narrower
        raise ModelError(f"{path}: not a valid ONNX model: {_first_line(error)}") from None
    return model


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__


def _parse(path: Path) -> onnx.ModelProto:
    tags = {field.number << 3 for field in onnx.ModelProto.DESCRIPTOR.fields}
    starts = {tag if tag < 0x80 else tag & 0x78 | 0x80 for tag in tags}
    try:
        with open_plain(path) as stream:  # before anything large is read
            first = stream.read(1)
        if not first or first[0] & ~7 not in starts:
            raise DecodeError
        return onnx.ModelProto.FromString(read_plain(path, MOST_BYTES))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise ModelError(f"{path}: not an ONNX file, or truncated") from None


def _messages(message: Message) -> Iterator[Message]:
    """A message and all messages in it; protobuf itself bounds how deep they are nested."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in (value,) if isinstance(value, Message) else value:
                yield from _messages(part)


def _check_text(model: onnx.ModelProto) -> None:
    """Refuse text that is no UTF-8: protobuf hands it on as bytes, or fails later."""
    for message in _messages(model):
        for field, value in message.ListFields():
            if field.type != field.TYPE_STRING:
                continue
            for text in (value,) if isinstance(value, (str, bytes)) else value:
                if isinstance(text, bytes):
                    raise ValueError(f"{message.DESCRIPTOR.name}.{field.name} is not UTF-8")


# --- External data -------------------------------------------------------------------------------


def _read_external(model: onnx.ModelProto, folder: Path) -> None:
    """Put the data of all tensors that lie in other files into the model.

    Raises
    ------
    ValueError
        If a file is outside the model's folder or shorter than the model says.
    OSError
        If a file cannot be read or is not a plain one.
    """
    tensors = [m for m in _messages(model) if isinstance(m, onnx.TensorProto)]
    for tensor in tensors:
        if external_data_helper.uses_external_data(tensor):
            tensor.raw_data = _external(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def _external(tensor: onnx.TensorProto, folder: Path) -> bytes:
    where = f"external data of {tensor.name!r}"
    given: dict[str, Any] = {entry.key: entry.value for entry in tensor.external_data}
    name = given.get("location", "")
    path = folder / name
    inside = Path(os.path.realpath(folder))
    if not name or not Path(os.path.realpath(path)).is_relative_to(inside):
        raise ValueError(f"{where}: location {name!r} is not in the folder of the model")
    try:
        offset, length = int(given.get("offset", 0)), int(given.get("length", -1))
        itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{where}: offset, length or type is damaged") from None
    if any(size < 0 for size in tensor.dims) or offset < 0:
        raise ValueError(f"{where}: offset or shape is negative")
    wanted = math.prod(tensor.dims) * itemsize
    if tensor.data_type in _PACKED:
        wanted = -(-wanted // _PACKED[tensor.data_type])
    with open_plain(path) as stream:
        found = max(0, os.fstat(stream.fileno()).st_size - offset)
        if length not in (-1, wanted) or wanted > found or wanted > MOST_BYTES:
            raise ValueError(
                f"{where}: shape {list(tensor.dims)} takes {wanted:,} bytes, {name!r} has "
                f"{found if length < 0 else min(length, found):,} there"
            )
        stream.seek(offset)
        return stream.read(wanted)


_PACKED = {
    getattr(onnx.TensorProto, name): count
    for name, count in (("INT4", 2), ("UINT4", 2), ("FLOAT4E2M1", 2), ("INT2", 4), ("UINT2", 4))
    if hasattr(onnx.TensorProto, name)
}
"""Values in one byte of raw data, where NumPy keeps one value a byte."""
