"""The powers of the beats that hold a layer exactly in the fewest passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.arch.cells import TERMS, TERMS_AHEAD
from termac.errors import ConfigError
from termac.terms.schedule import descend, spread
from termac.terms.slots import rounds
from termac.terms.terms import Terms

__all__ = ["lossless_terms", "rounds_needed"]

GROUPS = 16
"""Groups of a filter that schedules are compared on."""


def lossless_terms(
    weights: NDArray[np.integer], lanes: int, *, beats: int = TERMS_AHEAD, rows: int | None = None
) -> Terms:
    """How to split a layer of which nothing may be lost.

    Parameters
    ----------
    weights : integers within +-255, [filters, kernel height, kernel width, channels]
    lanes : weights of a group, neighbouring input channels of one tap
    beats : of a pass, 1..16; the default is the most that are loaded while the pass before runs
    rows : filters that share a tile, by default all

    Raises
    ------
    ConfigError
        If there are more beats than cells store terms, or none.
    """
    if not 1 <= beats <= TERMS:
        raise ConfigError(f"beats must be 1..{TERMS}, the terms that cells store, not {beats!r}")
    groups = _grouped(weights, lanes)
    chosen = np.unique(np.linspace(0, groups.shape[1] - 1, GROUPS).astype(np.int64))
    few = groups[:, chosen]
    bits = int(np.abs(few).max(initial=0)).bit_length()
    best, *_ = descend(spread(beats, max(1, bits)), lambda e: _passes(few, e, rows))
    return Terms(weights=beats, exponents=best)


def rounds_needed(
    weights: NDArray[np.integer], lanes: int, terms: Terms, *, rows: int | None = None
) -> int:
    """Words times passes that hold a layer exactly, over all tiles of ``rows`` rows."""
    return _passes(_grouped(weights, lanes), terms.exponents, rows)


def _grouped(weights: NDArray[np.integer], lanes: int) -> NDArray[np.int64]:
    """[filters, groups, lanes], short groups filled with zeros."""
    missing = -weights.shape[3] % lanes
    padded = np.pad(np.asarray(weights, np.int64), ((0, 0), (0, 0), (0, 0), (0, missing)))
    return padded.reshape(len(weights), -1, lanes)


def _passes(groups: NDArray[np.int64], exponents: tuple[int, ...], rows: int | None) -> int:
    """A word is read as often as the row of a tile that needs it most often."""
    filters, words, lanes = groups.shape
    total = 0
    for coefficients, _ in rounds(groups.reshape(-1, lanes), exponents):
        used = coefficients.any(axis=1).reshape(filters, words)
        for first in range(0, filters, rows or filters):
            total += int(used[first : first + (rows or filters)].any(axis=0).sum())
    return total
