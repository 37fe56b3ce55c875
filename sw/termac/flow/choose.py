"""As few passes or terms as a bound on accuracy allows, measured on labelled samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.errors import CapacityError, ConfigError
from termac.flow.accuracy import Labelled, measure_accuracy
from termac.flow.pack import Packed, pack
from termac.graph.floating import FloatGraph

__all__ = ["LEVELS", "Choice", "pack_within"]

LEVELS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Bounds of the layers' output error that are tried."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A packed network and how it was chosen.

    Parameters
    ----------
    packed : Packed
    max_loss : bound of the layers' output error that was taken
    loss : points lost on the samples that it was chosen on
    is_within : whether ``loss`` is within the bound
    """

    packed: Packed
    max_loss: float
    loss: float
    is_within: bool


def pack_within(
    model: FloatGraph,
    config: Config,
    calibration: NDArray[np.generic],
    chosen_on: Labelled,
    *,
    max_accuracy_loss: float,
    progress: Callable[[int, int, str], None] | None = None,
    **choices: Any,
) -> Choice:
    """Pack with the largest bound on the layers' output error that keeps accuracy.

    Bisection over :data:`LEVELS`: a larger bound is taken to lose no less accuracy. Without any
    that keeps it, the smallest that fits the memories.

    Parameters
    ----------
    model, config, calibration : see :func:`termac.flow.pack.pack`
    chosen_on : samples that nothing is fitted to, with their classes
    max_accuracy_loss : points, from 0, that the packed model may be below the float model
    progress : called with (steps done, steps, what)
    choices : of :func:`termac.flow.pack.pack`, with "auto" for ``combine`` or ``terms``

    Raises
    ------
    ConfigError
        If the bound is out of range.
    CapacityError
        If no bound fits the memories of the configuration.
    """
    if not 0 <= max_accuracy_loss <= 100:
        raise ConfigError(f"max_accuracy_loss must be 0..100 points, not {max_accuracy_loss!r}")
    best: Choice | None = None
    least: Choice | None = None  # the smallest bound that fits
    refused: CapacityError | None = None
    low, high = 0, len(LEVELS) - 1
    while low <= high:
        middle = (low + high + 1) // 2
        level = LEVELS[middle]

        def report(done: int, total: int, what: str, level: float = level) -> None:
            if progress is not None:
                progress(done, total, f"output error {level}: {what}")

        try:
            packed = pack(model, config, calibration, max_loss=level, progress=report, **choices)
        except CapacityError as error:
            refused, low = error, middle + 1
            continue
        if packed.combined:
            choices["grouping"] = packed.grouping  # found once
        loss = measure_accuracy(packed, chosen_on).loss
        assert loss is not None  # labels are classes
        now = Choice(packed, level, loss, loss <= max_accuracy_loss + 1e-9)
        if now.is_within:
            best, low = now, middle + 1
        else:
            least, high = now, middle - 1
    if best is None and least is None:
        assert refused is not None
        raise refused
    return best or least  # type: ignore[return-value]
