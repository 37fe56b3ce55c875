"""Tells by its content what a file is that no frontend reads."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["foreign_format"]

_EXPORT = "export the module with torch.onnx.export(model.eval(), (example,), 'model.onnx')"
_CONVERT = "convert the float model with tf2onnx"
_TORCH = f"a PyTorch file, not an ONNX model: {_EXPORT}"

_SIGNATURES = (
    (4, b"TFL3", f"a TensorFlow Lite model, which cannot be read yet: {_CONVERT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5), not an ONNX model: {_CONVERT}"),
    (0, b"\x93NUMPY", "a NumPy array, not a model: give the ONNX model here, arrays by option"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself: run git lfs pull"),
    (0, b"\x1f\x8b", "a gzip archive: unpack it and give the ONNX file inside"),
    *(
        (0, bytes((0x80, protocol)), f"a Python pickle, perhaps {_TORCH}")
        for protocol in (2, 3, 4, 5)
    ),
)
"""Offset and bytes that a format has there, and what to say."""

_MEMBERS = (
    (("data.pkl", "serialized_exported_program.json", "archive_format"), _TORCH),
    (("model.weights.h5",), f"a Keras file, not an ONNX model: {_CONVERT}"),
    ((".npy",), "a NumPy archive, not a model: give the ONNX model here, arrays by option"),
    ((), "a zip archive: unpack it and give the ONNX file inside"),
)
"""Ends of member names that tell zip archives apart, first match first, and what to say."""


def foreign_format(path: Path) -> str:
    """What a file of a known format is that no frontend reads, and what to do; "" for others."""
    if (path / "saved_model.pb").is_file():
        return f"a TensorFlow SavedModel folder, not an ONNX model: {_CONVERT}"
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return ""  # whoever reads it says why it cannot be read
    for offset, signature, what in _SIGNATURES:
        if head[offset:].startswith(signature):
            return what
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    return ""


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        names = []
    for ends, what in _MEMBERS:
        if not ends or any(name.endswith(ends) for name in names):
            return what
    raise AssertionError("the last entry holds for every archive")
