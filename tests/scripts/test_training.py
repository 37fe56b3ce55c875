"""The training scripts' shared code: resuming, augmentation, export, and clean errors."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from termac.errors import InputError, ModelError
from termac.examples import datasets

from tests.places import SCRIPTS

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")


@pytest.fixture
def scripts():
    import _training

    return _training, importlib.import_module("termac.train.export")


def small_split(count=64):
    pixels = np.random.default_rng(0).integers(0, 17, (count, 1, 6, 6)).astype(np.uint8)
    return datasets.Split(pixels, (pixels.sum((1, 2, 3)) % 3).astype(np.int64), full_scale=16)


def small_model(training):
    training.prepare(seed=4)
    nn = torch.nn
    layers = (nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(64, 3))


class StoppedError(Exception):
    pass


def test_interrupted_run_ends_with_the_same_weights(scripts, tmp_path):
    training, _ = scripts
    recipe = training.Recipe(epochs=4, batch=16, rate=1e-2)
    data, whole, path = small_split(), small_model(training), tmp_path / "state.pt"
    training.fit(whole, data, data, recipe)
    calls = []

    def stop_in_third_epoch(images, generator):
        calls.append(len(images))
        if len(calls) == 10:
            raise StoppedError
        return images

    with pytest.raises(StoppedError):
        training.fit(
            small_model(training), data, data, recipe, augment=stop_in_third_epoch, checkpoint=path
        )
    resumed = small_model(training)
    training.fit(resumed, data, data, recipe, checkpoint=path)
    for (name, expected), actual in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, actual), name
    with pytest.raises(InputError, match="checkpoint of another recipe; delete it"):
        training.fit(resumed, data, data, replace(recipe, rate=1e-3), checkpoint=path)
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match="not a checkpoint of this script"):
        training.fit(resumed, data, data, recipe, checkpoint=path)


def test_shifted_moves_whole_images(scripts):
    training, _ = scripts
    images = torch.rand(40, 2, 5, 6)
    moved = training.shifted(images, torch.Generator().manual_seed(1), 1)
    assert moved.shape == images.shape
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = set()
    for before, after in zip(padded, moved.numpy(), strict=True):
        places = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if np.array_equal(after, before[:, y : y + 5, x : x + 6])
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 9


def test_export_is_repeatable_and_checked(scripts, tmp_path):
    training, export = scripts
    model = small_model(training)
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in files:
        written = export.export(model, (1, 6, 6), path, about="A test.", properties={"key": "x"})
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [node.name for node in written.graph.node] == ["0", "relu_1", "reshape_1", "4"]
    assert b"site-packages" not in files[0].read_bytes()
    strange = torch.nn.Sequential(torch.nn.Sigmoid(), *model)
    with pytest.raises(ModelError, match="unexpected operators: Sigmoid"):
        export.export(strange, (1, 6, 6), tmp_path / "c.onnx", about="", properties={})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train_lenet5.py", "--data", "nowhere"], "nowhere: no such folder"),
        (["export_resnet20.py", "--weights", "none.th"], "none.th: no such file"),
        (["train_terms_resnet20.py", "--data", "nowhere"], "nowhere: no such folder"),
        (["train_digits.py", "--surprise"], "No such option"),
    ],
)
def test_scripts_fail_with_one_line(arguments, message, tmp_path):
    script, *rest = arguments
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *rest], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
