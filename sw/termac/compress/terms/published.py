"""The published scheme on an integer graph: the largest terms stay, the others are dropped.

H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization: Furthering Quantization at Run Time on
Quantized DNNs", SC 2020, section 3. It needs no data.
:mod:`termac.compress.terms.network` loses less.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from termac.arch.cells import DATA_TERMS
from termac.compress.quantize.quantize import check_accumulators
from termac.compress.terms.allowance import (
    MORE,
    Allowance,
    check_allowance,
    check_encoding,
    more_for,
    needs_more,
)
from termac.graph import Conv, Graph, Node, Terms
from termac.terms.digits import limit

__all__ = ["limit_terms"]


def limit_terms(
    graph: Graph,
    *,
    group: int,
    budget: int,
    data_terms: int = 0,
    encoding: str = "naf",
    more: Allowance | None = MORE,
) -> Graph:
    """Limit the terms of weights and activations of every convolution, for ``term_pair`` cells.

    Groups are neighbouring input channels of one tap. Weights are taken in non-adjacent form,
    which has the fewest terms, and may grow to 16 bits: 127 is 128 - 1.

    Parameters
    ----------
    graph : integer graph, not changed
    group : weights of a group, the lanes of the array
    budget : terms that a group of weights keeps, 1..16
    data_terms : terms that an activation keeps, 1..4, or 0 for whole activations
    encoding : of activations, ``"naf"`` or ``"hese"``
    more : terms of the first and of depthwise convolutions, None for the terms of all others

    Raises
    ------
    ConfigError
        If a budget is out of range, or there is no such encoding.
    ModelError
        If a layer could exceed its accumulators.
    """
    usual = Allowance(budget, data_terms)
    check_encoding(encoding)
    for allowance in (usual, more or usual):
        check_allowance(allowance, data_terms=DATA_TERMS if allowance.data else 0)
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Conv):
            allowance = usual
            if more is not None and needs_more(node.weights, is_first=node.input == graph.input):
                allowance = more_for(more, node.weights)
            data = allowance.data if data_terms else 0
            weights = limit(node.weights, group=group, budget=allowance.weights)
            terms = Terms(weights=allowance.weights, data=data, encoding=encoding)
            node = replace(node, weights=weights.astype(np.int16), terms=terms)
            check_accumulators(node, graph.tensors[node.input])
        nodes.append(node)
    return replace(graph, nodes=nodes)
