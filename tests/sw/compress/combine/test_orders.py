"""Channel orders: never another result, never less worth kept, and more where channels collide."""

import numpy as np
import pytest
from termac.compile import Grouping, compile_graph
from termac.compile.formats import choose_formats
from termac.compress.combine.orders import find_orders
from termac.compress.combine.packing import find_packings
from termac.graph import Conv, golden

from tests.sw.interpreter import Interpreter
from tests.sw.random_graphs import CONFIGS, Builder, random_input

CONFIG = CONFIGS[0]  # words of two banks of four lanes
NONE = (0, 0, 0, 0)


def residual_network(seed=0):
    """Additions, an option-A shortcut that is absorbed, and layers that mix no channels."""
    build = Builder(np.random.default_rng(seed), (6, 6, 3))
    start = build.conv(8)
    build.add(build.conv(8, source=build.conv(8)), start)
    start = build.last
    inner = build.conv(16, source=start, stride=(2, 2))
    second = build.conv(16, source=inner, kernel=(1, 1), padding=NONE)
    build.add(second, build.shortcut(start, (2, 2), 4, 4))
    build.conv(16, kernel=(1, 1), padding=NONE)
    build.average((3, 3), (1, 1))
    build.dense(5)
    return build.graph()


def worths(graph, seed=0):
    """Worth by convolution; few weights are worth much, as in trained networks."""
    rng = np.random.default_rng(seed)
    return {
        node.name: rng.exponential(size=node.weights.shape) ** 3
        for node in graph.nodes
        if isinstance(node, Conv)
    }


def kept(formats, worth, passes):
    """Worth kept by every convolution, slots shared as the search counts them."""
    result = {}
    for packing in find_packings(formats, worth):
        slots = passes[packing.node] * formats.config.segments
        limits = packing.selects.spend(packing.worth, slots, refine=False)
        result[packing.node] = packing.worth[packing.selects.keep(packing.worth, limits)].sum()
    return result


def one_pass(formats, worth):
    return {packing.node: 1 for packing in find_packings(formats, worth)}


def run(image, seed=0):
    """Compare every layer's output with the golden model."""
    x = random_input(image.graph, seed)
    expected = golden.run(image.graph, x[None])
    machine = Interpreter(image)
    words = image.store_input(x)
    machine.activations[image.input.base : image.input.base + len(words)] = words
    ends = {layer.last_descriptor: layer.name for layer in image.layers}
    for descriptor in machine.run():
        if name := ends.get(descriptor):
            got = image.read_tensor(machine.activations, name)
            np.testing.assert_array_equal(got, expected[name][0], err_msg=name)


def random_orders(graph, formats, seed):
    """One random order per set of tensors."""
    rng = np.random.default_rng(seed)
    sets = sorted(set(formats.sets.values()))
    by_set = {name: rng.permutation(graph.tensors[name].shape[2]).tolist() for name in sets}
    return {name: by_set[group] for name, group in formats.sets.items()}


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[3], CONFIGS[4]], ids=lambda c: c.name)
@pytest.mark.parametrize("seed", range(2))
def test_random_orders_change_no_output(config, seed):
    graph = residual_network(seed)
    orders = random_orders(graph, choose_formats(graph, config), seed)
    image = compile_graph(graph, config, grouping=Grouping.on(config, orders=orders))
    run(image, seed)
    plain = compile_graph(graph, config)
    moved = [
        not np.array_equal(image.storage(layer.name).positions, layer.storage.positions)
        for layer in plain.layers
        if image.storage(layer.name).positions.shape == layer.storage.positions.shape
    ]
    assert any(moved)


@pytest.fixture(scope="module")
def found():
    """Network, worth, its formats in its own order, and the orders found for one pass each."""
    graph = residual_network()
    worth = worths(graph)
    formats = choose_formats(graph, CONFIG, group_pixels=False)
    calls = []
    orders = find_orders(
        formats, worth, one_pass(formats, worth), progress=lambda *call: calls.append(call)
    )
    assert [call[:2] for call in calls] == [(n, len(orders)) for n in range(len(orders))]
    return graph, worth, formats, orders


def test_found_orders_change_no_output_and_absorb_as_many_shortcuts(found):
    graph, _, formats, orders = found
    assert any(order != sorted(order) for order in orders.values())
    image = compile_graph(
        graph, CONFIG, group_pixels=False, grouping=Grouping.on(CONFIG, orders=orders)
    )
    run(image)
    plain = compile_graph(graph, CONFIG, group_pixels=False)
    assert [layer.nodes for layer in image.layers] == [layer.nodes for layer in plain.layers]
    assert any("cut" in name for layer in image.layers for name in layer.nodes[:-1])
    assert formats.graph is graph


