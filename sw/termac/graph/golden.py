"""The golden model: what an integer graph computes, exactly, in NumPy.

The arithmetic of every operator stands with the operator, in :mod:`termac.graph.operators`. Nothing
here knows the compiler or the hardware.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError
from termac.graph.inputs import check_range, quantize_input, quantize_values
from termac.graph.integer import Graph
from termac.graph.samples import apply_host_op, from_nhwc

__all__ = ["dequantize_output", "quantize_input", "quantize_values", "run"]


def run(
    graph: Graph, x: NDArray[np.int8], *, outputs_only: bool = False, batch: int = 16
) -> dict[str, NDArray[np.int8]]:
    """All tensors of a graph for given inputs, by name, int8 ``[N, height, width, channels]``.

    Parameters
    ----------
    graph : Graph
    x : int8 [N, height, width, channels]
        Input, already quantized: see :func:`quantize_input`.
    outputs_only : bool
        Keep only the graph's output.
    batch : int
        Samples at a time; bounds the working memory, does not change any value.

    Raises
    ------
    InputError
        If ``x`` has the wrong shape, type or range.
    """
    tensor = graph.tensors[graph.input]
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[1:] != tensor.shape or len(x) == 0:
        found, wanted = "x".join(map(str, x.shape)), "x".join(map(str, ("N", *tensor.shape)))
        raise InputError(f"input has shape {found}, the graph takes {wanted} with N >= 1")
    if x.dtype.kind not in "iu":
        raise InputError(f"input is of type {x.dtype}, must be integer: see quantize_input")
    check_range(x, tensor)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch!r}")
    names = [graph.output] if outputs_only else list(graph.tensors)
    kept = {name: np.empty((len(x), *graph.tensors[name].shape), np.int8) for name in names}
    last_reader = {name: node for node in graph.nodes for name in node.inputs}
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        values = {graph.input: x[part].astype(np.int8)}
        for node in graph.nodes:
            values[node.name] = node.evaluate(values, graph.tensors)
            if outputs_only:
                for name in set(node.inputs):
                    if last_reader[name] is node and name != graph.output:
                        del values[name]
        for name in names:
            kept[name][part] = values[name]
    return kept


def dequantize_output(graph: Graph, y: NDArray[np.int8]) -> NDArray[np.float64]:
    """The graph's output ``[N, height, width, channels]`` as reals ``[N, *output_layout]``.

    The host operation (softmax or log_softmax, if any) is applied.
    """
    tensor = graph.tensors[graph.output]
    real = tensor.scale * (np.asarray(y, np.float64) - tensor.zero_point)
    laid_out = from_nhwc(real, graph.output_layout, graph.channels_first)
    return np.asarray(apply_host_op(np.asarray(laid_out, np.float64), graph.host_op), np.float64)
