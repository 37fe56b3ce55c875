"""Training for term budgets: what is trained is what the integer model then holds."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import onnx
import pytest
from termac.compress import quantize
from termac.errors import ConfigError, ModelError
from termac.examples.datasets import digits
from termac.frontend import load_onnx
from termac.graph import Conv, Terms
from termac.terms import count, limit
from termac.terms.budget import PROPERTY, TermBudget, read_budgets, write_budgets
from termac.terms.slots import fill, rounds

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import termac.train.term_quantizer  # noqa: E402
from termac.train import TermQuantizer  # noqa: E402
from termac.train.term_slots import choose_exponents, fit_scale, slot_integers  # noqa: E402
from termac.train.term_weights import (  # noqa: E402
    fill_groups,
    in_groups,
    largest_terms,
    limit_groups,
    ungrouped,
)
from torch import nn  # noqa: E402

SHAPE = (1, 8, 8)
STEPS = 24
BUDGETS = {
    "terms": {"terms": Terms(weights=5, data=2)},
    "slots": {"terms": Terms(weights=6), "slots": True, "refit": 5},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    split = digits().train
    return torch.from_numpy(split.images[:256]).float(), torch.from_numpy(split.labels[:256])


def network():
    """Groups that are short, normalization, a linear layer that reads an image."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def exported_once():
    """An export takes a second, and windows are always the same."""
    known = {}

    def once(model, shape, terms):
        key = str(model), shape, tuple(terms.items())
        if key not in known:
            known[key] = windows(model, shape, terms)
        return known[key]

    windows = termac.train.term_quantizer._windows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(termac.train.term_quantizer, "_windows", once)
        yield


