"""Training to pack: the saved model runs in the cycles it was trained for."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from termac.arch import load_config
from termac.compile import compile_graph
from termac.compile.grouping import Grouping
from termac.compress import quantize
from termac.errors import ConfigError, InputError, ModelError
from termac.examples.datasets import digits
from termac.frontend import load_onnx

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import termac.train.combiner  # noqa: E402
from termac.train import Combiner, FakeQuantizer, distillation_loss  # noqa: E402
from termac.train.fake_quantize import RoundedWeight  # noqa: E402
from termac.train.masked import Masked  # noqa: E402
from torch import nn  # noqa: E402

CONFIG = load_config("demo")
STEPS = 40


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


def convolutional():
    """Convolutions with and without normalization; a linear layer that reads an image."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


@pytest.fixture(autouse=True, scope="module")
def exported_once():
    """An export takes a second, and a fresh linear model is always the same."""
    graphs = {}

    def once(model, shape):
        if str(model) != str(linear()):
            return exported(model, shape)
        if shape not in graphs:
            graphs[shape] = exported(model, shape)
        return graphs[shape]

    exported = termac.train.combiner._float_graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(termac.train.combiner, "_float_graph", once)
        yield


def train(model, combiner, data, steps, optimizer=None):
    """Some steps; returns the optimizer."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images, labels = data
    for _ in range(steps):
        start = 32 * combiner.steps_done % len(images)
        scores = model(images[start : start + 32])
        loss = nn.functional.cross_entropy(scores, labels[start : start + 32])
        optimizer.zero_grad()
        (loss + combiner.penalty()).backward()
        optimizer.step()
        combiner.step()
    return optimizer


def packed(path, samples):
    """Image of a saved model, compiled as ``termac pack`` does."""
    graph = load_onnx(path)
    grouping = Grouping.read(graph.properties, graph.shapes)
    assert grouping is not None
    assert grouping.fits(CONFIG)
    integers = quantize(graph, samples)
    roomy = replace(CONFIG, weight_depth=1 << 20)
    return compile_graph(integers, roomy, grouping=grouping)


def check_packed(combiner, path, samples):
    image = packed(path, samples)
    assert image.cycles <= combiner.cycles
    for node, passes in combiner.passes.items():
        layer = next(layer for layer in image.layers if node in layer.nodes)
        tiles = -(-layer.storage.blocks * CONFIG.word_bytes // CONFIG.rows)
        assert layer.passes <= passes * tiles
    return image


def mask_of(module):
    return module.parametrizations.weight[0].mask


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A convolutional model after training: before and after, combiner, file."""
    model = convolutional()
    dense = copy.deepcopy(model).state_dict()
    combiner = Combiner(model, data[0][:64], "demo", steps=STEPS, passes={"3": 2, "6": 3},
                        events=5, refresh=3)  # fmt: skip
    train(model, combiner, data, STEPS)
    masks = {name: mask_of(model[int(name)]).clone() for name in ("3", "6")}
    combiner.finish()
    path = tmp_path_factory.mktemp("trained") / "below" / "model.onnx"
    combiner.save(path, about="A test.", properties={"key": "value"})
    return model, dense, combiner, path, masks


def test_trained_model_packs_into_its_passes(trained, data):
    model, dense, combiner, path, masks = trained
    assert {name: combiner.passes[name] for name in ("3", "6")} == {"3": 2, "6": 3}
    image = check_packed(combiner, path, data[0][:64].numpy())
    for name, mask in masks.items():
        layer = next(layer for layer in image.layers if name in layer.nodes)
        assert 0 < layer.nonzero < 0.6 * layer.weights
        weight = model[int(name)].weight
        assert not weight[mask == 0].any()
        assert not torch.equal(weight, dense[f"{name}.weight"])
    assert model[0].weight.all()  # passes left it out


def test_saved_model_computes_the_same(trained, data):
    model, _, combiner, path, _ = trained
    assert not any("parametrizations" in name for name in model.state_dict())
    assert isinstance(model[3].weight, nn.Parameter)
    graph = load_onnx(path)
    assert graph.properties["key"] == "value"
    images = data[0][:16]
    rounded = copy.deepcopy(model).eval()  # as the file's weights are
    with torch.no_grad():
        for n in (0, 3, 6):
            rounded[n].weight.copy_(RoundedWeight()(rounded[n].weight))
        expected = rounded(images)
    np.testing.assert_allclose(graph.predict(images.numpy()), expected, atol=1e-4)
    again = combiner.save(path.parent / "again.onnx", about="A test.", properties={"key": "value"})
    assert again.doc_string == "A test."
    assert (path.parent / "again.onnx").read_bytes() == path.read_bytes()


