"""A tensor of the integer graph, and the shape that tensors of both graphs have."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Shape", "Tensor"]

Shape = tuple[int, int, int]
"""(height, width, channels); a vector is (1, 1, n)."""


@dataclass(frozen=True)
class Tensor:
    """A quantized activation tensor (one image).

    Parameters
    ----------
    name : str
    shape : (height, width, channels)
    scale, zero_point : real = scale * (value - zero_point)
    bits : 1..8
    """

    name: str
    shape: Shape
    scale: float
    zero_point: int
    bits: int = 8

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest stored value."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest real value."""
        low, high = self.limits
        return self.scale * (low - self.zero_point), self.scale * (high - self.zero_point)
