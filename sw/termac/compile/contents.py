"""What the cells hold of a layer: the entries that a word takes, and the weight words of each.

An *entry* is a (word, number) pair, a slot of a pass. Cells that keep one weight take as many
entries of a word as a row has weights in one bank of it. Cells that keep terms take one, unless a
bank's lanes have more terms than a pass has room for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.arch.cells import DATA_TERMS, LARGEST_EXPONENT, TERMS, TERMS_AHEAD
from termac.compile.layers import Layer, Linear
from termac.errors import ModelError
from termac.graph import Terms
from termac.terms.bounds import reason_against
from termac.terms.digits import count, encode
from termac.terms.lossless import lossless_terms, rounds_needed
from termac.terms.slots import rounds

__all__ = ["Contents", "contents"]

LARGEST_PAIRED = (1 << LARGEST_EXPONENT) + 2 * (1 << LARGEST_EXPONENT) // 3
"""Largest weight of distinct terms: the largest term plus two thirds of it in smaller ones."""


class Contents(ABC):
    """How the cells of one configuration hold the weights of one layer.

    Attributes
    ----------
    beats : cycles in which the array works on a vector
    terms : terms of a tile, 0 if cells keep weights
    planes : groups of C weight words of a tile
    fields : descriptor fields that tell the hardware
    """

    def __init__(self, config: Config, *, beats: int, terms: int = 0, **fields: int):
        self.config = config
        self.layout = config.weight_layout
        self.beats, self.terms, self.planes = beats, terms, max(1, terms)
        self.fields = {"beats": beats, "terms": terms, **fields}

    @abstractmethod
    def entries(self, banked: NDArray[np.integer]) -> NDArray[np.int64]:
        """Entries that each group of lanes takes: integers [..., lanes] -> [...]."""

    @abstractmethod
    def words(self, banked: NDArray[np.integer], number: int) -> NDArray[np.uint16]:
        """Weight words of one entry: integers [..., lanes] -> [..., planes]."""

    def used(self, banked: NDArray[np.integer]) -> int:
        """Weights or terms that the cells hold, integers [..., lanes]."""
        entries = int(self.entries(banked).max(initial=0))
        return sum(int(np.count_nonzero(self.words(banked, n))) for n in range(entries))


class _Weights(Contents):
    """One weight with its lane; nonzero weights in the order of their lanes."""

    def __init__(self, layer: Layer, config: Config, *, beats: int):
        if not (np.abs(layer.linear.weights + 0.5) < 128).all():
            raise ModelError(
                f"layer {layer.name!r} has weights beyond 8 bits, as a sum of terms may; cell "
                f"{config.cell!r} of config {config.name!r} keeps int8 weights"
            )
        super().__init__(config, beats=beats)

    def entries(self, banked: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.count_nonzero(banked, axis=-1)

    def words(self, banked: NDArray[np.integer], number: int) -> NDArray[np.uint16]:
        order = np.argsort(banked == 0, axis=-1, kind="stable")
        lane = order[..., number, None]
        value = np.take_along_axis(banked, lane, axis=-1)
        lane = np.where(value, lane, 0)
        return self.layout.pack({"value": value, "lane": lane})[..., 0].astype(np.uint16)


class _Terms(Contents):
    """Terms of all lanes of a group. Equal groups are looked at once."""

    _last: tuple[bytes, list[NDArray[np.uint16]]] = b"", []

    def entries(self, banked: NDArray[np.integer]) -> NDArray[np.int64]:
        groups, back = _unique(banked)
        count = np.zeros(len(groups), np.int64)
        for number, codes in enumerate(self._split(groups)):
            count[codes.any(axis=1)] = number + 1
        return count[back].reshape(banked.shape[:-1])

    def words(self, banked: NDArray[np.integer], number: int) -> NDArray[np.uint16]:
        groups, back = _unique(banked)
        codes = self._split(groups)
        chosen = codes[number] if number < len(codes) else np.zeros((len(groups), self.terms))
        return chosen.astype(np.uint16)[back].reshape(*banked.shape[:-1], self.terms)

    def _split(self, groups: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
        """Packed terms of every entry, [groups, terms] each.

        Entries of one matrix are asked for one after the other, so the last split is kept.
        """
        key = groups.tobytes()
        if key != self._last[0]:
            self._last = key, self._codes(groups)
        return self._last[1]

    @abstractmethod
    def _codes(self, groups: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
        """Packed terms of every entry, [groups, terms] each; 0 is no term."""

    def _pack(self, used: NDArray[np.bool_], **fields: NDArray) -> NDArray[np.uint16]:
        values = {name: np.where(used, field, 0) for name, field in fields.items()}
        return self.layout.pack({**values, "used": used})[..., 0].astype(np.uint16)


class _SlotTerms(_Terms):
    """Terms at the powers of the beats; see :mod:`termac.terms.slots`."""

    def __init__(self, config: Config, terms: Terms):
        self.exponents = terms.exponents
        doubles = sum(
            1 << beat
            for beat, (before, here) in enumerate(
                zip(self.exponents, self.exponents[1:], strict=False), start=1
            )
            if here < before
        )
        count = len(self.exponents)
        super().__init__(config, beats=count, terms=count, doubles=doubles)

    def _codes(self, groups: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
        return [
            self._pack(
                coefficients != 0,
                lane=lanes,
                negative=coefficients < 0,
                double=np.abs(coefficients) == 2,
            )
            for coefficients, lanes in rounds(groups, self.exponents)
        ]


class _PairTerms(_Terms):
    """Terms with exponents of their own, the largest first, of equal ones the lowest lane.

    A pass holds the number of a group's terms with which the budget costs the fewest cycles. Of
    equal numbers it is the smallest: then words fill passes best, and groups below the budget take
    fewer entries.

    Whole activations are their NAF terms, four at most, zero point included. Another encoding, or
    a value minus its zero point, may have more.
    """

    def __init__(self, config: Config, budget: int, data: int = 0, encoding: str = "naf"):
        """``budget``: terms of a group; ``data``: of an activation, 0 for whole ones."""
        beats_each = data or DATA_TERMS
        held = min(
            range(1, TERMS + 1),
            key=lambda k: (-(-budget // k) * max(k * beats_each, config.segments), k),
        )
        super().__init__(
            config,
            beats=held * beats_each,
            terms=held,
            data_terms=beats_each,
            hese=data > 0 and encoding == "hese",
            centred=data > 0,
        )

    def _codes(self, groups: NDArray[np.int64]) -> list[NDArray[np.uint16]]:
        # Where non-adjacent form needs a larger exponent, one term of the largest stands apart.
        largest = 1 << LARGEST_EXPONENT
        apart = np.where(np.abs(groups) > 4 * largest // 3, np.sign(groups), 0)
        digits = encode(groups - largest * apart, "naf")[..., : LARGEST_EXPONENT + 1]
        digits[..., LARGEST_EXPONENT] += apart.astype(np.int8)
        digits = digits[..., ::-1].swapaxes(1, 2)  # [groups, power, lane]
        powers, lanes = digits.shape[1:]
        flat = digits.reshape(len(groups), -1)
        order = np.argsort(flat == 0, axis=1, kind="stable")
        most = int(np.count_nonzero(flat, axis=1).max(initial=0))
        result = []
        for first in range(0, most, self.terms):
            place = order[:, first : first + self.terms]
            digit = np.take_along_axis(flat, place, axis=1)
            codes = self._pack(
                digit != 0,
                lane=place % lanes,
                negative=digit < 0,
                exponent=powers - 1 - place // lanes,
            )
            result.append(np.pad(codes, ((0, 0), (0, self.terms - codes.shape[1]))))
        return result


_CONTENTS: Mapping[str, Callable[[Layer, int, Config], Contents]] = {
    "bit_plane": lambda layer, bits, config: _Weights(layer, config, beats=bits),
    "bit_serial": lambda layer, bits, config: _Weights(layer, config, beats=8),
    "term": lambda layer, bits, config: _slot_terms(layer, config),
    "term_pair": lambda layer, bits, config: _pair_terms(layer, config),
}
"""By ``config.cell``: contents of a layer whose input has so many bits."""


def contents(layer: Layer, bits: int, config: Config) -> Contents:
    """What the cells hold of a layer whose input has ``bits`` bits.

    Raises
    ------
    ModelError
        If the layer says how to split its weights or activations, and the cell cannot do that.
    """
    terms = layer.linear.terms
    if terms is not None and (reason := reason_against(terms)):
        raise ModelError(f"terms of layer {layer.name!r}: {reason}")
    if terms is not None and terms.data > config.kind.data_terms:
        raise ModelError(
            f"layer {layer.name!r} counts {terms.data} terms of every activation; cell "
            f"{config.cell!r} of config {config.name!r} counts whole activations"
        )
    return _CONTENTS[config.cell](layer, bits, config)


def _slot_terms(layer: Layer, config: Config) -> Contents:
    terms = layer.linear.terms
    if terms is None or not terms.exponents:
        terms = _lossless(layer.linear, config)
    return _SlotTerms(config, terms)


def _pair_terms(layer: Layer, config: Config) -> Contents:
    terms = layer.linear.terms
    if (largest := int(np.abs(layer.linear.weights).max(initial=0))) > LARGEST_PAIRED:
        raise ModelError(
            f"layer {layer.name!r} has a weight of {largest}; terms of cell {config.cell!r} "
            f"make up to {LARGEST_PAIRED}"
        )
    if terms is None:
        return _PairTerms(config, _all_terms(layer.linear, config))
    return _PairTerms(config, terms.weights, terms.data, terms.encoding)


@lru_cache(maxsize=256)
def _all_terms(linear: Linear, config: Config) -> int:
    """As many terms as the fullest group of neighbouring channels has."""
    counts = count(linear.weights)
    counts = np.pad(counts, ((0, 0), (0, 0), (0, 0), (0, -counts.shape[3] % config.lanes)))
    return int(counts.reshape(-1, config.lanes).sum(axis=1).max(initial=1))


@lru_cache(maxsize=256)
def _lossless(linear: Linear, config: Config) -> Terms:
    """Powers of two with which a layer that does not name any takes the fewest cycles.

    Of equally good ones the shortest, because short tiles load sooner.
    """
    tried = []
    for beats in sorted({1, min(config.segments, TERMS_AHEAD), TERMS_AHEAD}):
        terms = lossless_terms(linear.weights, config.lanes, beats=beats, rows=config.rows)
        needed = rounds_needed(linear.weights, config.lanes, terms, rows=config.rows)
        tried.append((needed * max(beats, config.segments), beats, terms))
    return min(tried, key=lambda entry: entry[:2])[2]


def _unique(banked: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct groups [n, lanes], and which of them every group is."""
    flat = np.ascontiguousarray(banked, np.int16).reshape(-1, banked.shape[-1])
    keys = flat.view(np.dtype((np.void, 2 * flat.shape[1]))).ravel()
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    return flat[first].astype(np.int64), back.ravel()
