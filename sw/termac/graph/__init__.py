"""What a network means: float and integer graphs, their evaluation, their file. No hardware."""

from termac.graph.floating import FloatGraph
from termac.graph.integer import Graph
from termac.graph.node import FloatNode, Node
from termac.graph.operators import (
    Add,
    AvgPool,
    Conv,
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatMaxPool,
    FloatShortcut,
    MaxPool,
    Shortcut,
)
from termac.graph.tensor import Tensor
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
