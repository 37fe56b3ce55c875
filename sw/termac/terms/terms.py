"""How a convolution is split into terms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from termac.arch.cells import DATA_TERMS, LARGEST_EXPONENT, TERMS

__all__ = ["DATA_ENCODINGS", "Terms", "reason_against"]

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
    exponents : powers of two of the beats, never rising, down to 0 in steps of 0 or 1; a term is
        at the power of its beat or twice that. Empty: terms have exponents of their own.
    data : 0: whole activations count; else the largest ``data`` terms of every activation less its
        zero point, 1..4. Changes the result.
    encoding : of the activations, ``"naf"`` or ``"hese"``
    """

    weights: int
    exponents: tuple[int, ...] = ()
    data: int = 0
    encoding: str = "naf"


def reason_against(terms: Terms) -> str:
    """Why no cell can compute with these terms, or "" if one can."""
    for key, low, high in (("weights", 1, TERMS), ("data", 0, DATA_TERMS)):
        number = getattr(terms, key)
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            return f"{key} must be an integer {low}..{high}, not {number!r}"
    if terms.encoding not in DATA_ENCODINGS:
        return f"encoding must be one of {', '.join(DATA_ENCODINGS)}, not {terms.encoding!r}"
    if not terms.exponents:
        return ""
    falls = {high - low for high, low in pairwise(terms.exponents)}
    if not falls <= {0, 1} or terms.exponents[-1] or terms.exponents[0] > LARGEST_EXPONENT:
        return (
            "exponents must fall to 0 in steps of 0 or 1, from at most "
            f"{LARGEST_EXPONENT}, not be {terms.exponents}"
        )
    if len(terms.exponents) != terms.weights:
        return f"{terms.weights} slots have {len(terms.exponents)} exponents"
    return ""
