"""What a network that does not fit is said to fit with: packing with it works."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from termac.arch import load_config
from termac.compile import compile_graph
from termac.compress import quantize
from termac.compress.terms.allowance import Allowance
from termac.errors import CapacityError
from termac.flow.pack import pack
from termac.flow.ways_out import listed, ways_out
from termac.graph import FloatConv, FloatGraph


def perceptron(*widths):
    """Fully connected layers with ReLU between them, random weights."""
    rng = np.random.default_rng(0)
    nodes = [
        FloatConv(
            name=f"fc{index}",
            input=f"fc{index - 1}" if index else "x",
            weights=(rng.normal(size=(b, 1, 1, a)) / np.sqrt(a)).astype(np.float32),
            bias=np.zeros(b, np.float32),
            stride=(1, 1),
            padding=(0, 0, 0, 0),
            relu=index < len(widths) - 2,
            ceiling=None,
        )
        for index, (a, b) in enumerate(itertools.pairwise(widths))
    ]
    return FloatGraph(
        name="mlp",
        shapes={"x": (1, 1, widths[0]), **{n.name: (1, 1, len(n.weights)) for n in nodes}},
        nodes=nodes,
        input="x",
        output=nodes[-1].name,
        input_layout=(widths[0],),
        output_layout=(widths[-1],),
    )


def samples(width):
    return np.random.default_rng(1).uniform(0, 1, (24, width)).astype(np.float32)


def message(model, config):
    with pytest.raises(CapacityError) as raised:
        pack(model, config, samples(model.input_layout[0]))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_fewer_terms_are_offered_where_cells_keep_them_and_the_next_number_is_too_many():
    config = replace(load_config("term"), weight_depth=288)
    model = perceptron(64, 32, 4)
    text = message(model, config)
    terms = int(re.search(r"; it fits with --terms (\d+)/8,", text)[1])
    assert pack(model, config, samples(64), terms=Allowance(terms)).image.cycles
    with pytest.raises(CapacityError):
        pack(model, config, samples(64), terms=Allowance(terms + 1))


def test_pruning_is_offered_where_columns_combine():
    config = replace(load_config("demo"), weight_depth=150)
    model = perceptron(128, 32, 4)
    text = message(model, config)
    selects = int(re.search(r"; it fits with --combine (\d+),", text)[1])
    assert pack(model, config, samples(128), combine=selects).image.cycles
    assert selects >= 4  # 36 words for each weight of a row and column, of 150


def test_the_named_depths_are_the_smallest_that_hold_the_network():
    config = replace(load_config("tiny"), weight_depth=64, tap_depth=16)
    model = perceptron(64, 24, 4)
    text = message(model, config)
    depths = {key: int(value) for key, value in re.findall(r"(\w+_depth) = (\d+)", text)}
    assert set(depths) == {"weight_depth", "tap_depth"}
    graph = quantize(model, samples(64))
    compile_graph(graph, replace(config, **depths))
    for key, value in depths.items():
        with pytest.raises(CapacityError):
            compile_graph(graph, replace(config, **{**depths, key: value - 1}))


def test_a_preset_that_holds_the_network_is_named():
    config = replace(load_config("demo"), name="mine", weight_depth=64)
    text = message(perceptron(64, 32, 4), config)
    assert "with --config tiny, or with a configuration with weight_depth = " in text


def test_a_network_in_integers_is_offered_no_options_of_pack():
    config = replace(load_config("demo"), weight_depth=64)
    graph = quantize(perceptron(64, 32, 4), samples(64))
    with pytest.raises(CapacityError, match=r"; it fits with --config ") as raised:
        pack(graph, config)
    assert "--combine" not in str(raised.value)
    assert any("--combine" in way for way in ways_out(graph, config))


def test_only_activations_that_do_not_fit_are_not_pruned():
    config = replace(load_config("tiny"), activation_depth=8)
    graph = quantize(perceptron(64, 16, 4), samples(64))
    ways = ways_out(graph, config)
    assert not any(way.startswith("--combine") for way in ways)
    assert re.fullmatch(r"a configuration with activation_depth = \d+", ways[-1])


def test_nothing_is_offered_where_nothing_helps():
    assert listed([]) == "no preset and no size of its memories holds it; use a smaller network"


@pytest.mark.long
def test_a_wide_perceptron_fits_on_term_cells_with_eight_terms_of_eight_weights():
    model, config = perceptron(784, 640, 10), load_config("term")
    terms = int(re.search(r"; it fits with --terms (\d+)/8,", message(model, config))[1])
    assert terms == 10
    assert pack(model, config, samples(784), terms=Allowance(8)).image.cycles
