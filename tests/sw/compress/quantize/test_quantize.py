"""Post-training quantization: parameters, limits, errors, and closeness to the float graph."""

import dataclasses
import json

import numpy as np
import pytest
from termac.compress import quantize
from termac.compress.quantize.calibrate import Range, affine_parameters, best_range
from termac.errors import ConfigError, ImageError, InputError, ModelError
from termac.frontend import (
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatGraph,
    FloatMaxPool,
    FloatShortcut,
)
from termac.graph import Add, Conv, golden
from termac.graph.file import load_graph, save_graph


def conv(name, source, weights, bias, padding=(1, 1, 1, 1), relu=True, ceiling=None):
    return FloatConv(
        name=name,
        input=source,
        weights=weights.astype(np.float32),
        bias=np.asarray(bias, np.float32),
        stride=(1, 1),
        padding=padding,
        relu=relu,
        ceiling=ceiling,
    )


@pytest.fixture
def graph():
    """Every kind of node: residual block, pools, option-A shortcut, fully connected layer."""
    rng = np.random.default_rng(0)
    w = {
        "a": rng.normal(size=(6, 3, 3, 3)) * np.geomspace(0.01, 1, 6)[:, None, None, None],
        "b": rng.normal(size=(6, 3, 3, 6)) / 7,
        "d": rng.normal(size=(10, 1, 1, 6)) / 2,
        "fc": rng.normal(size=(4, 2, 2, 10)) / 6,
    }
    nodes = [
        conv("a", "x", w["a"], rng.normal(size=6)),
        conv("b", "a", w["b"], rng.normal(size=6), relu=False),
        FloatAdd(name="sum", first="b", second="a", relu=True),
        FloatMaxPool(name="p", input="sum", kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0)),
        FloatShortcut(name="s", input="p", stride=(1, 1), before=2, after=2),
        conv("d", "p", w["d"], rng.normal(size=10), padding=(0, 0, 0, 0), relu=False),
        FloatAdd(name="sum2", first="d", second="s"),
        FloatAvgPool(name="g", input="sum2", kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0)),
        conv("fc", "g", w["fc"], rng.normal(size=4), padding=(0, 0, 0, 0), relu=False),
    ]
    shapes = {
        "x": (8, 8, 3), "a": (8, 8, 6), "b": (8, 8, 6), "sum": (8, 8, 6), "p": (4, 4, 6),
        "s": (4, 4, 10), "d": (4, 4, 10), "sum2": (4, 4, 10), "g": (2, 2, 10), "fc": (1, 1, 4),
    }  # fmt: skip
    return FloatGraph(
        name="all",
        shapes=shapes,
        nodes=nodes,
        input="x",
        output="fc",
        input_layout=(3, 8, 8),
        output_layout=(4,),
    )


@pytest.fixture
def data():
    return np.random.default_rng(1).normal(size=(64, 3, 8, 8)).astype(np.float32)


def relative_error(graph, quantized, samples):
    """Root mean square error of the real output, relative to its standard deviation."""
    y = golden.run(quantized, golden.quantize_input(quantized, samples), outputs_only=True)
    found = golden.dequantize_output(quantized, y[quantized.output])
    exact = graph.predict(samples)
    return np.sqrt(((found - exact) ** 2).mean()) / exact.std()


def test_close_to_float_on_unseen_data(graph, data):
    unseen = np.random.default_rng(2).normal(size=(64, 3, 8, 8)).astype(np.float32)
    errors = [relative_error(graph, quantize(graph, data, bits=b), unseen) for b in (8, 6, 4)]
    assert errors[0] < 0.05
    assert errors[0] < errors[1] < errors[2] < 0.5


def test_every_tensor_is_close(graph, data):
    quantized = quantize(graph, data)
    exact = graph.evaluate(graph.samples(data))
    stored = golden.run(quantized, golden.quantize_input(quantized, data))
    for name, tensor in quantized.tensors.items():
        real = tensor.scale * (stored[name].astype(float) - tensor.zero_point)
        low, high = (tensor.scale * (limit - tensor.zero_point) for limit in tensor.limits)
        expected = np.clip(exact[name], low, high)
        assert np.sqrt(((real - expected) ** 2).mean()) < 0.03 * exact[name].std(), name


