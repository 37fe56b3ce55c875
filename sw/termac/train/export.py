"""Export of a trained PyTorch model to a small, self-contained and repeatable ONNX file."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from termac.errors import ModelError

__all__ = ["OPERATORS", "export", "to_onnx"]

OPSET = 18
OPERATORS = frozenset(
    (
        *("Conv", "Gemm", "MatMul", "Add", "BatchNormalization", "Relu", "Softmax", "LogSoftmax"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "Slice", "Pad", "Flatten", "Reshape"),
    )
)


def export(
    model: nn.Module,
    shape: tuple[int, int, int],
    path: Path,
    *,
    about: str,
    properties: Mapping[str, str],
) -> onnx.ModelProto:
    """Write ``model`` to ``path`` and return what was written.

    Input ``input`` is float32 [batch, *shape], output ``output`` float32 [batch, classes]. Nodes
    are named after their module (``block.first``) or their operator (``relu_2``), weights lie
    inside the file, and equal weights give equal bytes.

    Parameters
    ----------
    model : its batch normalisations are folded into the convolutions before them
    shape : (channels, height, width)
    about : doc string of the model: what it is and how its input is scaled
    properties : metadata of the model, by key

    Raises
    ------
    ModelError
        The exported graph has operators other than :data:`OPERATORS`, or computes something else.
    """
    exported = to_onnx(model, shape)
    exported.doc_string = about
    onnx.helper.set_model_props(exported, dict(properties))
    exported = onnx.shape_inference.infer_shapes(exported)
    onnx.checker.check_model(exported, full_check=True)
    others = {node.op_type for node in exported.graph.node} - OPERATORS
    if others:
        raise ModelError(f"Exported graph has unexpected operators: {', '.join(sorted(others))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(exported.SerializeToString(deterministic=True))
    return exported


def to_onnx(model: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The model as ONNX, with plain names and nothing that differs from run to run.

    Parameters
    ----------
    model : any module of one input and one output, in evaluation mode while it is exported
    shape : of one sample

    Raises
    ------
    ModelError
        The exported graph computes something else.
    """
    training = model.training
    model.eval()
    # Two samples: an example batch of one would be burnt in as a constant.
    example = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with _silence():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["input"],
            output_names=["output"],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None only where the exporter writes the file itself
    exported = program.model_proto
    _clean(exported)
    _check(exported, model, example)
    model.train(training)
    return exported


@contextlib.contextmanager
def _silence():
    """Hide notes of the exporter about itself and about packages that are not needed here."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _clean(exported: onnx.ModelProto) -> None:
    """Drop notes of the exporter (they hold file names and source lines) and give plain names."""
    graph = exported.graph
    exported.producer_version = exported.producer_version.split("+")[0]
    graph.name = "main"
    del graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph, exported):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    counts: dict[str, int] = {}
    for node in graph.node:
        weight = next((name for name in node.input if name.endswith(".weight")), "")
        kind = node.op_type.lower()
        counts[kind] = counts.get(kind, 0) + 1
        node.name = weight.removesuffix(".weight") or f"{kind}_{counts[kind]}"
        if weight:
            names.update(zip(node.input[1:], (weight, node.name + ".bias"), strict=False))
        names.setdefault(node.output[0], node.name)
    for tensor in graph.initializer:
        names.setdefault(tensor.name, f"constant_{tensor.name.removeprefix('val_')}")
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _check(exported: onnx.ModelProto, model: nn.Module, example: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model(example).numpy()
    (output,) = ReferenceEvaluator(exported).run(None, {"input": example.numpy()})
    if not np.allclose(output, expected, rtol=1e-3, atol=1e-3):
        worst = float(np.abs(output - expected).max())
        raise ModelError(f"Exported graph differs from the PyTorch model by up to {worst:.3g}")
