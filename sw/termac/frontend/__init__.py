"""Frontends: model files to float graphs."""

from termac.frontend.float_graph import (
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatGraph,
    FloatMaxPool,
    FloatNode,
    FloatShortcut,
)
from termac.frontend.onnx_import import load_onnx

__all__ = [
    "FloatAdd",
    "FloatAvgPool",
    "FloatConv",
    "FloatGraph",
    "FloatMaxPool",
    "FloatNode",
    "FloatShortcut",
    "load_onnx",
]
