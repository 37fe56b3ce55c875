"""What terms the cells can do."""

from __future__ import annotations

from itertools import pairwise

from termac.arch.cells import DATA_TERMS, LARGEST_EXPONENT, TERMS
from termac.terms.terms import DATA_ENCODINGS, Terms

__all__ = ["reason_against"]


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
