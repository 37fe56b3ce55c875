"""The integer graph: what a quantized network computes, independent of any hardware.

Tensors are NHWC without the batch axis: ``(height, width, channels)``; a vector is ``(1, 1, n)``.
A node reads tensors by name and writes one tensor that carries its own name. Values are ``int8``
within ``bits`` bits: ``-2**(bits-1) .. 2**(bits-1)-1``; real = scale * (value - zero_point).

The arithmetic is TFLite's reference: see :mod:`termac.graph.requantize`. What every node computes
is in :mod:`termac.graph.operators`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from termac.graph.node import Node
from termac.graph.tensor import Tensor

__all__ = ["Graph"]


@dataclass
class Graph:
    """Nodes in execution order and the tensors they read and write.

    Parameters
    ----------
    name : str
    tensors : by name; the input and one per node
    nodes : in topological order
    input, output : tensor names
    input_layout : shape of one sample in the model's own layout, e.g. ``(1, 28, 28)`` (CHW)
    output_layout : shape of one output sample in the model's own layout, e.g. ``(10,)``
    host_op : ``"softmax"``, ``"log_softmax"`` or ``""``: what the host applies to the real output
    notes : what was changed on the way from the model, one sentence each
    channels_first : the model's own layout is CHW (ONNX); False: HWC (TFLite)
    """

    name: str
    tensors: dict[str, Tensor]
    nodes: list[Node]
    input: str
    output: str
    input_layout: tuple[int, ...]
    output_layout: tuple[int, ...]
    host_op: str = ""
    notes: list[str] = field(default_factory=list)
    channels_first: bool = True

    def consumers(self, tensor: str) -> list[Node]:
        """Nodes that read a tensor, in execution order."""
        return [node for node in self.nodes if tensor in node.inputs]

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
