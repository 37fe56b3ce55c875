"""Packings: promised cycles are those of the compiled image, and a budget goes where it helps."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from termac.compile import Grouping, compile_graph
from termac.compile.formats import choose_formats
from termac.compress.combine.packing import FIRST_LAYER, find_packings, other_cycles, share_cycles
from termac.graph import Conv

from tests.sw.random_graphs import CONFIGS, Builder, random_graph, resnet20

CONFIG = CONFIGS[6]


def worths(graph, seed=0):
    """Random worth of every weight, by convolution; zero where the weight is."""
    rng = np.random.default_rng(seed)
    convolutions = [node for node in graph.nodes if isinstance(node, Conv)]
    return {
        node.name: rng.random(node.weights.shape) * (node.weights != 0) for node in convolutions
    }


def pruned(graph, masks):
    """The graph with only the weights of the masks, by convolution."""
    nodes = [
        dataclasses.replace(node, weights=node.weights * masks[node.name].reshape(
            node.weights.shape
        )) if node.name in masks else node
        for node in graph.nodes
    ]  # fmt: skip
    return dataclasses.replace(graph, nodes=nodes)


def layer_of(image, node):
    return next(layer for layer in image.layers if node in layer.nodes)


def check_promise(graph, config, passes, orders=None):
    """Prune for a number of passes, compile, compare; returns (equal, below) by layer."""
    formats = choose_formats(graph, config, grouping=Grouping.on(config, orders=orders))
    packings = find_packings(formats, worths(graph))
    chosen = {packing.node: min(passes, packing.dense_passes) for packing in packings}
    masks = {packing.node: packing.fit(chosen[packing.node])[1] for packing in packings}
    small = pruned(graph, masks)
    same = [  # pruning may leave a layer that mixes no channels, or join a pool
        (layer.nodes, layer.channelwise) for layer in formats.layers
    ] == [(layer.nodes, layer.channelwise) for layer in choose_formats(small, config).layers]
    image = compile_graph(small, config, grouping=formats.grouping(orders or {}))
    equal = below = 0
    for packing in packings:
        mask = masks[packing.node]
        assert packing.passes(mask) <= chosen[packing.node]
        layer = layer_of(image, packing.node)
        if not same or layer.storage.factor != formats.storages[layer.name].factor:
            continue
        promised = packing.cycles(chosen[packing.node])
        assert layer.cycles <= promised, packing.node
        taken = packing.cycles(packing.passes(mask))
        positions = packing.selects.positions
        tiles = -(-layer.storage.blocks * config.word_bytes // config.rows)
        if layer.descriptors == 1 and layer.passes == tiles * positions * packing.passes(mask):
            assert layer.cycles == taken
            equal += 1
        else:
            assert layer.cycles < taken
            below += 1
    if same:
        total = sum(packing.cycles(chosen[packing.node]) for packing in packings)
        assert image.cycles <= total + other_cycles(formats, packings)
    return equal, below


@pytest.mark.parametrize(
    "config", [c for c in CONFIGS if c.kind.combines], ids=lambda config: config.name
)
def test_pruned_networks_run_in_the_cycles_promised(config):
    number = CONFIGS.index(config)
    results = [
        check_promise(random_graph(100 * seed + number, nodes=3), config, passes)
        for seed in range(2)
        for passes in (1, 2)
    ]
    assert sum(equal + below for equal, below in results) > 0


def test_pooled_layers_promise_passes_for_every_position_of_the_window():
    build = Builder(np.random.default_rng(2), (8, 8, 16))
    build.conv(16)
    build.max_pool((2, 2), (2, 2))
    formats = choose_formats(build.graph(), CONFIG)
    (packing,) = find_packings(formats, worths(build.graph()))
    assert packing.selects.positions == 4
    assert check_promise(build.graph(), CONFIG, 2) == (1, 0)


def test_pruned_resnet_runs_in_the_cycles_promised():
    equal, below = check_promise(resnet20(size=8), CONFIG, 2)
    assert equal >= 15
    assert equal + below == 20


def test_crowded_residuals_take_a_second_pass_that_is_promised():
    config = dataclasses.replace(CONFIGS[0], name="4x16x4s4", rows=4, columns=16)
    build = Builder(np.random.default_rng(0), (8, 8, 48))
    start = build.conv(48)
    build.add(build.conv(48, kernel=(1, 1), padding=(0, 0, 0, 0)), start)
    assert check_promise(build.graph(), config, 1) == (1, 1)


def test_more_passes_keep_more_up_to_everything():
    graph = resnet20(size=8)
    packings = find_packings(choose_formats(graph, CONFIG), worths(graph))
    assert [packing.node for packing in packings] == [
        node.name for node in graph.nodes if isinstance(node, Conv)
    ]
    for packing in packings[:4]:
        assert len(packing.curve) == packing.dense_passes
        assert packing.curve[-1] == pytest.approx(1)
        assert (np.diff(packing.curve) >= 0).all()
        _, mask = packing.fit(packing.dense_passes)
        assert mask.all()
        assert packing.passes(np.zeros_like(mask)) == 1
        _, mask = packing.fit(1)
        assert packing.worth[mask].sum() / packing.worth.sum() >= packing.curve[0] - 1e-12
        costs = [packing.cycles(number) for number in range(1, packing.dense_passes + 1)]
        assert (np.diff(costs) > 0).all()


# --- Sharing cycles ------------------------------------------------------------------------------


def stub(node, curve, costs, source="inner"):
    """As much of a Packing as sharing looks at."""
    return SimpleNamespace(
        node=node,
        curve=np.array(curve),
        cycles=lambda passes: int(costs[passes - 1]),
        layer=SimpleNamespace(input=source),
        formats=SimpleNamespace(graph=SimpleNamespace(input="input")),
    )


def stubs(seed, *, layers=3, scale=1):
    """Layers of random curves and costs; the first one reads the network's input."""
    rng = np.random.default_rng(seed)
    result = []
    for index in range(layers):
        count = int(rng.integers(1, 7))
        curve = np.sort(rng.random(count))
        curve[-1] = 1
        costs = scale * np.cumsum(rng.integers(1, 60, count))
        result.append(stub(f"layer{index}", curve, costs, "inner" if index else "input"))
    return result