def test_training_for_cycles(data, tmp_path):
    """Half of the cycles of the dense network; all layers are linear."""
    model = linear()
    dense = Combiner(linear(), data[0][:64], CONFIG, steps=STEPS, passes=99)
    assert not dense._targets
    combiner = Combiner(model, data[0][:64], CONFIG, steps=STEPS, cycles=dense.cycles // 2)
    assert combiner.cycles <= dense.cycles // 2
    assert combiner.passes.keys() == dense.passes.keys() == {"1", "3"}
    assert sum(combiner.passes.values()) < sum(dense.passes.values())
    train(model, combiner, data, STEPS)
    combiner.finish()
    combiner.save(tmp_path / "model.onnx")
    check_packed(combiner, tmp_path / "model.onnx", data[0][:64].numpy())
    given = Combiner(linear(), data[0][:64], CONFIG, steps=STEPS, passes=dict(combiner.passes),
                     grouping=combiner.grouping)  # fmt: skip
    assert (given.passes, given.cycles) == (combiner.passes, combiner.cycles)
    assert given.grouping == combiner.grouping
    with pytest.raises(ConfigError, match=r"10 cycles cannot be reached: one pass a layer takes"):
        Combiner(linear(), data[0][:64], CONFIG, steps=STEPS, cycles=10)


def test_samples_may_be_an_array(data):
    tensors = Combiner(linear(), data[0][:32], CONFIG, steps=STEPS, passes=1)
    arrays = Combiner(linear(), data[0][:32].numpy(), CONFIG, steps=STEPS, passes=1)
    assert (arrays.passes, arrays.cycles) == (tensors.passes, tensors.cycles)
    assert arrays.grouping == tensors.grouping
    with pytest.raises(InputError, match=r"must have a batch axis, \[N, ...\], not shape \(3,\)"):
        Combiner(linear(), np.zeros(3), CONFIG, steps=STEPS, passes=1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "give either cycles or passes"),
        ({"cycles": 5000, "passes": 1}, "give either cycles or passes"),
        ({"passes": {"1": 1, "7": 2}}, "passes: no layer '7'; layers: 1, 3"),
        ({"passes": {"1": 0}}, "passes of '1' must be an integer from 1, not 0"),
        ({"passes": 0}, "passes of '1' must be an integer from 1, not 0"),
        ({"passes": 1.5}, "passes of '1' must be an integer from 1, not 1.5"),
        ({"passes": {"3": True}}, "passes of '3' must be an integer from 1, not True"),
    ],
)
def test_bad_targets_are_refused(data, options, match):
    with pytest.raises(ConfigError, match=match):
        Combiner(linear(), data[0][:32], CONFIG, steps=STEPS, **options)


# --- Masks ---------------------------------------------------------------------------------------


@pytest.fixture
def small(data):
    """A linear model and its combiner, one pass each."""
    model = linear()
    combiner = Combiner(model, data[0][:32], CONFIG, steps=STEPS, passes=1, events=4, refresh=3)
    return model, combiner


def test_masks_tighten_along_the_published_schedule(small):
    model, combiner = small
    kept = [[float(mask_of(model[n]).mean()) for n in (1, 3)]]
    assert min(kept[0]) > 0.9
    slots = []
    for _ in range(STEPS):
        combiner.step()
        kept.append([float(mask_of(model[n]).mean()) for n in (1, 3)])
        slots.append([int(t.packing.selects.slots(t.limits)) for t in combiner._targets])
    for number, target in enumerate(combiner._targets):
        goal = target.passes * CONFIG.segments
        for event in range(1, 5):
            left = (1 - event / 4) ** 3
            wanted = goal + int(np.ceil(left * (target.dense - goal)))
            assert slots[5 * event - 1][number] <= wanted
            assert slots[5 * event - 1][number] >= min(wanted, target.dense - 2)
        assert slots[-1][number] == goal
    assert kept[-1][0] < 0.5
    assert kept == sorted(kept, reverse=True)


