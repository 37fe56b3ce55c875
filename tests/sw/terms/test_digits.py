"""Term encodings: exact, as short as they claim, and the group budget of the paper's example."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from termac.errors import ConfigError, InputError
from termac.terms import count, encode, limit

ENCODINGS = ("naf", "hese", "binary")
EVERY = np.arange(-255, 256)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_value_is_the_sum_of_its_terms(encoding):
    digits = encode(EVERY, encoding)
    assert digits.shape == (511, 8 if encoding == "binary" else 9)
    assert digits.dtype == np.int8
    assert set(np.unique(digits)) <= {-1, 0, 1}
    np.testing.assert_array_equal(digits.astype(int) @ (1 << np.arange(digits.shape[1])), EVERY)
    np.testing.assert_array_equal(encode(-EVERY, encoding), -digits)


def fewest_terms(largest):
    """Fewest signed powers of two that add up to 0..largest, by breadth-first search."""
    powers = [sign << i for i in range(10) for sign in (1, -1)]
    least, frontier = {0: 0}, {0}
    for terms in itertools.count(1):
        frontier = {a + b for a in frontier for b in powers} - least.keys()
        least.update(dict.fromkeys(frontier, terms))
        if all(value in least for value in range(largest + 1)):
            return np.array([least[value] for value in range(largest + 1)])
    raise AssertionError


def test_term_counts():
    """The figures of the paper's encodings over 0..255."""
    values, least = np.arange(256), fewest_terms(255)
    np.testing.assert_array_equal(count(values, "naf"), least)
    assert count(values, "naf").mean() == pytest.approx(3.109, abs=5e-4)
    assert count(values, "naf").max() == 5
    assert count(values, "hese").mean() == 3.25
    assert count(values, "hese").max() == 6
    assert (count(values, "hese") > least).sum() == 35
    assert count(values, "binary").mean() == 4.0
    assert count(values, "binary").max() == 8


def test_naf_has_no_neighbours():
    digits = encode(EVERY, "naf")
    assert not (digits[:, 1:] & digits[:, :-1] & 1).any()


def test_worked_example():
    """Group of 4, budget of 4, binary terms: 1, 12, 5, 137 -> 0, 12, 0, 136."""
    kept = limit(np.array([1, 12, 5, 137]), group=4, budget=4, encoding="binary")
    assert kept.tolist() == [0, 12, 0, 136]


def kept_one_by_one(values, budget, encoding):
    """The rule of the paper, term by term."""
    terms = [
        (-place, index, digit)
        for index, digits in enumerate(encode(np.array(values), encoding).tolist())
        for place, digit in enumerate(digits)
        if digit
    ]
    result = [0] * len(values)
    for place, index, digit in sorted(terms)[:budget]:
        result[index] += digit << -place
    return result


@given(
    st.sampled_from(ENCODINGS),
    st.integers(1, 9),
    st.integers(1, 20),
    arrays.arrays(np.int16, st.tuples(st.integers(1, 3), st.integers(1, 20)),
                  elements=st.integers(-255, 255)),
)  # fmt: skip
def test_budget_against_the_rule(encoding, group, budget, values):
    limited = limit(values, group=group, budget=budget, encoding=encoding)
    assert limited.shape == values.shape
    for row, result in zip(values.tolist(), limited.tolist(), strict=True):
        for start in range(0, len(row), group):
            part = slice(start, start + group)
            assert result[part] == kept_one_by_one(row[part], budget, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_enough_budget_changes_nothing(encoding):
    values = np.arange(-128, 128).reshape(8, 32)
    np.testing.assert_array_equal(limit(values, group=8, budget=64, encoding=encoding), values)


def test_relative_error_on_normal_weights():
    """Int8 weights, clipped at four standard deviations: the published measure of a budget."""
    weights = np.random.default_rng(0).normal(size=(4096, 64))
    values = np.clip(np.rint(weights / 4 * 127), -127, 127).astype(int)
    for (group, budget), expected in {
        (8, 12): (0.103, 0.059, 0.058), (8, 16): (0.048, 0.0225, 0.0206),
        (8, 24): (0.0068, 0.0011, 0.0006), (1, 3): (0.034, 0.0100, 0.0066),
    }.items():  # fmt: skip
        for encoding, error in zip(("binary", "hese", "naf"), expected, strict=True):
            limited = limit(values, group=group, budget=budget, encoding=encoding)
            found = np.sqrt(np.mean((limited - values) ** 2) / np.mean(values**2))
            assert found == pytest.approx(error, rel=0.015, abs=1.1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: encode(np.array([1]), "booth"), ConfigError, "no encoding 'booth'"),
        (lambda: encode(np.array([1.0])), InputError, "must be integers, not float64"),
        (lambda: encode(np.array([256])), InputError, "within -255..255"),
        (lambda: limit(np.array([1]), group=0, budget=1), ConfigError, "group must be"),
        (lambda: limit(np.array([1]), group=1, budget=0), ConfigError, "budget must be"),
        (lambda: limit(np.array([1]), group=1, budget=True), ConfigError, "budget must be"),
        (lambda: limit(np.array(1), group=1, budget=1), InputError, "an axis"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
