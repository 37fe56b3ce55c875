"""The golden model against independent integer arithmetic."""

import dataclasses
import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy.signal import correlate
from termac.errors import InputError, ModelError
from termac.graph import Add, AvgPool, Conv, Graph, MaxPool, Shortcut, Tensor, Terms, golden

from tests.sw.graph.pass_through import pass_through


def scalar_requantize(value, multiplier, shift):
    """Python integers only; the rounding rules spelled out."""
    high = (value * multiplier + (1 << 30)) // (1 << 31)
    magnitude = (abs(high) + ((1 << shift) >> 1)) // (1 << shift)
    return magnitude if high >= 0 else -magnitude


def one_node(node, inputs, output):
    """Graph of one node; ``inputs``: tensors, the first is the graph's input."""
    tensors = {tensor.name: tensor for tensor in (*inputs, output)}
    return Graph(
        name="one",
        tensors=tensors,
        nodes=[node],
        input=inputs[0].name,
        output=output.name,
        input_layout=(inputs[0].shape[2], *inputs[0].shape[:2]),
        output_layout=(output.shape[2], *output.shape[:2]),
    )


def random_conv(rng, size, channels, kernel, stride, padding, bits=8, zero=3, out_zero=-5):
    height, width = size
    out_channels = 4
    top, left, bottom, right = padding
    shape = (
        (height + top + bottom - kernel[0]) // stride[0] + 1,
        (width + left + right - kernel[1]) // stride[1] + 1,
        out_channels,
    )
    node = Conv(
        name="y",
        input="x",
        weights=rng.integers(-127, 128, (out_channels, *kernel, channels)).astype(np.int8),
        bias=rng.integers(-4000, 4000, out_channels).astype(np.int32),
        multiplier=rng.integers(1 << 30, 1 << 31, out_channels).astype(np.int32),
        shift=rng.integers(5, 9, out_channels).astype(np.int32),
        stride=stride,
        padding=padding,
        low=-100,
        high=90,
    )
    x = Tensor("x", (height, width, channels), 0.1, zero, bits)
    return one_node(node, [x], Tensor("y", shape, 0.2, out_zero))


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "stride", "padding", "bits"),
    [
        ((5, 6), 3, (3, 3), (1, 1), (1, 1, 1, 1), 8),
        ((7, 4), 2, (2, 3), (2, 1), (0, 1, 1, 0), 8),
        ((6, 6), 5, (1, 1), (2, 2), (0, 0, 0, 0), 4),
        ((4, 5), 2, (4, 5), (1, 1), (0, 0, 0, 0), 8),
        ((1, 1), 9, (1, 1), (1, 1), (0, 0, 0, 0), 1),
        ((3, 3), 1, (5, 5), (1, 2), (2, 3, 2, 1), 3),
    ],
)
def test_conv_matches_scalar_loops(size, channels, kernel, stride, padding, bits):
    rng = np.random.default_rng(1)
    zero = -1 if bits == 1 else 3
    graph = random_conv(rng, size, channels, kernel, stride, padding, bits, zero)
    node = graph.nodes[0]
    low, high = graph.tensors["x"].limits
    x = rng.integers(low, high + 1, (2, *size, channels)).astype(np.int8)
    y = golden.run(graph, x)["y"]
    assert y.dtype == np.int8
    for n, oy, ox, o in itertools.product(*map(range, y.shape)):
        total = int(node.bias[o])
        for ky, kx, i in itertools.product(*map(range, node.weights.shape[1:])):
            iy, ix = oy * stride[0] + ky - padding[0], ox * stride[1] + kx - padding[1]
            if 0 <= iy < size[0] and 0 <= ix < size[1]:
                total += int(node.weights[o, ky, kx, i]) * (int(x[n, iy, ix, i]) - zero)
        value = scalar_requantize(total, int(node.multiplier[o]), int(node.shift[o])) - 5
        assert y[n, oy, ox, o] == min(max(value, -100), 90)


@pytest.mark.parametrize("channels", [4, 600])  # sums below and beyond 2**24: float32 and float64
def test_accumulators_match_integer_correlation(channels):
    rng = np.random.default_rng(2)
    graph = random_conv(rng, (6, 6), channels, (3, 3), (1, 1), (0, 0, 0, 0))
    node = graph.nodes[0]
    x = rng.choice(np.array([-128, 127], np.int8), (1, 6, 6, channels))
    node.weights[:] = rng.choice(np.array([-127, 127], np.int8), node.weights.shape)
    node.weights[0] = 127 * np.sign(x[0, :3, :3].astype(np.int16) - 3)  # the largest sum there is
    found = node.accumulate(x, graph.tensors["x"])
    for o in range(4):
        centred = x[0].astype(np.int64) - 3
        expected = correlate(centred, node.weights[o].astype(np.int64), "valid", "direct")
        np.testing.assert_array_equal(found[0, :, :, o], expected[:, :, 0] + node.bias[o])
    if channels == 600:
        assert found.max() > 1 << 24


