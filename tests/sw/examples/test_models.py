"""The model files that come with the package: operators, metadata, size and accuracy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from termac.arch import load_config
from termac.compile import compile_graph
from termac.compile.grouping import Grouping
from termac.compress import quantize
from termac.examples import MODELS, datasets
from termac.frontend import load_onnx

from tests.places import SHARED

FOLDER = MODELS
SHAPES = {"digits": (1, 8, 8), "lenet5": (1, 28, 28)}
OPERATORS = {"Conv", "Gemm", "Relu", "MaxPool", "AveragePool", "Add", "Reshape"}


def load(name):
    return onnx.load(FOLDER / f"{name}.onnx")


def predictions(name, images):
    (scores,) = ReferenceEvaluator(load(name)).run(None, {"input": images})
    return scores.argmax(1)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_is_plain_and_self_contained(name):
    model = load(name)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    (source,) = model.graph.input
    batch, *sample = source.type.tensor_type.shape.dim
    assert batch.dim_param == "batch"
    assert tuple(size.dim_value for size in sample) == SHAPES[name]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_metadata_says_how_to_scale_the_input(name):
    model = load(name)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["input_full_scale"] == {"digits": "16", "lenet5": "255"}[name]
    assert (properties["input_mean"], properties["input_std"]) == ("0", "1")
    assert "Input NCHW, pixel /" in model.doc_string


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_holds_no_trace_of_the_machine_it_was_made_on(name):
    content = (FOLDER / f"{name}.onnx").read_bytes()
    for mark in (b"site-packages", b"stack_trace", b".py", b"torch.nn", b"/home", b'File "'):
        assert mark not in content


@pytest.mark.parametrize(("name", "limit"), [("digits", 200_000), ("lenet5", 260_000)])
def test_is_small(name, limit):
    assert (FOLDER / f"{name}.onnx").stat().st_size < limit


def test_digits_exercises_every_kind_of_layer():
    assert {node.op_type for node in load("digits").graph.node} == OPERATORS


def test_digits_accuracy():
    pytest.importorskip("sklearn")
    test = datasets.digits().test
    assert (predictions("digits", test.images) == test.labels).mean() >= 0.975


def test_lenet5_accuracy():
    folder = SHARED / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip("no MNIST files beside the project")
    test = datasets.mnist(folder).test[np.arange(0, 10000, 10)]
    assert (predictions("lenet5", test.images) == test.labels).mean() >= 0.985


@pytest.mark.parametrize(
    ("name", "preset", "cycles"),
    [
        ("lenet5_square_6000", "square", 6_000),
        ("lenet5_square_4000", "square", 4_000),
        ("resnet20_square_100k", "square", 100_000),
        ("resnet20_square_80k", "square", 80_000),
        ("resnet20_ecp5_70k", "ecp5-85f", 70_000),
    ],
)
def test_trained_to_pack_fits_its_preset(name, preset, cycles):
    """Cycles follow from which weights are zero: any calibration data will do."""
    model, config = load_onnx(FOLDER / f"{name}.onnx"), load_config(preset)
    grouping = Grouping.read(model.properties, model.shapes)
    assert grouping.fits(config)
    samples = np.random.default_rng(0).normal(size=(4, *model.input_layout))
    graph = quantize(model, samples, correct_bias=False)
    image = compile_graph(graph, config, grouping=grouping)
    assert image.cycles <= cycles
    dense = sum(layer.dense_cycles for layer in image.layers)
    assert dense > 1.9 * image.cycles
    assert (FOLDER / f"{name}.onnx").stat().st_size < 300_000
