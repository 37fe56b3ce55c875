"""Parameter-free shortcuts that need no layer of their own.

A shortcut takes every n-th pixel and pads channels. If the outer tensor keeps the inner channels at
the bytes where the inner tensor has them, the drains read the inner tensor itself as the residual:
with a longer step from pixel to pixel, and with the padding value for blocks beyond. An order of
the outer tensors then holds for their other channels. Else the shortcut stays an identity layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from termac.arch import Config
from termac.compile.layers import Layer
from termac.graph import Graph, Shortcut
from termac.image.storage import Storage, byte_order, plain_storage

__all__ = ["absorb_shortcuts"]


def _outer_storage(inner: Storage, node: Shortcut, order: Sequence[int], config: Config) -> Storage:
    """Format with the inner channels in place and the others, in order, in the bytes left."""
    channels = len(order)
    blocks = max(inner.blocks, -(-channels // config.word_bytes))
    positions = np.full(channels, -1)
    positions[node.before : node.before + inner.tensor.shape[2]] = inner.positions[0, 0]
    places = byte_order(blocks, config)
    free = places[~np.isin(places, positions)]
    others = [channel for channel in order if positions[channel] < 0]
    positions[others] = free[: len(others)]
    return Storage(
        tensor=inner.tensor,
        factor=(1, 1),
        blocks=blocks,
        positions=positions[None, None],
        word_bytes=config.word_bytes,
        kind=inner.kind,
    )


def absorb_shortcuts(
    graph: Graph,
    layers: Sequence[Layer],
    sets: Mapping[str, str],
    factors: Mapping[str, tuple[int, int]],
    orders: Mapping[str, Sequence[int]],
    config: Config,
) -> tuple[list[Layer], dict[str, Storage]]:
    """Remove the shortcuts that the drains of their reader can do.

    Parameters
    ----------
    graph, config : what runs on what
    layers : in execution order
    sets : representative of every stored tensor
    factors : pixels per stored pixel (y, x), by representative
    orders : channel orders to keep to, by representative

    Returns
    -------
    layers that are left, and the storage (at address 0) of every tensor that they read or write
    """
    chosen: dict[str, Storage] = {}  # by set

    def storage(name: str) -> Storage:
        group, tensor = sets[name], graph.tensors[name]
        if group not in chosen:
            chosen[group] = plain_storage(
                tensor, config, factor=factors[group], order=orders.get(group)
            )
            for layer in layers:  # a channel stays where it is, if the layer does not mix channels
                source = sets[layer.input]
                if (
                    sets[layer.name] == group
                    and layer.channelwise
                    and source in chosen
                    and chosen[source].positions.shape == chosen[group].positions.shape
                ):
                    chosen[group] = replace(chosen[source], tensor=tensor)
                    break
        return replace(chosen[group], tensor=tensor)

    def quiet(name: str) -> bool:
        """Whether bytes without a channel surely hold the zero point in all tensors of the set."""
        for layer in layers:
            if sets[layer.name] != sets[name]:
                continue
            low, high, zero = layer.linear.low, layer.linear.high, layer.linear.zero
            if not low <= zero <= high:
                return False
            if layer.residual is not None:
                node, zero = layer.residual.node, graph.tensors[layer.name].zero_point
                if not node.low <= zero <= node.high:
                    return False
        return True

    by_name = {layer.name: layer for layer in layers}
    result: list[Layer] = []
    for layer in layers:
        storage(layer.input)
        residual = layer.residual
        shortcut = by_name.get(residual.tensor) if residual is not None else None
        readers = sum(residual.tensor in other.reads for other in layers) if residual else 0
        if residual is not None and shortcut is not None and readers == 1:
            node = graph.node(shortcut.nodes[-1])
            group, inner = sets[layer.name], sets[shortcut.input]
            if (
                isinstance(node, Shortcut)
                and shortcut.nodes == (node.name,)
                and residual.tensor != graph.output
                and factors[group] == factors[inner] == (1, 1)
                and quiet(shortcut.input)
            ):
                channels = graph.tensors[layer.name].shape[2]
                order = orders.get(group, range(channels))
                wanted = _outer_storage(storage(shortcut.input), node, order, config)
                if group not in chosen:
                    chosen[group] = wanted
                held = chosen[group]
                places = slice(node.before, node.before + graph.tensors[node.input].shape[2])
                if np.array_equal(held.positions[..., places], wanted.positions[..., places]):
                    result.remove(shortcut)
                    layer = replace(
                        layer,
                        nodes=(node.name, *layer.nodes),
                        residual=replace(residual, tensor=shortcut.input, stride=node.stride),
                    )
        result.append(layer)
    return result, {name: storage(name) for name in (graph.input, *(x.name for x in result))}