def test_found_orders_keep_no_less_in_any_set_and_more_in_all(found):
    graph, worth, formats, orders = found
    passes = one_pass(formats, worth)
    before = kept(formats, worth, passes)
    after = kept(
        choose_formats(
            graph, CONFIG, group_pixels=False, grouping=Grouping.on(CONFIG, orders=orders)
        ),
        worth,
        passes,
    )
    assert sum(after.values()) > 1.01 * sum(before.values())
    readers = {}
    for packing in find_packings(formats, worth):
        readers.setdefault(formats.sets[packing.layer.input], []).append(packing.node)
    last = next(name for name in readers if name.startswith("mean"))
    source = formats.sets[formats.graph.node(last).input]  # whose order is carried along
    readers.setdefault(source, []).extend(readers.pop(last))
    for nodes in readers.values():
        assert sum(after[n] for n in nodes) >= sum(before[n] for n in nodes) * (1 - 1e-9)


def test_channels_of_an_absorbed_shortcut_stay(found):
    _, _, formats, orders = found
    (outer,) = (layer for layer in formats.layers if layer.residual and len(layer.nodes) == 3)
    order = next(orders[name] for name in orders if formats.sets[name] == formats.sets[outer.name])
    assert order[4:12] == list(range(4, 12))
    assert sorted(order) == list(range(16))


def test_input_output_and_carried_orders_are_left_alone(found):
    graph, _, formats, orders = found
    sets = {formats.sets[name] for name in orders}
    assert formats.sets[graph.input] not in sets
    assert formats.sets[graph.output] not in sets
    assert not any(name.startswith("mean") for name in orders)


def test_strong_channels_of_one_bank_are_parted():
    """All that is strong stays: eight channels in the two banks of each slot."""
    build = Builder(np.random.default_rng(0), (4, 4, 3))
    first = build.conv(32, kernel=(1, 1), padding=NONE)
    reader = build.conv(4, kernel=(1, 1), padding=NONE)
    graph = build.graph()
    formats = choose_formats(graph, CONFIG, group_pixels=False)
    places = formats.storages[first].positions[0, 0] // CONFIG.lanes
    strong = [int(c) for bank in range(0, 8, 2) for c in np.flatnonzero(places == bank)[:2]]
    worth = {first: np.ones((32, 1, 1, 3)), reader: np.full((4, 1, 1, 32), 0.01)}
    worth[reader][..., strong] = 1.0  # two in the first bank of each of four words, for four slots
    passes = {first: 1, reader: 1}
    assert kept(formats, worth, passes)[reader] == pytest.approx(4 * (4 * 1.01))
    orders = find_orders(formats, worth, passes)
    ordered = choose_formats(
        graph, CONFIG, group_pixels=False, grouping=Grouping.on(CONFIG, orders=orders)
    )
    assert kept(ordered, worth, passes)[reader] == pytest.approx(4 * 8)


def test_readers_of_one_tensor_are_weighed_together():
    """A layer that would gain must not cost another more."""
    build = Builder(np.random.default_rng(0), (4, 4, 3))
    first = build.conv(32, kernel=(1, 1), padding=NONE)
    small = build.conv(4, source=first, kernel=(1, 1), padding=NONE)
    large = build.conv(4, source=first, kernel=(1, 1), padding=NONE)
    build.add(small, large)
    graph = build.graph()
    formats = choose_formats(graph, CONFIG, group_pixels=False)
    rng = np.random.default_rng(1)
    worth = {first: np.ones((32, 1, 1, 3))}
    worth |= {small: rng.random((4, 1, 1, 32)), large: 1000 * rng.random((4, 1, 1, 32))}
    passes = dict.fromkeys(worth, 1)
    before = kept(formats, worth, passes)
    orders = find_orders(formats, worth, passes)
    after = kept(
        choose_formats(
            graph, CONFIG, group_pixels=False, grouping=Grouping.on(CONFIG, orders=orders)
        ),
        worth,
        passes,
    )
    assert after[large] > before[large]
    alone = find_orders(formats, {**worth, small: 0 * worth[small]}, passes)
    best = kept(
        choose_formats(
            graph, CONFIG, group_pixels=False, grouping=Grouping.on(CONFIG, orders=alone)
        ),
        worth,
        passes,
    )
    assert after[large] >= 0.99 * best[large]
