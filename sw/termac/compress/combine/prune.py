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

__all__ = ["MAX_LOSS", "CombinedLayer", "CombinedNetwork", "combine_network"]

SAMPLES = 512
"""Calibration samples that are looked at."""
HELD_OUT = 4
"""One in so many of them is not fitted to: the error of a layer is measured there as well.

A layer of 784 inputs can answer 128 samples exactly with a third of its weights, and all others
wrongly.
"""
MAX_LOSS = 0.01
"""Bound of each layer's output error, if none is given.

Accuracy it costs on held-out training images, in points (in parentheses: 0.02 and 0.05): an MLP of
three layers on MNIST 0.3 (0.6, 1.1), a CNN of three 0.2 (0.5, 1.8), LeNet-5 0.2 (0.1), digits 0.0
(0.2, 0.3).
"""
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
        The larger of two: on what the weights were fitted to, and on what was held out.
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
    max_loss: float = MAX_LOSS,
    grouping: Grouping | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> CombinedNetwork:
    """Prune a network so that its weights pack into combined columns.

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout]
        Calibration inputs in the model's own layout. The first 512 are used: weights are fitted to
        three quarters of them, the last quarter only measures the error.
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
    samples = samples[:SAMPLES]
    x = graph.samples(samples, "calibration data")
    fitted = len(x) - len(x) // HELD_OUT
    worth = Worth.of(graph, samples).weights
    integers = quantize(graph, samples, correct_bias=False)
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
            given, ideal = pruned[node.input], dense[node.input]
            seen = [
                Observations.of(node, given[part], ideal[part])
                for part in (slice(fitted), slice(fitted, None))
                if len(given[part])
            ]
            new, layer = _prune(node, packings[node.name], seen, selects, max_loss)
            layers.append(layer)
        nodes.append(new)
        dense[node.name] = node.evaluate(dense)
        pruned[node.name] = new.evaluate(pruned)
        for name in set(node.inputs):
            if graph.consumers(name)[-1] is node:  # many samples of large tensors
                del dense[name], pruned[name]
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
    seen: list[Observations],
    selects: int | Literal["auto"],
    max_loss: float,
) -> tuple[FloatConv, CombinedLayer]:
    """Prune one layer. ``seen``: what its weights are fitted to, then what was held out."""
    filters = len(packing.worth)
    dense = node.weights.reshape(filters, -1).astype(np.float64)
    bias = node.bias.astype(np.float64)

    def fitted(passes: int) -> tuple[NDArray, NDArray, NDArray, float]:
        mask = dense != 0
        if passes < packing.dense_passes:
            mask &= packing.fit(passes)[1]
        elif (error := max(part.error(dense, bias) for part in seen)) < EXACT:
            return mask, dense, bias, error
        weights, biases = seen[0].refit(mask)
        return mask, weights, biases, max(part.error(weights, biases) for part in seen)

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
