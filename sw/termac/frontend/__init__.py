"""Frontends: model files to float graphs."""

from termac.frontend.load import load_onnx
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
    "load_onnx",
]
