"""Models are told apart by their content, and other files are named for what they are."""

import gzip
import io
import pickle
import shutil
import zipfile
from importlib import resources

import numpy as np
import onnx
import pytest
from termac.errors import ModelError
from termac.frontend import load_model, load_onnx, read_model

DIGITS = resources.files("termac") / "examples" / "models" / "digits.onnx"


def archive(*names):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return data.getvalue()


def array_file(save):
    data = io.BytesIO()
    save(data, np.zeros(3))
    return data.getvalue()


FOREIGN = {
    "checkpoint.pt": (archive("archive/data.pkl", "archive/data/0"), "PyTorch.*torch.onnx.export"),
    "script.pt": (archive("net/data.pkl", "net/code/__torch__.py"), "PyTorch.*torch.onnx.export"),
    "program.pt2": (archive("serialized_exported_program.json"), "PyTorch.*torch.onnx.export"),
    "old.pth": (pickle.dumps({"weight": 1}, protocol=2), "Python pickle.*torch.onnx.export"),
    "object.pkl": (pickle.dumps([1, 2]), "Python pickle"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite model.*tf2onnx"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5.*tf2onnx"),
    "model.keras": (archive("config.json", "model.weights.h5"), "Keras.*tf2onnx"),
    "x.npy": (array_file(np.save), "NumPy array"),
    "x.npz": (array_file(np.savez), "NumPy archive"),
    "pointer.onnx": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "model.onnx.gz": (gzip.compress(b"onnx"), "gzip archive"),
    "model.zip": (archive("model.onnx"), "zip archive"),
    "torn.zip": (archive("model.onnx")[:40], "zip archive"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_formats_are_named(tmp_path, name):
    content, message = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: this is a")
    assert "\n" not in str(caught.value)


def test_files_that_pytorch_writes_are_named(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    torch.save(module.state_dict(), tmp_path / "new.pt")
    torch.save(module, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.jit.trace(module, torch.zeros(1, 3)).save(str(tmp_path / "script.pt"))
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3),)), tmp_path / "program.pt2")
    for path in tmp_path.iterdir():
        with pytest.raises(ModelError, match=r"PyTorch file.*torch\.onnx\.export"):
            load_model(path)


def test_saved_model_folder_is_named(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ModelError, match=r"SavedModel.*tf2onnx"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08"])
def test_what_nobody_knows_is_no_onnx(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX"):
        load_model(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "absent.onnx")


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "digits.pt"
    with resources.as_file(DIGITS) as model:
        shutil.copy(model, path)
        expected = load_onnx(model)
    graph = load_model(path)
    x = np.random.default_rng(0).random((3, *graph.input_layout))
    np.testing.assert_array_equal(graph.predict(x), expected.predict(x))


def test_a_model_in_memory_is_read_like_its_file():
    with resources.as_file(DIGITS) as model:
        expected, graph = load_onnx(model), read_model(onnx.load(str(model)))
    assert (graph.name, expected.name) == ("model", "digits")
    assert graph.shapes == expected.shapes
    for one, other in zip(graph.nodes, expected.nodes, strict=True):
        assert repr(one) == repr(other)