def largest_terms(value, budget, encoding):
    """The largest terms of a number, taken off one after the other."""
    magnitude, terms = abs(value), []
    if encoding == "hese":  # every run of ones on its own: 0111 -> 1000 - 0001
        for run in re.finditer("1+", f"{magnitude:b}"):
            top, bottom = magnitude.bit_length() - run.start(), magnitude.bit_length() - run.end()
            terms += [1 << bottom] if top - bottom == 1 else [1 << top, -(1 << bottom)]
    else:
        place = 0
        while magnitude:
            digit = 0 if magnitude % 2 == 0 else 2 - magnitude % 4
            terms.append(digit << place)
            magnitude, place = (magnitude - digit) // 2, place + 1
    kept = sum(sorted(terms, key=abs, reverse=True)[:budget])
    return kept if value >= 0 else -kept


@pytest.mark.parametrize("encoding", ["naf", "hese"])
@pytest.mark.parametrize(
    ("data", "zero", "bits"), [(1, -128, 8), (2, 3, 8), (3, 127, 8), (4, -5, 8), (1, 7, 4)]
)
def test_conv_takes_the_largest_terms_of_activations(encoding, data, zero, bits):
    rng = np.random.default_rng(5)
    graph = random_conv(rng, (4, 5), 3, (3, 2), (2, 1), (1, 0, 1, 1), bits, zero)
    plain = graph.nodes[0]
    node = dataclasses.replace(plain, terms=Terms(weights=16, data=data, encoding=encoding))
    low, high = graph.tensors["x"].limits
    x = rng.integers(low, high + 1, (2, 4, 5, 3)).astype(np.int8)
    found = node.accumulate(x, graph.tensors["x"])
    changed = False
    for n, oy, ox, o in itertools.product(*map(range, found.shape)):
        total = int(node.bias[o])
        for ky, kx, i in itertools.product(range(3), range(2), range(3)):
            iy, ix = 2 * oy + ky - 1, ox + kx
            if 0 <= iy < 4 and 0 <= ix < 5:
                centred = int(x[n, iy, ix, i]) - zero
                kept = largest_terms(centred, data, encoding)
                changed |= kept != centred
                total += int(node.weights[o, ky, kx, i]) * kept
        assert found[n, oy, ox, o] == total
    assert changed == (data < 4)
    whole = dataclasses.replace(plain, terms=Terms(weights=16))
    np.testing.assert_array_equal(
        whole.accumulate(x, graph.tensors["x"]), plain.accumulate(x, graph.tensors["x"])
    )


def test_sums_of_limited_activations_stay_exact():
    """255 counts as 256 if it keeps one term: the bound that decides the dtype must know."""
    graph = random_conv(np.random.default_rng(6), (1, 1), 517, (1, 1), (1, 1), (0,) * 4, zero=-128)
    node = dataclasses.replace(graph.nodes[0], terms=Terms(weights=16, data=1))
    node.weights[:] = 127
    node.bias[:] = 0
    node.weights[0, 0, 0, 0] = 126
    found = node.accumulate(np.full((1, 1, 1, 517), 127, np.int8), graph.tensors["x"])
    assert found[0, 0, 0].tolist() == [256 * (127 * 517 - 1), *[256 * 127 * 517] * 3]


def test_accumulator_overflow_is_an_error():
    graph = random_conv(np.random.default_rng(3), (1, 1), 1, (1, 1), (1, 1), (0, 0, 0, 0))
    graph.nodes[0].bias[:] = (1 << 31) - 1
    graph.nodes[0].weights[:] = 1
    with pytest.raises(ModelError, match=r"'y'.*exceeds 32 bits"):
        golden.run(graph, np.full((1, 1, 1, 1), 127, np.int8))


def test_add_matches_scalar_arithmetic():
    rng = np.random.default_rng(4)
    shape = (3, 4, 2)
    first, out = Tensor("x", shape, 0.11, -7), Tensor("y", shape, 0.17, 9)
    node = Add(
        name="y",
        first="x",
        second="x",
        multipliers=(1 << 30, 1717986918),
        shifts=(0, 1),
        multiplier=1389882777,
        shift=19,
        low=9,
        high=127,
    )
    x = rng.integers(-128, 128, (2, *shape)).astype(np.int8)
    y = golden.run(one_node(node, [first], out), x)["y"]
    for index in np.ndindex(x.shape):
        centred = (int(x[index]) + 7) << 20
        total = scalar_requantize(centred, 1 << 30, 0) + scalar_requantize(centred, 1717986918, 1)
        assert y[index] == min(max(scalar_requantize(total, 1389882777, 19) + 9, 9), 127)


