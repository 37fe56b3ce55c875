"""Selects: the lanes a mask takes are those of the compiled matrix, and the best weights stay."""

import dataclasses
import itertools

import numpy as np
import pytest
from termac.compile.fuse import fuse
from termac.compile.lower import axes, positions
from termac.compress.combine.selects import Selects
from termac.image.storage import plain_storage

from tests.sw.random_graphs import CONFIGS, Builder

NONE = (0, 0, 0, 0)
FACTORS = ((1, 1), (1, 2), (2, 2))


def convolution(rng, channels, filters, *, size=8, kernel=(3, 3), stride=(1, 1), pool=None):
    """Graph and only layer of a network of one convolution, perhaps with a maximum behind it."""
    build = Builder(rng, (size, size, channels))
    padding = tuple(k // 2 for k in (*kernel, *kernel))
    build.conv(filters, kernel=kernel, stride=stride, padding=padding)
    if pool:
        build.max_pool(pool, pool)
    graph = build.graph()
    (layer,) = fuse(graph, is_faster=lambda *layers: True)
    return graph, layer


def formats(rng, graph, layer, config, source=(1, 1), target=(1, 1)):
    """Storages of both ends, channels of the source in random order."""
    order = rng.permutation(graph.tensors[layer.input].shape[2])
    return (
        plain_storage(graph.tensors[layer.input], config, factor=source, order=order),
        plain_storage(graph.tensors[layer.name], config, factor=target),
    )


def random_case(seed):
    """Layer, its two formats, its configuration and Selects, of factors that go together."""
    rng = np.random.default_rng(seed)
    while True:
        config = CONFIGS[rng.integers(len(CONFIGS))]
        kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        pool = [None, (2, 2), (1, 2)][rng.integers(3)]
        graph, layer = convolution(
            rng, int(rng.integers(1, 20)), int(rng.integers(1, 8)),
            kernel=kernel, stride=stride, pool=pool,
        )  # fmt: skip
        source, target = (FACTORS[rng.integers(len(FACTORS))] for _ in range(2))
        ends = formats(rng, graph, layer, config, source, target)
        if axes(layer, *ends) is not None:
            return rng, layer, ends, config, Selects.of(layer, *ends, config)


def single_view(seed, *, channels=6, filters=2, kernel=(1, 2)):
    """Selects of a small layer whose weights are seen once, and what its weights are worth."""
    rng = np.random.default_rng(seed)
    graph, layer = convolution(rng, channels, filters, kernel=kernel)
    selects = Selects.of(layer, *formats(rng, graph, layer, CONFIGS[7]), CONFIGS[7])
    assert len(selects.groups) == 1
    # Ties and zeros among them.
    worth = rng.integers(0, 6, (filters, selects.groups.shape[1])).astype(float)
    return rng, selects, worth


def compiled_counts(layer, ends, config, selects, mask):
    """Nonzero weights of the matrix that is compiled, int [words, banks]: the most of any row."""
    linear = layer.linear
    masked = mask.reshape(linear.weights.shape).astype(np.int8)
    pruned = dataclasses.replace(layer, linear=dataclasses.replace(linear, weights=masked))
    counts = np.zeros((len(selects.words), config.banks), np.int64)
    found = positions(pruned, *ends, axes(pruned, *ends), config)
    places = {word: index for index, word in enumerate(selects.words)}
    for number, position in enumerate(found):
        for index, word in enumerate(position.words):
            bytes_of_banks = position.weights[:, index].reshape(-1, config.banks, config.lanes)
            counts[places[number, word]] = (bytes_of_banks != 0).sum(axis=2).max(axis=0)
    return counts


def per_phase(selects, limits):
    totals = np.zeros(selects.positions, np.int64)
    for (position, _), limit in zip(selects.words, limits, strict=True):
        totals[position] += limit
    return totals


@pytest.mark.parametrize("seed", range(24))
def test_masks_take_what_the_compiled_matrix_takes(seed):
    rng, layer, ends, config, selects = random_case(seed)
    filters = len(layer.linear.weights)
    worth = rng.random((filters, selects.groups.shape[1]))
    mask = rng.random(worth.shape) < rng.choice([0.1, 0.5, 1.0])
    counts = compiled_counts(layer, ends, config, selects, mask)
    np.testing.assert_array_equal(selects.needed(mask), counts.max(axis=1))

    limits = rng.integers(0, 4, len(selects.words))
    kept = selects.keep(worth, limits)
    counts = compiled_counts(layer, ends, config, selects, kept)
    assert (counts <= limits[:, None]).all()
    assert selects.slots(limits) == per_phase(selects, limits).max()


@pytest.mark.parametrize("seed", range(12))
def test_what_is_dropped_had_no_room_and_is_worth_no_more(seed):
    rng, layer, _, config, selects = random_case(100 + seed)
    worth = rng.random((len(layer.linear.weights), selects.groups.shape[1]))
    limits = rng.integers(0, 3, len(selects.words))
    kept = selects.keep(worth, limits)
    for row, weight in np.argwhere(~kept):
        full = False
        for view in selects.groups:
            mates = kept[row] & (view == view[weight])
            if mates.sum() == limits[view[weight] // config.banks]:
                full |= bool((worth[row, mates] >= worth[row, weight]).all())
        assert full


def test_random_cases_reach_everything():
    cases = [random_case(seed) for seed in range(24)]
    assert {len(case[4].groups) for case in cases} >= {1, 2, 4}
    assert {case[4].positions for case in cases} == {1, 2, 4}
    assert {case[2][0].factor for case in cases} == set(FACTORS)
    assert {case[2][1].factor for case in cases} == set(FACTORS)
    assert {case[1].linear.stride for case in cases} >= {(1, 1), (2, 2)}


@pytest.mark.parametrize("seed", range(6))
def test_room_for_all_keeps_all(seed):
    rng, layer, _, _, selects = random_case(200 + seed)
    worth = rng.random((len(layer.linear.weights), selects.groups.shape[1]))
    worth[:, 0] = 0
    dense = selects.needed(np.ones(worth.shape, bool))
    assert selects.keep(worth, dense).all()
    assert not selects.keep(worth, np.zeros_like(dense)).any()
    assert not selects.keep(worth, np.maximum(0, dense - 1)).all()


@pytest.mark.parametrize("seed", range(6))
def test_limits_of_several_candidates_are_those_of_each(seed):
    rng, layer, _, _, selects = random_case(300 + seed)
    worth = rng.integers(0, 4, (len(layer.linear.weights), selects.groups.shape[1])).astype(float)
    many = rng.integers(0, 4, (5, len(selects.words)))
    kept = selects.keep(worth, many)
    assert kept.shape == (5, *worth.shape)
    for limits, mask in zip(many, kept, strict=True):
        np.testing.assert_array_equal(mask, selects.keep(worth, limits))


def best_subset(selects, worth, limits):
    """The most worth of one filter within limits, by trying every subset."""
    view, best = selects.groups[0], 0.0
    for chosen in itertools.product((False, True), repeat=len(worth)):
        mask = np.array(chosen)
        counts = np.bincount(view[mask], minlength=len(selects.words) * selects.banks)
        if (counts.reshape(-1, selects.banks) <= limits[:, None]).all():
            best = max(best, float(worth[mask].sum()))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_keep_is_optimal_where_weights_are_seen_once(seed):
    rng, selects, worth = single_view(seed, channels=5)
    limits = rng.integers(0, 3, len(selects.words))
    kept = selects.keep(worth, limits)
    for row, mask in zip(worth, kept, strict=True):
        assert row[mask].sum() == best_subset(selects, row, limits)


@pytest.mark.parametrize("seed", range(8))
def test_spend_is_optimal_where_weights_are_seen_once(seed):
    _, selects, worth = single_view(seed, channels=12, filters=3)
    most = int(selects.needed(np.ones(worth.shape, bool)).max())
    choices = list(itertools.product(range(most + 1), repeat=len(selects.words)))
    kept = {choice: worth[selects.keep(worth, np.array(choice))].sum() for choice in choices}
    for slots in (1, 2, 3, 5):
        limits = selects.spend(worth, slots)
        assert limits.sum() <= slots
        best = max(total for choice, total in kept.items() if sum(choice) <= slots)
        assert kept[tuple(limits.tolist())] == best


@pytest.mark.parametrize("seed", range(12))
def test_spend_keeps_to_its_slots_and_loses_nothing_by_moving_them(seed):
    rng, layer, _, _, selects = random_case(400 + seed)
    worth = rng.random((len(layer.linear.weights), selects.groups.shape[1]))
    dense = int(selects.needed(np.ones(worth.shape, bool)).sum())
    for slots in (1, 3, 8):
        plain, moved = (selects.spend(worth, slots, refine=refine) for refine in (False, True))
        for limits in (plain, moved):
            assert (limits >= 0).all()
            assert per_phase(selects, limits).max() <= slots
        first, second = (worth[selects.keep(worth, limits)].sum() for limits in (plain, moved))
        assert second >= first
    enough = selects.spend(worth, dense)
    assert selects.keep(worth, enough).all()


def test_moving_slots_finds_what_counting_views_one_by_one_misses():
    better = 0
    for seed in range(24):
        rng, layer, _, _, selects = random_case(seed)
        worth = rng.random((len(layer.linear.weights), selects.groups.shape[1]))
        limits = [selects.spend(worth, 4, refine=refine) for refine in (False, True)]
        assert per_phase(selects, limits[1]).max() <= 4
        kept = [worth[selects.keep(worth, chosen)].sum() for chosen in limits]
        better += kept[1] > kept[0] * 1.001
        if len(selects.groups) == 1:
            assert kept[0] == kept[1]
    assert better > 3


def test_slots_that_add_nothing_are_not_spent():
    _, selects, worth = single_view(0)
    worth[:] = 0
    worth[0, 0] = 1.0
    assert selects.spend(worth, 10).sum() == 1


def test_formats_that_do_not_go_together_are_refused():
    rng = np.random.default_rng(0)
    graph, layer = convolution(rng, 3, 4)
    ends = formats(rng, graph, layer, CONFIGS[0], source=(2, 2))
    with pytest.raises(ValueError, match=r"layer 'conv0' cannot read \(2, 2\) pixels a word"):
        Selects.of(layer, *ends, CONFIGS[0])
