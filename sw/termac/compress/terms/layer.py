"""One convolution in terms: schedule, steps, integers, bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch.cells import DATA_TERMS, TERMS
from termac.compress.quantize.bias import bias_units
from termac.compress.quantize.operators import multiplier_pair
from termac.compress.quantize.quantize import check_accumulators
from termac.compress.refit import Observations
from termac.compress.terms.allowance import Allowance
from termac.compress.terms.compensate import Rounding, lane_groups
from termac.compress.terms.pursuit import Slots
from termac.compress.terms.schedule import schedules, unit_choices
from termac.graph import Conv, FloatConv, Tensor, Terms
from termac.terms.digits import count, limit

__all__ = ["LayerFit", "TermLayer"]

SCHEDULES = 3
"""Schedules of a layer that are tried in full."""


@dataclass(frozen=True, kw_only=True)
class TermLayer:
    """What became of one convolution.

    Parameters
    ----------
    node : str
    group : weights of a group
    terms : Terms
    macs : of one inference
    pairs : beats of a cell per multiplication: weight terms times data terms (whole data: 1)
    rms_error : root mean square of the change of the weights, over that of the weights
    output_error : squared error of the output over its variance, on the calibration data
    terms_before, terms_after : mean terms of a weight in non-adjacent form, of the int8 weights and
        of the new ones. The new ones may have more: their scale is another, and up to 9 bits.
    """

    node: str
    group: int
    terms: Terms
    macs: int
    pairs: float
    rms_error: float
    output_error: float
    terms_before: float
    terms_after: float

    def record(self) -> dict[str, Any]:
        """For ``--json``."""
        terms = vars(self.terms)
        return {**vars(self), "terms": {**terms, "exponents": list(self.terms.exponents)}}


class LayerFit:
    """A convolution, ready to be rounded to any allowance.

    Parameters
    ----------
    dense : in floating point
    node : quantized to int8
    source, target : its input and output tensors
    given : int8 NHWC, its input as the layers before it deliver it
    ideal : float32 NHWC, its input in floating point
    lanes : weights of a group
    shared : groups share the powers of a pass, otherwise every term has its own
    encoding : of activations
    """

    def __init__(
        self, dense: FloatConv, node: Conv, source: Tensor, target: Tensor,
        given: NDArray[np.int8], ideal: NDArray[np.float32],
        *, lanes: int, shared: bool, encoding: str,
    ) -> None:  # fmt: skip
        self.dense, self.node, self.source, self.target = dense, node, source, target
        self.given, self.ideal = given, ideal
        self.lanes, self.shared, self.encoding = lanes, shared, encoding
        self.weights = dense.weights.reshape(len(dense.weights), -1).astype(np.float64)
        self._roundings: dict[int, Rounding] = {}

    def fit(self, allowance: Allowance) -> tuple[Conv, TermLayer]:
        """The layer with as many terms as allowed.

        Raises
        ------
        ModelError
            If it could exceed its accumulators.
        """
        rounding = self._rounding(allowance.data)
        choices: list[Slots] = [allowance.weights]
        if self.shared:
            choices = [*schedules(rounding.wanted, rounding.groups, allowance.weights, SCHEDULES)]
        best: tuple[float, Any, Any, Any] | None = None
        for slots in choices:
            units = self._units(rounding.wanted, slots)
            values = rounding.round(units, slots)
            losses = rounding.losses(values, units)
            chosen = losses.argmin(axis=0), np.arange(len(self.weights))
            loss = float(losses[chosen].sum())
            if best is None or loss < best[0]:
                best = loss, slots, units[chosen], values[chosen]
        assert best is not None
        _, slots, units, values = best
        values = rounding.improve(values, units, slots)
        weights = values * units[:, None]
        bias = rounding.bias(weights)
        terms = Terms(
            weights=allowance.weights,
            exponents=() if isinstance(slots, int) else slots,
            data=allowance.data,
            encoding=self.encoding,
        )
        node = self._node(values, units, bias, terms)
        channels = node.weights.shape[3]
        pixels = self.target.shape[0] * self.target.shape[1]
        layer = TermLayer(
            node=node.name,
            group=self.lanes,
            terms=terms,
            macs=node.weights.size * pixels,
            pairs=-(-channels // self.lanes) / channels * allowance.weights
            * max(1, allowance.data),
            rms_error=float(
                np.linalg.norm(weights - self.weights)
                / max(float(np.linalg.norm(self.weights)), 1e-30)
            ),
            output_error=rounding.seen.error(weights, bias),
            terms_before=float(count(self.node.weights).mean()),
            terms_after=float(count(values).mean()),
        )  # fmt: skip
        return node, layer

    def least(self, max_loss: float) -> tuple[Conv, TermLayer]:
        """The layer in the fewest beats whose output error is within a bound, else in the most."""
        best: tuple[Conv, TermLayer] | None = None
        for data in (0,) if self.shared else range(1, DATA_TERMS + 1):
            rounding = self._rounding(data)
            wanted = rounding.wanted
            if rounding.seen.error(wanted, rounding.bias(wanted)) > max_loss:
                continue  # even weights that are not rounded are beyond the bound
            low, high = 1, TERMS
            if best is not None:  # only fewer pairs than found so far are of interest
                high = (best[1].terms.weights * best[1].terms.data - 1) // data
            while low <= high:
                middle = (low + high) // 2
                now = self.fit(Allowance(middle, data))
                if now[1].output_error <= max_loss:
                    best, high = now, middle - 1
                else:
                    low = middle + 1
        return best or self.fit(Allowance(TERMS, 0 if self.shared else DATA_TERMS))

    def _rounding(self, data: int) -> Rounding:
        if data not in self._roundings:
            low, high = self.source.limits
            taken = np.arange(low, high + 1) - self.source.zero_point
            if data:
                taken = limit(taken[:, None], group=1, budget=data, encoding=self.encoding)[:, 0]
            read = (taken * self.source.scale).astype(np.float32)[self.given.astype(int) - low]
            self._roundings[data] = Rounding(
                Observations.of(self.dense, read, self.ideal),
                self.weights,
                lane_groups(self.dense.weights.shape, self.lanes),
            )
        return self._roundings[data]

    def _units(self, wanted: NDArray[np.float64], slots: Slots) -> NDArray[np.float64]:
        """Steps to try, [choices, filters]: none so large that its multiplier reached one."""
        units = unit_choices(wanted, slots)
        assert self.node.weight_scale is not None
        most = self.target.scale / self.source.scale * (1 - 2.0**-31)
        return np.where(units > 0, np.minimum(units, most), self.node.weight_scale)

    def _node(
        self, values: NDArray[np.int64], units: NDArray[np.float64], bias: NDArray[np.float64],
        terms: Terms,
    ) -> Conv:  # fmt: skip
        pairs = [
            multiplier_pair(self.source.scale * float(unit) / self.target.scale) for unit in units
        ]
        node = replace(
            self.node,
            weights=values.reshape(self.node.weights.shape).astype(np.int16),
            bias=bias_units(bias, self.source.scale * units),
            multiplier=np.array([multiplier for multiplier, _ in pairs], np.int32),
            shift=np.array([shift for _, shift in pairs], np.int32),
            weight_scale=units,
            terms=terms,
        )
        check_accumulators(node, self.source)
        return node
