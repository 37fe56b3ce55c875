"""Space-to-depth factors: how many neighbouring pixels share a stored pixel, for every tensor.

Thin tensors (3 or 16 channels) leave most bytes of a word and most rows of the array idle. With
several pixels in a stored pixel the weights become block-structured and the same hardware does more
work per cycle. Tensors that an addition joins share one factor. The search starts
without factors and changes one set of tensors, or the two of a layer. It repairs neighbours that no
longer fit, and goes on while cycles fall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from termac.arch import Config
from termac.compile.layers import Layer
from termac.compile.lower import axes
from termac.compile.plan import plan_layer
from termac.graph import Graph
from termac.image.storage import Storage, plain_storage

__all__ = ["Cost", "Factor", "Factors", "tensor_sets"]

Factor = tuple[int, int]
"""Image pixels per stored pixel, (y, x)."""

SIZES = (1, 2, 3, 4, 8)
"""Factors of one axis that are tried."""

OVERFLOW = 1_000
"""Cycles that one weight word beyond the memory counts in the search."""


def tensor_sets(layers: Sequence[Layer], graph: Graph) -> dict[str, str]:
    """Representative of every stored tensor; a sum and its residual operand share one."""
    parent = {graph.input: graph.input, **{layer.name: layer.name for layer in layers}}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in layers:
        if layer.residual is not None:
            parent[find(layer.name)] = find(layer.residual.tensor)
    return {name: find(name) for name in parent}


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a layer."""

    cycles: int
    weight_words: int


