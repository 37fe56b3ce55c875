"""The compiler: fuse, choose formats, place, cut into passes, assemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from termac.arch import Config
from termac.compile.assemble import Assembler
from termac.compile.formats import Formats, choose_formats
from termac.compile.grouping import Grouping
from termac.compile.place import place
from termac.compile.plan import PlannedLayer
from termac.errors import CapacityError
from termac.graph import Conv, Graph
from termac.image import Image, LayerInfo

__all__ = ["compile_graph"]


def compile_graph(
    graph: Graph,
    config: Config,
    *,
    group_pixels: bool = True,
    grouping: Grouping | None = None,
) -> Image:
    """Compile a network for one configuration.

    Parameters
    ----------
    graph : Graph
    config : Config
    group_pixels : bool
        Store several pixels of thin tensors in one word (space to depth), where that saves cycles.
    grouping : Grouping, optional
        Pixels per word to start the search from and channel orders to keep to, such as the network
        was pruned for.

    Raises
    ------
    CapacityError
        If a memory of the configuration is too small; names memory, need and layer.
    ModelError
        If a node cannot run on the accelerator at all.
    """
    formats = choose_formats(graph, config, group_pixels=group_pixels, grouping=grouping)
    try:
        return _compile(formats)
    except CapacityError:
        if set(formats.factors.values()) == {(1, 1)}:
            raise  # else perhaps it fits without
    return _compile(choose_formats(graph, config, group_pixels=False, grouping=grouping))


def _compile(formats: Formats) -> Image:
    """The rest, once the formats are chosen."""
    graph, config, layers = formats.graph, formats.config, formats.layers
    planned = [formats.plan(layer) for layer in layers]
    beyond: dict[str, int] = {}
    for plan in planned:
        reach = max(part.beyond for part in plan.parts)
        beyond[plan.layer.input] = max(beyond.get(plan.layer.input, 0), reach)
    bases = place(graph, layers, formats.storages, beyond, config)
    storages = {name: storage.at(bases[name]) for name, storage in formats.storages.items()}
    planned = [plan.placed(storages) for plan in planned]
    assembled = Assembler(config, planned, graph.name)
    return Image(
        config=config,
        graph=graph,
        program=assembled.program,
        taps=assembled.taps,
        cells=assembled.cells,
        parameters=assembled.parameters,
        layers=_infos(planned, formats),
        input=storages[graph.input],
        output=storages[graph.output],
    )


def _dense_cycles(plan: PlannedLayer, formats: Formats) -> int:
    """Cycles of a layer if none of its weights were zero."""
    linear, combines = plan.layer.linear, formats.config.kind.combines
    convolutions = [n for n in plan.layer.nodes if isinstance(formats.graph.node(n), Conv)]
    if plan.layer.channelwise or not combines or not convolutions or linear.weights.all():
        return plan.cycles
    full = replace(linear, weights=np.ones_like(linear.weights))
    return formats.plan(replace(plan.layer, linear=full)).cycles


def _infos(planned: Sequence[PlannedLayer], formats: Formats) -> list[LayerInfo]:
    infos = []
    config = formats.config
    descriptor = 0
    for plan in planned:
        linear, cycles = plan.layer.linear, plan.cycles
        passes = sum(
            sum(part.passes(config.segments)) * (part.stop - part.first) for part in plan.parts
        )
        holds = plan.holds
        filled = sum(
            holds.used(
                position.weights[part.first * config.rows : part.stop * config.rows].reshape(
                    -1, config.lanes
                )
            )
            for part in plan.parts
            for position in plan.positions
        )
        pixels = plan.target.height * plan.target.width
        work = filled * pixels * holds.beats // holds.planes
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
                columns=config.banks * max(len(s) for part in plan.parts for s in part.slots),
                dense_cycles=_dense_cycles(plan, formats),
                density=filled / (passes * config.cells * holds.planes),
                utilization=work / (cycles * config.cells),
            )
        )
        descriptor += len(plan.parts)
    return infos