def train(model, quantizer, data, steps, optimizer=None):
    """Some steps; returns the optimizer."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    images, labels = data
    model.train()
    for _ in range(steps):
        start = 32 * quantizer.steps_done % len(images)
        scores = model(images[start : start + 32])
        loss = nn.functional.cross_entropy(scores, labels[start : start + 32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        quantizer.step()
    return optimizer


def held(groups, exponents):
    """What one pass of slots holds, from what the slots are."""
    coefficients, lanes = fill(groups, exponents)
    result = np.zeros(groups.shape, np.int64)
    for slot, exponent in enumerate(exponents):
        place = np.arange(len(groups)), lanes[:, slot]
        result[place] += coefficients[:, slot].astype(np.int64) << exponent
    return result


def rounded(weight):
    """int8 [filters, height, width, channels] of conv weights, and the scales."""
    exact = weight.detach().permute(0, 2, 3, 1)
    scale = exact.abs().amax((1, 2, 3), keepdim=True) / 127
    return torch.round(exact / scale).numpy().astype(np.int64), scale.numpy()


# --- Terms in PyTorch ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_largest_terms_of_all_values(kind, terms):
    values = torch.arange(-255, 256)
    found = largest_terms(values.to(kind), terms)
    assert found.dtype == kind
    wanted = limit(values.numpy()[:, None], group=1, budget=terms)[:, 0]
    np.testing.assert_array_equal(found.float().numpy(), wanted)


@pytest.mark.parametrize(("group", "budget"), [(8, 8), (8, 1), (4, 5), (1, 2), (16, 12)])
def test_limited_groups_are_those_of_numpy(group, budget):
    rng = np.random.default_rng(group)
    values = rng.integers(-255, 256, (400, group))
    values[:200] //= 16  # many terms of one size
    found = limit_groups(torch.from_numpy(values).float(), budget)
    np.testing.assert_array_equal(found.numpy(), limit(values, group=group, budget=budget))


@pytest.mark.parametrize(
    "exponents", [(0,), (3, 2, 2, 1, 1, 0), (5, 4, 3, 2, 1, 0), (4, 4, 4, 3, 2, 1, 0, 0, 0)]
)
@pytest.mark.parametrize("spread", [0.3, 0.7, 2.0])
def test_filled_slots_are_those_of_numpy_and_stay(exponents, spread):
    rng = np.random.default_rng(7)
    size = spread * 2 ** exponents[0]
    values = np.rint(rng.normal(0, size, (3000, 8))).clip(-192, 192).astype(np.int64)
    values[:1000] = rng.integers(-2, 3, (1000, 8)) << exponents[0] >> 1  # many ties
    found = fill_groups(torch.from_numpy(values).float(), exponents)
    np.testing.assert_array_equal(found.numpy(), held(values, exponents))
    assert torch.equal(fill_groups(found, exponents), found)


@pytest.mark.parametrize("channels", [3, 8, 20])
def test_groups_are_neighbouring_channels_of_one_tap(channels):
    weight = torch.arange(2.0 * channels * 6).reshape(2, channels, 3, 2)
    groups = in_groups(weight, 8)
    per_tap = -(-channels // 8)
    assert groups.shape == (2 * 6 * per_tap, 8)
    tap = groups[per_tap * 7 : per_tap * 8].flatten()  # filter 1, row 0, column 1
    assert torch.equal(tap[:channels], weight[1, :, 0, 1])
    assert not tap[channels:].any()
    assert torch.equal(ungrouped(groups, weight.shape), weight)


def test_exponents_and_scales_lose_little():
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(20, 16, 3, 3, generator=generator) * torch.rand(20, 1, 1, 1)

    def loss(exponents):
        scale = fit_scale(weight, exponents, 8)
        left = slot_integers(weight, scale, exponents, 8) * scale - weight
        return float((left.square().sum((1, 2, 3)) / weight.square().sum((1, 2, 3))).mean())

    exponents = choose_exponents(weight, 6, 8)
    assert len(exponents) == 6
    assert exponents[-1] == 0
    assert all(0 <= a - b <= 1 for a, b in pairwise(exponents))
    assert loss(exponents) < 0.6 * loss((5, 4, 3, 2, 1, 0))
    assert loss(exponents) < 0.1
    assert loss(choose_exponents(weight, 8, 8)) < 0.6 * loss(exponents)
    empty = torch.zeros(2, 8, 1, 1)
    assert torch.isfinite(fit_scale(empty, (1, 0), 8)).all()
    assert choose_exponents(weight, 1, 8) == (0,)


# --- Forward and backward ------------------------------------------------------------------------


def test_weights_are_limited_as_numpy_does_and_all_get_gradients():
    model = network()
    exact = model[3].weight.detach().clone()
    quantizer = TermQuantizer(model, SHAPE, Terms(weights=5, data=2))
    integers, scale = rounded(exact)
    kept = limit(integers, group=8, budget=5)
    assert (kept != integers).mean() > 0.2
    np.testing.assert_allclose(
        model[3].weight.detach().permute(0, 2, 3, 1).numpy(), kept * scale, rtol=1e-5, atol=1e-7
    )
    first, scale = rounded(model[0].parametrizations.weight.original)  # keeps all terms
    np.testing.assert_allclose(
        model[0].weight.detach().permute(0, 2, 3, 1).numpy(), first * scale, rtol=1e-5, atol=1e-7
    )
    model[3].weight.sum().backward()
    original = model[3].parametrizations.weight.original
    assert torch.equal(original.grad, torch.ones_like(exact))
    quantizer.remove()
    assert torch.equal(model[3].weight, exact)


def test_slots_are_filled_as_numpy_does():
    model = network()
    exact = model[3].weight.detach().clone()
    exponents = (3, 2, 2, 1, 0)
    TermQuantizer(model, SHAPE, Terms(weights=5, exponents=exponents))
    scale = model[3].parametrizations.weight[0].scale
    integers = torch.round(exact / scale).permute(0, 2, 3, 1).numpy().astype(np.int64)
    groups = np.pad(integers, ((0, 0),) * 3 + ((0, 4),)).reshape(-1, 8)
    wanted = held(groups, exponents).reshape(16, 3, 3, 16)[..., :12]
    found = (model[3].weight.detach() / scale).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(wanted - integers).mean() > 0.2


def test_groups_of_a_linear_layer_are_channels_of_one_pixel():
    model = network()
    exact = model[7].weight.detach().reshape(10, 16, 4, 4)
    TermQuantizer(model, SHAPE, Terms(weights=3))
    integers, scale = rounded(exact)
    found = model[7].weight.detach().reshape(10, 16, 4, 4).permute(0, 2, 3, 1).numpy()
    wanted = limit(integers, group=8, budget=3) * scale
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_activations_keep_their_largest_terms():
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.ones_(model[0].weight)
    TermQuantizer(model, (1,), Terms(weights=9), layers={"0": Terms(weights=16, data=1)})
    x = torch.linspace(-1, 1.55, 256, requires_grad=True)
    y = model.eval()(x[:, None])[:, 0]
    stored = np.arange(-100, 156)
    wanted = 0.01 * limit(stored[:, None], group=1, budget=1)[:, 0]
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-4, atol=1e-6)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


# --- Training and what comes of it ---------------------------------------------------------------


@pytest.fixture(scope="module", params=BUDGETS)
def trained(request, data, tmp_path_factory):
    model = network()
    quantizer = TermQuantizer(model, SHAPE, **BUDGETS[request.param])
    train(model, quantizer, data, STEPS)
    with torch.no_grad():
        rounded = {n: model.eval()[n].weight.clone() for n in (0, 3, 7)}
    quantizer.finish()
    path = tmp_path_factory.mktemp(request.param) / "below" / "model.onnx"
    quantizer.save(path, about="A test.", properties={"key": "value"})
    return model, quantizer, rounded, path


def test_finished_model_is_an_ordinary_one_with_the_rounded_weights(trained, data):
    model, quantizer, rounded, path = trained
    assert not any("parametrizations" in name for name in model.state_dict())
    assert isinstance(model[3].weight, nn.Parameter)
    for n, weight in rounded.items():
        change = (model[n].weight.detach() - weight).abs()
        assert (change > 1e-5).float().mean() < 0.02  # terms of 1 that int8 has no room for
        assert change.max() < 1.01 / 127 * weight.abs().max()
    state, budgets = copy.deepcopy(model.state_dict()), dict(quantizer.budgets)
    quantizer.finish()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert quantizer.budgets == budgets
    with torch.no_grad():
        wanted = model.eval()(data[0][:16])
    graph = load_onnx(path)
    assert graph.properties["key"] == "value"
    np.testing.assert_allclose(graph.predict(data[0][:16].numpy()), wanted, atol=1e-4)
    quantizer.save(path.parent / "again.onnx", about="A test.", properties={"key": "value"})
    assert (path.parent / "again.onnx").read_bytes() == path.read_bytes()


def test_quantized_model_keeps_to_its_budgets(trained, data):
    _, quantizer, _, path = trained
    graph = load_onnx(path)
    filters = {node.name: len(node.weights) for node in graph.nodes if hasattr(node, "weights")}
    budgets = read_budgets(graph.properties, filters)
    assert budgets == quantizer.budgets
    integers = quantize(graph, data[0][:64].numpy(), budgets=budgets)
    plain = quantize(graph, data[0][:64].numpy(), budgets=budgets, correct_bias=False)
    for name in filters:
        node, budget = integers.node(name), budgets[name]
        assert isinstance(node, Conv)
        assert (node.bias == plain.node(name).bias).all()  # as trained
        assert node.terms == budget.terms
        assert (np.abs(node.weights).max(axis=(1, 2, 3)) == budget.peaks).all()
        values = node.weights.astype(np.int64)
        if budget.terms is None:
            assert (budget.group, max(budget.peaks)) == (0, 127)
            continue
        groups = np.pad(values, ((0, 0),) * 3 + ((0, -values.shape[3] % 8),)).reshape(-1, 8)
        if budget.terms.exponents:
            assert len(rounds(groups, budget.terms.exponents)) == 1
        else:
            assert budget.terms == Terms(weights=5, data=2)
            np.testing.assert_array_equal(limit(values, group=8, budget=5), values)
            assert count(groups).sum(axis=1).max() == 5
    assert [name for name in filters if budgets[name].terms is None] == ["0"]


@pytest.mark.parametrize(("odd", "kind"), [(1, np.int8), (30, np.int16)])
def test_filters_reach_128_in_eight_bits_if_few_terms_of_1_are_in_the_way(odd, kind, tmp_path):
    weight = torch.zeros(3, 8, 3, 3)
    weight[:, 0, 0, 0] = 127  # one term: 128
    weight[0, 0, 1, 1] = weight[1, 0, 1, 1] = -127
    weight[:2].flatten(1)[:, 40 : 40 + odd] = 1
    weight[1] = torch.where(weight[1] == 1, 2.0, weight[1])
    weight[2].flatten()[40:] = -3  # one term: -4 or -2
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 3, 3))
    model[1].weight.data = weight
    quantizer = TermQuantizer(model, SHAPE, Terms(weights=1), group=1)
    quantizer.finish()
    assert quantizer.budgets["1"].peaks == (128, 128, 128)
    quantizer.save(tmp_path / "model.onnx")
    held = {t.name: t for t in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert f"1.weight.{np.dtype(kind).name}" in held
    graph = load_onnx(tmp_path / "model.onnx")
    samples = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
    found = quantize(graph, samples, budgets=quantizer.budgets).node("1").weights
    wanted = limit(weight.permute(0, 2, 3, 1).numpy().astype(np.int64), group=1, budget=1)
    if kind == np.int8:
        wanted[0][wanted[0] == 1] = 0
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_the_shape_may_come_with_samples(kind):
    samples = kind(np.zeros((5, *SHAPE), np.float32))
    found = TermQuantizer(network(), samples, Terms(weights=4))
    assert found._shape == SHAPE
    assert found._windows == TermQuantizer(network(), SHAPE, Terms(weights=4))._windows


def test_filters_that_hardly_count_keep_no_terms(data, tmp_path):
    model = network()
    with torch.no_grad():
        model[7].weight[2] *= 1e-9
    quantizer = TermQuantizer(model, SHAPE, Terms(weights=4))
    quantizer.finish()
    assert min(quantizer.budgets["7"].peaks) > 80
    quantizer.save(tmp_path / "model.onnx")
    graph = load_onnx(tmp_path / "model.onnx")
    weights = quantize(graph, data[0][:64].numpy(), budgets=quantizer.budgets).node("7").weights
    found = np.abs(weights).max(axis=(1, 2, 3))
    assert found[2] == 0
    kept = np.arange(10) != 2
    assert (found[kept] == np.array(quantizer.budgets["7"].peaks)[kept]).all()


@pytest.mark.parametrize("kind", BUDGETS)
def test_interrupted_training_continues_identically(data, kind):
    def start():
        model = network()
        return model, TermQuantizer(model, SHAPE, **BUDGETS[kind])

    whole, quantizer = start()
    train(whole, quantizer, data, STEPS)
    model, quantizer = start()
    optimizer = train(model, quantizer, data, 13)
    states = copy.deepcopy((model.state_dict(), optimizer.state_dict(), quantizer.state_dict()))
    resumed, other = start()
    optimizer = torch.optim.SGD(resumed.parameters(), lr=0.02, momentum=0.9)
    for part, state in zip((resumed, optimizer, other), states, strict=True):
        part.load_state_dict(state)
    train(resumed, other, data, STEPS - 13, optimizer)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(ConfigError, match="checkpoint of other term budgets"):
        other.load_state_dict({**states[2], "terms": {}})


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"terms": Terms(weights=0)}, r"terms of '1': weights must be an integer 1\.\.16, not 0"),
        ({"terms": Terms(weights=17)}, r"weights must be an integer 1\.\.16, not 17"),
        ({"terms": Terms(weights=True)}, r"weights must be an integer 1\.\.16, not True"),
        ({"terms": Terms(weights=2, data=5)}, r"data must be an integer 0\.\.4, not 5"),
        ({"terms": Terms(weights=2, encoding="hese")}, "only encoding 'naf' can be trained"),
        ({"terms": Terms(weights=2), "group": 0}, "group must be an integer from 1, not 0"),
        ({"terms": Terms(weights=2, exponents=(1,))}, "must fall to 0 in steps of 0 or 1"),
        ({"terms": Terms(weights=2, exponents=(2, 0))}, "must fall to 0 in steps of 0 or 1"),
        ({"terms": Terms(weights=3, exponents=(1, 0))}, "3 slots have 2 exponents"),
        ({"terms": Terms(weights=2), "layers": {"9": None}}, "no layer '9'; layers: 0, 1"),
    ],
)
def test_bad_budgets_are_refused(options, match):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1))
    with pytest.raises(ConfigError, match=match):
        TermQuantizer(model, SHAPE, **options)
    assert isinstance(model[1].weight, nn.Parameter)


def test_depthwise_layers_keep_all_terms():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1))
    quantizer = TermQuantizer(model, SHAPE, Terms(weights=2))
    assert list(quantizer.state_dict()["terms"]) == ["2"]


def test_budgets_travel_as_text():
    budgets = {
        "first": TermBudget((127, 0)),
        "second": TermBudget((128,), 8, Terms(weights=8, data=2)),
        "third": TermBudget((24,), 4, Terms(weights=3, exponents=(1, 0, 0))),
    }
    text = write_budgets(budgets)
    filters = {"first": 2, "second": 1, "third": 1}
    assert read_budgets({PROPERTY: text}, filters) == budgets
    assert read_budgets({}, filters) == {}
    with pytest.raises(ModelError, match=r"describes a layer 'third' of 1 filters"):
        read_budgets({PROPERTY: text}, {"first": 2, "second": 1})
    for damaged in ("", "[]", "null", text[:-1], text.replace("128", "256"),
                    text.replace('"data":2', '"data":7'), text.replace("[24]", '"x"'),
                    text.replace('"exponents":[]', '"exponents":[5,5]')):  # fmt: skip
        with pytest.raises(ModelError, match="is damaged"):
            read_budgets({PROPERTY: damaged}, filters)
