"""What a network means: float and integer graphs, their evaluation, their file. No hardware."""

from termac.graph.floating import (
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatGraph,
    FloatMaxPool,
    FloatNode,
    FloatShortcut,
)
from termac.graph.integer import Add, AvgPool, Conv, Graph, MaxPool, Node, Shortcut, Tensor
from termac.terms.terms import Terms

__all__ = [
    "Add",
    "AvgPool",
    "Conv",
    "FloatAdd",
    "FloatAvgPool",
    "FloatConv",
    "FloatGraph",
    "FloatMaxPool",
    "FloatNode",
    "FloatShortcut",
    "Graph",
    "MaxPool",
    "Node",
    "Shortcut",
    "Tensor",
    "Terms",
]
