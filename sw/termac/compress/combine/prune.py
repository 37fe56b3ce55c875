"""Column combining of a trained network without training: ``termac pack --combine``.

Layers are pruned one after the other, in execution order. Each keeps the weights that
add the most to its output, and those are fitted again to what the dense layer answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.compile.formats import choose_formats
from termac.compile.grouping import Grouping
from termac.compress.combine.cycles import ROOM
from termac.compress.combine.orders import find_orders
from termac.compress.combine.packing import Packing, find_packings
from termac.compress.combine.worth import Worth
from termac.compress.quantize.quantize import quantize
from termac.compress.refit import Observations
from termac.errors import ConfigError
from termac.graph import FloatConv, FloatGraph, FloatNode, Graph

__all__ = ["CombinedLayer", "CombinedNetwork", "combine_network"]

SAMPLES = 128
"""Calibration samples that layers are fitted to."""
EXACT = 1e-6
"""Output error below which a layer that keeps all weights is left as it is."""


@dataclass(frozen=True, eq=False)
class CombinedLayer:
    """What became of one convolution.

    Parameters
    ----------
    node : str
    passes, dense_passes : weight tiles per row tile, now and without pruning
    mask : bool [filters, kernel height, kernel width, channels], the weights kept
    mass_kept : share of the sum of magnitudes
    output_error : squared error of the output over its variance, on the calibration data
    """

    node: str
    passes: int
    dense_passes: int
    mask: NDArray[np.bool_]
    mass_kept: float
    output_error: float

    def record(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "node": self.node,
            "passes": self.passes,
            "dense_passes": self.dense_passes,
            "density": float(self.mask.mean()),
            "mass_kept": self.mass_kept,
            "output_error": self.output_error,
        }


@dataclass(frozen=True, eq=False)
class CombinedNetwork:
    """A pruned network and the grouping it was pruned for.

    Parameters
    ----------
    graph : FloatGraph
    grouping : formats to compile it with
    layers : in execution order
    """

    graph: FloatGraph
    grouping: Grouping
    layers: list[CombinedLayer]


def combine_network(
    graph: FloatGraph,
    samples: NDArray[np.generic],
    config: Config,
    *,
    selects: int | Literal["auto"] = "auto",
    max_loss: float = 0.05,
    grouping: Grouping | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> CombinedNetwork:
    """Prune a network so that its weights pack into combined columns.

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout]
        Calibration inputs in the model's own layout. The first 128 are used.
    config : Config
    selects : 1..lanes, or "auto"
        Weights of a combined column that a row may use, on average over the words of a layer.
        "auto": the fewest passes that keep every layer's output error within ``max_loss``.
    max_loss : float
        Bound of the squared error of a layer's output over its variance.
    grouping : Grouping, optional
        Formats and channel orders to keep to. By default they are searched.
    progress : called with (steps done, steps, what)

    Raises
    ------
    ConfigError
        If ``selects`` or ``max_loss`` is out of range, or the cells keep terms of all lanes.
    """
    if not config.kind.combines:
        raise ConfigError(
            f"config {config.name!r} has {config.cell!r} cells, which work on all lanes at once: "
            "no columns combine there; round to terms instead (--terms)"
        )
    if selects != "auto" and (
        isinstance(selects, bool) or not isinstance(selects, int)
        or not 1 <= selects <= config.lanes
    ):  # fmt: skip
        raise ConfigError(
            f"selects must be 'auto' or 1..{config.lanes}, the lanes of config {config.name!r}, "
            f"not {selects!r}"
        )
    if not 0 <= max_loss < 1:
        raise ConfigError(f"max_loss must be at least 0 and below 1, not {max_loss!r}")
    report = progress or (lambda done, total, what: None)
    convolutions = [node for node in graph.nodes if isinstance(node, FloatConv)]
    total = 1 + len(convolutions)
    report(0, total, "channel orders")
    x = graph.samples(samples, "calibration data")[:SAMPLES]
    worth = Worth.of(graph, samples[:SAMPLES]).weights
    integers = quantize(graph, samples[:SAMPLES], correct_bias=False)
    if grouping is None:
        grouping = _group(integers, worth, config, 2 if selects == "auto" else selects)
    formats = choose_formats(integers, replace(config, weight_depth=ROOM), grouping=grouping)
    grouping = formats.grouping(grouping.orders)  # the search may have found better factors
    packings = {packing.node: packing for packing in find_packings(formats, worth)}

    dense = {graph.input: x}
    pruned = {graph.input: x}
    nodes: list[FloatNode] = []
    layers: list[CombinedLayer] = []
    for node in graph.nodes:
        new = node
        if isinstance(node, FloatConv):
            report(1 + len(layers), total, node.name)
            seen = Observations.of(node, pruned[node.input], dense[node.input])
            new, layer = _prune(node, packings[node.name], seen, selects, max_loss)
            layers.append(layer)
        nodes.append(new)
        dense[node.name] = node.evaluate(dense)
        pruned[node.name] = new.evaluate(pruned)
    return CombinedNetwork(replace(graph, nodes=nodes), grouping, layers)


def _group(
    graph: Graph, worth: Mapping[str, NDArray[np.float64]], config: Config, selects: int
) -> Grouping:
    formats = choose_formats(graph, replace(config, weight_depth=ROOM))
    passes = {packing.node: _passes(packing, selects) for packing in find_packings(formats, worth)}
    return formats.grouping(find_orders(formats, worth, passes))


def _passes(packing: Packing, selects: int) -> int:
    """Passes that give every word this number of selects on average."""
    words = len(packing.selects.words) / packing.selects.positions
    wanted = int(np.ceil(selects * words / packing.formats.config.segments))
    return min(max(1, wanted), packing.dense_passes)


def _prune(
    node: FloatConv,
    packing: Packing,
    seen: Observations,
    selects: int | Literal["auto"],
    max_loss: float,
) -> tuple[FloatConv, CombinedLayer]:
    filters = len(packing.worth)
    dense = node.weights.reshape(filters, -1).astype(np.float64)
    bias = node.bias.astype(np.float64)

    def fitted(passes: int) -> tuple[NDArray, NDArray, NDArray, float]:
        mask = dense != 0
        if passes < packing.dense_passes:
            mask &= packing.fit(passes)[1]
        elif (error := seen.error(dense, bias)) < EXACT:
            return mask, dense, bias, error
        weights, biases = seen.refit(mask)
        return mask, weights, biases, seen.error(weights, biases)

    if selects == "auto":
        low, high = 1, packing.dense_passes  # the fewest within the bound, in which dense always is
        best = fitted(high)
        while low < high:
            middle = (low + high) // 2
            now = fitted(middle)
            if now[3] <= max_loss:
                high, best = middle, now
            else:
                low = middle + 1
        passes = high
    else:
        passes = _passes(packing, selects)
        best = fitted(passes)
    mask, weights, bias, error = best
    mass = np.abs(dense)
    layer = CombinedLayer(
        node=node.name,
        passes=passes,
        dense_passes=packing.dense_passes,
        mask=mask.reshape(node.weights.shape),
        mass_kept=float(mass[mask].sum() / max(mass.sum(), 1e-300)),
        output_error=error,
    )
    new = replace(
        node,
        weights=weights.reshape(node.weights.shape).astype(np.float32),
        bias=bias.astype(np.float32),
    )
    return new, layer
