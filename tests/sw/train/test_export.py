"""Networks exported by PyTorch, both exporters, against onnxruntime; accuracy of ResNet-20."""

import warnings

import numpy as np
import pytest
from termac.compress import quantize
from termac.frontend import load_onnx
from termac.graph import golden

from tests.places import SHARED

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import torch.nn.functional as F  # noqa: E402, N812
from torch import nn  # noqa: E402

DATA = SHARED / "data"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(self.conv2(x), 2).relu()
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(x), dim=1)


class Mixed(nn.Module):
    """What the other two do not have: ReLU6, dropout, adaptive pooling, projection shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.block = nn.Sequential(
            nn.BatchNorm2d(8), nn.ReLU6(), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(8, 12, 2)
        )
        self.project = nn.Conv2d(8, 12, 1)
        self.pool = nn.AvgPool2d(3, 2, padding=1)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 5)
        )

    def forward(self, x):
        x = self.stem(x)
        x = self.pool(F.relu(self.block(x) + self.project(x)))
        return F.softmax(self.head(x), dim=-1)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.padding = outputs // 4 if stride != 1 else 0

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.padding:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self.stage(16, 16, 1)
        self.layer2 = self.stage(16, 32, 2)
        self.layer3 = self.stage(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    @staticmethod
    def stage(inputs, outputs, stride):
        return nn.Sequential(
            Block(inputs, outputs, stride), Block(outputs, outputs, 1), Block(outputs, outputs, 1)
        )

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = F.avg_pool2d(x, x.size()[3])
        return self.linear(x.view(x.size(0), -1))


NETS = {"lenet": (LeNet, (1, 28, 28)), "mixed": (Mixed, (3, 20, 20)), "resnet20": (ResNet20, None)}


def make(name):
    torch.manual_seed(0)
    kind, layout = NETS[name]
    net = kind()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net.eval(), layout or (3, 32, 32)


def export(net, layout, path, exporter):
    sample = torch.zeros(1, *layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "script":
            torch.onnx.export(
                net, (sample,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "N"}}
            )
        elif exporter == "script-training-graph":  # batch normalization stays in the file
            torch.onnx.export(
                net, (sample,), path, dynamo=False, do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE,
            )  # fmt: skip
        else:
            shapes = ({0: torch.export.Dim.DYNAMIC},) if exporter == "dynamo-dynamic" else None
            torch.onnx.export(
                net, (sample,), path, dynamo=True, dynamic_shapes=shapes, verbose=False
            )
    return path


@pytest.mark.parametrize(
    "exporter", ["script", "script-training-graph", "dynamo", "dynamo-dynamic"]
)
@pytest.mark.parametrize("name", NETS)
def test_exported_nets_match_onnxruntime(tmp_path, name, exporter):
    net, layout = make(name)
    path = export(net, layout, str(tmp_path / "net.onnx"), exporter)
    graph = load_onnx(path)
    assert graph.input_layout == layout
    x = np.random.default_rng(0).normal(size=(4, *layout)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    expected = np.concatenate([session.run(None, {feed: sample[None]})[0] for sample in x])
    np.testing.assert_allclose(graph.predict(x), expected, atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(graph.predict(x), net(torch.from_numpy(x)), atol=1e-4)
    kinds = [type(n).__name__ for n in graph.nodes]
    if name == "resnet20":
        assert kinds.count("FloatConv") == 20
        assert kinds.count("FloatShortcut") == 2
        assert kinds.count("FloatAdd") == 9
        assert len(kinds) == 32
        assert "layer1.0.conv1" in graph.shapes


def cifar(sheet, count):
    image = pytest.importorskip("PIL.Image")
    pixels = np.asarray(image.open(DATA / "cifar10" / sheet)).reshape(500, 32, 32, 3)[:count]
    normalized = (pixels.astype(np.float32) / 255 - MEAN) / STD
    return normalized.transpose(0, 3, 1, 2)


def test_resnet20_keeps_its_accuracy(tmp_path):
    weights = DATA / "resnet_cifar10" / "resnet20-12fca82f.th"
    if not weights.exists():
        pytest.skip("no ResNet-20 weights in ../shared/data")
    state = torch.load(weights, weights_only=True, map_location="cpu")["state_dict"]
    net = ResNet20()
    net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    graph = load_onnx(export(net.eval(), (3, 32, 32), str(tmp_path / "net.onnx"), "script"))
    quantized = quantize(graph, cifar("train_000.webp", 128))
    x = cifar("test_000.webp", 400)
    labels = np.fromfile(DATA / "cifar10" / "test1000_labels.u8", np.uint8)[:400]
    exact = graph.predict(x).argmax(axis=1)
    y = golden.run(quantized, golden.quantize_input(quantized, x), outputs_only=True)
    stored = golden.dequantize_output(quantized, y[quantized.output]).argmax(axis=1)
    assert (exact == labels).mean() > 0.88
    assert (stored == labels).mean() >= (exact == labels).mean() - 0.01
    assert (stored == exact).mean() > 0.97
