"""Samples become stored values: real values of any type, or stored ones if the caller says so."""

import warnings

import numpy as np
import pytest
from termac.errors import InputError, InputWarning
from termac.graph import golden
from termac.graph.inputs import clip_input, quantize_input

from tests.sw.graph.pass_through import pass_through


def test_real_values_are_divided_by_the_scale_and_moved_by_the_zero_point():
    graph = pass_through()
    samples = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    stored = quantize_input(graph, samples)
    assert stored.shape == (1, 3, 4, 2)
    np.testing.assert_array_equal(stored[0, 1, 2], [6 * 2 + 1, 18 * 2 + 1])
    np.testing.assert_array_equal(quantize_input(graph, samples[0]), stored)
    np.testing.assert_array_equal(golden.dequantize_output(graph, stored), samples)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint64, np.float16, np.float64])
def test_real_values_mean_the_same_in_every_type(kind):
    graph = pass_through(scale=0.75, zero_point=-100)
    samples = np.random.default_rng(0).integers(0, 120, (5, 2, 3, 4))
    expected = np.rint(samples / 0.75) - 100
    stored = quantize_input(graph, samples.astype(kind))
    np.testing.assert_array_equal(stored, expected.transpose(0, 2, 3, 1))
    assert stored.dtype == np.int8


def test_stored_values_are_only_laid_out():
    samples = np.arange(-12, 12).reshape(1, 2, 3, 4)
    stored = quantize_input(pass_through(), samples, quantized=True)
    np.testing.assert_array_equal(stored, samples.transpose(0, 2, 3, 1))
    flat = quantize_input(pass_through(shape=(1, 1, 24)), samples, quantized=True)
    np.testing.assert_array_equal(flat.reshape(-1), np.arange(-12, 12))
    last = pass_through(layout=(3, 4, 2), channels_first=False)
    samples = samples.reshape(1, 3, 4, 2)
    np.testing.assert_array_equal(quantize_input(last, samples, quantized=True), samples)


@pytest.mark.parametrize(
    ("samples", "quantized", "message"),
    [
        (np.zeros((1, 3, 4, 9)), False, "shape 1x3x4x9, the model takes Nx2x3x4$"),
        (np.zeros((0, 2, 3, 4)), False, "holds no samples"),
        (np.full((1, 2, 3, 4), np.nan), False, "NaN or infinity, first in sample 0"),
        (np.zeros((1, 2, 3, 4), complex), False, "must be floating point or integer"),
        (np.full((1, 2, 3, 4), 8), True, r"span 8\.\.8.*of 4 bits holds -8\.\.7"),
        (np.zeros((1, 2, 3, 4)), True, "of type float64, but stored values are integers"),
    ],
)
def test_what_is_no_input_is_refused(samples, quantized, message):
    with pytest.raises(InputError, match=message):
        quantize_input(pass_through(bits=4), samples, quantized=quantized)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        (
            (5, 3, 4, 2),
            (2, 3, 4),
            r"channels last \(NHWC\); give numpy.transpose\(x, \(0, 3, 1, 2\)",
        ),
        ((3, 4, 2), (2, 3, 4), r"shape 3x4x2,.*numpy.transpose\(x, \(2, 0, 1\)"),
        (
            (5, 2, 3, 4),
            (3, 4, 2),
            r"channels first \(NCHW\); give numpy.transpose\(x, \(0, 2, 3, 1",
        ),
        (
            (5, 8, 8),
            (1, 8, 8),
            r"shape 5x8x8,.*one channel is missing; give x.reshape\(-1, 1, 8, 8\)",
        ),
        ((5, 8, 8, 1), (1, 8, 8), "channels last"),
    ],
)
def test_samples_in_another_axis_order_are_named_for_what_they_are(shape, layout, message):
    channels_first = layout != (3, 4, 2)
    graph = pass_through(layout=layout, shape=(1, 1, 24), channels_first=channels_first)
    with pytest.raises(InputError, match=message):
        quantize_input(graph, np.zeros(shape))


def test_more_than_one_percent_of_clipped_values_is_a_warning():
    graph = pass_through(layout=(100,), shape=(1, 1, 100))  # holds -64.5..63
    samples = np.zeros((2, 100))
    samples[0, :2] = 63.2, 99.0  # the first still rounds to the largest value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize_input(graph, samples)
    samples[1, 5:7] = -65.0, 1000.0
    text = "1.5% of the input values are clipped: they span -65..1000, input 'x' holds -64.5..63"
    with pytest.warns(InputWarning, match=text):
        stored = quantize_input(graph, samples)
    np.testing.assert_array_equal(stored[1, 0, 0, 5:7], [-128, 127])
    values, finding = clip_input(graph, samples)
    np.testing.assert_array_equal(values, stored)
    assert finding is not None
    assert finding.startswith(text)
    assert clip_input(graph, stored.reshape(2, 100), quantized=True)[1] is None
