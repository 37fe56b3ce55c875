"""Reads an ONNX file, external data included, and reports what is wrong with it in one line."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
from google.protobuf.message import DecodeError

from termac.errors import ModelError

__all__ = ["read_onnx"]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__


def read_onnx(path: str | Path) -> onnx.ModelProto:
    """Read and check a model; functions that the file defines itself are inlined.

    Raises
    ------
    ModelError
        If the file or its external data is missing, truncated, or not a valid ONNX model.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if not path.is_file():
        raise ModelError(f"{path}: not a file")
    try:
        model = onnx.load(str(path))
    except DecodeError:
        raise ModelError(f"{path}: not an ONNX file, or truncated") from None
    except Exception as error:  # external data: onnx raises five different types here
        raise ModelError(f"{path}: cannot be read: {_first_line(error)}") from None
    if model.ir_version == 0 or not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model, or it has no nodes")
    try:
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # ValidationError is no subclass of anything narrower
        raise ModelError(f"{path}: not a valid ONNX model: {_first_line(error)}") from None
    return model
