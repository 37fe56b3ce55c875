"""How a convolution is split into terms. Knows no cell: the golden model reads it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DATA_ENCODINGS", "Terms"]

DATA_ENCODINGS = ("naf", "hese")
"""What the hardware encodes activations in."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a convolution is to be split into terms, for arrays whose cells keep terms.

    H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization: Furthering Quantization at Run Time on
    Quantized DNNs", SC 2020.

    Parameters
    ----------
    weights : terms of a group of weights, 1..16
    exponents : powers of two of the beats, never rising, down to 0 in steps of 0 or 1. A term is
        at the power of its beat or twice that. Empty: terms have exponents of their own.
    data : 0 if whole activations count, otherwise the number 1..4 of largest terms of every
        activation minus its zero point that do. Changes the result.
    encoding : of the activations, ``"naf"`` or ``"hese"``
    """

    weights: int
    exponents: tuple[int, ...] = ()
    data: int = 0
    encoding: str = "naf"
