"""Doubtful calibration is said, one line a finding; typical data gives none."""

import dataclasses

import numpy as np
import pytest
from termac.compress import quantize
from termac.compress.quantize.findings import calibration_findings
from termac.graph import FloatConv, FloatGraph


def conv(name, source, weights):
    return FloatConv(
        name=name,
        input=source,
        weights=weights.astype(np.float32),
        bias=np.zeros(len(weights), np.float32),
        stride=(1, 1),
        padding=(1, 1, 1, 1),
        relu=True,
    )


@pytest.fixture(scope="module")
def model():
    """Two convolutions; the second has the input x."""
    rng = np.random.default_rng(0)
    return FloatGraph(
        name="two",
        shapes={"x": (6, 6, 2), "a": (6, 6, 4), "b": (6, 6, 3)},
        nodes=[
            conv("a", "x", rng.normal(size=(4, 3, 3, 2))),
            conv("b", "a", rng.normal(size=(3, 3, 3, 4))),
        ],
        input="x",
        output="b",
        input_layout=(2, 6, 6),
        output_layout=(3, 6, 6),
    )


def typical(samples=40):
    return np.random.default_rng(1).uniform(0, 1, (samples, 2, 6, 6)).astype(np.float32)


def findings(model, calibration, **options):
    return calibration_findings(model, quantize(model, calibration, **options), calibration)


def test_typical_samples_raise_no_doubt(model):
    assert findings(model, typical()) == []
    assert findings(model, typical(), bits=4) == []


def test_a_single_sample_is_named(model):
    for samples in (typical(1), typical(1)[0]):
        (line,) = findings(model, samples)
        assert line.startswith("the calibration is a single sample: every range follows from it")


def test_copies_of_one_sample_are_as_good_as_one(model):
    copies = np.repeat(typical(1), 30, axis=0)
    copies[3] += 0.001
    (line,) = findings(model, copies)
    assert line.startswith("all 30 samples of the calibration are nearly the same sample")


def test_blank_pictures_make_constant_tensors(model):
    lines = findings(model, np.zeros((8, 2, 6, 6)))
    assert [line.split("'")[1] for line in lines] == ["x", "a", "b"]
    assert lines[0].startswith(
        "the calibration of tensor 'x' is constant (0): that it holds 0..255 is no more than an "
        "assumption"
    )
    gray = np.full((8, 2, 6, 6), 0.5)
    gray[2, 1, 3, 3] = 0.502
    assert (
        "tensor 'x' is nearly constant (0.5..0.502): that it holds 0..0.502"
        in (findings(model, gray)[0])
    )


def test_a_layer_that_never_answers_is_constant(model):
    dead = dataclasses.replace(model.nodes[0], weights=-np.abs(model.nodes[0].weights))
    lines = findings(dataclasses.replace(model, nodes=[dead, model.nodes[1]]), typical())
    assert [line.split("'")[1] for line in lines] == ["a", "b"]


def test_the_clipped_share_of_a_tensor_is_counted(model):
    calibration = typical()
    graph = quantize(model, calibration)
    values = np.concatenate([v["a"] for v in model.batches(model.samples(calibration))])
    narrow = dataclasses.replace(graph.tensors["a"], scale=graph.tensors["a"].scale / 3)
    graph.tensors["a"] = narrow
    top = narrow.scale * (127.5 - narrow.zero_point)
    share = (values > top).mean()
    assert share > 0.05
    (line,) = calibration_findings(model, graph, calibration)
    assert line.startswith(
        f"calibration clips {share:.1%} of the values of tensor 'a': they span "
        f"0..{values.max():.4g}, it holds 0..{narrow.span[1]:.4g}"
    )
