"""Exponents and scales with which a layer's weights fit best into slots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch

from termac.terms.schedule import HIGHEST
from termac.train.term_weights import fill_groups, in_groups, ungrouped

__all__ = ["choose_exponents", "fit_scale", "slot_integers"]

SIZES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3)
"""Largest weight of a filter, in units of the largest single term: what is tried."""
OFTEN = 3
"""Slots of one power at most."""
FILTERS = 16
"""Filters of a layer that the search for exponents looks at."""


def slot_integers(
    weight: torch.Tensor, scale: torch.Tensor, exponents: Sequence[int], group: int
) -> torch.Tensor:
    """What the slots hold of weights [filters, channels, height, width], in units of the scales."""
    most = 3 << exponents[0]
    integers = torch.round(weight / scale).clamp(-most, most)
    return ungrouped(fill_groups(in_groups(integers, group), exponents), weight.shape)


def fit_scale(weight: torch.Tensor, exponents: Sequence[int], group: int) -> torch.Tensor:
    """Scale of every filter with the least squared error, [filters, 1, 1, 1]."""
    return _fit(weight, exponents, group)[0]


def choose_exponents(weight: torch.Tensor, count: int, group: int) -> tuple[int, ...]:
    """Powers of ``count`` slots with the least squared error, each filter to its own energy."""
    few = weight[:: -(-len(weight) // FILTERS)]
    energy = few.square().sum((1, 2, 3)).clamp_min(1e-24)

    def loss(exponents: tuple[int, ...]) -> float:
        return float((_fit(few, exponents, group)[1] / energy).sum())

    return min(_sequences(count), key=loss)


def _sequences(count: int) -> Iterator[tuple[int, ...]]:
    """Exponents that never rise, down to 0 in steps of 0 or 1, none of them too often."""
    for highest in range(min(HIGHEST, count - 1) + 1):
        for repeats in product(range(1, OFTEN + 1), repeat=highest + 1):
            if sum(repeats) == count:
                powers = range(highest, -1, -1)
                yield tuple(
                    e for e, often in zip(powers, repeats, strict=True) for _ in range(often)
                )


def _fit(
    weight: torch.Tensor, exponents: Sequence[int], group: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best scales [filters, 1, 1, 1], and the squared error of every filter."""
    largest = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    best = torch.full((len(weight),), torch.inf)
    chosen = torch.ones_like(largest)
    for size in SIZES:
        scale = largest / (size * (2 << exponents[0]))
        held = slot_integers(weight, scale, exponents, group) * scale
        error = (held - weight).square().sum((1, 2, 3))
        better = error < best
        best = torch.where(better, error, best)
        chosen = torch.where(better[:, None, None, None], scale, chosen)
    return chosen, best
