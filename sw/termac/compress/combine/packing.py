"""What every layer of a network keeps in a given number of passes, and what that costs.

More passes keep more weights and take more cycles. :func:`share_cycles` spends a budget of cycles
where it keeps the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from termac.arch.estimate import part_cycles
from termac.compile.cut import least_passes
from termac.compile.formats import Formats
from termac.compile.layers import Layer
from termac.compress.combine.selects import Selects
from termac.graph import Conv

__all__ = ["Packing", "find_packings", "other_cycles", "share_cycles"]

FIRST_LAYER = 4.0
"""Weight of errors of the layer that reads the network's input."""


@dataclass(frozen=True, eq=False)
class Packing:
    """One convolution and the words that its weights read.

    Parameters
    ----------
    node : name of the convolution
    layer : what runs it
    formats : formats of the tensors
    selects : groups of weights that share selects
    worth : float64 [filters, weights of a filter], what it costs to lose a weight
    """

    node: str
    layer: Layer
    formats: Formats
    selects: Selects
    worth: NDArray[np.float64]

    @property
    def dense_passes(self) -> int:
        """Passes with which any weights run."""
        return int(self.passes(np.ones(self.worth.shape, bool)))

    def passes(self, mask: NDArray[np.bool_]) -> int:
        """Passes (of every position of a pooling window) that a mask takes, at least 1."""
        segments = self.formats.config.segments
        return max(1, -(-self.selects.slots(self.selects.needed(mask)) // segments))

    def cycles(self, passes: int) -> int:
        """Cycles of the layer with this number of passes, all row tiles in one descriptor."""
        config = self.formats.config
        target = self.formats.storages[self.layer.name]
        row_tiles = -(-target.blocks * config.word_bytes // config.rows)
        bits = self.formats.graph.tensors[self.layer.input].bits
        residual = self.layer.residual is not None
        least = least_passes(config, row_tiles=row_tiles, beats=bits, residual=residual)
        return part_cycles(
            config,
            row_tiles=row_tiles,
            vectors=target.height * target.width,
            passes=[max(least, passes)] * self.selects.positions,
            beats=bits,
            terms=0,
            residual=residual,
        )

    def fit(self, passes: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Slots of every word, and the weights that stay: int [words], bool [filters, weights]."""
        limits = self.selects.spend(self.worth, passes * self.formats.config.segments)
        return limits, self.selects.keep(self.worth, limits)

    @cached_property
    def curve(self) -> NDArray[np.float64]:
        """Share of worth kept, with 1, 2, ... passes, up to dense."""
        kept = []
        segments, total = self.formats.config.segments, max(self.worth.sum(), 1e-300)
        for passes in range(1, self.dense_passes + 1):
            limits = self.selects.spend(self.worth, passes * segments, refine=False)
            kept.append(self.worth[self.selects.keep(self.worth, limits)].sum() / total)
        return np.maximum.accumulate(kept)


def find_packings(formats: Formats, worth: Mapping[str, NDArray[np.float64]]) -> list[Packing]:
    """Packings of all convolutions of a network.

    Parameters
    ----------
    formats : Formats
    worth : by name of the convolution, float64 [filters, kernel height, kernel width, channels]
    """
    packings = []
    for layer in formats.layers:
        for name in layer.nodes:
            if isinstance(formats.graph.node(name), Conv):
                source, target = formats.storages[layer.input], formats.storages[layer.name]
                selects = Selects.of(layer, source, target, formats.config)
                flat = worth[name].reshape(len(worth[name]), -1)
                packings.append(Packing(name, layer, formats, selects, flat))
    return packings


def other_cycles(formats: Formats, packings: Iterable[Packing]) -> int:
    """Cycles of the layers without weights of their own, and of the program around the layers."""
    from termac.arch.timing import program_cycles

    with_weights = {id(packing.layer) for packing in packings}
    others = [layer for layer in formats.layers if id(layer) not in with_weights]
    return program_cycles(formats.config, ()) + sum(formats.plan(layer).cycles for layer in others)


def share_cycles(
    packings: list[Packing], budget: int, sensitivity: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Passes of every convolution with the least error in at most ``budget`` cycles.

    The error of a layer is taken as the square of the share of worth that it loses, times the root
    of its sensitivity (1 if none is given, see
    :func:`termac.compress.combine.sensitivity.measure_sensitivity`): training compensates most
    of what sets sensitive layers apart. What the first layer loses no other layer can restore, so
    its errors count more. Dynamic programming over the cycles, in steps of 1/20,000 of the budget.
    One pass each, which may already take more than the budget, is the least.
    """
    least = [packing.cycles(1) for packing in packings]
    left = budget - sum(least)
    if left <= 0:
        return {packing.node: 1 for packing in packings}
    unit = -(-left // 20_000)
    best = np.zeros(left // unit + 1)  # least error of the layers so far, by units spent
    choices = []
    for packing, first in zip(packings, least, strict=True):
        weight = (sensitivity or {}).get(packing.node, 1.0) ** 0.5
        if packing.layer.input == packing.formats.graph.input:
            weight *= FIRST_LAYER
        errors = weight * (1 - packing.curve) ** 2
        totals = np.full((len(errors), len(best)), np.inf)
        for index, error in enumerate(errors):
            units = -(-(packing.cycles(index + 1) - first) // unit)
            if units < len(best):
                totals[index, units:] = best[: len(best) - units] + error
        choices.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    result, spent = {}, len(best) - 1
    for packing, first, choice in reversed(list(zip(packings, least, choices, strict=True))):
        passes = int(choice[spent]) + 1
        result[packing.node] = passes
        spent -= -(-(packing.cycles(passes) - first) // unit)
    return {packing.node: result[packing.node] for packing in packings}
