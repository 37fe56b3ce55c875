"""Whole networks on the RTL, every layer of every image compared, and what quantizing costs."""

import dataclasses

import numpy as np
import pytest
from _cifar10 import cifar10
from termac.arch import load_config
from termac.compile.grouping import Grouping
from termac.compress import quantize
from termac.compress.terms.allowance import MORE, Allowance
from termac.compress.terms.network import fit_terms
from termac.device.compare import compare
from termac.examples import MODELS, datasets
from termac.flow.pack import pack
from termac.frontend import load_onnx
from termac.graph import golden
from termac_sim import device

from tests.places import ROOT

DATA = ROOT.parent / "shared" / "data"
RESNET20 = ROOT / "build" / "resnet20.onnx"

SQUARE = dataclasses.replace(load_config("square"), name="square-deep", weight_depth=1 << 14)
"""The preset with room for the dense weights of LeNet-5 and ResNet-20."""


def predictions(graph, samples):
    x = golden.quantize_input(graph, samples)
    y = golden.run(graph, x, outputs_only=True, batch=50)[graph.output]
    return golden.dequantize_output(graph, y).argmax(axis=-1)


def check(graph, config, samples, grouping=None):
    """Run samples on the RTL; every layer bit for bit, every cycle as predicted."""
    image = pack(graph, config, grouping=grouping).image
    x = golden.quantize_input(graph, samples)
    expected = golden.run(graph, x)
    (result,) = device.run_images(device.build_core(config), [(image, x)], tensors=True)
    assert set(result.tensors) == {layer.name for layer in image.layers}
    compared = compare(image, result, expected)
    assert compared == sum(expected[layer.name].size for layer in image.layers)
    np.testing.assert_array_equal(result.outputs, expected[graph.output])
    assert result.total_cycles.tolist() == [image.cycles] * len(x)
    assert result.cycles.tolist() == [[layer.cycles for layer in image.layers]] * len(x)
    return image


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    data = datasets.digits()
    return quantize(load_onnx(MODELS / "digits.onnx"), data.train.images[:200]), data.test


@pytest.fixture(scope="module")
def lenet5():
    folder = DATA / "mnist"
    if not folder.is_dir():
        pytest.skip("no MNIST files beside the project")
    data = datasets.mnist(folder)
    model = load_onnx(MODELS / "lenet5.onnx")
    return model, quantize(model, data.train.images[:500]), data.test


@pytest.fixture(scope="module")
def resnet20():
    folder = DATA / "cifar10"
    if not RESNET20.is_file() or not folder.is_dir():
        pytest.skip("no build/resnet20.onnx (scripts/export_resnet20.py) or no CIFAR-10")
    pytest.importorskip("PIL")
    data = cifar10(folder)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    model = load_onnx(RESNET20)
    calibration = datasets.normalize(data.train[:256].images, mean, std)
    samples = datasets.normalize(data.test.images, mean, std)
    return model, quantize(model, calibration), samples, data.test.labels


def trained(name, calibration):
    """A model that was trained to pack, and its grouping."""
    model = load_onnx(MODELS / name)
    return quantize(model, calibration), Grouping.read(model.properties, model.shapes)


@pytest.fixture(scope="module")
def mnist():
    if not (DATA / "mnist").is_dir():
        pytest.skip("no MNIST files beside the project")
    return datasets.mnist(DATA / "mnist")


@pytest.fixture(scope="module")
def cifar():
    """Calibration images, test images and labels, scaled as ResNet-20 wants them."""
    if not (DATA / "cifar10").is_dir():
        pytest.skip("no CIFAR-10 files beside the project")
    pytest.importorskip("PIL")
    data = cifar10(DATA / "cifar10")
    scaling = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = (data.train[:256].images, data.test.images)
    return *(datasets.normalize(part, *scaling) for part in images), data.test.labels


def test_digits(digits):
    graph, test = digits
    check(graph, load_config("demo"), test.images[:2])


def test_digits_accuracy(digits):
    graph, test = digits
    assert (predictions(graph, test.images) == test.labels).mean() >= 0.97


def test_lenet5_accuracy(lenet5):
    """All 10,000 test images: quantizing costs at most 0.3 points."""
    model, graph, test = lenet5
    assert len(test) == 10_000
    images = test.images
    real = (model.predict(images).argmax(axis=-1) == test.labels).mean()
    whole = (predictions(graph, images) == test.labels).mean()
    assert real > 0.99
    assert whole >= real - 0.003


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_lenet5_fifty_images(lenet5):
    _, graph, test = lenet5
    check(graph, SQUARE, test[100:150].images)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("preset", ["term", "term-pair", "bit-serial"])
def test_lenet5_on_other_cells(lenet5, preset):
    """No term is dropped: the integers, and so the answers, are those of every other cell."""
    _, graph, test = lenet5
    roomy = dataclasses.replace(load_config(preset), weight_depth=1 << 16, tap_depth=1 << 13)
    check(graph, roomy, test[:3].images)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_resnet20(resnet20):
    _, graph, samples, _ = resnet20
    image = check(graph, SQUARE, samples[:1])
    assert image.cycles <= 400_000


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_resnet20_accuracy(resnet20):
    """The 1,000 test images: quantizing costs at most 1 point."""
    model, graph, samples, labels = resnet20
    assert len(labels) == 1000
    real = (model.predict(samples).argmax(axis=-1) == labels).mean()
    whole = (predictions(graph, samples) == labels).mean()
    assert real > 0.9
    assert whole >= real - 0.01


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("preset", "allowance", "cycles"),
    [("term", Allowance(8), 80_000), ("term-pair", Allowance(8, 2), 230_000)],
)
def test_resnet20_in_terms(resnet20, cifar, preset, allowance, cycles):
    """Without training: within half a point of int8 on 1,000 images; three through the RTL."""
    model, graph, samples, labels = resnet20
    config = load_config(preset)
    shared = not config.kind.data_terms
    fitted = fit_terms(
        model, graph, cifar[0], lanes=config.lanes, allowance=allowance, shared=shared,
        more=None if shared else MORE,
    ).graph  # fmt: skip
    whole = (predictions(graph, samples) == labels).mean()
    assert (predictions(fitted, samples) == labels).mean() >= whole - 0.005
    assert check(fitted, config, samples[:3]).cycles <= cycles


def test_combined_lenet5(mnist):
    """Trained to pack: fits the preset as it is."""
    graph, grouping = trained("lenet5_square_6000.onnx", mnist.train[:512].images)
    image = check(graph, load_config("square"), mnist.test[:2].images, grouping)
    assert image.cycles <= 6000


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_combined_lenet5_accuracy(mnist):
    graph, grouping = trained("lenet5_square_6000.onnx", mnist.train[:512].images)
    right = predictions(graph, mnist.test.images) == mnist.test.labels
    assert right.mean() >= 0.985
    check(graph, load_config("square"), mnist.test[:50].images, grouping)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "preset", "cycles"),
    [
        ("resnet20_square_100k.onnx", "square", 100_000),
        ("resnet20_square_80k.onnx", "square", 80_000),
        ("resnet20_ecp5_70k.onnx", "ecp5-85f", 70_000),
    ],
)
def test_combined_resnet20(cifar, name, preset, cycles):
    calibration, samples, labels = cifar
    graph, grouping = trained(name, calibration)
    image = check(graph, load_config(preset), samples[:5], grouping)
    assert image.cycles <= cycles
    assert (predictions(graph, samples) == labels).mean() >= 0.895
