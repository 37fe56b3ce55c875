"""How many terms a layer may keep, and what cells can keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.arch.cells import DATA_TERMS, TERMS
from termac.errors import ConfigError
from termac.terms.terms import DATA_ENCODINGS

__all__ = [
    "MORE",
    "Allowance",
    "check_allowance",
    "check_cell",
    "check_encoding",
    "more_for",
    "needs_more",
]


@dataclass(frozen=True)
class Allowance:
    """Terms that a layer may keep.

    Parameters
    ----------
    weights : terms of a group of weights, 1..16
    data : largest terms of every activation, 1..4, or 0 for whole activations
    """

    weights: int
    data: int = 0

    def __str__(self) -> str:
        return f"{self.weights} terms" + (f" by {self.data}" if self.data else "")


MORE = Allowance(TERMS, DATA_TERMS)
"""For the first and for depthwise layers, as published: practically everything."""


def more_for(more: Allowance, weights: NDArray[np.generic]) -> Allowance:
    """No more terms than the int8 weights of the widest group can have, four each.

    Parameters
    ----------
    more : allowance of layers that need more
    weights : of the layer, [filters, kernel height, kernel width, channels]
    """
    return replace(more, weights=min(more.weights, 4 * weights.shape[3]))


def check_allowance(allowance: Allowance, *, data_terms: int) -> None:
    """Refuse what no cell stores, or what the kind of cell has no use for.

    Parameters
    ----------
    data_terms : largest number of terms of an activation that the cell counts; 0: it takes whole
        activations, see :class:`termac.arch.cells.Traits`

    Raises
    ------
    ConfigError
    """
    _check_number("weight terms of a group", allowance.weights, 1, TERMS)
    if data_terms:
        if allowance.data == 0:
            raise ConfigError(
                f"cell 'term_pair' takes 1..{data_terms} terms of every activation: "
                "say how many, as in 8/8,2"
            )
        _check_number("terms of an activation", allowance.data, 1, data_terms)
    elif allowance.data:
        raise ConfigError(
            "cell 'term' takes whole activations: leave the terms of an activation out, as in 8/8"
        )


def check_cell(config: Config, group: int | None = None) -> None:
    """Refuse a configuration whose cells keep no terms, or groups that are not its lanes.

    Raises
    ------
    ConfigError
    """
    if not config.kind.terms:
        raise ConfigError(
            f"config {config.name!r} has {config.cell!r} cells, which keep no terms; "
            "take one with cell 'term' or 'term_pair'"
        )
    if group is not None and group != config.lanes:
        raise ConfigError(
            f"groups of {group} weights do not fit config {config.name!r}: a group is what its "
            f"{config.lanes} lanes hold, so the group must be {config.lanes}"
        )


def check_encoding(encoding: str, known: Sequence[str] = DATA_ENCODINGS) -> None:
    """Refuse an encoding that the hardware does not know.

    Raises
    ------
    ConfigError
    """
    if encoding not in known:
        raise ConfigError(f"no encoding {encoding!r} of activations; encodings: {', '.join(known)}")


def needs_more(weights: NDArray[np.generic], *, is_first: bool) -> bool:
    """Whether a layer gets an allowance of its own, as published: the first, and depthwise ones.

    Parameters
    ----------
    weights : [filters, kernel height, kernel width, channels]
    is_first : reads the network's input
    """
    filters, _, _, channels = weights.shape
    if filters != channels or channels == 1:
        return is_first
    others = weights.any(axis=(1, 2)) & ~np.eye(channels, dtype=bool)
    return is_first or not others.any()


def _check_number(what: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ConfigError(f"{what} must be an integer {low}..{high}, not {value!r}")
    if not low <= value <= high:
        raise ConfigError(f"{what} must be {low}..{high}, which cells store, not {value}")
