"""Rounding of a layer's weights to terms so that errors make each other good.

Groups are rounded one after the other, and what a group loses is spread over the weights that are
not rounded yet: E. Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", ICLR 2023, section 3, with a group of lanes for a column. Afterwards each
group is chosen again while all others stay, as in K. Behdin et al., "QuantEase", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from termac.compress.refit import Observations
from termac.compress.terms.pursuit import Slots, pursue

__all__ = ["Rounding", "lane_groups"]

DAMPING = 0.01
"""Added to the diagonal of the inputs' covariance, as a share of its mean: what calibration data
does not show counts a little as well. More where weights are many for the pixels looked at."""
SWEEPS = 2
"""How often every group is chosen again."""


def lane_groups(shape: tuple[int, ...], lanes: int) -> list[NDArray[np.int64]]:
    """Groups of a filter: neighbouring input channels of one tap, the last of a tap may be short.

    Parameters
    ----------
    shape : (filters, kernel height, kernel width, channels)
    """
    _, height, width, channels = shape
    starts = [
        (tap * channels + first, tap * channels + min(first + lanes, channels))
        for tap in range(height * width)
        for first in range(0, channels, lanes)
    ]
    return [np.arange(start, stop) for start, stop in starts]


@dataclass(frozen=True, eq=False)
class Rounding:
    """One layer, ready to be rounded in many ways.

    Parameters
    ----------
    seen : what the layer reads and should answer
    dense : its weights, float64 [filters, weights]
    groups : indices of the weights that share slots
    """

    seen: Observations
    dense: NDArray[np.float64]
    groups: list[NDArray[np.int64]]

    @cached_property
    def moments(self) -> NDArray[np.float64]:
        """Damped covariance of the inputs, [weights, weights]. The bias corrects the mean."""
        mean = self.seen.moments[-1, :-1]
        result = self.seen.moments[:-1, :-1] - np.outer(mean, mean)
        share = max(DAMPING, len(result) / (len(result) + self.seen.pixels))
        np.einsum("ii->i", result)[:] += share * max(result.diagonal().mean(), 1e-30)
        return result

    @cached_property
    def wanted(self) -> NDArray[np.float64]:
        """Weights that answer best to what the layer reads now, [filters, weights]."""
        mean = self.seen.moments[-1, :-1]
        covariance = self.seen.moments[:-1, :-1] - np.outer(mean, mean)
        cross = self.seen.cross[:-1] - np.outer(mean, self.seen.cross[-1])
        missing = cross - covariance @ self.dense.T
        return self.dense + np.linalg.solve(self.moments, missing).T

    @cached_property
    def _order(self) -> list[NDArray[np.int64]]:
        """Groups with the strongest inputs first: later ones compensate what they lose."""
        power = self.moments.diagonal()
        return sorted(self.groups, key=lambda group: -power[group].sum())

    @cached_property
    def _spread(self) -> list[tuple[NDArray[np.int64], NDArray, NDArray, NDArray]]:
        """Per group, in order: indices that are left, metric, and how a loss spreads over them."""
        order = np.concatenate(self._order)
        inverse = np.linalg.inv(self.moments[np.ix_(order, order)])
        factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
        result = []
        start = 0
        for group in self._order:
            stop = start + len(group)
            own = np.linalg.inv(factor[start:stop, start:stop])
            result.append((order[stop:], own @ own.T, own, factor[start:stop, stop:]))
            start = stop
        return result

    def round(self, units: NDArray[np.float64], slots: Slots) -> NDArray[np.int64]:
        """Integers for given steps, int64 [..., filters, weights].

        Parameters
        ----------
        units : [..., filters], real weight = unit * integer
        slots : terms of a group
        """
        rest = (self.wanted / units[..., None]).reshape(-1, self.dense.shape[1])
        result = np.zeros(rest.shape, np.int64)
        for group, (left, metric, own, spread) in zip(self._order, self._spread, strict=True):
            result[:, group] = pursue(rest[:, group], slots, metric)
            lost = (rest[:, group] - result[:, group]) @ own
            rest[:, left] -= lost @ spread
        return result.reshape(*units.shape, -1)

    def improve(
        self, values: NDArray[np.int64], units: NDArray[np.float64], slots: Slots
    ) -> NDArray[np.int64]:
        """Choose every group again, given all others. The result is never worse."""
        result = values.copy()
        wanted = self.wanted / units[:, None]
        slope = (result - wanted) @ self.moments
        for _ in range(SWEEPS):
            for group in self._order:
                metric = self.moments[np.ix_(group, group)]
                best = result[:, group] - np.linalg.solve(metric, slope[:, group].T).T
                new = pursue(best, slots, metric)
                before, after = result[:, group] - best, new - best
                gain = ((before @ metric) * before - (after @ metric) * after).sum(axis=1)
                moved = (new - result[:, group]) * (gain > 0)[:, None]
                result[:, group] += moved
                slope += moved @ self.moments[group]
        return result

    def losses(self, values: NDArray[np.int64], units: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared error of the answers per filter, float64 [..., filters], but for a constant."""
        error = values * units[..., None] - self.wanted
        return ((error @ self.moments) * error).sum(axis=-1)

    def bias(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Biases that keep the mean of every answer, float64 [filters]."""
        return self.seen.cross[-1] - weights @ self.seen.moments[-1, :-1]
