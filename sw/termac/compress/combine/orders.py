"""Channel orders: which channels share a combined column.

A filter keeps few weights of each bank, so its large weights should lie in different banks. The
layer that writes a tensor puts its channels into any order at no cost (the row permutation of
Kung, McDanel, Zhang, ASPLOS 2019, section 3.4), but all layers that read the tensor, and all
tensors that additions join, have the same order. Channels change places while that keeps more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from termac.compile.formats import Formats
from termac.compress.combine.packing import Packing, find_packings
from termac.compress.combine.selects import Selects

__all__ = ["Reader", "find_orders", "improve_order"]

SWEEPS = 3
"""Times that all pairs of channels are tried."""
LEAST_GAIN = 1e-9


def find_orders(
    formats: Formats,
    worth: Mapping[str, NDArray[np.float64]],
    passes: Mapping[str, int],
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, list[int]]:
    """Channel order by tensor, for :func:`termac.compile.compile_graph`.

    Parameters
    ----------
    formats : of the network in its own channel order
    worth : as for :func:`termac.compress.combine.packing.find_packings`
    passes : by name of the convolution
    progress : called with (sets done, sets, tensor)
    """
    packings = find_packings(formats, worth)
    carried = _carried_sets(formats)
    ends = {carried[formats.sets[formats.graph.input]], formats.sets[formats.graph.output]}
    readers: dict[str, list[Packing]] = {}
    for packing in packings:
        readers.setdefault(carried[formats.sets[packing.layer.input]], []).append(packing)
    orders = {}
    chosen = [name for name in readers if name not in ends]
    for number, name in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), name)
        inputs = [packing.layer.input for packing in readers[name]]
        own = next((tensor for tensor in inputs if formats.sets[tensor] == name), name)
        channels = formats.storages[inputs[0]].tensor.shape[2]
        fixed = _fixed_channels(formats, name)
        found = [_reader(packing, passes[packing.node], channels) for packing in readers[name]]
        orders[own] = improve_order(found, channels, fixed=fixed)
    return orders


def _reader(packing: Packing, passes: int, channels: int) -> Reader:
    slots = passes * packing.formats.config.segments
    limits = packing.selects.spend(packing.worth, slots, refine=False)
    # In units of the layer's whole worth, so that layers count alike.
    worth = packing.worth / max(packing.worth.sum(), 1e-300)
    return Reader(packing.selects, worth, limits, channels)


def _carried_sets(formats: Formats) -> dict[str, str]:
    """Set whose channel order each set has: layers that do not mix channels pass theirs on."""
    carried = {name: name for name in formats.sets.values()}
    for layer in formats.layers:
        source, target = formats.sets[layer.input], formats.sets[layer.name]
        if layer.channelwise and carried[target] == target:
            carried[target] = carried[source]
    return carried


def _fixed_channels(formats: Formats, name: str) -> NDArray[np.bool_]:
    """Channels that stay where the inner tensor of an absorbed shortcut has them."""
    members = [member for member, group in formats.sets.items() if group == name]
    channels = formats.graph.tensors[members[0]].shape[2]
    fixed = np.zeros(channels, bool)
    for layer in formats.layers:
        residual = layer.residual
        if residual is not None and layer.name in members and residual.tensor not in members:
            inner = formats.graph.tensors[residual.tensor].shape[2]
            before = (channels - inner) // 2
            node = formats.graph.node(layer.nodes[0])
            before = getattr(node, "before", before)
            fixed[before : before + inner] = True
    return fixed


class Reader:
    """A layer that reads a tensor, and what it keeps of the tensor's channels.

    Parameters
    ----------
    selects : groups of weights that share selects
    worth : float64 [filters, weights of a filter]
    limits : slots of every word
    """

    def __init__(
        self, selects: Selects, worth: NDArray[np.float64], limits: NDArray[np.int64], channels: int
    ) -> None:
        views, weights = selects.groups.shape
        count = len(selects.words) * selects.banks
        groups = selects.groups + count * np.arange(views)[:, None]
        sizes = np.bincount(groups.ravel(), minlength=views * count)
        # Members of every group. Places that are left point at a weight of no worth.
        self._members = np.full((views * count, sizes.max()), weights)
        order = np.argsort(groups.ravel(), kind="stable")
        start = np.cumsum(sizes) - sizes
        place = np.arange(order.size) - np.repeat(start, sizes)
        self._members[groups.ravel()[order], place] = order % weights
        self._groups = groups.reshape(views, -1, channels)
        self._worth = np.concatenate([worth, np.zeros((len(worth), 1))], axis=1) / views
        allowed = np.tile(np.repeat(limits, selects.banks), views)
        self._counted = np.arange(sizes.max()) < allowed[:, None]
        self._channels = channels

    def gain(self, first: int, second: int) -> float:
        """Worth gained if two channels change places."""
        touched = np.unique(self._groups[:, :, [first, second]])
        now = self._members[touched]
        counted = self._counted[touched]
        return self._kept(self._exchanged(now, first, second), counted) - self._kept(now, counted)

    def exchange(self, first: int, second: int) -> None:
        """Let two channels change places."""
        touched = np.unique(self._groups[:, :, [first, second]])
        self._members[touched] = self._exchanged(self._members[touched], first, second)
        self._groups[:, :, [first, second]] = self._groups[:, :, [second, first]]

    def _exchanged(self, members: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
        weights = self._worth.shape[1] - 1
        channel = members % self._channels
        moved = np.where(channel == first, members + second - first, members)
        moved = np.where(channel == second, members + first - second, moved)
        return np.where(members == weights, weights, moved)

    def _kept(self, members: NDArray[np.int64], counted: NDArray[np.bool_]) -> float:
        ranked = np.sort(self._worth[:, members], axis=2)[:, :, ::-1]
        return float(np.einsum("fgm,gm->", ranked, counted))


def improve_order(
    readers: Sequence[Reader],
    channels: int,
    *,
    fixed: NDArray[np.bool_] | None = None,
    sweeps: int = SWEEPS,
) -> list[int]:
    """Order of channels in which readers keep more: ``order[i]`` takes place i.

    ``fixed``: bool [channels], those that stay. ``sweeps``: most times that all pairs are tried.
    """
    order = np.arange(channels)
    free = np.flatnonzero(~fixed) if fixed is not None else order.copy()
    for _ in range(sweeps):
        improved = False
        for first, second in combinations(free.tolist(), 2):
            if sum(reader.gain(first, second) for reader in readers) > LEAST_GAIN:
                for reader in readers:
                    reader.exchange(first, second)
                places = np.flatnonzero((order == first) | (order == second))
                order[places] = order[places[::-1]]
                improved = True
        if not improved:
            break
    return [int(channel) for channel in order]
