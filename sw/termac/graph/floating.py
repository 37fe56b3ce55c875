"""The float graph: what a frontend reads from a model file, before any quantization.

It has the nodes and the NHWC tensors of :mod:`termac.graph.integer`, in floating point. Batch
normalization, scalings, ReLU and constants are already merged into the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError
from termac.graph.node import FloatNode
from termac.graph.samples import apply_host_op, check_samples, from_nhwc, to_nhwc
from termac.graph.tensor import Shape

__all__ = ["FloatGraph"]


@dataclass
class FloatGraph:
    """Nodes in execution order and the shapes of the tensors they read and write.

    Parameters
    ----------
    name : str
    shapes : (height, width, channels) by tensor name; the input and one per node
    nodes : in topological order
    input, output : tensor names
    input_layout, output_layout : shape of one sample in the model's own layout
    host_op : ``"softmax"``, ``"log_softmax"`` or ``""``
    notes : what the frontend changed, one sentence each
    channels_first : the model's own layout is CHW (ONNX), not HWC
    properties : metadata of the model file
    """

    name: str
    shapes: dict[str, Shape]
    nodes: list[FloatNode]
    input: str
    output: str
    input_layout: tuple[int, ...]
    output_layout: tuple[int, ...]
    host_op: str = ""
    notes: list[str] = field(default_factory=list)
    channels_first: bool = True
    properties: dict[str, str] = field(default_factory=dict)

    def consumers(self, tensor: str) -> list[FloatNode]:
        """Nodes that read a tensor, in execution order."""
        return [node for node in self.nodes if tensor in node.inputs]

    def samples(self, values: NDArray[np.generic], what: str = "input") -> NDArray[np.float32]:
        """Check samples in the model's own layout and reorder them to float32 NHWC.

        Raises
        ------
        InputError
            If the shape is wrong or a value is NaN or infinite.
        """
        checked = check_samples(values, self.input_layout, what)
        with np.errstate(over="ignore"):
            x = checked.astype(np.float32)
        if not np.isfinite(x).all():
            raise InputError(f"{what} holds values beyond the range of float32")
        return np.asarray(to_nhwc(x, self.shapes[self.input], self.channels_first), np.float32)

    def evaluate(self, x: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """All tensors for inputs ``[N, height, width, channels]``, by name, float32 NHWC.

        Memory grows with N: use :meth:`batches` or :meth:`predict` for many samples.
        """
        values = {self.input: np.asarray(x, np.float32)}
        for node in self.nodes:
            values[node.name] = node.evaluate(values)
        return values

    def batches(
        self, x: NDArray[np.floating], size: int = 32
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """:meth:`evaluate` for ``size`` samples at a time."""
        for start in range(0, len(x), size):
            yield self.evaluate(x[start : start + size])

    def predict(self, samples: NDArray[np.generic]) -> NDArray[np.float32]:
        """The model's float output ``[N, *output_layout]``, host operation included.

        ``samples`` are in the model's own layout.
        """
        results = [
            from_nhwc(values[self.output], self.output_layout, self.channels_first)
            for values in self.batches(self.samples(samples))
        ]
        return apply_host_op(np.concatenate(results), self.host_op)  # type: ignore[arg-type]