def test_structure_and_limits(graph, data):
    quantized = quantize(graph, data)
    tensors = quantized.tensors
    assert [n.name for n in quantized.nodes] == [n.name for n in graph.nodes]
    for names in (("sum", "p", "s"),):
        shared = {(tensors[n].scale, tensors[n].zero_point, tensors[n].bits) for n in names}
        assert len(shared) == 1
    for tensor in tensors.values():
        low, high = tensor.limits
        assert low <= tensor.zero_point <= high
        assert tensor.scale > 0
    for node in quantized.nodes:
        if isinstance(node, Conv):
            assert node.weights.dtype == np.int8
            assert (np.abs(node.weights.astype(int)).max(axis=(1, 2, 3)) == 127).all()
            assert node.bias.dtype == node.multiplier.dtype == node.shift.dtype == np.int32
            assert (node.multiplier >= 1 << 30).all()
            assert ((node.shift >= 0) & (node.shift <= 31)).all()
            unit = tensors[node.input].scale * node.weight_scale / tensors[node.name].scale
            real = node.multiplier * 2.0 ** (-31 - node.shift)
            np.testing.assert_allclose(real, unit, rtol=1e-8)
    assert quantized.node("a").low == tensors["a"].zero_point == -128
    assert quantized.node("b").low == -128
    assert -128 < tensors["b"].zero_point < 127


def test_addition_is_that_of_tflite(graph, data):
    quantized = quantize(graph, data)
    node = quantized.node("sum")
    assert isinstance(node, Add)
    first, second = (quantized.tensors[n].scale for n in ("b", "a"))
    twice = 2 * max(first, second)
    assert 1 << 30 in node.multipliers  # the larger scale: exactly one half
    for scale, multiplier, shift in zip(
        (first, second), node.multipliers, node.shifts, strict=True
    ):
        assert multiplier * 2.0 ** (-31 - shift) == pytest.approx(scale / twice, rel=1e-8)
    real = node.multiplier * 2.0 ** (-31 - node.shift)
    expected = twice / (2**20 * quantized.tensors["sum"].scale)
    assert real == pytest.approx(expected, rel=1e-8)


def test_zero_is_exact_for_any_range():
    rng = np.random.default_rng(3)
    for bits in range(1, 9):
        for _ in range(50):
            low, high = -abs(rng.normal()), abs(rng.normal())
            scale, zero = affine_parameters(Range(low, high), bits)
            assert -(1 << (bits - 1)) <= zero < 1 << (bits - 1)
            span = (scale * (-(1 << (bits - 1)) - zero), scale * ((1 << (bits - 1)) - 1 - zero))
            assert span[0] <= 0 <= span[1]
            assert span[1] - span[0] == pytest.approx(high - low)
    assert affine_parameters(Range(0, 0), 8) == (1.0, -128)
    assert affine_parameters(Range(0, 2.55), 8) == (pytest.approx(0.01), -128)


def test_range_search_clips_outliers_only_where_it_pays():
    counts = np.zeros(1000)
    counts[:100] = 1000
    counts[999] = 1
    span = Range(0.0, 10.0)
    assert best_range(counts, span, 3).high < 2
    assert best_range(counts, span, 8).high > best_range(counts, span, 3).high
    assert best_range(np.ones(1000), span, 8) == span


def test_channels_without_weights_keep_their_bias(graph, data):
    first = graph.nodes[0]
    first.weights[1] = 0
    first.weights[2] = 1e-30
    first.bias[:] = [0, 0.7, 1.3, 0, 0, 0]
    first.weights[3] = 0
    quantized = quantize(graph, data)
    y = golden.run(quantized, golden.quantize_input(quantized, data))["a"]
    tensor = quantized.tensors["a"]
    real = tensor.scale * (y.astype(float) - tensor.zero_point)
    np.testing.assert_allclose(real[..., 1], 0.7, atol=tensor.scale)
    np.testing.assert_allclose(real[..., 2], 1.3, atol=tensor.scale)
    assert (real[..., 3] == 0).all()