def test_max_pool_ignores_positions_outside():
    x = np.full((1, 4, 4, 1), -120, np.int8)
    x[0, 1, 1] = -100
    tensor = Tensor("x", (4, 4, 1), 0.1, 5)
    node = MaxPool(name="y", input="x", kernel=(3, 3), stride=(2, 2), padding=(1, 1, 0, 0))
    y = golden.run(one_node(node, [tensor], Tensor("y", (2, 2, 1), 0.1, 5)), x)["y"]
    np.testing.assert_array_equal(y[0, :, :, 0], [[-100, -100], [-100, -100]])
    x[0, 1, 1] = -128
    y = golden.run(one_node(node, [tensor], Tensor("y", (2, 2, 1), 0.1, 5)), x)["y"]
    assert (y == -120).all()


def test_avg_pool_counts_real_zeros_outside():
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (2, 4, 4, 3)).astype(np.int8)
    node = AvgPool(
        name="y",
        input="x",
        kernel=(2, 2),
        stride=(2, 2),
        padding=(1, 1, 1, 1),
        multiplier=1500000000,
        shift=2,
        low=-50,
        high=127,
    )
    graph = one_node(node, [Tensor("x", (4, 4, 3), 0.1, 20)], Tensor("y", (3, 3, 3), 0.1, -4))
    y = golden.run(graph, x)["y"]
    for n, oy, ox, c in itertools.product(*map(range, y.shape)):
        total = 0
        for iy, ix in itertools.product((2 * oy - 1, 2 * oy), (2 * ox - 1, 2 * ox)):
            if 0 <= iy < 4 and 0 <= ix < 4:
                total += int(x[n, iy, ix, c]) - 20
        value = scalar_requantize(total, 1500000000, 2) - 4
        assert y[n, oy, ox, c] == min(max(value, -50), 127)


def test_shortcut_pads_with_the_zero_point():
    x = np.arange(-25, 25, dtype=np.int8).reshape(1, 5, 5, 2)
    node = Shortcut(name="y", input="x", stride=(2, 3), before=1, after=2)
    graph = one_node(node, [Tensor("x", (5, 5, 2), 1.0, 7)], Tensor("y", (3, 2, 5), 1.0, 7))
    y = golden.run(graph, x)["y"]
    np.testing.assert_array_equal(y[..., 1:3], x[:, ::2, ::3])
    assert (y[..., [0, 3, 4]] == 7).all()


def test_batches_and_outputs_only_change_nothing():
    rng = np.random.default_rng(6)
    graph = random_conv(rng, (5, 5), 3, (3, 3), (1, 1), (1, 1, 1, 1))
    x = rng.integers(-128, 128, (7, 5, 5, 3)).astype(np.int8)
    everything = golden.run(graph, x, batch=3)
    assert list(everything) == ["x", "y"]
    np.testing.assert_array_equal(everything["x"], x)
    only = golden.run(graph, x, outputs_only=True, batch=7)
    assert list(only) == ["y"]
    np.testing.assert_array_equal(only["y"], everything["y"])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 4, 2), np.int8), "shape 3x4x2, the graph takes Nx3x4x2"),
        (np.zeros((0, 3, 4, 2), np.int8), "N >= 1"),
        (np.zeros((1, 3, 4, 2)), "see quantize_input"),
        (np.full((1, 3, 4, 2), 128), "holds -128..127"),
    ],
)
def test_run_errors(x, message):
    with pytest.raises(InputError, match=message):
        golden.run(pass_through(), x)


@pytest.mark.parametrize("host_op", ["", "softmax", "log_softmax"])
def test_host_operation(host_op):
    graph = pass_through(shape=(1, 1, 3), layout=(3,))
    graph.host_op = host_op
    y = np.array([[[[1, 3, 127]]], [[[-128, 2, 1]]]], np.int8)
    real = 0.5 * (y.reshape(2, 3).astype(float) - 1)
    exponentials = np.exp(real)
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    expected = {"": real, "softmax": softmax, "log_softmax": np.log(softmax)}[host_op]
    np.testing.assert_allclose(golden.dequantize_output(graph, y), expected, rtol=1e-12)


def test_imports_nothing_of_compiler_or_hardware():
    code = (
        "import sys, termac.graph.golden; "
        "print([m for m in sys.modules if m.startswith(('termac.compile', 'termac.arch', "
        "'termac_hw', 'termac_sim', 'amaranth', 'onnx'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
