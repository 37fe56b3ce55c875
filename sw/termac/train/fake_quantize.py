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

__all__ = ["FakeQuantizer", "RoundedInput", "RoundedWeight"]

WEIGHT_LIMIT = 127


class RoundedWeight(nn.Module):
    """int8, symmetric, one scale per filter. Gradients pass as if nothing were rounded."""

    def integers(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What stands for the weights, and the scale of every filter in a shape that fits."""
        largest = weight.detach().flatten(1).abs().amax(1).clamp_min(1e-12)
        scale = (largest / WEIGHT_LIMIT).view(-1, *(1,) * (weight.dim() - 1))
        return torch.round(weight.detach() / scale), scale

    def final(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """:meth:`integers` as the trained model shall have them."""
        return self.integers(weight)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            integers, scale = self.integers(weight)
            error = integers * scale - weight
        return weight + error


class RoundedInput:
    """Rounds what a layer reads to ``bits`` bits between running extremes."""

    def __init__(self, bits: int, momentum: float) -> None:
        self.steps = (1 << bits) - 1
        self.momentum = momentum
        self.low = self.high = 0.0

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        (x,) = inputs
        with torch.no_grad():
            if module.training or self.high <= self.low:
                smallest, largest = torch.aminmax(x)
                low, high = min(0.0, float(smallest)), max(0.0, float(largest))
                keep = self.momentum if self.high > self.low else 0.0
                self.low = keep * self.low + (1 - keep) * low
                self.high = keep * self.high + (1 - keep) * high
            scale = max(self.high - self.low, 1e-12) / self.steps
            zero = round(-self.low / scale)
            rounded = (x / scale).round_().clamp_(-zero, self.steps - zero)
            error = self.counted(rounded).mul_(scale).sub_(x)
        return (x + error,)

    def counted(self, rounded: torch.Tensor) -> torch.Tensor:
        """What counts of integers less their zero point."""
        return rounded


class FakeQuantizer:
    """Makes a model compute nearly what its integer form will, so that training makes up for it.

    Every Conv2d and Linear layer reads rounded inputs and uses rounded weights. Attach it for the
    last epochs, after :class:`termac.train.Combiner`. Call :meth:`remove` before exporting.

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
        self._layers = {
            name: module for name, module in model.named_modules()
            if isinstance(module, (nn.Conv2d, nn.Linear))
        }  # fmt: skip
        self._inputs = {name: self._input(name, bits, momentum) for name in self._layers}
        self._hooks = [
            module.register_forward_pre_hook(self._inputs[name])
            for name, module in self._layers.items()
        ]
        for name, module in self._layers.items():
            parametrize.register_parametrization(module, "weight", self._weight(name))

    def _input(self, name: str, bits: int, momentum: float) -> RoundedInput:
        """What rounds the input of a layer."""
        return RoundedInput(bits, momentum)

    def _weight(self, name: str) -> RoundedWeight:
        """What rounds the weights of a layer."""
        return RoundedWeight()

    def remove(self) -> None:
        """Remove the rounding. Trained weights stay."""
        for hook in self._hooks:
            hook.remove()
        for module in self._layers.values():
            chain: Any = getattr(module.parametrizations, "weight")  # noqa: B009
            others = [p for p in chain if not isinstance(p, RoundedWeight)]
            original = chain.original
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
            for part in others:
                parametrize.register_parametrization(module, "weight", part)
            assert original.shape == module.weight.shape
