"""Channel orders: which channels share a combined column.

A filter keeps few weights of each bank, so its large weights should lie in different banks. The
layer that writes a tensor puts its channels into any order at no cost (the row permutation of
Kung, McDanel, Zhang, ASPLOS 2019, section 3.4), but all layers that read the tensor, and all
tensors that additions join, have the same order. Channels change places while that keeps more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from termac.compile.layout import Layout
from termac.compress.packing import Packing, find_packings
from termac.storage import Storage

__all__ = ["find_orders"]

SWEEPS = 3
"""Times that all pairs of channels are tried."""


def find_orders(
    layout: Layout,
    worth: Mapping[str, NDArray[np.float64]],
    passes: Mapping[str, int],
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, list[int]]:
    """Channel order by tensor, for :func:`termac.compile.compile_graph`.

    Parameters
    ----------
    layout : of the network in its own channel order
    worth : as for :func:`termac.compress.packing.find_packings`
    passes : by name of the convolution
    progress : called with (sets done, sets, tensor)
    """
    packings = find_packings(layout, worth)
    ends = {layout.sets[layout.graph.input], layout.sets[layout.graph.output]}
    readers: dict[str, list[Packing]] = {}
    for packing in packings:
        readers.setdefault(layout.sets[packing.layer.input], []).append(packing)
    orders = {}
    chosen = [name for name in readers if name not in ends]
    for number, name in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), name)
        storage = layout.storages[readers[name][0].layer.input]
        fixed = _fixed_channels(layout, name)
        orders[readers[name][0].layer.input] = _improve(storage, readers[name], passes, fixed)
    return orders


def _fixed_channels(layout: Layout, name: str) -> NDArray[np.bool_]:
    """Channels that stay where the inner tensor of an absorbed shortcut has them."""
    members = [member for member, group in layout.sets.items() if group == name]
    channels = layout.graph.tensors[members[0]].shape[2]
    fixed = np.zeros(channels, bool)
    for layer in layout.layers:
        residual = layer.residual
        if residual is not None and layer.name in members and residual.tensor not in members:
            inner = layout.graph.tensors[residual.tensor].shape[2]
            before = (channels - inner) // 2
            node = layout.graph.node(layer.nodes[0])
            before = getattr(node, "before", before)
            fixed[before : before + inner] = True
    return fixed


class _Bank:
    """Worth that one layer keeps of a set of channels, for an exchange of two."""

    def __init__(self, packing: Packing, storage: Storage, passes: int) -> None:
        self.packing = packing
        segments = packing.layout.config.segments
        limits = packing.selects.spend(packing.worth, passes * segments, refine=False)
        self.limits = np.repeat(limits, packing.selects.banks)
        channels = storage.tensor.shape[2]
        self.groups = packing.selects.groups.reshape(len(packing.selects.groups), -1, channels)
        self.worth = packing.worth.reshape(len(packing.worth), -1, channels)

    def gain(self, first: int, second: int) -> float:
        """Worth gained if two channels change places."""
        gain = 0.0
        banks = self.packing.selects.banks
        for groups in self.groups:
            # Weights in any group that either channel has a place in, before and after.
            touched = np.unique(groups[:, [first, second]])
            taps, channels = np.nonzero(np.isin(groups, touched))
            now = groups[taps, channels]
            other = np.where(
                channels == first, second, np.where(channels == second, first, channels)
            )
            then = groups[taps, other]
            worth = self.worth[:, taps, channels]
            gain += self._kept(worth, then) - self._kept(worth, now)
        assert banks
        return gain / len(self.groups)

    def _kept(self, worth: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
        order = np.lexsort((-worth, np.broadcast_to(groups, worth.shape)), axis=1)
        ranked = np.take_along_axis(worth, order, axis=1)
        counts = np.unique(groups, return_counts=True)
        rank = np.concatenate([np.arange(count) for count in counts[1]])
        limit = np.repeat(self.limits[counts[0]], counts[1])
        return float(ranked[:, rank < limit].sum())

    def swap(self, first: int, second: int) -> None:
        self.groups[:, :, [first, second]] = self.groups[:, :, [second, first]]


def _improve(
    storage: Storage, readers: list[Packing], passes: Mapping[str, int], fixed: NDArray[np.bool_]
) -> list[int]:
    channels = len(fixed)
    order = np.arange(channels)
    free = np.flatnonzero(~fixed)
    banks = [_Bank(replace(packing), storage, passes[packing.node]) for packing in readers]
    for bank in banks:
        bank.groups = bank.groups.copy()
    for _ in range(SWEEPS):
        improved = False
        for first, second in _pairs(free):
            if sum(bank.gain(first, second) for bank in banks) > 1e-9:
                for bank in banks:
                    bank.swap(first, second)
                places = np.flatnonzero((order == first) | (order == second))
                order[places] = order[places[::-1]]
                improved = True
        if not improved:
            break
    return [int(channel) for channel in order]


def _pairs(channels: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    for index, first in enumerate(channels.tolist()):
        for second in channels[index + 1 :].tolist():
            yield first, second
