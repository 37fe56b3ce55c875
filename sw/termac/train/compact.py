"""A quarter of a model file's size: weights as int8, as they will be quantized anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["compacted"]

WEIGHT_LIMIT = 127


def compacted(
    model: onnx.ModelProto, peaks: Mapping[str, Sequence[int]] | None = None
) -> onnx.ModelProto:
    """The model with the weights of Conv and Gemm nodes as int8, behind Cast and Mul.

    One scale per filter, the largest magnitude is 127, as :func:`termac.compress.quantize` has it.
    Only filters whose bias asks for a coarser scale are rounded twice.

    Parameters
    ----------
    model : onnx.ModelProto
    peaks : largest magnitude of every filter instead, by layer; int16 where int8 does not do
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    used = {node.input[1] for node in graph.node if node.op_type in ("Conv", "Gemm")}
    nodes = []
    kept = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        if tensor.name not in used or array.ndim < 2:
            kept.append(tensor)
            continue
        largest = np.abs(array).reshape(len(array), -1).max(axis=1)
        name = tensor.name
        peak = np.array((peaks or {}).get(name.removesuffix(".weight"), WEIGHT_LIMIT))
        scale = np.where(largest > 0, largest / np.maximum(peak, 1), 1)
        scale = scale.reshape(-1, *(1,) * (array.ndim - 1))
        integers = np.rint(array / scale)
        kind = np.int8 if np.array_equal(integers.astype(np.int8), integers) else np.int16
        stored = f"{name}.{np.dtype(kind).name}"
        kept.append(numpy_helper.from_array(integers.astype(kind), stored))
        kept.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"))
        nodes.append(
            helper.make_node("Cast", [stored], [f"{name}.float"], f"{name}.cast",
                             to=onnx.TensorProto.FLOAT)
        )  # fmt: skip
        nodes.append(
            helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name], f"{name}.scaled")
        )
    nodes += graph.node
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(result, full_check=True)
    return result
