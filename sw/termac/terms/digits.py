"""Terms: values as sums of signed powers of two, and how many of them a group may keep.

H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization: Furthering Quantization at Run Time on
Quantized DNNs", SC 2020, sections 3 and 4.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from termac.errors import ConfigError, InputError

__all__ = ["LARGEST", "Encoding", "count", "encode", "limit"]

Encoding = Literal["naf", "hese", "binary"]
"""``naf``: non-adjacent form, always the fewest terms. ``hese``: runs of ones become two terms (the
paper's hybrid encoding for shortened expressions). ``binary``: the ones of the magnitude."""

LARGEST = 255
"""Largest magnitude that is encoded."""


def encode(values: NDArray[np.integer], encoding: Encoding | str = "naf") -> NDArray[np.int8]:
    """Signed digits of integers, least significant first: int8 [..., 8 or 9].

    ``values = sum over i of digits[..., i] * 2**i``. There are 8 digits in binary, 9 otherwise. A
    negative value has the digits of its magnitude, negated.

    Parameters
    ----------
    values : integers -255..255, any shape
    encoding : Encoding

    Raises
    ------
    ConfigError
        If there is no such encoding.
    InputError
        If values are no integers, or out of range.
    """
    table = _table(encoding)
    return table[_checked(values) + LARGEST]


def count(values: NDArray[np.integer], encoding: Encoding | str = "naf") -> NDArray[np.int64]:
    """Terms of every value, the shape of ``values``."""
    return np.count_nonzero(encode(values, encoding), axis=-1)


def limit(
    values: NDArray[np.integer], *, group: int, budget: int, encoding: Encoding | str = "naf"
) -> NDArray[np.int64]:
    """Values after groups have kept their largest terms, the shape of ``values``.

    Neighbours along the last axis form a group, which keeps its ``budget`` largest terms, of
    equally large ones those of the lowest index ("receding water"). A last group that is short has
    the whole budget. ``group=1`` is the truncation of activations.

    Raises
    ------
    ConfigError
        If group or budget is below 1, or there is no such encoding.
    InputError
        If values are no integers, or out of range.
    """
    for key, number in (("group", group), ("budget", budget)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise ConfigError(f"{key} must be an integer from 1, not {number!r}")
    digits = encode(values, encoding)
    if digits.ndim == 1:
        raise InputError("values must have an axis along which groups lie, not be a single number")
    *outer, length, places = digits.shape
    groups = -(-length // group)
    padded = np.zeros((*outer, groups * group, places), np.int8)
    padded[..., :length, :] = digits
    # Most significant first, then the lowest index: the order in which terms are kept.
    ranked = padded.reshape(*outer, groups, group, places)[..., ::-1].swapaxes(-1, -2)
    flat = ranked.reshape(*outer, groups, places * group)
    kept = np.where(np.cumsum(flat != 0, axis=-1) <= budget, flat, 0)
    back = kept.reshape(*outer, groups, places, group).swapaxes(-1, -2)[..., ::-1]
    back = back.reshape(*outer, groups * group, places)[..., :length, :]
    return back.astype(np.int64) @ (1 << np.arange(places))


def _checked(values: NDArray[np.integer]) -> NDArray[np.int64]:
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"values must be integers, not {array.dtype}")
    if array.size and (array.min() < -LARGEST or array.max() > LARGEST):
        raise InputError(f"values must be within -{LARGEST}..{LARGEST}")
    return array.astype(np.int64)


def _table(encoding: str) -> NDArray[np.int8]:
    """Digits of -255..255."""
    if encoding not in get_args(Encoding):
        known = ", ".join(get_args(Encoding))
        raise ConfigError(f"no encoding {encoding!r}; encodings: {known}")
    magnitudes = np.arange(LARGEST + 1)
    bits = magnitudes[:, None] >> np.arange(-1, 10) & 1  # bit -1 (zero) to 9
    bits[:, 0] = 0
    if encoding == "binary":
        digits = bits[:, 1:9]
    elif encoding == "hese":
        below, here, above = bits[:, :-2], bits[:, 1:-1], bits[:, 2:]
        digits = (here & ~above & ~below & 1) - (above & here & ~below & 1)
        ends = ~above & here & below & 1
        digits[:, 1:] += ends[:, :-1]
    else:  # x XOR 3x marks the digits, 3x their sign (H. Prodinger, 2000)
        tripled = 3 * magnitudes[:, None] >> np.arange(1, 10) & 1
        digits = tripled - (magnitudes[:, None] >> np.arange(1, 10) & 1)
    digits = digits.astype(np.int8)
    return np.concatenate([-digits[:0:-1], digits])
