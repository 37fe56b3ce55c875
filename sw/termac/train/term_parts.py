"""What takes the place of a layer's weights and inputs while it is trained for a term budget."""

from __future__ import annotations

from dataclasses import replace

import torch

from termac.graph import Terms
from termac.train.fake_quantize import RoundedInput, RoundedWeight
from termac.train.term_slots import choose_exponents, fit_scale, slot_integers
from termac.train.term_weights import in_groups, largest_terms, limit_groups, ungrouped

__all__ = ["SlotWeight", "TermInput", "TermWeight"]

FEW = 0.02
"""Share of a filter's weights."""


class TermWeight(RoundedWeight):
    """int8 weights, then ``terms`` of every group of input channels."""

    def __init__(self, shape: tuple[int, ...], terms: Terms, group: int) -> None:
        super().__init__()
        self.shape, self.terms, self.group = shape, terms, group

    def integers(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        integers, scale = super().integers(weight)
        kept = limit_groups(in_groups(integers.view(self.shape), self.group), self.terms.weights)
        return ungrouped(kept, self.shape).reshape(weight.shape), scale

    def final(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Integers that fit into eight bits, times two if need be.

        A filter with weights of both +128 and -128 loses its terms of 1, if they are few.
        """
        integers, scale = self.integers(weight)
        flat = integers.flatten(1)
        odd = flat % 2 != 0
        both = (flat.amax(1) > 127) & (flat.amin(1) < -127) & (odd.float().mean(1) < FEW)
        lowest = torch.where(both[:, None] & odd, 2 - flat.remainder(4), 0.0)
        return (flat - lowest).view_as(integers), scale


class SlotWeight(TermWeight):
    """What fits into slots, in units of a scale that is fitted now and then."""

    scale: torch.Tensor

    def __init__(
        self, shape: tuple[int, ...], terms: Terms, group: int, weight: torch.Tensor
    ) -> None:
        exponents = terms.exponents or choose_exponents(weight.view(shape), terms.weights, group)
        super().__init__(shape, replace(terms, exponents=exponents), group)
        self.register_buffer("scale", torch.empty(0))
        self.fit(weight)

    def fit(self, weight: torch.Tensor) -> None:
        self.scale = fit_scale(weight.view(self.shape), self.terms.exponents, self.group)

    def integers(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shaped, exponents = weight.detach().view(self.shape), self.terms.exponents
        held = slot_integers(shaped, self.scale, exponents, self.group)
        return held.reshape(weight.shape), self.scale.view(-1, *(1,) * (weight.dim() - 1))


class TermInput(RoundedInput):
    """Integers less their zero point, of which the largest terms count."""

    def __init__(self, bits: int, momentum: float, terms: int) -> None:
        super().__init__(bits, momentum)
        self.terms = terms

    def counted(self, rounded: torch.Tensor) -> torch.Tensor:
        return largest_terms(rounded, self.terms)
