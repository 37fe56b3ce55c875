"""A weight with a mask: pruned weights read as zero and keep learning."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Masked"]


class Masked(nn.Module):
    """Parametrization: ``weight * mask`` forward, the gradient reaches all weights.

    Pruned weights learn what they would do, so that a mask rebuilt from all weights may take them
    back. The straight-through estimator is that of A. Zhou et al., "Learning N:M Fine-grained
    Structured Sparse Neural Networks From Scratch", ICLR 2021.

    Parameters
    ----------
    weight : tensor whose shape the mask has
    """

    mask: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))
        self.frozen = False

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        kept = weight * self.mask
        if self.frozen:
            return kept
        return kept + (weight - weight.detach()) * (1 - self.mask)
