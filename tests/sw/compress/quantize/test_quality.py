"""Signal to noise of every layer, output error and agreement, against plain sums."""

import dataclasses

import numpy as np
import pytest
from termac.compress import quantize
from termac.compress.quantize.quality import decibels, measure_quality
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.frontend import load_onnx
from termac.graph import golden


@pytest.fixture(scope="module")
def model():
    return load_onnx(MODELS / "digits.onnx")


@pytest.fixture(scope="module")
def samples():
    return digits().train.images[:300]


def test_decibels():
    assert decibels(100.0, 1.0) == pytest.approx(20)
    assert decibels(1.0, 2.0) == pytest.approx(-3.0103)
    assert decibels(1.0, 0.0) == decibels(0.0, 0.0) == float("inf")
    assert decibels(0.0, 1.0) == float("-inf")


def test_figures_are_those_of_plain_sums_over_the_last_samples(model, samples):
    graph = quantize(model, samples, bits=5)
    quality = measure_quality(model, graph, samples)
    last = samples[-256:]
    exact = model.evaluate(model.samples(last))
    stored = golden.run(graph, golden.quantize_input(graph, last))
    assert set(quality.signal_to_noise) == set(exact)
    for name, tensor in graph.tensors.items():
        real = tensor.scale * (stored[name].astype(float) - tensor.zero_point)
        ratio = (exact[name].astype(float) ** 2).mean() / ((real - exact[name]) ** 2).mean()
        assert quality.signal_to_noise[name] == pytest.approx(10 * np.log10(ratio), rel=1e-6)
    scores, wanted = model.predict(last), golden.dequantize_output(graph, stored[graph.output])
    same = (scores.argmax(axis=1) == wanted.argmax(axis=1)).mean()
    assert quality.agreement == pytest.approx(same)
    error = ((scores - wanted) ** 2).sum() / len(last) / scores.var(axis=0).sum()
    assert quality.output_error == pytest.approx(error, rel=1e-4)
    assert quality.samples == 256


def test_fewer_bits_are_heard_in_every_layer(model, samples):
    fine, coarse = (
        measure_quality(model, quantize(model, samples, bits=bits), samples) for bits in (8, 4)
    )
    for name in fine.signal_to_noise:
        assert fine.signal_to_noise[name] > coarse.signal_to_noise[name] + 8


def test_a_broken_layer_is_seen_at_once(model, samples):
    graph = quantize(model, samples)
    nodes = [
        dataclasses.replace(node, weights=node.weights // 32 * 32) if node.name == "wide" else node
        for node in graph.nodes
    ]
    broken = measure_quality(model, dataclasses.replace(graph, nodes=nodes), samples)
    whole = measure_quality(model, graph, samples)
    first_bad = next(
        name for name, value in broken.signal_to_noise.items()
        if value < whole.signal_to_noise[name] - 6
    )  # fmt: skip
    assert first_bad == "wide"
