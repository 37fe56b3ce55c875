"""ONNX files to float graphs."""

from __future__ import annotations

from pathlib import Path

from termac.frontend.onnx.file import read_onnx
from termac.frontend.onnx.importer import Importer
from termac.frontend.onnx.operators import OPERATIONS
from termac.graph import FloatGraph

__all__ = ["load_onnx"]


def load_onnx(path: str | Path) -> FloatGraph:
    """Read a float ONNX model, as PyTorch exports it, into a float graph.

    Raises
    ------
    ModelError
        If the file is missing or damaged, holds NaN or infinity, or something unsupported; the
        message names file, node, operator and reason.
    """
    return Importer(read_onnx(path), path).run(OPERATIONS)