def error(packings, chosen, sensitivity=None):
    total = 0.0
    for packing in packings:
        weight = (sensitivity or {}).get(packing.node, 1.0) ** 0.5
        if packing.layer.input == "input":
            weight *= FIRST_LAYER
        total += weight * (1 - packing.curve[chosen[packing.node] - 1]) ** 2
    return total


def spent(packings, chosen):
    return sum(packing.cycles(chosen[packing.node]) for packing in packings)


def least_error(packings, budget, sensitivity=None):
    names = [packing.node for packing in packings]
    choices = itertools.product(*(range(1, len(packing.curve) + 1) for packing in packings))
    chosen = (dict(zip(names, choice, strict=True)) for choice in choices)
    return min(
        error(packings, one, sensitivity) for one in chosen if spent(packings, one) <= budget
    )


@pytest.mark.parametrize("seed", range(6))
def test_shared_cycles_have_the_least_error(seed):
    packings = stubs(seed)
    rng = np.random.default_rng(seed)
    sensitivity = {packing.node: float(rng.uniform(0.1, 20)) for packing in packings}
    least = spent(packings, {packing.node: 1 for packing in packings})
    for extra in (1, 30, 90, 200, 10_000):
        for given in (None, sensitivity):
            chosen = share_cycles(packings, least + extra, given)
            assert list(chosen) == [packing.node for packing in packings]
            assert spent(packings, chosen) <= least + extra
            best = least_error(packings, least + extra, given)
            assert error(packings, chosen, given) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(4))
def test_large_budgets_are_shared_in_coarser_steps(seed):
    packings = stubs(seed, scale=1013)
    names = [packing.node for packing in packings]
    least = spent(packings, dict.fromkeys(names, 1))
    for choice in itertools.product(*(range(1, len(packing.curve) + 1) for packing in packings)):
        left = spent(packings, dict(zip(names, choice, strict=True))) - least - 1
        if left > 40_000:  # one cycle too few for this choice
            steps = len(packings) * -(-left // 20_000)
            chosen = share_cycles(packings, least + left)
            assert spent(packings, chosen) <= least + left
            assert error(packings, chosen) <= least_error(packings, least + left - steps) + 1e-12


def test_real_layers_share_cycles_best():
    build = Builder(np.random.default_rng(0), (6, 6, 16))
    for channels in (16, 32, 8):
        build.conv(channels)
    graph = build.graph()
    packings = find_packings(choose_formats(graph, CONFIG), worths(graph))
    dense = spent(packings, {packing.node: packing.dense_passes for packing in packings})
    least = spent(packings, {packing.node: 1 for packing in packings})
    for budget in (least, (least + dense) // 2, dense):
        chosen = share_cycles(packings, budget)
        assert spent(packings, chosen) <= budget
        assert error(packings, chosen) == pytest.approx(least_error(packings, budget))
    assert chosen == {packing.node: packing.dense_passes for packing in packings}


def test_sensitive_and_first_layers_get_more_passes():
    curve, costs = np.linspace(0.3, 1, 8), 100 * np.arange(1, 9)
    pair = [stub("one", curve, costs), stub("two", curve, costs)]
    assert share_cycles(pair, 800) == {"one": 4, "two": 4}
    for first, second in (("one", "two"), ("two", "one")):
        shared = share_cycles(pair, 800, {first: 25.0})
        assert shared[first] > 4 > shared[second]
        assert share_cycles(pair, 800, {first: 0.04, second: 1.0}) == {
            first: shared[second],
            second: shared[first],
        }
    shared = share_cycles([stub("one", curve, costs, "input"), pair[1]], 800)
    assert shared["one"] > 4 > shared["two"]


@pytest.mark.parametrize("budget", [0, 1, 199, 200])
def test_budgets_below_one_pass_each_give_one_pass_each(budget):
    pair = [stub(name, [0.5, 1], [100, 150]) for name in ("one", "two")]
    assert share_cycles(pair, budget) == {"one": 1, "two": 1}
    assert sorted(share_cycles(pair, 250).values()) == [1, 2]
