"""Frontends: model files to float graphs."""

from termac.frontend.load import load_model, load_onnx, read_model
from termac.graph import (
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatGraph,
    FloatMaxPool,
    FloatNode,
    FloatShortcut,
)

__all__ = [
    "FloatAdd",
    "FloatAvgPool",
    "FloatConv",
    "FloatGraph",
    "FloatMaxPool",
    "FloatNode",
    "FloatShortcut",
    "load_model",
    "load_onnx",
    "read_model",
]
