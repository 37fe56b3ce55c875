"""Pursuit of weights by terms: what it returns a pass holds exactly; more terms lose less."""

import itertools

import numpy as np
import pytest
from termac.compress.terms.pursuit import pursue, settle
from termac.compress.terms.schedule import schedules, unit_choices
from termac.terms import count
from termac.terms.schedule import neighbours, spread
from termac.terms.slots import fill, rounds

SCHEDULES = [
    (0,), (1, 0), (0, 0, 0, 0), (2, 2, 1, 1, 1, 0, 0, 0), (3, 3, 2, 2, 2, 1, 1, 1, 0, 0),
    (6, 5, 4, 3, 2, 1, 0, 0), (6, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0),
]  # fmt: skip


def targets(count=400, lanes=8, size=20.0, seed=0):
    return np.random.default_rng(seed).normal(scale=size, size=(count, lanes))


def random_metric(lanes, seed=1):
    factors = np.random.default_rng(seed).normal(size=(lanes, 3 * lanes)) + 0.5
    return factors @ factors.T / lanes


def cost(error, metric):
    return np.einsum("ni,ij,nj->n", error, metric, error)


def is_schedule(exponents):
    steps = -np.diff(exponents)
    return exponents[-1] == 0 and ((steps == 0) | (steps == 1)).all()


@pytest.mark.parametrize("lanes", [1, 3, 8])
@pytest.mark.parametrize("exponents", SCHEDULES)
@pytest.mark.parametrize("shaped", [False, True])
def test_one_pass_holds_what_was_pursued(exponents, lanes, shaped):
    for size in (0.5, 3.0, 30.0, 1000.0):
        wanted = targets(lanes=lanes, size=size)
        values = pursue(wanted, exponents, random_metric(lanes) if shaped else None)
        assert np.abs(values).max() <= 255
        assert len(rounds(values, exponents)) <= 1
        coefficients, chosen = fill(values, exponents)
        total = np.zeros(values.shape, int)
        for slot, exponent in enumerate(exponents):
            picked = coefficients[:, slot].astype(int) << exponent
            total[np.arange(len(values)), chosen[:, slot]] += picked
        np.testing.assert_array_equal(total, values)
        np.testing.assert_array_equal(settle(values, exponents), values)


@pytest.mark.parametrize("budget", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("shaped", [False, True])
def test_free_terms_are_within_the_budget(budget, shaped):
    for size in (0.5, 30.0, 1000.0):
        wanted = targets(size=size)
        values = pursue(wanted, budget, random_metric(8) if shaped else None)
        assert np.abs(values).max() <= 255
        assert count(values).sum(axis=1).max() <= budget


def test_worked_example():
    """Slots at 4 2 1 1; every slot takes the largest rest, doubled where that is nearer."""
    values = pursue(np.array([[-7.2, 2.4, 0.3, 1.1]]), (2, 1, 0, 0))
    assert values.tolist() == [[-7, 2, 0, 1]]  # -2 * 4, 1 * 2, 1 * 1, and of -7.2 + 8 another 1
    assert pursue(np.array([[-7.2, 2.4, 0.3, 1.1]]), 2).tolist() == [[-8, 2, 0, 0]]


def test_more_terms_lose_less():
    wanted = targets()
    losses = [np.square(pursue(wanted, budget) - wanted).sum() for budget in range(1, 17)]
    assert losses == sorted(losses, reverse=True)
    slots = [spread(budget, 5) for budget in range(5, 17)]
    for fewer, more in itertools.pairwise(slots):
        before, after = (np.square(pursue(wanted, s) - wanted).sum() for s in (fewer, more))
        assert after < before


@pytest.mark.parametrize("slots", [8, (4, 3, 3, 2, 2, 1, 1, 0)])
def test_a_metric_is_heeded(slots):
    wanted, metric = targets(), random_metric(8)
    plain, shaped = pursue(wanted, slots), pursue(wanted, slots, metric)
    before, after = cost(plain - wanted, metric), cost(shaped - wanted, metric)
    assert (after <= before + 1e-9).all()
    assert after.sum() < 0.85 * before.sum()


@pytest.mark.parametrize("slots", [3, (1, 0, 0)])
def test_zeros_stay(slots):
    zeros = np.zeros((4, 8))
    assert not pursue(zeros, slots).any()
    assert not pursue(zeros, slots, random_metric(8)).any()
    assert pursue(np.zeros((0, 8)), slots).shape == (0, 8)


def test_impossible_values_settle():
    values = np.random.default_rng(3).integers(-255, 256, (500, 8))
    for exponents in SCHEDULES:
        assert len(rounds(settle(values, exponents), exponents)) == 1


# --- Schedules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exponents", SCHEDULES)
def test_neighbours_are_schedules(exponents):
    near = set(neighbours(exponents))
    assert exponents not in near
    for other in near:
        assert len(other) == len(exponents)
        assert is_schedule(other)
        assert exponents in set(neighbours(other)) or max(other) < max(exponents)


def test_spread():
    assert spread(8, 3) == (2, 2, 1, 1, 1, 0, 0, 0)
    assert spread(3, 9) == (2, 1, 0)
    assert spread(16, 99)[0] == 6


@pytest.mark.parametrize("beats", [1, 3, 8, 16])
def test_schedules_of_a_layer(beats):
    weights = np.random.default_rng(5).normal(size=(8, 48))
    groups = [np.arange(start, start + 8) for start in range(0, 48, 8)]
    found = schedules(weights, groups, beats, 3)
    assert 1 <= len(found) <= 3
    for exponents in found:
        assert len(exponents) == beats
        assert is_schedule(exponents)


def test_normal_weights_spread_eight_beats_over_three_powers():
    weights = np.random.default_rng(6).normal(size=(16, 64))
    groups = [np.arange(start, start + 8) for start in range(0, 64, 8)]
    best, *_ = schedules(weights, groups, 8, 1)
    assert max(best) == 2
    units = unit_choices(weights, best)
    held = pursue((weights[None] / units[..., None]).reshape(-1, 8), best)
    error = held.reshape(len(units), 16, 64) * units[..., None] - weights
    relative = np.sqrt(np.square(error).mean(axis=2).min(axis=0).mean())
    assert relative < 0.155  # eight free terms of int8 weights: 0.14


def test_silent_layers():
    groups = [np.arange(4)]
    assert schedules(np.zeros((2, 4)), groups, 3, 5) == [(0, 0, 0)]
    assert not unit_choices(np.zeros((2, 4)), (1, 0)).any()
    assert not unit_choices(np.zeros((2, 4)), 5).any()
