"""How a network lies in the activation memory: layers, pixels per word, channel orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from termac.arch import Config
from termac.compile.factors import Factor, Factors, tensor_sets
from termac.compile.fuse import fuse
from termac.compile.grouping import Grouping
from termac.compile.layers import Layer
from termac.compile.plan import PlannedLayer, plan_layer
from termac.compile.shortcuts import absorb_shortcuts
from termac.errors import ModelError
from termac.graph import Graph
from termac.image.storage import Storage, plain_storage

__all__ = ["Formats", "choose_formats"]


@dataclass(frozen=True, eq=False)
class Formats:
    """Everything that is decided before addresses.

    Parameters
    ----------
    graph, config : what runs on what
    layers : in execution order
    sets : representative of every stored tensor; a sum and its residual operand share one
    factors : pixels per stored pixel (y, x), by representative
    storages : format of every tensor that a layer reads or writes, at address 0
    """

    graph: Graph
    config: Config
    layers: list[Layer]
    sets: Mapping[str, str]
    factors: Mapping[str, Factor]
    storages: Mapping[str, Storage]

    def plan(self, layer: Layer) -> PlannedLayer:
        """Lower and cut one of the layers."""
        source, target = self.storages[layer.input], self.storages[layer.name]
        plan = plan_layer(layer, source, target, self.config)
        assert plan is not None  # the search takes only factors that go together
        return plan

    def grouping(self, orders: Mapping[str, Sequence[int]]) -> Grouping:
        """The chosen pixels per stored pixel of every tensor, with channel orders to go along."""
        factors = {name: self.factors[self.sets[name]] for name in self.storages}
        return Grouping.on(self.config, factors=factors, orders=orders)


def choose_formats(
    graph: Graph,
    config: Config,
    *,
    group_pixels: bool = True,
    grouping: Grouping | None = None,
) -> Formats:
    """Choose the layers of a network and the format of every tensor.

    Parameters and errors are those of :func:`termac.compile.compile_graph`.
    """
    _check(graph)

    def is_faster(first: Layer, second: Layer, both: Layer) -> bool:
        plain = {name: plain_storage(t, config) for name, t in graph.tensors.items()}

        def cycles(layer: Layer) -> int:
            plan = plan_layer(layer, plain[layer.input], plain[layer.name], config)
            assert plan is not None  # factor 1 always works
            return plan.cycles

        return cycles(both) <= cycles(first) + cycles(second)

    layers = fuse(graph, is_faster=is_faster)
    sets = tensor_sets(layers, graph)
    given = Grouping.on(config) if grouping is None else grouping
    by_set = _orders_by_set(graph, sets, given.orders)
    for layer in layers:  # channels that do not mix keep their order
        source, target = sets[layer.input], sets[layer.name]
        if layer.channelwise and source in by_set:
            by_set.setdefault(target, by_set[source])
    chosen: Mapping[str, Factor] = dict.fromkeys(set(sets.values()), (1, 1))
    if group_pixels:
        start = {sets[name]: factor for name, factor in given.factors.items() if name in sets}
        chosen = Factors(layers, graph, config, by_set).search(start)
    layers, storages = absorb_shortcuts(graph, layers, sets, chosen, by_set, config)
    return Formats(graph, config, layers, sets, chosen, storages)


def _orders_by_set(
    graph: Graph, sets: Mapping[str, str], orders: Mapping[str, Sequence[int]]
) -> dict[str, Sequence[int]]:
    by_set: dict[str, Sequence[int]] = {}
    for name, order in orders.items():
        if name not in sets:
            continue  # a tensor that is never stored has no order
        if sorted(order) != list(range(graph.tensors[name].shape[2])):
            raise ModelError(f"channel order of tensor {name!r} is not a permutation")
        if not np.array_equal(by_set.setdefault(sets[name], order), order):
            raise ModelError(f"tensor {name!r} is added to others of another channel order")
    return by_set


def _check(graph: Graph) -> None:
    """Refuse what no configuration can run."""
    if graph.output == graph.input:
        raise ModelError(f"network {graph.name!r} has no layer: its output is its input")
    for node in graph.nodes:
        kernel = getattr(node, "kernel", (1, 1))  # of operators that have one
        if max(kernel) > 128:
            raise ModelError(
                f"node {node.name!r}: a window of {kernel[0]}x{kernel[1]} pixels is beyond the "
                "128x128 that taps reach; pool in two steps"
            )
