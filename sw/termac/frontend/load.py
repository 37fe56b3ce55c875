"""Model files to float graphs."""

from __future__ import annotations

from pathlib import Path

import onnx

from termac.errors import ModelError
from termac.frontend.formats import foreign_format
from termac.frontend.onnx.file import read_onnx
from termac.frontend.onnx.importer import Importer
from termac.frontend.onnx.operators import OPERATIONS
from termac.graph import FloatGraph

__all__ = ["load_model", "load_onnx", "read_model"]


def load_model(path: str | Path) -> FloatGraph:
    """Read a model file. Its content decides what it is, not its name.

    Float ONNX models can be read. Files of other known formats are named for what they are.

    Raises
    ------
    ModelError
        If the file is missing or damaged, of another format, or holds NaN, infinity or something
        unsupported; the message names file, node, operator and reason.
    """
    if what := foreign_format(Path(path)):
        raise ModelError(f"{path}: this is {what}")
    return load_onnx(path)


def load_onnx(path: str | Path) -> FloatGraph:
    """Read a float ONNX model, as PyTorch exports it, into a float graph.

    Raises
    ------
    ModelError
        If the file is missing or damaged, holds NaN or infinity, or something unsupported; the
        message names file, node, operator and reason.
    """
    return read_model(read_onnx(path), path)


def read_model(model: onnx.ModelProto, name: str | Path = "model") -> FloatGraph:
    """Make a float graph of an ONNX model in memory.

    Parameters
    ----------
    model : onnx.ModelProto
        Valid, its functions inlined: see :func:`termac.frontend.onnx.file.read_onnx`.
    name : str or Path
        Where the model is from, for messages; its stem becomes the name of the graph.

    Raises
    ------
    ModelError
        If the model holds NaN or infinity, or something unsupported; the message names node,
        operator and reason.
    """
    return Importer(model, name).run(OPERATIONS)
