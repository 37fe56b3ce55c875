"""Terms of weights and activations in PyTorch: what NumPy says, cheap enough for every step.

They equal :func:`termac.terms.limit` in the non-adjacent form and
:func:`termac.terms.slots.fill`, on integers held in floating point.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["fill_groups", "in_groups", "largest_terms", "limit_groups", "ungrouped"]

_EXPONENT = {torch.float32: (torch.int32, -(1 << 23)), torch.bfloat16: (torch.int16, -(1 << 7))}
"""By type: integers of its size, and the bits of sign and exponent."""


def largest_terms(values: torch.Tensor, count: int) -> torch.Tensor:
    """Integers -255..255 after each has kept its ``count`` largest terms.

    The largest term of ``v`` is the largest power of two up to ``1.5 * |v|``: what the mantissa's
    bits are cleared of.
    """
    integers, mask = _EXPONENT[values.dtype]
    kept = torch.zeros_like(values)
    for number in range(count):
        rest = values - kept if number else values
        kept += (rest * 1.5).view(integers).bitwise_and_(mask).view(values.dtype)
    return kept


def in_groups(weight: torch.Tensor, group: int) -> torch.Tensor:
    """[filters, channels, height, width] as [n, group]: neighbouring channels of one tap.

    A last group that is short ends in zeros.
    """
    taps = weight.permute(0, 2, 3, 1)
    missing = -taps.shape[-1] % group
    return torch.nn.functional.pad(taps, (0, missing)).reshape(-1, group)


def ungrouped(groups: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Inverse of :func:`in_groups` for weights of ``shape``."""
    filters, channels, height, width = shape
    return groups.reshape(filters, height, width, -1)[..., :channels].permute(0, 3, 1, 2)


def limit_groups(groups: torch.Tensor, budget: int) -> torch.Tensor:
    """Float integers -255..255 [n, group] after each group has kept its ``budget`` largest terms.

    Of equally large terms those of the lowest index stay.
    """
    before = torch.ones(groups.shape[1], groups.shape[1]).triu()
    rest, room = groups, torch.full((len(groups), 1), float(budget))
    kept = torch.zeros_like(groups)
    for place in range(8, -1, -1):
        power = float(1 << place)
        digit = torch.sign(rest) * (1.5 * rest.abs() > power)
        used = digit.abs()
        kept = kept + digit * (used @ before <= room) * power
        rest = rest - digit * power
        room = room - used.sum(1, keepdim=True)
    return kept


def fill_groups(groups: torch.Tensor, exponents: Sequence[int]) -> torch.Tensor:
    """What the slots of one pass hold of float integers [n, lanes]."""
    rest = groups.clone()
    for exponent in exponents:
        power = float(1 << exponent)
        lane = rest.abs().argmax(1, keepdim=True)
        value = rest.gather(1, lane)
        factor = (2 * value.abs() > power).float() + (2 * value.abs() > 3 * power)
        rest.scatter_add_(1, lane, -torch.sign(value) * factor * power)
    return groups - rest