def test_pruned_weights_that_grow_come_back_until_the_masks_freeze(small):
    model, combiner = small
    for _ in range(22):
        combiner.step()

    def grow():
        strong = torch.from_numpy(combiner._targets[0].power) > 0.1
        dropped = torch.nonzero((mask_of(model[1]) == 0) & strong)[0]
        with torch.no_grad():
            model[1].parametrizations.weight.original[tuple(dropped)] = 50.0
        return tuple(dropped)

    place = grow()
    assert model[1].weight[place] != 50  # pruned weights read as zero, until ...
    combiner.step()
    assert mask_of(model[1])[place] == 0
    combiner.step()  # ... step 24 is a multiple of refresh
    assert mask_of(model[1])[place] == 1
    assert model[1].weight[place] == 50
    for _ in range(8):
        combiner.step()
    place, before = grow(), mask_of(model[1]).clone()
    for _ in range(8):
        combiner.step()
    assert torch.equal(mask_of(model[1]), before)
    combiner.finish()
    assert model[1].weight[place] == 0


@pytest.mark.parametrize("options", [{"freeze": 0.2}, {"events": 60}, {"freeze": 0.0}])
def test_masks_are_tight_however_early_they_freeze(data, options, tmp_path):
    model = linear()
    combiner = Combiner(model, data[0][:32], CONFIG, steps=STEPS, passes=1, **options)
    for _ in range(STEPS):
        combiner.step()
    for target in combiner._targets:
        assert target.packing.passes(_flat(target)) == 1


def test_training_that_stops_early_still_packs(data):
    model = linear()
    combiner = Combiner(model, data[0][:32], CONFIG, steps=STEPS, passes=1)
    combiner.step()
    combiner.finish()
    weight = model[1].weight.detach().numpy()
    target = combiner._targets[0]
    assert target.packing.passes(weight.reshape(len(weight), -1) != 0) == 1


def _flat(target):
    """Mask as the packing counts it; linear layers of a flat input need no reordering."""
    return target.masked.mask.numpy().reshape(len(target.masked.mask), -1) > 0


def test_masked_weights_are_zero_and_learn():
    weight = nn.Parameter(torch.tensor([2.0, -3.0]))
    masked = Masked(weight)
    masked.mask[1] = 0
    assert masked(weight).tolist() == [2, 0]
    masked(weight).sum().backward()
    assert weight.grad.tolist() == [1, 1]
    masked.frozen = True
    weight.grad = None
    masked(weight).sum().backward()
    assert weight.grad.tolist() == [1, 0]


def test_penalty_pulls_kept_weights_and_decays_pruned_ones(small):
    model, combiner = small
    for _ in range(20):
        combiner.step()
    penalty = combiner.penalty()
    penalty.backward()
    l1 = decay = 0.0
    for n in (1, 3):
        original, mask = model[n].parametrizations.weight.original, mask_of(model[n])
        l1 += float((original.detach().abs() * mask).sum())
        decay += float((original.detach().square() * (1 - mask)).sum())
        wanted = torch.where(mask > 0, combiner.l1 * original.sign(), combiner.decay * original)
        torch.testing.assert_close(original.grad, wanted.detach())
    assert float(penalty.detach()) == pytest.approx(1e-6 * l1 + 1e-4 * decay)
    assert float(penalty.detach()) > 0
    for _ in range(20):
        combiner.step()
    assert float(combiner.penalty().detach()) == pytest.approx(1e-6 * l1)


def test_interrupted_training_continues_identically(data):
    def start():
        model = linear()
        options = {"steps": STEPS, "passes": 1, "events": 4, "refresh": 3}
        return model, Combiner(model, data[0][:32], CONFIG, **options)

    whole, combiner = start()
    train(whole, combiner, data, STEPS)
    for stop in (13, 35):  # before and after the masks freeze
        model, combiner = start()
        optimizer = train(model, combiner, data, stop)
        states = copy.deepcopy((model.state_dict(), optimizer.state_dict(), combiner.state_dict()))
        resumed, other = start()
        optimizer = torch.optim.SGD(resumed.parameters(), lr=0.05, momentum=0.9)
        for part, state in zip((resumed, optimizer, other), states, strict=True):
            part.load_state_dict(state)
        train(resumed, other, data, STEPS - stop, optimizer)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name
    state = {**combiner.state_dict(), "passes": {"1": 2, "3": 1}}
    with pytest.raises(ConfigError, match="checkpoint of another grouping"):
        other.load_state_dict(state)


