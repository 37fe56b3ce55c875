"""Quantization-aware training: weights and activations are rounded as the integer model rounds.

B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from termac.errors import ConfigError

__all__ = ["FakeQuantizer"]

WEIGHT_LIMIT = 127


class _Weight(nn.Module):
    """int8, symmetric, one scale per filter; rounding passes gradients as if it were not there."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            largest = weight.detach().flatten(1).abs().amax(1).clamp_min(1e-12)
            scale = (largest / WEIGHT_LIMIT).view(-1, *(1,) * (weight.dim() - 1))
            error = torch.round(weight / scale) * scale - weight
        return weight + error


class _Input:
    """Rounds what a layer reads to ``bits`` bits between running extremes."""

    def __init__(self, bits: int, momentum: float) -> None:
        self.steps = (1 << bits) - 1
        self.momentum = momentum
        self.low = self.high = 0.0

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        (x,) = inputs
        with torch.no_grad():
            if module.training or self.high <= self.low:
                low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
                keep = self.momentum if self.high > self.low else 0.0
                self.low = keep * self.low + (1 - keep) * low
                self.high = keep * self.high + (1 - keep) * high
            scale = max(self.high - self.low, 1e-12) / self.steps
            zero = round(-self.low / scale)
            rounded = (torch.round(x / scale) + zero).clamp(0, self.steps)
            error = (rounded - zero) * scale - x
        return (x + error,)


class FakeQuantizer:
    """Makes a model compute nearly what its integer form will, so that training makes up for it.

    Every Conv2d and Linear layer reads rounded inputs and uses rounded weights. Attach it for the
    last epochs, after :class:`termac.train.Combiner`; call :meth:`remove` before exporting.

    Parameters
    ----------
    model : nn.Module
    bits : bits of the activations, 1..8
    momentum : of the running extremes of the activations

    Raises
    ------
    ConfigError
        If ``bits`` is out of range.
    """

    def __init__(self, model: nn.Module, *, bits: int = 8, momentum: float = 0.98) -> None:
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
            raise ConfigError(f"bits must be an integer 1..8, not {bits!r}")
        self._modules = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        self._hooks = [
            module.register_forward_pre_hook(_Input(bits, momentum)) for module in self._modules
        ]
        for module in self._modules:
            parametrize.register_parametrization(module, "weight", _Weight())

    def remove(self) -> None:
        """Take the rounding away again; trained weights stay."""
        for hook in self._hooks:
            hook.remove()
        for module in self._modules:
            chain: Any = getattr(module.parametrizations, "weight")  # noqa: B009
            others = [p for p in chain if not isinstance(p, _Weight)]
            original = chain.original
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
            for part in others:
                parametrize.register_parametrization(module, "weight", part)
            assert original.shape == module.weight.shape
