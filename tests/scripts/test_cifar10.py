"""CIFAR-10 sheets: what they hold, and their damage."""

from __future__ import annotations

import numpy as np
import pytest
from _cifar10 import cifar10
from termac.errors import InputError

from tests.sw.examples.test_datasets import without


def cifar_folder(folder, count=501):
    """Sheets of ``count`` random images (the last sheet is padded with black)."""
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(5)
    pixels = np.zeros((1000, 32, 32, 3), np.uint8)
    pixels[:count] = rng.integers(0, 256, (count, 32, 32, 3))
    for sheet in range(2):
        rows = pixels[500 * sheet : 500 * sheet + 500].reshape(-1, 32, 3)
        image_module.fromarray(rows).save(folder / f"test_{sheet:03}.webp", lossless=True, method=0)
    (folder / "test1000_labels.u8").write_bytes(bytes(n % 10 for n in range(count)))
    return pixels[:count].transpose(0, 3, 1, 2)


def test_cifar10_sheets(tmp_path):
    pixels = cifar_folder(tmp_path)
    data = cifar10(tmp_path)
    np.testing.assert_array_equal(data.test.pixels, pixels)
    assert data.test.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert data.classes[6] == "frog"
    with pytest.raises(InputError, match=r"train_labels\.u8: cannot be read"):
        _ = data.train


def test_cifar10_errors(tmp_path, monkeypatch):
    image_module = pytest.importorskip("PIL.Image")
    labels = tmp_path / "test1000_labels.u8"
    labels.write_bytes(bytes(500))
    sheet = tmp_path / "test_000.webp"
    with pytest.raises(InputError, match=r"test_000\.webp: missing or damaged picture"):
        _ = cifar10(tmp_path).test
    sheet.write_bytes(b"RIFF but not a picture")
    with pytest.raises(InputError, match="missing or damaged picture"):
        _ = cifar10(tmp_path).test
    image_module.new("RGB", (32, 64)).save(sheet, lossless=True)
    with pytest.raises(InputError, match="32 x 64 pixels, should be 32 x 16000"):
        _ = cifar10(tmp_path).test
    labels.write_bytes(b"\x0a")
    with pytest.raises(InputError, match=r"should hold bytes 0\.\.9"):
        _ = cifar10(tmp_path).test
    labels.write_bytes(bytes(500))
    without(monkeypatch, "PIL")
    with pytest.raises(InputError, match="needs Pillow"):
        _ = cifar10(tmp_path).test
