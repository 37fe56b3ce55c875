"""Compiled programs, executed by the interpreter, against the golden model, layer by layer."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from termac.arch import load_config
from termac.arch.estimate import decode_timings, predict
from termac.compile import Grouping, channel_groups, compile_graph
from termac.errors import CapacityError, ModelError
from termac.graph import Graph, Terms, golden
from termac.image.storage import plain_storage

from tests.sw.interpreter import Interpreter
from tests.sw.random_graphs import (
    CONFIGS,
    Builder,
    coverage,
    random_graph,
    random_input,
    resnet20,
    split_into_terms,
)

NONE = (0, 0, 0, 0)
BY_NAME = {config.name: config for config in CONFIGS}
SQUARE = dataclasses.replace(load_config("square"), weight_depth=1 << 14)


def run(graph, config, *, seed=0, image=None, **options):
    """Compile, execute, compare every layer; returns the image."""
    image = image or compile_graph(graph, config, **options)
    x = random_input(graph, seed)
    expected = golden.run(graph, x[None])
    machine = Interpreter(image)
    words = image.store_input(x)
    machine.activations[image.input.base : image.input.base + len(words)] = words
    ends = {layer.last_descriptor: layer.name for layer in image.layers}
    compared = 0
    for descriptor in machine.run():
        if name := ends.get(descriptor):
            got = image.read_tensor(machine.activations, name)
            np.testing.assert_array_equal(got, expected[name][0], err_msg=name)
            compared += 1
    assert compared == len(image.layers) > 0
    output = image.output.load(machine.activations)
    np.testing.assert_array_equal(output, expected[graph.output][0])
    return image


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 40))]
)
def test_random_networks(seed, config):
    number = 100 * seed + CONFIGS.index(config)
    run(split_into_terms(random_graph(number), config, number), config, seed=number)


def test_random_networks_reach_everything():
    seen = [
        coverage(compile_graph(random_graph(100 * seed + index), config))
        for index, config in enumerate(CONFIGS)
        for seed in range(4)
    ]
    assert max(c.row_tiles for c in seen) >= 4
    assert max(c.passes for c in seen) >= 20
    assert max(c.chunks for c in seen) >= 3
    assert any(c.residual for c in seen)
    assert any(c.pooled for c in seen)
    assert any(c.grouped_pixels for c in seen)
    assert frozenset().union(*(c.planes for c in seen)) == set(range(1, 9))


def test_random_graph_is_deterministic():
    first, second = (compile_graph(random_graph(7), CONFIGS[0]) for _ in range(2))
    np.testing.assert_array_equal(first.program, second.program)
    np.testing.assert_array_equal(first.value, second.value)


def test_small_resnet_runs_exactly_and_absorbs_a_shortcut():
    image = run(resnet20(size=8), SQUARE)
    nodes = [layer.nodes for layer in image.layers]
    assert ("cut22", "conv21", "add23") in nodes  # read straight from the inner tensor
    assert sum(len(n) for n in nodes) == len(image.graph.nodes)


def test_dense_resnet20_stays_below_400_thousand_cycles():
    graph = resnet20()
    grouped, plain = (compile_graph(graph, SQUARE, group_pixels=g) for g in (True, False))
    assert grouped.cycles < 380_000 < 450_000 < plain.cycles
    assert grouped.macs == 40_551_040


def test_pruned_layers_take_fewer_passes():
    def passes(selects):
        build = Builder(np.random.default_rng(0), (8, 8, 32))
        build.conv(32)
        weights = build.nodes[-1].weights
        groups = channel_groups(32, SQUARE)
        for group in range(4):
            weights[..., np.flatnonzero(groups == group)[selects:]] = 0
        return run(build.graph(), SQUARE).layers[0].passes

    assert [passes(n) for n in (8, 4, 1)] == [9, 5, 2]


def test_channel_order_brings_groups_together():
    build = Builder(np.random.default_rng(0), (8, 8, 32))
    first = build.conv(32)
    build.conv(32, source=first, kernel=(1, 1), padding=NONE)
    weights = build.nodes[-1].weights
    weights[..., 4:] = 0  # four channels are read: one select if they lie in four banks
    assert run(build.graph(), SQUARE).layers[1].passes == 1
    order = [*range(0, 32, 4), *range(1, 32, 4), *range(2, 32, 4), *range(3, 32, 4)]
    weights[:] = np.roll(weights, 1, axis=3)
    image = run(build.graph(), SQUARE, grouping=Grouping.on(SQUARE, orders={first: order}))
    np.testing.assert_array_equal(
        image.storage(first).positions, plain_storage(
            image.storage(first).tensor, SQUARE, order=order
        ).positions,
    )  # fmt: skip
    with pytest.raises(ModelError, match="not a permutation"):
        compile_graph(build.graph(), SQUARE, grouping=Grouping.on(SQUARE, orders={first: [0] * 32}))


@pytest.mark.parametrize("name", ["8x8x4s4", "4x8x4s4", "16x8x4s4", "8x16x16s8"])
def test_depthwise_costs_no_passes_for_other_channels(name):
    config = BY_NAME[name]
    build = Builder(np.random.default_rng(1), (6, 6, 4 * config.word_bytes))
    build.conv(4 * config.word_bytes, depthwise=True)
    image = run(build.graph(), config)
    tiles = -(-4 * config.word_bytes // config.rows)
    taps = 9 * config.words_per_tile
    assert image.layers[0].passes == tiles * -(-taps // config.segments)
    assert image.layers[0].descriptors == 1
    assert image.layers[0].macs == 36 * 9 * 4 * config.word_bytes


def test_depthwise_with_a_partial_last_tile():
    config = BY_NAME["16x8x4s4"]  # two words a row tile
    build = Builder(np.random.default_rng(1), (5, 5, 3 * config.word_bytes))
    build.conv(3 * config.word_bytes, depthwise=True)
    run(build.graph(), config)


def test_convolution_and_pool_are_one_layer():
    build = Builder(np.random.default_rng(2), (8, 8, 3))
    build.conv(8)
    build.max_pool((2, 2), (2, 2))
    image = run(build.graph(), CONFIGS[0])
    assert [layer.nodes for layer in image.layers] == [("conv0", "max1")]


def test_overlapping_pool_stays_apart_and_padding_is_ignored():
    build = Builder(np.random.default_rng(3), (9, 9, 8))
    build.conv(16)
    build.max_pool((3, 3), (1, 1), (1, 1, 1, 1))
    image = run(build.graph(), CONFIGS[0])
    assert len(image.layers) == 2


@pytest.mark.parametrize("swap", [False, True])
def test_sum_is_written_over_its_operand(swap):
    build = Builder(np.random.default_rng(4), (6, 6, 8))
    start = build.conv(8)
    second = build.conv(8, source=build.conv(8))
    build.add(*((start, second) if swap else (second, start)))
    image = run(build.graph(), CONFIGS[0])
    assert image.storage("add3").base == image.storage(start).base


def test_operand_that_is_read_later_is_kept():
    build = Builder(np.random.default_rng(5), (6, 6, 8))
    start = build.conv(8)
    total = build.add(build.conv(8), start)
    build.add(build.conv(8, source=start), total)
    build.add(build.last, start)
    run(build.graph(), CONFIGS[0])


def test_convolution_of_the_residual_itself():
    build = Builder(np.random.default_rng(6), (6, 6, 8))
    start = build.last
    build.add(build.conv(8), start)
    image = run(build.graph(), CONFIGS[0])
    assert image.layers[0].nodes == ("conv0", "add1")
    assert image.output.base != image.input.base


def test_sum_of_a_tensor_with_itself_and_of_two_pools():
    build = Builder(np.random.default_rng(7), (6, 6, 5))
    build.add(build.last, build.last)
    first = build.last
    build.add(build.max_pool((1, 1), (1, 1)), first)
    run(build.graph(), CONFIGS[0])


def test_output_may_be_read_again():
    build = Builder(np.random.default_rng(8), (5, 5, 4))
    kept = build.conv(4)
    build.conv(4)
    graph = build.graph()
    graph.output = kept
    run(graph, CONFIGS[0])


def test_large_window_moves_the_origin():
    build = Builder(np.random.default_rng(9), (100, 1, 3))
    build.conv(4, kernel=(100, 1), padding=NONE)
    run(build.graph(), CONFIGS[0], group_pixels=False)
    build = Builder(np.random.default_rng(9), (150, 1, 3))
    build.average((150, 1), (1, 1))
    with pytest.raises(ModelError, match="150x1"):
        compile_graph(build.graph(), CONFIGS[0])


def test_grouping_gives_way_to_a_small_weight_memory():
    graph = resnet20(size=8)
    image = compile_graph(graph, SQUARE)
    plain = compile_graph(graph, SQUARE, group_pixels=False)
    used, least = (len(i.value) * SQUARE.columns for i in (image, plain))
    assert used > least
    tight = dataclasses.replace(SQUARE, weight_depth=least)
    run(graph, tight)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("activation_depth", 90, r"needs \d+ words of activation memory.*has 90.*tensor"),
        ("weight_depth", 64, r"needs \d+ words of weight memory.*has 64.*layer 'conv"),
        ("parameter_depth", 24, r"needs \d+ words of parameter memory.*has 24.*layer"),
        ("program_depth", 1000, r"needs \d+ words of program memory.*has 1000.*layer"),
        ("tap_depth", 64, r"needs \d+ words of tap memory.*has 64.*layer"),
    ],
)
def test_networks_too_large_name_the_memory(key, value, match):
    with pytest.raises(CapacityError, match=match):
        compile_graph(resnet20(size=16), dataclasses.replace(SQUARE, **{key: value}))


def test_bias_beyond_32_bits_is_refused():
    build = Builder(np.random.default_rng(0), (3, 3, 3))
    build.conv(2)
    node = build.nodes[0]
    build.tensors["input"] = dataclasses.replace(build.tensors["input"], zero_point=-128)
    node.weights[:] = 127
    node.bias[:] = 2**31 - 1
    with pytest.raises(ModelError, match=r"node 'conv0'.*32 bits"):
        compile_graph(build.graph(), CONFIGS[0])


def test_graph_without_nodes_is_refused():
    build = Builder(np.random.default_rng(0), (3, 3, 3))
    with pytest.raises(ModelError, match="no layer"):
        compile_graph(build.graph(), CONFIGS[0])


def test_predicted_cycles_of_layers_add_up():
    image = compile_graph(resnet20(size=8), SQUARE)
    overhead = image.cycles - sum(layer.cycles for layer in image.layers)
    assert 0 < overhead < 10
    assert predict(SQUARE, image.program) == image.cycles
    assert len(decode_timings(image.program)) == sum(x.descriptors for x in image.layers)


def test_golden_model_knows_nothing_of_the_compiler():
    source = Path(golden.__file__).read_text()
    assert "termac.compile" not in source
    assert "termac.arch" not in source
    assert isinstance(resnet20(size=8), Graph)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (Terms(weights=0), "weights must be an integer 1..16, not 0"),
        (Terms(weights=17), "weights must be an integer 1..16, not 17"),
        (Terms(weights=2, exponents=(5, 5)), "exponents must fall to 0"),
        (Terms(weights=2, exponents=(2, 0)), "exponents must fall to 0"),
        (Terms(weights=9, exponents=tuple(range(8, -1, -1))), "from at most 7"),
        (Terms(weights=3, exponents=(1, 0)), "3 slots have 2 exponents"),
        (Terms(weights=8, data=5), "data must be an integer 0..4, not 5"),
        (Terms(weights=8, data=2, encoding="booth"), "encoding must be one of naf, hese"),
        (Terms(weights=8, data=2), "counts whole activations"),
    ],
)
def test_terms_that_no_cell_can_do_are_refused(terms, message):
    """Without a last exponent of 0, filling slots would never end."""
    build = Builder(np.random.default_rng(0), (4, 4, 8))
    build.conv(8)
    graph = build.graph()
    graph.nodes[0] = dataclasses.replace(graph.nodes[0], terms=terms)
    config = next(config for config in CONFIGS if config.cell == "term")
    with pytest.raises(ModelError) as caught:
        compile_graph(graph, config)
    assert message in str(caught.value)


def test_weights_beyond_the_reach_of_a_cell_are_refused():
    build = Builder(np.random.default_rng(0), (4, 4, 8))
    build.conv(8)
    graph = build.graph()
    for cell, reach in (("bit_plane", 127), ("term_pair", 213)):
        config = next(config for config in CONFIGS if config.cell == cell)
        weights = np.full(graph.nodes[0].weights.shape, reach, np.int16)
        node = dataclasses.replace(graph.nodes[0], weights=weights)
        run(dataclasses.replace(graph, nodes=[node]), config)
        weights[0, 0, 0, 0] = reach + 1
        with pytest.raises(ModelError, match=rf"'{node.name}'.*(8 bits|214)"):
            compile_graph(dataclasses.replace(graph, nodes=[node]), config)
