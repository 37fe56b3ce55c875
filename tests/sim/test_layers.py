"""Random layers on the RTL: every value and every cycle as predicted.

One simulator and one simulation per configuration: programs follow one another, each in the
memories as the last one left them.
"""

import numpy as np
import pytest
from termac.compile import compile_graph
from termac.device.compare import compare
from termac.errors import MismatchError
from termac.graph import golden
from termac_sim import device

from tests.sim.random_layers import (
    CONFIGS,
    SHORT_CONFIGS,
    THEMES,
    layer_facts,
    random_program,
    table,
)
from tests.sim.recorder import RECORDER
from tests.sw.random_graphs import Builder, random_input

SHORT, LONG = 16, 40
"""Programs of a configuration; a program has one to about five layers."""

MINIMA = {
    "layers": 200,
    "3 or more passes (weight tiles) a row tile": 40,
    "2 or more row tiles": 40,
    "2 or more accumulator chunks": 20,
    "residual": 20,
}


def check(config, seeds):
    """Run the programs of all seeds; returns what their layers exercised."""
    programs = [random_program(config, seed) for seed in seeds]
    results = device.run_images(
        device.build_core(config),
        [(program.image, program.x[None]) for program in programs],
        tensors=True,
    )
    facts = []
    for program, result in zip(programs, results, strict=True):
        image = program.image
        expected = golden.run(image.graph, program.x[None])
        try:
            compared = compare(image, result, expected)
        except MismatchError as error:
            pytest.fail(f"{program.name}: {error}")
        assert compared == sum(expected[layer.name].size for layer in image.layers)
        np.testing.assert_array_equal(result.outputs, expected[image.graph.output])
        predicted = [layer.cycles for layer in image.layers]
        assert result.cycles[0].tolist() == predicted, program.name
        assert result.total_cycles.tolist() == [image.cycles], program.name
        parts = sum(counter[0] for counter in result.counters.values())
        assert parts == image.cycles, program.name
        facts += layer_facts(program)
    RECORDER.layers += facts
    return facts


@pytest.mark.parametrize("config", SHORT_CONFIGS, ids=lambda config: config.name)
def test_random_layers(config):
    facts = check(config, range(SHORT))
    assert len(facts) >= 2 * SHORT
    assert {f.residual for f in facts} == {f.extreme for f in facts} == {True, False}


LONG_FACTS = {}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_more_random_layers(config):
    LONG_FACTS[config.name] = check(config, range(SHORT, SHORT + LONG))


@pytest.mark.long
def test_long_run_covers_enough():
    if len(LONG_FACTS) < len(CONFIGS):
        pytest.skip("judges the long regression as a whole")
    facts = [fact for facts in LONG_FACTS.values() for fact in facts]
    counts = table(facts)
    assert {name: counts[name] for name, least in MINIMA.items() if counts[name] < least} == {}
    assert all(counts[f"{planes} bits"] for planes in range(1, 9)), counts
    assert {f.selects for f in facts} >= set(range(1, 17))
    assert {f.strides[axis] for f in facts for axis in (0, 1)} >= {1, 2, 3}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("config", CONFIGS[2:3], ids=lambda config: config.name)
def test_residual_words_arrive_in_order(config, bits):
    """Single passes, whose residual words come from far banks and then from near ones again."""
    build = Builder(np.random.default_rng(bits), (5, 5, 2 * config.word_bytes), bits=bits)
    start = build.last
    build.add(build.max_pool((1, 1), (1, 1)), start)
    image = compile_graph(build.graph(), config)
    x = random_input(image.graph, 0)[None]
    (result,) = device.run_images(device.build_core(config), [(image, x)], tensors=True)
    compare(image, result, golden.run(image.graph, x))
    assert result.total_cycles.tolist() == [image.cycles]


def test_programs_are_reproducible_and_have_all_themes():
    first, second = (random_program(CONFIGS[0], 5) for _ in range(2))
    np.testing.assert_array_equal(first.image.program, second.image.program)
    np.testing.assert_array_equal(first.x, second.x)
    names = [random_program(CONFIGS[0], seed).name for seed in range(len(THEMES))]
    assert [name.split("(")[1] for name in names] == [f"{theme})" for theme in THEMES]


def test_results_use_their_range():
    """Comparisons would prove little if most values were saturated."""
    saturated = []
    for seed in range(SHORT):
        program = random_program(CONFIGS[0], seed)
        graph = program.image.graph
        values = golden.run(graph, program.x[None])
        for node in graph.nodes:
            low, high = graph.tensors[node.name].limits
            if high - low > 15:
                saturated.append(np.isin(values[node.name], (low, high)).mean())
    assert np.mean(saturated) < 0.4