@dataclass(eq=False)
class Factors:
    """Search for the factors of all tensors of a network.

    Parameters
    ----------
    layers, graph, config : what runs on what
    orders : channel order by set of tensors
    """

    layers: Sequence[Layer]
    graph: Graph
    config: Config
    orders: Mapping[str, Sequence[int]]
    _costs: dict[tuple[int, Factor, Factor], Cost | None] = field(default_factory=dict)
    _feasible: dict[tuple[int, Factor, Factor], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sets = tensor_sets(self.layers, self.graph)
        self.members: dict[str, list[str]] = {}
        for name, representative in self.sets.items():
            self.members.setdefault(representative, []).append(name)
        self.candidates = {name: self._candidates(name) for name in self.members}
        self._near = {
            name: [x for x in self.layers if name in (self.sets[x.input], self.sets[x.name])]
            for name in self.members
        }

    # --- What is possible ------------------------------------------------------------------

    def _candidates(self, representative: str) -> list[Factor]:
        height, width, channels = self.graph.tensors[representative].shape
        ragged = [self._ragged(representative, axis) for axis in (0, 1)]
        room = 2 * max(self.config.word_bytes, self.config.rows)

        def values(size: int, ragged: bool) -> list[int]:
            return [f for f in SIZES if f <= size and (ragged or size % f == 0)]

        return [
            (fy, fx)
            for fy in values(height, ragged[0])
            for fx in values(width, ragged[1])
            if fy * fx * channels <= room or (fy, fx) == (1, 1)
        ]

    def _ragged(self, representative: str, axis: int) -> bool:
        """Whether a stored pixel may reach over the image's edge: no reader depends on it."""
        for name in self.members[representative]:
            given = name == self.graph.input  # the host stores zero points there
            for layer in self.layers:
                if layer.input != name:
                    continue
                linear, size = layer.linear, self.graph.tensors[name].shape[axis]
                out = self.graph.tensors[layer.name].shape[axis]
                last = (out - 1) * layer.pool_stride[axis] + layer.pool[axis] - 1
                last = last * linear.stride[axis] + linear.weights.shape[1 + axis] - 1
                zeros = given and linear.pad_value == self.graph.tensors[name].zero_point
                if last - linear.padding[axis] >= size and not zeros:
                    return False
        return True

    def storage(self, name: str, factor: Factor) -> Storage:
        order = self.orders.get(self.sets[name])
        return plain_storage(self.graph.tensors[name], self.config, factor=factor, order=order)

    # --- What it costs ---------------------------------------------------------------------

    def feasible(self, layer: Layer, source: Factor, target: Factor) -> bool:
        """Whether a layer can read and write tensors of two factors."""
        key = (id(layer), source, target)
        if key not in self._feasible:
            stored = self.storage(layer.input, source), self.storage(layer.name, target)
            self._feasible[key] = axes(layer, *stored) is not None
        return self._feasible[key]

    def cost(self, layer: Layer, source: Factor, target: Factor) -> Cost | None:
        """Cost of a layer between tensors of two factors; None if they do not go together."""
        key = (id(layer), source, target)
        if key not in self._costs:
            self._costs[key] = self._cost(layer, source, target)
        return self._costs[key]

    def _cost(self, layer: Layer, source: Factor, target: Factor) -> Cost | None:
        plan = plan_layer(
            layer, self.storage(layer.input, source), self.storage(layer.name, target), self.config
        )
        return None if plan is None else Cost(plan.cycles, plan.weight_words(self.config))

    def total(self, chosen: Mapping[str, Factor]) -> int | None:
        """Cycles of all layers and the penalty for weights that do not fit; None: impossible."""
        cycles = words = 0
        for layer in self.layers:
            cost = self.cost(layer, chosen[self.sets[layer.input]], chosen[self.sets[layer.name]])
            if cost is None:
                return None
            cycles += cost.cycles
            words += cost.weight_words
        return cycles + OVERFLOW * max(0, words - self.config.weight_depth)

    # --- Search ----------------------------------------------------------------------------

    def search(self, start: Mapping[str, Factor] | None = None) -> dict[str, Factor]:
        """Factor of every set. ``start``: factors by set to begin with, if they go together."""
        chosen: dict[str, Factor] = dict.fromkeys(self.members, (1, 1))
        best = self.total(chosen)
        assert best is not None  # factor 1 always works
        if start:
            given = {**chosen, **start}
            total = self.total(given) if self._possible(given) else None
            if total is not None and total < best:
                chosen, best = given, total
        moves: list[dict[str, Factor]] = [
            {name: factor} for name, options in self.candidates.items() for factor in options
        ]
        for layer in self.layers:
            ends = self.sets[layer.input], self.sets[layer.name]
            if min(len(self.candidates[end]) for end in ends) > 1 and ends[0] != ends[1]:
                pairs = product(*(self.candidates[end] for end in ends))
                moves += [dict(zip(ends, pair, strict=True)) for pair in pairs]
        improved = True
        while improved:
            improved = False
            for move in moves:
                moved = self._move(chosen, move)
                total = None if moved is None else self.total(moved)
                if moved is not None and total is not None and total < best:
                    chosen, best, improved = moved, total, True
        return chosen

    def _possible(self, factors: Mapping[str, Factor]) -> bool:
        return all(factor in self.candidates.get(name, ()) for name, factor in factors.items())

    def _move(
        self, chosen: Mapping[str, Factor], move: Mapping[str, Factor]
    ) -> dict[str, Factor] | None:
        """Set some factors and adapt the neighbours, and theirs; None if that fails."""
        result, fixed, pending = {**chosen, **move}, set(move), list(move)
        if result == chosen:
            return None
        while pending:
            current = pending.pop()
            for layer in self._near[current]:
                ends = self.sets[layer.input], self.sets[layer.name]
                if self.feasible(layer, result[ends[0]], result[ends[1]]):
                    continue
                other = ends[1] if ends[0] == current else ends[0]
                if other in fixed:
                    return None
                options = []
                for candidate in self.candidates[other]:
                    pair = [candidate if end == other else result[end] for end in ends]
                    if (cost := self.cost(layer, pair[0], pair[1])) is not None:
                        options.append((cost.cycles, candidate))
                if not options:
                    return None
                result[other] = min(options)[1]
                fixed.add(other)
                pending.append(other)
        return result
