"""Operators, one file each: both nodes, the shape of the output, both evaluations.

Every file in this folder is loaded with it, so an operator in a new file is known without more.
"""

from importlib import import_module
from pkgutil import iter_modules

from termac.graph.operators.add import Add, FloatAdd
from termac.graph.operators.avg_pool import AvgPool, FloatAvgPool
from termac.graph.operators.conv import Conv, FloatConv
from termac.graph.operators.max_pool import FloatMaxPool, MaxPool
from termac.graph.operators.shortcut import FloatShortcut, Shortcut

__all__ = [
    "Add",
    "AvgPool",
    "Conv",
    "FloatAdd",
    "FloatAvgPool",
    "FloatConv",
    "FloatMaxPool",
    "FloatShortcut",
    "MaxPool",
    "Shortcut",
]

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
