"""The memory image: everything the accelerator needs to run one network, and what it means.

An image belongs to one configuration. It also holds the integer graph, so that the golden model
can run from the image alone, and says where and how every layer's output lies in the activation
memory, so that a device can be compared layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.arch.estimate import predict
from termac.arch.memory_map import Block, MemoryMap
from termac.errors import InputError
from termac.graph import Graph
from termac.image.storage import Storage

__all__ = ["Image", "LayerInfo"]


@dataclass(frozen=True, eq=False)
class LayerInfo:
    """One layer of the program and what it costs.

    Parameters
    ----------
    name : name of the layer and of its output tensor
    nodes : graph nodes that it computes, in order
    storage : where and how the output tensor lies in the activation memory
    first_descriptor, descriptors : the layer's descriptors within the program
    cycles : predicted
    macs : multiplications of the network (depthwise: of the own channel only)
    passes : weight tiles per chunk of vectors
    weights, nonzero : weights of the network, and those that are not zero
    columns : combined columns of the packed filter matrix, in its longest row tile
        Passes of a joined pooling repeat the matrix at every position of the window; columns count
        it once.
    dense_cycles : predicted in this layout if no weight were zero
    density : used places for weights or terms / all places of the passes
    utilization : cell cycles that add a weight or a term / all cell cycles
    """

    name: str
    nodes: tuple[str, ...]
    storage: Storage
    first_descriptor: int
    descriptors: int
    cycles: int
    macs: int
    passes: int
    weights: int
    nonzero: int
    columns: int
    dense_cycles: int
    density: float
    utilization: float

    @property
    def last_descriptor(self) -> int:
        """After this descriptor (counted from 0) the output tensor is complete."""
        return self.first_descriptor + self.descriptors - 1


@dataclass(frozen=True, eq=False)
class Image:
    """A compiled network.

    Parameters
    ----------
    config : Config
    graph : Graph
    program, taps : uint32 words, from address 0
    cells : uint16 [planes, rows, columns]
        Packed by :attr:`termac.arch.Config.weight_layout`. A tile is one plane or, where cells
        keep terms, one plane per term.
    parameters : ``bias``, ``multiplier``, ``shift``: int64 [words, drains]
    layers : in execution order
    input : format of the input tensor, which the host writes
    output : format of the output tensor, which the host reads
    """

    config: Config
    graph: Graph
    program: NDArray[np.uint32]
    taps: NDArray[np.uint32]
    cells: NDArray[np.uint16]
    parameters: Mapping[str, NDArray[np.int64]]
    layers: list[LayerInfo]
    input: Storage
    output: Storage

    @property
    def weights(self) -> NDArray[np.uint64]:
        """Packed weights, uint64 [words, rows]: the word shifted in first is the last column's."""
        words = self.cells[:, :, ::-1].transpose(0, 2, 1).reshape(-1, self.config.rows)
        return words.astype(np.uint64)

    @property
    def lane(self) -> NDArray[np.int64]:
        """Lane that every cell reads, [planes, rows, columns]."""
        return self._fields["lane"]

    @property
    def value(self) -> NDArray[np.int64]:
        """Weight or term of every cell, see :meth:`Traits.value`, [planes, rows, columns]."""
        return self.config.kind.value(self._fields)

    @property
    def _fields(self) -> dict[str, NDArray[np.int64]]:
        return self.config.weight_layout.unpack(self.cells[..., None])

    @property
    def cycles(self) -> int:
        """Predicted cycles of one run."""
        return predict(self.config, self.program)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def blocks(self) -> dict[str, list[Block]]:
        """What the host writes before the first run, by region of the memory map."""
        memory = MemoryMap(self.config)
        return {
            "program": memory.pack_program(self.program),
            "taps": memory.pack_taps(self.taps),
            "weights": memory.pack_weights(self.weights),
            "parameters": memory.pack_parameters(self.parameters),
        }

    def storage(self, tensor: str) -> Storage:
        """Format of a tensor that is stored.

        Raises
        ------
        InputError
            If the tensor is unknown, or never stored because its layer computes another on top.
        """
        if tensor == self.input.tensor.name:
            return self.input
        for layer in self.layers:
            if layer.name == tensor:
                return layer.storage
        stored = ", ".join(layer.name for layer in self.layers)
        raise InputError(f"tensor {tensor!r} is not stored in the image; stored are: {stored}")

    def store_input(self, x: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Words to write at ``input.base``: int8 [height, width, channels] -> uint8 [words, W].

        Raises
        ------
        InputError
            If the shape or a value does not fit the input tensor.
        """
        try:
            return self.input.store(x)
        except ValueError as error:
            raise InputError(f"input {self.input.tensor.name!r}: {error}") from None

    def read_tensor(self, memory: NDArray[np.uint8], tensor: str) -> NDArray[np.int8]:
        """A tensor, int8 [height, width, channels], from the memory, uint8 [depth, W].

        Only valid while the tensor lives: later layers reuse its place.
        """
        return self.storage(tensor).load(memory)
