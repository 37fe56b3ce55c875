"""Readers of data sets: idx files of every type, their damage, and the three data sets."""

from __future__ import annotations

import builtins
import gzip
import struct

import numpy as np
import pytest
from termac.errors import InputError
from termac.examples import datasets

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(array, code=None):
    """Encode an array the way the format's description says, independent of the reader."""
    code = code or next(
        value for key, value in CODES.items() if np.dtype(key).newbyteorder("=") == array.dtype
    )
    header = bytes([0, 0, code, array.ndim])
    header += b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist_folder(folder, *, images=6, labels=6, suffix=".gz"):
    rng = np.random.default_rng(3)
    for stem in ("train", "t10k"):
        pixels = rng.integers(0, 256, (images, 28, 28)).astype(np.uint8)
        for name, array in (
            (f"{stem}-images-idx3-ubyte{suffix}", pixels),
            (f"{stem}-labels-idx1-ubyte{suffix}", np.arange(labels, dtype=np.uint8) % 10),
        ):
            content = idx_bytes(array)
            (folder / name).write_bytes(gzip.compress(content) if suffix else content)
    return folder


def without(monkeypatch, package):
    """Make ``import package`` fail as if it were not installed."""
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (2, 1, 3, 4), (0, 5)])
@pytest.mark.parametrize("dtype", sorted(CODES))
def test_idx_round_trip(tmp_path, dtype, shape, compressed):
    native = np.dtype(dtype).newbyteorder("=")
    array = (np.random.default_rng(1).normal(size=shape) * 50).astype(native)
    content = idx_bytes(array)
    path = tmp_path / "array.idx"
    path.write_bytes(gzip.compress(content) if compressed else content)
    read = datasets.read_idx(path)
    assert read.dtype == native
    assert read.shape == shape
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file .starts with nothing"),
        (b"\x89PNG....", "not an idx file .starts with 89 50 4e 47"),
        (b"\0\0\x0a\x01" + bytes(8), "not an idx file"),
        (b"\0\0\x08\x03" + bytes(8), "header of 16 bytes is cut short"),
        (idx_bytes(np.arange(9, dtype=np.uint8))[:-1], "truncated idx file, 16 bytes instead of"),
        (idx_bytes(np.arange(9, dtype=np.int32)) + b"x", "extra bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", "truncated idx file"),
        (gzip.compress(idx_bytes(np.arange(90, dtype=np.uint8)))[:-12], "damaged gzip"),
        (b"\x1f\x8b\x08garbage-garbage", "damaged gzip"),
    ],
)
def test_damaged_idx(tmp_path, content, message):
    path = tmp_path / "damaged.idx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        datasets.read_idx(path)
    assert "damaged.idx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_idx(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.idx: cannot be read"):
        datasets.read_idx(tmp_path / "nothing.idx")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_folder(tmp_path, suffix):
    data = datasets.mnist(mnist_folder(tmp_path, suffix=suffix))
    assert data.train.pixels.shape == (6, 1, 28, 28)
    assert data.test.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.train.images.dtype == np.float32
    np.testing.assert_allclose(data.train.images * 255, data.train.pixels, atol=1e-4)
    part = data.train[2:5]
    assert len(part) == 3
    np.testing.assert_array_equal(part.pixels, data.train.pixels[2:5])


def test_mnist_errors(tmp_path):
    with pytest.raises(InputError, match="no such folder; it should hold train-images"):
        datasets.mnist(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no file t10k-images-idx3-ubyte\.gz"):
        _ = datasets.mnist(tmp_path).test
    mnist_folder(tmp_path, labels=5)
    with pytest.raises(InputError, match="6 images but 5 labels"):
        _ = datasets.mnist(tmp_path).train
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx_bytes(np.zeros((6, 28), np.uint8)))
    with pytest.raises(InputError, match=r"uint8 of shape \(6, 28\), should be uint8 of rank 3"):
        _ = datasets.mnist(tmp_path).train


def test_normalize_is_per_channel():
    images = np.random.default_rng(2).random((4, 3, 2, 2), np.float32)
    normal = datasets.normalize(images, (0.1, 0.2, 0.3), (1, 2, 4))
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal[:, 2], (images[:, 2] - 0.3) / 4, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(normal[:, 0], images[:, 0] - 0.1, rtol=1e-6, atol=1e-7)


def test_digits_split():
    pytest.importorskip("sklearn")
    data = datasets.digits()
    assert data.train.images.shape == (1437, 1, 8, 8)
    assert data.test.images.shape == (360, 1, 8, 8)
    assert data.train.images.min() == 0
    assert data.train.images.max() == 1
    assert np.bincount(data.test.labels).min() >= 25  # every class is well represented
    assert data.test.labels[:8].tolist() == datasets.digits().test.labels[:8].tolist()
    from sklearn.datasets import load_digits

    together = np.concatenate([data.train.pixels, data.test.pixels])[:, 0]
    original = load_digits().images.astype(np.uint8)
    assert sorted(map(bytes, together)) == sorted(map(bytes, original))


def test_digits_need_scikit_learn(monkeypatch):
    without(monkeypatch, "sklearn")
    with pytest.raises(InputError, match=r"pip install 'termac\[demo\]'"):
        datasets.digits()