def test_constant_tensor(graph, data):
    graph.nodes[0].weights[:] = 0
    graph.nodes[0].bias[:] = -1
    quantized = quantize(graph, data)  # a is 0 everywhere behind its ReLU
    assert relative_error(graph, quantized, data) < 1e6
    assert (golden.run(quantized, golden.quantize_input(quantized, data))["a"] == -128).all()


def test_output_scale_is_widened_when_a_multiplier_would_reach_one(data):
    # one-bit inputs to an output that hardly varies
    graph = FloatGraph(
        name="w",
        shapes={"x": (8, 8, 3), "y": (8, 8, 2)},
        nodes=[conv("y", "x", np.ones((2, 1, 1, 3)), [0, 0], (0, 0, 0, 0), ceiling=0.01)],
        input="x",
        output="y",
        input_layout=(3, 8, 8),
        output_layout=(2, 8, 8),
    )
    quantized = quantize(graph, data, bits=1)
    assert quantized.tensors["x"].bits == 1
    assert quantized.tensors["y"].bits == 8
    node = quantized.nodes[0]
    assert (node.multiplier > 0).all()
    real = node.multiplier * 2.0 ** (-31 - node.shift)
    assert real.max() == pytest.approx(1, abs=1e-9)


def test_ceiling_limits_stored_values(graph, data):
    graph.nodes[0] = dataclasses.replace(graph.nodes[0], ceiling=0.5)
    quantized = quantize(graph, data)
    node, tensor = quantized.nodes[0], quantized.tensors["a"]
    assert tensor.scale * (node.high - tensor.zero_point) == pytest.approx(0.5, abs=tensor.scale)


def test_standalone_relu_is_exact(data):
    relu = FloatAvgPool(
        name="y", input="x", kernel=(1, 1), stride=(1, 1), padding=(0, 0, 0, 0), relu=True
    )
    graph = FloatGraph(
        name="r", shapes={"x": (8, 8, 3), "y": (8, 8, 3)}, nodes=[relu], input="x", output="y",
        input_layout=(3, 8, 8), output_layout=(3, 8, 8),
    )  # fmt: skip
    quantized = quantize(graph, data)
    assert relative_error(graph, quantized, data) < 0.02


def test_bits_by_tensor(graph, data):
    quantized = quantize(graph, data, bits={"a": 3, "p": 5})
    bits = {name: tensor.bits for name, tensor in quantized.tensors.items()}
    assert bits == {
        "x": 8, "a": 3, "b": 8, "sum": 5, "p": 5, "s": 5, "d": 8, "sum2": 8, "g": 8, "fc": 8,
    }  # fmt: skip
    values = golden.run(quantized, golden.quantize_input(quantized, data))
    for name, tensor in quantized.tensors.items():
        low, high = tensor.limits
        assert values[name].min() >= low
        assert values[name].max() <= high
        assert quantized.tensors[name].zero_point >= low
    assert {t.bits for t in quantize(graph, data, bits=2).tensors.values()} == {2, 8}


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (0, "must be an integer 1..8, not 0"),
        (9, "must be an integer 1..8, not 9"),
        ({"a": True}, "'a' must be an integer"),
        ({"nothing": 4}, "no tensor 'nothing'; tensors: x, a"),
        ({"sum": 4, "s": 5}, "'sum' and 's' share one scale.*not 4 and 5"),
    ],
)
def test_wrong_bits(graph, data, bits, message):
    with pytest.raises(ConfigError, match=message):
        quantize(graph, data, bits=bits)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.zeros((4, 8, 8, 3)), "calibration data has shape 4x8x8x3, the model takes Nx3x8x8"),
        (np.zeros((0, 3, 8, 8)), "holds no samples"),
        (np.full((1, 3, 8, 8), np.nan), "NaN or infinity"),
        (np.full((1, 3, 8, 8), 3e38), "becomes infinite on the calibration data"),
    ],
)
def test_wrong_calibration(graph, calibration, message):
    with pytest.raises(InputError, match=message), np.errstate(all="ignore"):
        quantize(graph, calibration)


