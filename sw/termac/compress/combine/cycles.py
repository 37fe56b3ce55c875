"""Passes of every layer, and the formats that go with them, for a budget of cycles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.compile.formats import Formats, choose_formats
from termac.compile.grouping import Grouping
from termac.compress.combine.orders import find_orders
from termac.compress.combine.packing import Packing, find_packings, other_cycles, share_cycles
from termac.compress.combine.sensitivity import measure_sensitivity
from termac.compress.combine.worth import Worth
from termac.compress.quantize.quantize import quantize
from termac.errors import ConfigError
from termac.graph import FloatGraph

__all__ = ["ROOM", "CycleBudget", "find_budget"]

ROOM = 1 << 20
"""Words of weight memory while formats are chosen: the dense network need not fit."""


@dataclass(frozen=True, eq=False)
class CycleBudget:
    """What a network may keep.

    Parameters
    ----------
    formats : formats of the tensors
    packings : of all convolutions
    passes : by name of the convolution
    orders : channel order by tensor
    """

    formats: Formats
    packings: list[Packing]
    passes: dict[str, int]
    orders: dict[str, list[int]]

    @property
    def grouping(self) -> Grouping:
        return self.formats.grouping(self.orders)

    @cached_property
    def cycles(self) -> int:
        """Cycles of the whole program, once every layer keeps to its passes."""
        own = sum(packing.cycles(self.passes[packing.node]) for packing in self.packings)
        return own + other_cycles(self.formats, self.packings)


def find_budget(
    graph: FloatGraph,
    samples: NDArray[np.generic],
    worth: Worth,
    config: Config,
    *,
    cycles: int | None = None,
    passes: int | Mapping[str, int] | None = None,
    grouping: Grouping | None = None,
) -> CycleBudget:
    """Share cycles among the layers of a network, or take passes as they are given.

    Parameters
    ----------
    graph : FloatGraph
    samples : [N, *input_layout], in the model's own layout
    worth : of the weights
    config : Config
    cycles : of the whole program
    passes : of every layer, instead. Layers that a mapping leaves out stay dense.
    grouping : formats and channel orders to keep to. By default they are searched.

    Raises
    ------
    ConfigError
        If not exactly one of ``cycles`` and ``passes`` is given, the cycles cannot be reached, or
        passes are out of range or of a layer that does not exist.
    """
    if (cycles is None) == (passes is None):
        raise ConfigError("give either cycles or passes")
    roomy = replace(config, weight_depth=ROOM)
    integers = quantize(graph, samples, correct_bias=False)
    sensitivity: dict[str, float] = {}

    def share(formats: Formats) -> tuple[list[Packing], dict[str, int]]:
        packings = find_packings(formats, worth.weights)
        if cycles is None:
            return packings, _given(packings, passes)
        if not sensitivity:
            sensitivity.update(measure_sensitivity(graph, samples, packings))
        left = cycles - other_cycles(formats, packings)
        chosen = share_cycles(packings, left, sensitivity)
        least = sum(packing.cycles(chosen[packing.node]) for packing in packings)
        if least > left:
            raise ConfigError(
                f"{cycles} cycles cannot be reached: one pass a layer takes "
                f"{cycles - left + least} on config {config.name!r}"
            )
        return packings, chosen

    if grouping is not None:
        formats = choose_formats(integers, roomy, grouping=grouping)
        return CycleBudget(
            formats, *share(formats), {k: list(v) for k, v in grouping.orders.items()}
        )
    formats = choose_formats(integers, roomy)
    _, chosen = share(formats)
    orders = find_orders(formats, worth.weights, chosen)
    formats = choose_formats(integers, roomy, grouping=formats.grouping(orders))
    return CycleBudget(formats, *share(formats), orders)


def _given(packings: list[Packing], passes: int | Mapping[str, int] | None) -> dict[str, int]:
    dense = {packing.node: packing.dense_passes for packing in packings}
    given = dict(passes) if isinstance(passes, Mapping) else dict.fromkeys(dense, passes)
    for name, count in given.items():
        if name not in dense:
            raise ConfigError(f"passes: no layer {name!r}; layers: {', '.join(dense)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"passes of {name!r} must be an integer from 1, not {count!r}")
    return {name: min(given.get(name) or most, most) for name, most in dense.items()}
