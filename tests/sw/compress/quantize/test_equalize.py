"""Equalizing changes no answer in floating point, mends spread filters, and leaves others alone."""

import dataclasses

import numpy as np
import pytest
from termac.compress import quantize
from termac.compress.quantize.equalize import LEAST_GAIN, equalize, equalize_if_better
from termac.compress.quantize.quality import measure_quality
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.frontend import load_model
from termac.graph import FloatAdd, FloatAvgPool, FloatConv, FloatGraph, FloatMaxPool

NONE = (0, 0, 0, 0)
SAMPLES = np.random.default_rng(1).normal(size=(48, 3, 8, 8)).astype(np.float32)


def conv(name, source, rng, channels, inner, kernel=3, **values):
    weights = rng.normal(size=(channels, kernel, kernel, inner)) / (kernel * inner**0.5)
    padding = (kernel // 2,) * 4
    return FloatConv(
        name=name, input=source, weights=weights.astype(np.float32),
        bias=rng.normal(size=channels).astype(np.float32) / 4, stride=(1, 1), padding=padding,
        **{"relu": True, **values},
    )  # fmt: skip


def network(**values):
    """Convolution, pooling, convolution, average, classifier."""
    rng = np.random.default_rng(0)
    nodes = [
        conv("a", "x", rng, 16, 3, **values),
        FloatMaxPool(name="p", input="a", kernel=(2, 2), stride=(2, 2), padding=NONE),
        conv("b", "p", rng, 24, 16),
        FloatAvgPool(name="m", input="b", kernel=(4, 4), stride=(1, 1), padding=NONE),
        conv("c", "m", rng, 10, 24, kernel=1, relu=False),
    ]
    shapes = {"x": (8, 8, 3), "a": (8, 8, 16), "p": (4, 4, 16), "b": (4, 4, 24), "m": (1, 1, 24)}
    return FloatGraph(
        name="spread", shapes={**shapes, "c": (1, 1, 10)}, nodes=nodes, input="x", output="c",
        input_layout=(3, 8, 8), output_layout=(10,),
    )  # fmt: skip


def spread(graph, decades=4):
    """The same function, its filters' scales spread evenly over powers of ten."""
    rng = np.random.default_rng(2)
    nodes = {node.name: node for node in graph.nodes}
    for writer, reader in (("a", "b"), ("b", "c")):
        count = len(nodes[writer].weights)
        s = np.exp2(np.rint(np.log2(10) * rng.permutation(np.linspace(0, decades, count))))
        s = s.astype(np.float32)
        nodes[writer] = dataclasses.replace(
            nodes[writer], weights=nodes[writer].weights / s[:, None, None, None],
            bias=nodes[writer].bias / s,
        )  # fmt: skip
        nodes[reader] = dataclasses.replace(nodes[reader], weights=nodes[reader].weights * s)
    return dataclasses.replace(graph, nodes=list(nodes.values()))


def decibels(graph):
    quality = measure_quality(graph, quantize(graph, SAMPLES), SAMPLES)
    return quality.signal_to_noise[graph.output]


def test_spread_filters_lose_everything_and_equalizing_brings_it_back():
    plain, wide = network(), spread(network())
    np.testing.assert_array_equal(wide.predict(SAMPLES), plain.predict(SAMPLES))
    mended = equalize_if_better(wide, SAMPLES)
    np.testing.assert_array_equal(mended.predict(SAMPLES), wide.predict(SAMPLES))
    assert decibels(plain) > 30
    assert decibels(wide) < 20
    assert decibels(mended) > decibels(plain) - 1.5
    (note,) = mended.notes
    assert "'a', 'b'" in note
    assert f"by {decibels(mended) - decibels(wide):.0f} dB" in note


def test_a_network_that_gains_little_stays_the_same_object():
    plain = network()
    assert equalize_if_better(plain, SAMPLES) is plain
    few = spread(network(), decades=0.5)
    better = equalize_if_better(few, SAMPLES)
    assert better is few or decibels(better) >= decibels(few) + LEAST_GAIN


@pytest.mark.parametrize(
    "name", ["digits", "lenet5", "lenet5_square_6000", "resnet20_square_100k", "resnet20_ecp5_70k"]
)
def test_models_of_the_package_stay_the_same_object(name):
    model = load_model(MODELS / f"{name}.onnx")
    samples = np.random.default_rng(0).random((8, *model.input_layout))
    if name == "digits":
        samples = digits().train.images[:64]
    assert equalize_if_better(model, samples) is model


def test_nothing_passes_a_ceiling_an_addition_or_the_output():
    assert equalize(spread(network(ceiling=6.0)), SAMPLES).nodes[0].bias.tolist() == (
        spread(network(ceiling=6.0)).nodes[0].bias.tolist()
    )
    rng = np.random.default_rng(0)
    nodes = [
        conv("a", "x", rng, 8, 3), conv("b", "a", rng, 8, 8),
        FloatAdd(name="s", first="a", second="b"), conv("c", "s", rng, 4, 8),
    ]  # fmt: skip
    size = 10.0 ** np.arange(-4, 4)
    nodes[0] = dataclasses.replace(
        nodes[0], weights=(nodes[0].weights * size[:, None, None, None]).astype(np.float32)
    )
    shapes = {"x": (8, 8, 3), **dict.fromkeys("abs", (8, 8, 8)), "c": (8, 8, 4)}
    graph = FloatGraph(
        name="sum", shapes=shapes, nodes=nodes, input="x", output="c", input_layout=(3, 8, 8),
        output_layout=(4, 8, 8),
    )  # fmt: skip
    assert equalize(graph, SAMPLES) is graph


def test_depthwise_filters_take_all_of_the_spread():
    """A depthwise filter reads one channel: its own scale absorbs the factor."""
    rng = np.random.default_rng(0)
    depthwise = conv("d", "a", rng, 16, 16)
    depthwise = dataclasses.replace(
        depthwise,
        weights=depthwise.weights * np.eye(16, dtype=np.float32)[:, None, None] * 4,
        bias=depthwise.bias * np.exp2(np.arange(16) - 12).astype(np.float32),
    )
    size = np.exp2(np.arange(16) - 12).astype(np.float32)
    first = conv("a", "x", rng, 16, 3)
    first = dataclasses.replace(
        first, weights=first.weights * size[:, None, None, None], bias=first.bias * size
    )
    last = conv("c", "d", rng, 4, 16, relu=False)
    last = dataclasses.replace(last, weights=last.weights / size)
    shapes = {"x": (8, 8, 3), "a": (8, 8, 16), "d": (8, 8, 16), "c": (8, 8, 4)}
    graph = FloatGraph(
        name="depthwise", shapes=shapes, nodes=[first, depthwise, last], input="x", output="c",
        input_layout=(3, 8, 8), output_layout=(4, 8, 8),
    )  # fmt: skip
    mended = equalize_if_better(graph, SAMPLES)
    np.testing.assert_array_equal(mended.predict(SAMPLES), graph.predict(SAMPLES))
    assert decibels(mended) > decibels(graph) + 10
