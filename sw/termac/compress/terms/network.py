"""A trained network in terms, without training: ``termac pack --terms``.

Layers follow in execution order. Each reads what the layers before it really
deliver, and its weights are rounded to what the slots of a pass hold so that its answers stay those
of the float model as nearly as possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from termac.arch.cells import DATA_TERMS
from termac.compress.terms.allowance import (
    Allowance,
    check_allowance,
    check_encoding,
    more_for,
    needs_more,
)
from termac.compress.terms.layer import LayerFit, TermLayer
from termac.errors import ConfigError
from termac.graph import Conv, FloatConv, FloatGraph, Graph, Node, golden

__all__ = ["TermNetwork", "fit_terms"]

SAMPLES = 256
"""Calibration samples that layers are fitted to."""


@dataclass(frozen=True, eq=False)
class TermNetwork:
    """An integer graph whose weights are few terms, and its layers in execution order.

    Parameters
    ----------
    graph : Graph
    layers : list of TermLayer
    """

    graph: Graph
    layers: list[TermLayer]

    @property
    def pairs(self) -> float:
        """Beats of a cell per multiplication, over all layers."""
        total = sum(layer.macs for layer in self.layers)
        return sum(layer.pairs * layer.macs for layer in self.layers) / max(1, total)


def fit_terms(
    model: FloatGraph,
    graph: Graph,
    samples: NDArray[np.generic],
    *,
    lanes: int,
    allowance: Allowance | Literal["auto"],
    shared: bool,
    max_loss: float = 0.01,
    encoding: str = "naf",
    more: Allowance | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> TermNetwork:
    """Round a network's weights to terms.

    Parameters
    ----------
    model : FloatGraph
    graph : the quantized form of ``model``, not changed, whose tensors the result keeps
    samples : [N, *input_layout]
        Calibration inputs in the model's own layout. The first 256 are used.
    lanes : weights of a group, neighbouring input channels of one tap
    allowance : terms of a layer, "auto" for the fewest with an output error within ``max_loss``
    shared : all groups share the powers of a pass (``term`` cells, whole activations). Otherwise
        every term has its own, and activations are limited too (``term_pair``)
    max_loss : bound of the squared error of a layer's output over its variance
    encoding : of activations, ``"naf"`` or ``"hese"``
    more : terms of the first and of depthwise convolutions, None for the terms of all others
    progress : called with (layers done, layers, name)

    Raises
    ------
    ConfigError
        If an allowance is out of range or of the wrong kind, or there is no such encoding.
    ModelError
        If a layer could exceed its accumulators.
    """
    if not 0 <= max_loss < 1:
        raise ConfigError(f"max_loss must be at least 0 and below 1, not {max_loss!r}")
    check_encoding(encoding)
    for given in (allowance, more):
        if isinstance(given, Allowance):
            check_allowance(given, data_terms=0 if shared else DATA_TERMS)
    x = model.samples(samples, "calibration data")[:SAMPLES]
    ideal = {model.input: x}
    real = {graph.input: golden.quantize_values(x, graph.tensors[graph.input])}
    total = sum(isinstance(node, Conv) for node in graph.nodes)
    nodes: list[Node] = []
    layers: list[TermLayer] = []
    for node, dense in zip(graph.nodes, model.nodes, strict=True):
        new = node
        if isinstance(node, Conv):
            assert isinstance(dense, FloatConv)
            if progress is not None:
                progress(len(layers), total, node.name)
            fit = LayerFit(
                dense, node, graph.tensors[node.input], graph.tensors[node.name],
                real[node.input], ideal[node.input],
                lanes=lanes, shared=shared, encoding=encoding,
            )  # fmt: skip
            wanted = allowance
            if more is not None and needs_more(node.weights, is_first=node.input == graph.input):
                wanted = more_for(more, node.weights)
            new, layer = fit.least(max_loss) if wanted == "auto" else fit.fit(wanted)
            layers.append(layer)
        nodes.append(new)
        ideal[node.name] = dense.evaluate(ideal)
        real[node.name] = new.evaluate(real, graph.tensors)
    return TermNetwork(replace(graph, nodes=nodes), layers)
