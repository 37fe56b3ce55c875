"""Weights that stay take over what pruned ones did: least squares on the calibration data.

Layer by layer, with what the layers before it really deliver, as in I. Hubara et al., "Accurate
Post Training Quantization With Small Calibration Sets", ICML 2021, and the exact solution of
the optimal brain surgeon (B. Hassibi, D. Stork, 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from termac.graph import FloatConv

__all__ = ["Observations"]

POSITIONS = 12_000
"""Output pixels that are looked at, at most."""
DAMPING = 1e-3
"""Added to the diagonal, as a share of its mean: inputs that move together stay solvable."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What one convolution reads and what it should answer.

    Parameters
    ----------
    moments : float64 [weights + 1, weights + 1], mean of the products of inputs and one
    cross : float64 [weights + 1, filters], mean of inputs times answers
    power : mean square of the answers around their mean, summed over the filters
    wanted : mean square of the answers, float64 [filters]
    pixels : output pixels that were looked at
    """

    moments: NDArray[np.float64]
    cross: NDArray[np.float64]
    power: float
    wanted: NDArray[np.float64]
    pixels: int

    @classmethod
    def of(
        cls, node: FloatConv, given: NDArray[np.float32], ideal: NDArray[np.float32]
    ) -> Observations:
        """Look at a layer.

        Parameters
        ----------
        node : the dense layer
        given, ideal : float32 NHWC, its input in the pruned and in the dense network
        """
        filters = len(node.weights)
        columns = _columns(node, given)
        answers = _columns(node, ideal) @ node.weights.reshape(filters, -1).T.astype(np.float64)
        answers += node.bias
        inputs = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
        return cls(
            moments=inputs.T @ inputs / len(inputs),
            cross=inputs.T @ answers / len(inputs),
            power=max(float(answers.var(axis=0).sum()), 1e-30),
            wanted=np.square(answers).mean(axis=0),
            pixels=len(inputs),
        )

    def error(self, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> float:
        """Mean squared error of the answers over their variance, for weights [filters, weights]."""
        full = np.concatenate([weights, bias[:, None]], axis=1)
        squared = np.einsum("fi,ij,fj->f", full, self.moments, full, optimize=True)
        crossed = np.einsum("fi,if->f", full, self.cross)
        return max(0.0, float((squared - 2 * crossed + self.wanted).sum())) / self.power

    def refit(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Best weights within a mask, float64 [filters, weights], and biases [filters]."""
        damped = self.moments.copy()
        diagonal = np.einsum("ii->i", damped)
        diagonal[:-1] += DAMPING * max(diagonal[:-1].mean(), 1e-30)  # inputs may all be zero
        result = np.zeros((len(mask), len(damped)))
        for index, kept in enumerate(mask):
            support = np.append(np.flatnonzero(kept), len(damped) - 1)
            result[index, support] = np.linalg.solve(
                damped[np.ix_(support, support)], self.cross[support, index]
            )
        return result[:, :-1], result[:, -1]


def _columns(node: FloatConv, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inputs of evenly chosen output pixels, float64 [pixels, weights]."""
    top, left, bottom, right = node.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    _, height, width, _ = node.weights.shape
    view = sliding_window_view(padded, (height, width), axis=(1, 2))  # type: ignore[call-overload]
    view = view[:, :: node.stride[0], :: node.stride[1]].transpose(0, 1, 2, 4, 5, 3)
    count, rows, columns = view.shape[:3]
    total = count * rows * columns
    chosen = np.unique(np.linspace(0, total - 1, min(total, POSITIONS)).astype(np.int64))
    image, pixel = np.divmod(chosen, rows * columns)
    return (
        view[image, pixel // columns, pixel % columns].reshape(len(chosen), -1).astype(np.float64)
    )