def test_grouped_convolutions_are_refused(data):
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(),
                          nn.Linear(128, 10))  # fmt: skip
    with pytest.raises(ModelError, match=r"node '1'.*grouped convolution"):
        Combiner(model, data[0][:32], CONFIG, steps=STEPS, passes=1)


# --- Quantization-aware training, distillation ---------------------------------------------------


def test_fake_quantizer_rounds_and_leaves_no_trace(data):
    model = convolutional().eval()
    before = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    with torch.no_grad():
        plain = model(data[0][:8])
        quantizer = FakeQuantizer(model)
        rounded = model(data[0][:8])
    for n in (0, 3, 6):
        weight, original = model[n].weight, model[n].parametrizations.weight.original
        for row, exact in zip(weight.flatten(1), original.flatten(1), strict=True):
            scale = exact.abs().max() / 127
            levels = row / scale
            assert len(torch.unique(levels.round())) <= 255
            torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
            assert (row - exact).abs().max() <= scale * 0.501
        assert not torch.equal(weight, original)
    assert not torch.equal(plain, rounded)
    torch.testing.assert_close(plain, rounded, atol=0.05, rtol=0.05)
    model[3].weight.sum().backward()  # rounding passes gradients
    assert torch.equal(
        model[3].parametrizations.weight.original.grad, torch.ones_like(before["3.weight"])
    )
    quantizer.remove()
    assert {id(p) for p in model.parameters()} == {id(p) for p in parameters}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    with torch.no_grad():
        assert torch.equal(model(data[0][:8]), plain)


def test_fake_quantizer_reads_inputs_of_few_bits():
    model = nn.Sequential(nn.Linear(1, 1, bias=False)).eval()
    nn.init.ones_(model[0].weight)
    x = torch.linspace(-1, 3, 400)[:, None]
    quantizer = FakeQuantizer(model, bits=2)
    with torch.no_grad():
        y = model(x)
        assert len(torch.unique(y.round(decimals=4))) == 4
        assert (y - x).abs().max() < 4 / 3 * 0.51
        assert float(model(torch.zeros(1, 1))) == 0  # padding stays exact
        model.train()
        model(torch.full((1, 1), 100.0))  # the extremes move slowly
        model.eval()
        assert 4 < float(model(torch.full((1, 1), 100.0))) < 6
    quantizer.remove()
    with torch.no_grad():
        assert torch.equal(model(x), x)


def test_fake_quantizer_goes_on_top_of_masks(small, data):
    model, combiner = small
    train(model, combiner, data, 20)
    mask = mask_of(model[1]).clone()
    quantizer = FakeQuantizer(model)
    assert not model[1].weight[mask == 0].any()
    train(model, combiner, data, STEPS - 20)
    quantizer.remove()
    assert isinstance(model[1].parametrizations.weight[0], Masked)
    combiner.finish()
    assert not any("parametrizations" in name for name in model.state_dict())
    weight = model[1].weight.detach().numpy()
    assert combiner._targets[0].packing.passes(weight != 0) == 1


def test_distillation_loss():
    generator = torch.Generator().manual_seed(0)
    scores, teacher = (torch.randn(6, 10, generator=generator) for _ in range(2))
    labels = torch.randint(10, (6,), generator=generator)
    scores.requires_grad_()
    hard = nn.functional.cross_entropy(scores, labels)
    torch.testing.assert_close(distillation_loss(scores, teacher, labels, share=0), hard)

    soft = distillation_loss(scores, teacher, labels, share=1, temperature=2)
    p, q = (torch.softmax(s.detach() / 2, dim=1) for s in (teacher, scores))
    torch.testing.assert_close(soft.detach(), 4 * (p * (p / q).log()).sum(dim=1).mean())
    mixed = distillation_loss(scores, teacher, labels, share=0.25, temperature=2)
    torch.testing.assert_close(mixed, 0.25 * soft + 0.75 * hard)

    same = distillation_loss(scores, scores.detach(), labels, share=1)
    assert float(same.detach()) == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(same, scores)
    assert gradient.abs().max() < 1e-6
    (gradient,) = torch.autograd.grad(soft, scores)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("bits", [0, 9, True, 4.0])
def test_fake_quantizer_refuses_bits_out_of_range(bits):
    with pytest.raises(ConfigError, match=r"bits must be an integer 1\.\.8"):
        FakeQuantizer(torch.nn.Linear(2, 2), bits=bits)
