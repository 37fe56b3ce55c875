"""The compiler: fuse, choose formats, place, cut into passes, assemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from termac.arch import Config
from termac.compile.assemble import Assembler
from termac.compile.factors import Factors, tensor_sets
from termac.compile.fuse import Layer, fuse
from termac.compile.place import place
from termac.compile.plan import PlannedLayer, plan_layer
from termac.compile.shortcuts import absorb_shortcuts
from termac.errors import CapacityError, ModelError
from termac.graph import Conv, Graph
from termac.image import Image, LayerInfo
from termac.storage import Storage, plain_storage

__all__ = ["compile_graph"]


def compile_graph(
    graph: Graph,
    config: Config,
    *,
    group_pixels: bool = True,
    orders: Mapping[str, Sequence[int]] | None = None,
) -> Image:
    """Compile a network for one configuration.

    Parameters
    ----------
    graph : Graph
    config : Config
    group_pixels : bool
        Store several pixels of thin tensors in one word (space to depth), where that saves cycles.
    orders : channel order by tensor name
        ``order[i]`` is the channel that takes place i; see
        :func:`termac.compile.channel_groups`. Holds for all tensors that additions join.

    Raises
    ------
    CapacityError
        If a memory of the configuration is too small; names memory, need and layer.
    ModelError
        If a node cannot run on the accelerator at all.
    """
    _check(graph)

    def join_pool(convolution: Layer, pool: Layer, both: Layer) -> bool:
        plain = {name: plain_storage(t, config) for name, t in graph.tensors.items()}
        apart, joined = (
            sum(_planned(layer, plain, config).cycles for layer in layers)
            for layers in ((replace(convolution, name=pool.input), pool), (both,))
        )
        return joined <= apart

    layers = fuse(graph, join_pool=join_pool)
    sets = tensor_sets(layers, graph)
    by_set: dict[str, Sequence[int]] = {}
    for name, order in (orders or {}).items():
        if name not in sets:
            continue  # a tensor that is never stored has no order
        if sorted(order) != list(range(graph.tensors[name].shape[2])):
            raise ModelError(f"channel order of tensor {name!r} is not a permutation")
        if not np.array_equal(by_set.setdefault(sets[name], order), order):
            raise ModelError(f"tensor {name!r} is added to others of another channel order")
    for layer in layers:  # channels that do not mix keep their order
        source, target = sets[layer.input], sets[layer.name]
        if layer.channelwise and source in by_set:
            by_set.setdefault(target, by_set[source])
    plain = dict.fromkeys(set(sets.values()), (1, 1))
    if group_pixels:
        factors = Factors(layers, graph, config, by_set).search()
        try:
            return _compile(graph, layers, sets, factors, by_set, config)
        except CapacityError:
            if factors == plain:
                raise  # else perhaps it fits without
    return _compile(graph, layers, sets, plain, by_set, config)


def _compile(
    graph: Graph,
    layers: list[Layer],
    sets: Mapping[str, str],
    factors: Mapping[str, tuple[int, int]],
    orders: Mapping[str, Sequence[int]],
    config: Config,
) -> Image:
    """The rest, once the factors are chosen."""
    layers, storages = absorb_shortcuts(graph, layers, sets, factors, orders, config)

    planned = [_planned(layer, storages, config) for layer in layers]
    beyond: dict[str, int] = {}
    for plan in planned:
        reach = max(part.beyond for part in plan.parts)
        beyond[plan.layer.input] = max(beyond.get(plan.layer.input, 0), reach)
    bases = place(graph, layers, storages, beyond, config)
    storages = {name: storage.at(bases[name]) for name, storage in storages.items()}
    planned = [plan.placed(storages) for plan in planned]
    assembled = Assembler(config, planned, graph.name)
    return Image(
        config=config,
        graph=graph,
        program=assembled.program,
        taps=assembled.taps,
        value=assembled.value,
        lane=assembled.lane,
        parameters=assembled.parameters,
        layers=_infos(planned, config),
        input=storages[graph.input],
        output=storages[graph.output],
    )


def _planned(layer: Layer, storages: Mapping[str, Storage], config: Config) -> PlannedLayer:
    plan = plan_layer(layer, storages[layer.input], storages[layer.name], config)
    assert plan is not None  # the search takes only factors that go together
    return plan


def _check(graph: Graph) -> None:
    """Refuse what no configuration can run."""
    if graph.output == graph.input:
        raise ModelError(f"network {graph.name!r} has no layer: its output is its input")
    for node in graph.nodes:
        kernel = getattr(node, "kernel", None)
        if isinstance(node, Conv):
            kernel = node.weights.shape[1:3]
        if kernel is not None and max(kernel) > 128:
            raise ModelError(
                f"node {node.name!r}: a window of {kernel[0]}x{kernel[1]} pixels is beyond the "
                "128x128 that taps reach; pool in two steps"
            )


def _infos(planned: Sequence[PlannedLayer], config: Config) -> list[LayerInfo]:
    infos = []
    descriptor = 0
    for plan in planned:
        linear, cycles = plan.layer.linear, plan.cycles
        passes = sum(
            sum(part.passes(config.segments)) * (part.stop - part.first) for part in plan.parts
        )
        filled = sum(
            np.count_nonzero(phase.weights[part.first * config.rows : part.stop * config.rows])
            for part in plan.parts
            for phase in plan.phases
        )
        pixels = plan.target.height * plan.target.width
        work = filled * pixels * plan.source.tensor.bits
        infos.append(
            LayerInfo(
                name=plan.layer.name,
                nodes=plan.layer.nodes,
                storage=plan.target,
                first_descriptor=descriptor,
                descriptors=len(plan.parts),
                cycles=cycles,
                macs=plan.layer.macs,
                passes=passes,
                weights=linear.weights.size,
                nonzero=int(np.count_nonzero(linear.weights)),
                density=filled / (passes * config.cells),
                utilization=work / (cycles * config.cells),
            )
        )
        descriptor += len(plan.parts)
    return infos