def test_accumulator_overflow_is_refused():
    channels = 1 << 18
    graph = FloatGraph(
        name="huge",
        shapes={"x": (1, 1, channels), "y": (1, 1, 1)},
        nodes=[conv("y", "x", np.ones((1, 1, 1, channels)), [0], (0, 0, 0, 0), relu=False)],
        input="x",
        output="y",
        input_layout=(channels,),
        output_layout=(1,),
    )
    with pytest.raises(ModelError, match="'y': 262144 products exceed a 32-bit accumulator"):
        quantize(graph, np.random.default_rng(0).normal(size=(4, channels)))


def test_bias_correction_removes_the_mean_error(graph, data):
    def mean_error(corrected):
        quantized = quantize(graph, data, bits=4, correct_bias=corrected)
        y = golden.run(quantized, golden.quantize_input(quantized, data))["fc"]
        error = golden.dequantize_output(quantized, y) - graph.predict(data)
        return np.abs(error.mean(axis=0)).max()

    assert mean_error(True) < 0.5 * mean_error(False)


def test_same_input_same_graph(graph, data):
    first, second = (save_graph(quantize(graph, data)) for _ in range(2))
    assert json.dumps(first[0]) == json.dumps(second[0])
    assert list(first[1]) == list(second[1])
    for key, array in first[1].items():
        np.testing.assert_array_equal(array, second[1][key])


def test_graph_survives_saving(graph, data):
    quantized = quantize(graph, data, bits=5)
    quantized.notes.append("a note")
    document, arrays = save_graph(quantized)
    again = load_graph(json.loads(json.dumps(document)), arrays)
    assert again.tensors == quantized.tensors
    for name in ("name", "input", "output", "input_layout", "output_layout", "host_op", "notes"):
        assert getattr(again, name) == getattr(quantized, name)
    for one, other in zip(quantized.nodes, again.nodes, strict=True):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert save_graph(again)[0] == document
    x = golden.quantize_input(quantized, data)
    np.testing.assert_array_equal(golden.run(again, x)["fc"], golden.run(quantized, x)["fc"])


def test_damaged_documents_are_refused(graph, data):
    document, arrays = save_graph(quantize(graph, data))

    def broken(change):
        copy = json.loads(json.dumps(document))
        change(copy)
        return copy

    cases = {
        "format 9": lambda d: d.update(format=9),
        "'nodes' is missing": lambda d: d.pop("nodes"),
        "'stride' is missing": lambda d: d["nodes"][0].pop("stride"),
        "kind 'Exec' is unknown": lambda d: d["nodes"][0].update(kind="Exec"),
        "reads unknown tensor 'q'": lambda d: d["nodes"][1].update(input="q"),
        "output 'q' is written by no node": lambda d: d.update(output="q"),
        "impossible values": lambda d: d["tensors"][0].update(bits=9),
        "integers expected": lambda d: d["nodes"][0].update(low=1.5),
        "written twice": lambda d: d["nodes"].append(d["nodes"][-1]),
        "'fc' is not described": lambda d: d["tensors"].pop(),
    }
    for message, change in cases.items():
        with pytest.raises(ImageError, match=message):
            load_graph(broken(change), arrays)
    with pytest.raises(ImageError, match=r"0000\.bias"):
        load_graph(document, {k: v for k, v in arrays.items() if k != "0000.bias"})
    with pytest.raises(ImageError, match="differing channels"):
        load_graph(document, arrays | {"0000.bias": np.zeros(5, np.int32)})
    with pytest.raises(ImageError, match="is of type"):
        load_graph(document, arrays | {"0000.bias": np.zeros(6)})
