"""Combining without training: bounds hold, budgets are monotone, fitted weights do better."""

import dataclasses

import numpy as np
import pytest
from termac.arch import load_config
from termac.compile import compile_graph
from termac.compile.grouping import Grouping
from termac.compress import quantize
from termac.compress.combine.prune import combine_network
from termac.compress.refit import Observations
from termac.errors import ConfigError
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.frontend import load_onnx
from termac.graph import FloatConv, FloatGraph, golden

CONFIG = load_config("demo")
SAMPLES = digits().train.images[:96]


@pytest.fixture(scope="module")
def graph():
    return load_onnx(MODELS / "digits.onnx")


@pytest.fixture(scope="module")
def grouping(graph):
    """Found once: the search for channel orders takes longest."""
    return combine_network(graph, SAMPLES, CONFIG, selects=2).grouping


@pytest.fixture(scope="module")
def auto(graph, grouping):
    """Results by bound."""
    return {
        bound: combine_network(graph, SAMPLES, CONFIG, max_loss=bound, grouping=grouping)
        for bound in (0.0, 0.02, 0.05, 0.2)
    }


def compiled(result):
    integers = quantize(result.graph, SAMPLES)
    return compile_graph(integers, CONFIG, grouping=result.grouping)


def convolutions(graph):
    return {node.name: node for node in graph.nodes if isinstance(node, FloatConv)}


def accuracy(result):
    integers = quantize(result.graph, SAMPLES)
    test = digits().test
    x = golden.quantize_input(integers, test.images)
    y = golden.run(integers, x, outputs_only=True)[integers.output]
    scores = golden.dequantize_output(integers, y)
    return float((scores.argmax(axis=1) == test.labels).mean())


def test_more_selects_take_more_cycles_and_keep_more(graph, grouping):
    results = {
        selects: combine_network(graph, SAMPLES, CONFIG, selects=selects, grouping=grouping)
        for selects in (1, 2, 4, CONFIG.lanes)
    }
    cycles = [compiled(result).cycles for result in results.values()]
    assert cycles == sorted(set(cycles))
    for node in convolutions(graph):
        layers = [next(x for x in r.layers if x.node == node) for r in results.values()]
        assert [x.passes for x in layers] == sorted(x.passes for x in layers)
        kept = [x.mask.mean() for x in layers]
        assert kept == sorted(kept)
        assert all(x.passes <= x.dense_passes for x in layers)
    assert any(layer.passes < layer.dense_passes for layer in results[1].layers)

    dense = results[CONFIG.lanes]
    for name, node in convolutions(graph).items():
        np.testing.assert_array_equal(convolutions(dense.graph)[name].weights, node.weights)
        np.testing.assert_array_equal(convolutions(dense.graph)[name].bias, node.bias)
    assert all(layer.mass_kept == 1 for layer in dense.layers)
    assert all(layer.output_error < 1e-6 for layer in dense.layers)


def test_weights_of_a_result_are_those_of_its_masks(auto):
    result = auto[0.05]
    for layer in result.layers:
        weights = convolutions(result.graph)[layer.node].weights
        assert weights.shape == layer.mask.shape
        assert not weights[~layer.mask].any()
        assert layer.record()["density"] == layer.mask.mean() < 1
        assert 0 < layer.mass_kept < 1


