"""Samples for training, as NumPy arrays or as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from termac.errors import InputError

__all__ = ["Samples", "as_array", "sample_shape"]

Samples: TypeAlias = "NDArray[np.generic] | torch.Tensor"
"""[N, ...] in the model's own layout."""


def as_array(samples: Samples) -> NDArray[np.generic]:
    """Samples as an array on the CPU, without their gradients.

    Raises
    ------
    InputError
        If there is no axis of samples.
    """
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().cpu().numpy()
    array: NDArray[np.generic] = np.asarray(samples)
    if array.ndim < 2:
        raise InputError(f"samples must have a batch axis, [N, ...], not shape {array.shape}")
    return array


def sample_shape(samples: Samples | Sequence[int]) -> tuple[int, ...]:
    """Shape of one sample, from samples or from the shape itself.

    Raises
    ------
    InputError
        If there is no axis of samples.
    """
    if isinstance(samples, (np.ndarray, torch.Tensor)):
        return tuple(as_array(samples).shape[1:])
    return tuple(samples)
