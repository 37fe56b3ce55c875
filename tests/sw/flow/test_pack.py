"""One function from a model to an image: the same integers, formats and notes as step by step."""

from dataclasses import replace

import numpy as np
import pytest
from termac.arch import load_config
from termac.compile import Grouping, compile_graph
from termac.compress import quantize
from termac.compress.combine.prune import combine_network
from termac.compress.quantize.quality import measure_quality
from termac.compress.terms.allowance import MORE, Allowance
from termac.compress.terms.network import fit_terms
from termac.errors import CapacityError, ConfigError, InputError
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.flow.pack import pack
from termac.frontend import load_onnx

DEMO = load_config("demo")
SPREAD = ("first", "second")
"""A convolution of the digits network, and the only one that reads it."""


@pytest.fixture(scope="module")
def samples():
    return digits().train.images[:64]


@pytest.fixture(scope="module")
def model():
    return load_onnx(MODELS / "digits.onnx")


def assert_same_image(image, expected):
    for name in ("program", "taps", "cells"):
        np.testing.assert_array_equal(getattr(image, name), getattr(expected, name))
    for name, values in expected.parameters.items():
        np.testing.assert_array_equal(image.parameters[name], values)
    assert image.graph.notes == expected.graph.notes


def test_a_float_model_is_quantized_and_compiled(model, samples):
    packed = pack(model, DEMO, samples, bits=6)
    assert_same_image(packed.image, compile_graph(quantize(model, samples, bits=6), DEMO))
    assert packed.graph is packed.image.graph
    assert packed.pruned is packed.model is model
    assert packed.combined == packed.termed == packed.combining_rows == packed.terms_rows == []


def test_an_integer_graph_is_compiled_as_it_is(model, samples):
    graph = quantize(model, samples)
    packed = pack(graph, DEMO)
    assert packed.graph is graph
    assert packed.model is None
    assert_same_image(packed.image, compile_graph(graph, DEMO))
    order = list(range(16))[::-1]
    grouping = Grouping.on(DEMO, orders={"first": order})
    assert_same_image(
        pack(graph, DEMO, grouping=grouping).image,
        compile_graph(graph, DEMO, grouping=grouping),
    )


def test_columns_are_combined_before_quantizing(model, samples):
    packed = pack(model, DEMO, samples, combine="auto")
    done = combine_network(model, samples, DEMO)
    graph = quantize(done.graph, samples)
    assert_same_image(packed.image, compile_graph(graph, DEMO, grouping=done.grouping))
    assert packed.grouping == done.grouping
    assert packed.model is model
    assert [row["node"] for row in packed.combining_rows] == [layer.node for layer in done.layers]
    for row in packed.combining_rows:
        assert row["cycles"] == packed.layer(row["node"]).cycles


def test_weights_are_rounded_to_terms_after_quantizing(model, samples):
    config = replace(load_config("term-pair"), weight_depth=1 << 14)
    packed = pack(model, config, samples, terms=Allowance(6, 2), encoding="hese")
    fitted = fit_terms(
        model, quantize(model, samples), samples, lanes=config.lanes, allowance=Allowance(6, 2),
        shared=False, encoding="hese", more=MORE,
    )  # fmt: skip
    assert_same_image(packed.image, compile_graph(fitted.graph, config))
    assert [row["node"] for row in packed.terms_rows] == [layer.node for layer in fitted.layers]


def test_a_grouping_that_does_not_fit_is_left_out_with_one_note(model, samples):
    graph = quantize(model, samples)
    grouping = Grouping(4, 8, 4, orders={"first": list(range(16))[::-1]})
    for given in (model, graph):
        for _ in range(2):  # the model that is given stays as it is
            packed = pack(given, DEMO, samples, grouping=grouping)
            assert packed.grouping is None
            assert sum("grouping is not used" in note for note in packed.notes) == 1
            np.testing.assert_array_equal(packed.image.cells, compile_graph(graph, DEMO).cells)
    assert not any("grouping" in note for note in (*model.notes, *graph.notes))


@pytest.mark.parametrize(
    ("preset", "choices", "message"),
    [
        ("demo", {"max_loss": 0.1}, "--max-loss goes with"),
        ("demo", {"combine": 2, "max_loss": 0.1}, "--max-loss goes with"),
        ("demo", {"encoding": "naf"}, "--encoding goes with --terms"),
        ("demo", {"terms": "auto"}, "keep no terms"),
        ("bit-serial", {"terms": Allowance(8)}, "keep no terms"),
        ("term", {"terms": "auto", "combine": 2}, "--terms does not go with --combine"),
        ("term", {"combine": 2}, "no columns combine there"),
        ("term", {"terms": Allowance(8, 2)}, "takes whole activations"),
        ("term", {"terms": Allowance(8), "encoding": "hese"}, "--encoding means nothing"),
        ("term-pair", {"terms": Allowance(8)}, "say how many"),
    ],
)
def test_choices_that_contradict_are_refused(model, samples, preset, choices, message):
    with pytest.raises(ConfigError, match=message):
        pack(model, load_config(preset), samples, **choices)


def test_a_float_model_needs_calibration_and_an_integer_one_takes_no_choices(model, samples):
    with pytest.raises(InputError, match="needs calibration data"):
        pack(model, DEMO)
    with pytest.raises(ConfigError, match="is in integers already"):
        pack(quantize(model, samples), DEMO, combine=2)


def test_filters_of_very_different_scale_are_equalized_with_a_note(model, samples):
    """The same function with filters spread over 1e4: nothing is lost on the way to integers."""
    nodes = {node.name: node for node in model.nodes}
    first, second = nodes[SPREAD[0]], nodes[SPREAD[1]]
    size = np.exp2(np.linspace(-7, 7, len(first.weights)).round()).astype(np.float32)
    nodes[first.name] = replace(
        first, weights=first.weights * size[:, None, None, None], bias=first.bias * size
    )
    nodes[second.name] = replace(second, weights=second.weights / size)
    wide = replace(model, nodes=list(nodes.values()))
    packed, plain = pack(wide, DEMO, samples), pack(model, DEMO, samples)
    assert any("lifts the output by" in note for note in packed.notes)
    output = model.output
    heard = packed.quality.signal_to_noise[output]
    assert heard > plain.quality.signal_to_noise[output] - 1
    spread = measure_quality(wide, quantize(wide, samples), samples).signal_to_noise[output]
    assert heard > spread + 10
    assert not plain.notes


def test_dense_cycles_are_known_where_the_dense_network_is_too_large(model, samples):
    small = replace(DEMO, name="small", weight_depth=400)
    packed = pack(model, small, samples, combine=1)
    graph = quantize(model, samples)
    with pytest.raises(CapacityError):
        compile_graph(graph, small)
    assert packed.dense_image.cycles == compile_graph(graph, DEMO).cycles
