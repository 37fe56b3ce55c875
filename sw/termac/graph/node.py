"""What all nodes share: a name, the tensors they read, the shape and the values of their own.

An operator is a pair of classes in one file of :mod:`termac.graph.operators`: a :class:`FloatNode`
that frontends emit, and a :class:`Node` that quantization makes of it and the accelerator runs.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from termac.errors import ModelError
from termac.graph.requantize import requantize
from termac.graph.tensor import Shape, Tensor

__all__ = [
    "BaseNode",
    "FloatActivated",
    "FloatNode",
    "Node",
    "Requantized",
    "table_entry",
]


@dataclass(frozen=True, kw_only=True)
class BaseNode(ABC):
    """A node of either graph. It writes one tensor, which carries the name of the node."""

    name: str

    READS: ClassVar[tuple[str, ...]] = ("input",)
    """Fields that hold the name of a tensor that the node reads."""

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Operators that derive from this class, by the name of their class."""
        found: dict[str, type[Self]] = {}
        for kind in cls.__subclasses__():
            if not inspect.isabstract(kind):
                found[kind.__name__] = kind
            found |= kind.kinds()
        return found

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that the node reads."""
        return tuple(getattr(self, name) for name in self.READS)

    def reading(self, *inputs: str) -> Self:
        """A copy that reads other tensors, in the order of :attr:`inputs`."""
        return replace(self, **dict(zip(self.READS, inputs, strict=True)))  # type: ignore[arg-type]

    @abstractmethod
    def output_shape(self, shapes: Mapping[str, Shape]) -> Shape:
        """Shape of the output tensor.

        Parameters
        ----------
        shapes : (height, width, channels) of the tensors that the node reads, by name

        Raises
        ------
        ValueError
            If the node cannot read tensors of these shapes.
        """


@dataclass(frozen=True, kw_only=True)
class FloatNode(BaseNode):
    """A node of a :class:`~termac.graph.floating.FloatGraph`."""

    KEEPS_VALUES: ClassVar[bool] = False
    """Whether every output value is an input value or zero; only of nodes with one input.

    Input and output then share scale, zero point and bits, and a ReLU may change places with the
    node.
    """

    @abstractmethod
    def evaluate(self, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The output, float32 [N, height, width, channels], from the tensors read, by name."""


@dataclass(frozen=True, kw_only=True)
class FloatActivated(FloatNode):
    """A float node that may end in a ReLU.

    Parameters
    ----------
    relu : clamp below at 0
    ceiling : clamp above, or None; only with ``relu``
    """

    relu: bool = False
    ceiling: float | None = None

    def activated(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """``y``, clamped in place."""
        if self.relu:
            np.maximum(y, 0, out=y)
            if self.ceiling is not None:
                np.minimum(y, np.float32(self.ceiling), out=y)
        return y


@dataclass(frozen=True, kw_only=True)
class Node(BaseNode):
    """A node of an integer :class:`~termac.graph.integer.Graph`.

    Fields are strings, integers, floats, tuples of these, dataclasses of these, or arrays:
    :mod:`termac.graph.file` writes and reads them as they are declared. The field of an array has
    the metadata ``dtype``: what it is stored as.
    """

    @abstractmethod
    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        """The output, int8 [N, height, width, channels]: the golden arithmetic of the operator.

        Parameters
        ----------
        values : stored values of the tensors that the node reads, by name
        tensors : all tensors of the graph, by name
        """

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Check that the fields go together, and with the tensors.

        Raises
        ------
        ValueError
            If they do not.
        """
        shape = self.output_shape({name: tensor.shape for name, tensor in tensors.items()})
        if shape != tensors[self.name].shape:
            raise ValueError(f"shape is {tensors[self.name].shape}, but {shape} is computed")


class Requantized:
    """An integer node that ends in ``clamp(requantize(x, multiplier, shift) + zero, low, high)``.

    Parameters
    ----------
    multiplier : int or int32 [channels], 0 .. 2**31-1
    shift : int or int32 [channels], 0..31, right shift
    low, high : clamp of the stored value (fused ReLU included)
    """

    multiplier: int | NDArray[np.int32]
    shift: int | NDArray[np.int32]
    low: int
    high: int

    def requantized(self, sums: NDArray[np.int64], zero: int) -> NDArray[np.int8]:
        """Stored values of sums [N, height, width, channels]; ``zero``: the output's zero point."""
        y = requantize(sums, self.multiplier, self.shift) + zero
        return np.clip(y, self.low, self.high).astype(np.int8)


Entry = TypeVar("Entry")


def table_entry(table: Mapping[type[Any], Entry], node: BaseNode, task: str) -> Entry:
    """What a table says for the operator of a node.

    Parameters
    ----------
    table : by class of the node
    node : BaseNode
    task : what the table is for, and where it is

    Raises
    ------
    ModelError
        If the table has no entry for the operator; names node, operator and table.
    """
    kind = type(node)
    if kind not in table:
        raise ModelError(f"node {node.name!r}: operator {kind.__name__} has no entry for {task}")
    return table[kind]
