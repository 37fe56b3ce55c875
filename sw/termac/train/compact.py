"""A quarter of a model file's size: weights as int8, as they will be quantized anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["compacted"]

WEIGHT_LIMIT = 127


def compacted(
    model: onnx.ModelProto, peaks: Mapping[str, Sequence[int]] | None = None
) -> onnx.ModelProto:
    """The model with the weights of Conv and Gemm nodes as int8, followed by Cast and Mul.

    One scale per filter, the largest magnitude is 127, as :func:`termac.compress.quantize` has it.
    Only filters whose bias asks for a coarser scale are rounded twice.

    Parameters
    ----------
    model : onnx.ModelProto
    peaks : largest magnitude of every filter instead, by layer. Int16 where int8 cannot hold it.
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
        name = tensor.name
        peak = np.array((peaks or {}).get(name.removesuffix(".weight"), WEIGHT_LIMIT))
        integers, scale = _narrow(*_integers(array, peak))
        stored = f"{name}.{integers.dtype.name}"
        kept.append(numpy_helper.from_array(integers, stored))
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


def _integers(
    weights: NDArray[np.float64], peak: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integers, and the scale of every filter, whose largest magnitude becomes ``peak``."""
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    scale = np.where(largest > 0, largest / np.maximum(peak, 1), 1)
    scale = scale.reshape(-1, *(1,) * (weights.ndim - 1))
    return np.rint(weights / scale), scale


def _narrow(
    integers: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.signedinteger], NDArray[np.float64]]:
    """The weights in int8 if halving or negating filters makes them fit, otherwise in int16."""
    flat = integers.reshape(len(integers), -1)
    wide = flat.max(axis=1) > WEIGHT_LIMIT
    even = (flat % 2 == 0).all(axis=1)
    factor = np.where(wide, np.where(even, 0.5, -1), 1).reshape(scale.shape)
    narrow, wider = integers * factor, scale / factor
    if np.array_equal(narrow.astype(np.int8), narrow):
        return narrow.astype(np.int8), wider
    return integers.astype(np.int16), scale
