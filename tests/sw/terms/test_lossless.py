"""Layers of which nothing may be lost: exact, in fewer passes than any obvious schedule."""

import numpy as np
import pytest
from termac.errors import ConfigError
from termac.graph import Terms
from termac.terms.lossless import lossless_terms, rounds_needed
from termac.terms.slots import rounds


def layer(filters=16, channels=24, largest=127, spread=4, seed=0):
    weights = np.random.default_rng(seed).normal(size=(filters, 3, 3, channels)) / spread
    return np.clip(np.rint(weights * largest), -largest, largest).astype(np.int16)


def is_schedule(exponents):
    steps = -np.diff(exponents)
    return exponents[-1] == 0 and ((steps == 0) | (steps == 1)).all()


@pytest.mark.parametrize("beats", [1, 2, 7, 8, 16])
def test_schedules_fall_to_zero_in_single_steps(beats):
    terms = lossless_terms(layer(), 8, beats=beats)
    assert terms.weights == beats == len(terms.exponents)
    assert terms.data == 0
    assert is_schedule(terms.exponents)


def test_no_passes_are_wasted():
    weights = layer()
    found = rounds_needed(weights, 8, lossless_terms(weights, 8))
    for exponents in [(6, 5, 4, 3, 2, 1, 0, 0), (6, 6, 5, 4, 3, 2, 1, 0), (4, 4, 3, 3, 2, 2, 1, 0)]:
        assert found <= rounds_needed(weights, 8, Terms(weights=8, exponents=exponents))


@pytest.mark.parametrize("largest", [1, 2, 100, 127, 255])
@pytest.mark.parametrize(("channels", "lanes"), [(3, 8), (16, 8), (12, 8), (5, 1)])
def test_rounds_are_exact(largest, channels, lanes):
    weights = layer(8, channels, largest)
    terms = lossless_terms(weights, lanes)
    padded = np.pad(weights, ((0, 0),) * 3 + ((0, -channels % lanes),)).astype(int)
    groups = padded.reshape(-1, lanes)
    total = np.zeros(groups.shape, int)
    for coefficients, chosen in rounds(groups, terms.exponents):
        for slot, exponent in enumerate(terms.exponents):
            picked = coefficients[:, slot].astype(int) << exponent
            total[np.arange(len(groups)), chosen[:, slot]] += picked
    np.testing.assert_array_equal(total, groups)


def test_a_word_is_read_as_often_as_a_row_of_its_tile_needs_it():
    weights = np.zeros((4, 1, 1, 16), np.int8)
    weights[0, 0, 0, :8] = 127  # eight times two terms
    weights[2, 0, 0, 8] = 1
    terms = Terms(weights=8, exponents=(6, 5, 4, 3, 2, 1, 0, 0))
    once = rounds_needed(weights[:1], 8, terms)
    assert once == len(rounds(weights[0, 0, 0, :8][None], terms.exponents)) > 1
    assert rounds_needed(weights, 8, terms) == once + 1
    assert rounds_needed(np.concatenate([weights, weights]), 8, terms, rows=4) == 2 * (once + 1)


def test_zeros_need_nothing():
    weights = np.zeros((4, 3, 3, 8), np.int8)
    assert rounds_needed(weights, 8, lossless_terms(weights, 8)) == 0


@pytest.mark.parametrize("beats", [0, 17, -1])
def test_bad_beats(beats):
    with pytest.raises(ConfigError, match=r"beats must be 1\.\.16"):
        lossless_terms(layer(), 8, beats=beats)