def test_layers_run_in_the_passes_reported(auto):
    for result in auto.values():
        image = compiled(result)
        for layer in result.layers:
            info = next(info for info in image.layers if layer.node in info.nodes)
            positions = 4 if len(info.nodes) > 1 and "maxpool" in info.nodes[-1] else 1
            tiles = -(-info.storage.blocks * CONFIG.word_bytes // CONFIG.rows)
            assert info.passes <= layer.passes * tiles * positions


def test_grouping_returned_is_the_one_pruned_for(graph, grouping):
    """Formats may be better ones than those given; the image must have them too."""
    bare = Grouping(CONFIG.lanes, CONFIG.columns, CONFIG.segments, {}, {})
    result = combine_network(graph, SAMPLES, CONFIG, selects=1, grouping=bare)
    assert result.grouping.factors == grouping.factors
    assert result.grouping.orders == {}
    image = compiled(result)
    for layer in result.layers:
        info = next(info for info in image.layers if layer.node in info.nodes)
        assert info.storage.factor == result.grouping.factors[info.name]


def test_every_layer_keeps_to_the_bound(auto):
    for bound, result in auto.items():
        for layer in result.layers:
            assert layer.output_error <= bound or layer.passes == layer.dense_passes
        recorded = [layer.record()["output_error"] for layer in result.layers]
        assert recorded == [layer.output_error for layer in result.layers]


def test_tighter_bounds_take_more_passes(auto):
    passes = [sum(layer.passes for layer in result.layers) for result in auto.values()]
    assert passes == sorted(passes, reverse=True)
    assert passes[0] > passes[-1]
    assert passes[0] == sum(layer.dense_passes for layer in auto[0.0].layers)


def test_the_fewest_passes_within_the_bound_are_taken(graph, grouping, auto):
    first = auto[0.05].layers[0]
    tight = combine_network(
        graph, SAMPLES, CONFIG, max_loss=first.output_error * 0.99, grouping=grouping
    )
    assert tight.layers[0].passes > first.passes


def test_errors_reported_are_those_of_the_whole_network_so_far(graph, auto):
    """Every layer on what pruned layers before it deliver, against the dense network.

    The larger error counts: that on three quarters of the samples or that on the others.
    """
    result = auto[0.2]
    errors = {layer.node: [] for layer in result.layers}
    for part in (SAMPLES[:72], SAMPLES[72:]):
        x = graph.samples(part)
        dense, pruned = graph.evaluate(x), result.graph.evaluate(x)
        for layer in result.layers:
            wanted, got = (
                dataclasses.replace(convolutions(g)[layer.node], relu=False).evaluate(values)
                for g, values in ((graph, dense), (result.graph, pruned))
            )
            error = np.square(got - wanted).mean(axis=(0, 1, 2)).sum()
            errors[layer.node].append(error / wanted.var(axis=(0, 1, 2)).sum())
    for layer in result.layers:
        assert layer.output_error == pytest.approx(max(errors[layer.node]), rel=1e-2)


def test_accuracy_stays_at_a_mild_bound(auto):
    dense, mild, harsh = (accuracy(auto[bound]) for bound in (0.0, 0.05, 0.2))
    assert dense > 0.95
    assert mild > dense - 0.03
    assert harsh > 0.5


# --- Fitting -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(graph):
    """By convolution: the node, its input, and what was observed of it."""
    values = graph.evaluate(graph.samples(SAMPLES[:24]))
    return {
        name: (node, values[node.input], Observations.of(node, values[node.input],
                                                         values[node.input]))
        for name, node in convolutions(graph).items()
    }  # fmt: skip


def flat(node):
    return node.weights.reshape(len(node.weights), -1).astype(np.float64)


def test_error_is_the_squared_difference_over_the_variance(seen):
    rng = np.random.default_rng(0)
    for node, x, observations in seen.values():
        plain = dataclasses.replace(node, relu=False, ceiling=None)
        wanted = plain.evaluate({node.input: x}).astype(np.float64)
        wanted = wanted.reshape(-1, wanted.shape[-1])
        assert len(wanted) <= 12_000  # else only some of the pixels are looked at
        weights = flat(node) * (rng.random(flat(node).shape) < 0.6)
        bias = node.bias + rng.normal(size=len(node.bias)) * 0.01
        changed = dataclasses.replace(
            plain, weights=weights.reshape(node.weights.shape).astype(np.float32),
            bias=bias.astype(np.float32),
        )  # fmt: skip
        got = changed.evaluate({node.input: x}).reshape(wanted.shape)
        direct = np.square(got - wanted).mean(axis=0).sum() / wanted.var(axis=0).sum()
        assert observations.error(weights, bias) == pytest.approx(direct, rel=1e-3)
        assert observations.error(flat(node), node.bias.astype(float)) < 1e-9


def test_fitted_weights_do_better_than_pruned_ones(seen):
    rng = np.random.default_rng(1)
    for node, _, observations in seen.values():
        mask = rng.random(flat(node).shape) < 0.5
        weights, bias = observations.refit(mask)
        assert not weights[~mask].any()
        plain = observations.error(flat(node) * mask, node.bias.astype(np.float64))
        fitted = observations.error(weights, bias)
        assert fitted < 0.9 * plain
        for _ in range(3):  # no direction leads on, but for what the damping costs
            moved = weights + mask * rng.normal(size=weights.shape) * 0.02
            assert observations.error(moved, bias) > fitted


def test_fitting_makes_up_for_what_earlier_layers_lost(graph, seen):
    node, x, _ = seen["second"]
    noisy = (x + np.random.default_rng(2).normal(size=x.shape, scale=0.1)).astype(np.float32)
    observations = Observations.of(node, noisy, x)
    before = observations.error(flat(node), node.bias.astype(np.float64))
    weights, bias = observations.refit(np.ones_like(flat(node), bool))
    assert 0 < observations.error(weights, bias) < before


def test_inputs_that_are_always_zero_are_no_trouble(graph):
    blank = np.zeros_like(SAMPLES)
    result = combine_network(graph, blank, CONFIG, selects=1)
    for node in convolutions(result.graph).values():
        assert np.isfinite(node.weights).all()
        assert np.isfinite(node.bias).all()


@pytest.mark.parametrize("selects", [0, CONFIG.lanes + 1, -1, True, 1.5, "some", None])
def test_bad_selects_are_refused(graph, selects):
    with pytest.raises(ConfigError, match=r"selects must be 'auto' or 1\.\.8"):
        combine_network(graph, SAMPLES, CONFIG, selects=selects)


@pytest.mark.parametrize("bound", [-0.1, 1, 1.5, float("nan"), float("inf")])
def test_bad_bounds_are_refused(graph, bound):
    with pytest.raises(ConfigError, match="max_loss must be at least 0 and below 1"):
        combine_network(graph, SAMPLES, CONFIG, max_loss=bound)


def test_weights_that_learn_their_samples_by_heart_are_found_out():
    """A wide layer answers few samples exactly with few weights, and others wrongly."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(10, 1, 1, 400)).astype(np.float32)
    node = FloatConv(
        name="wide", input="x", weights=weights, bias=np.zeros(10, np.float32), stride=(1, 1),
        padding=(0, 0, 0, 0),
    )  # fmt: skip
    wide = FloatGraph(
        name="wide", shapes={"x": (1, 1, 400), "wide": (1, 1, 10)}, nodes=[node], input="x",
        output="wide", input_layout=(400,), output_layout=(10,),
    )  # fmt: skip
    samples, fresh = rng.normal(size=(2, 96, 400))
    for bound in (0.05, 0.2):
        (pruned,) = combine_network(wide, samples, CONFIG, max_loss=bound).graph.nodes
        error = fresh @ (pruned.weights - weights).reshape(10, -1).T + pruned.bias
        assert (error**2).mean() / (weights**2).sum() * 10 < 2 * bound
