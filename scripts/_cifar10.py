"""CIFAR-10 from lossless picture sheets, the form in which the measurements here keep it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from termac.errors import InputError
from termac.examples.datasets import Dataset, Split, existing_folder, file_bytes

__all__ = ["cifar10"]

CIFAR10_SHEET = 500
"""Images stacked in one picture file."""


def cifar10(folder: str | Path) -> Dataset:
    """CIFAR-10 from lossless picture sheets: 500 images of 32x32 stacked in each.

    Files: ``train_000.webp`` .. ``train_099.webp`` with ``train_labels.u8``, and ``test_*.webp``
    with ``test1000_labels.u8``, one byte per label.
    """
    folder = existing_folder(folder, "train_*.webp, test_*.webp and their label files")

    def read(part: str) -> Split:
        name = "train_labels.u8" if part == "train" else "test1000_labels.u8"
        labels = np.frombuffer(file_bytes(folder / name), np.uint8)
        if not len(labels) or labels.max() > 9:
            raise InputError(f"{folder / name}: should hold bytes 0..9, one for each image")
        sheets = -(-len(labels) // CIFAR10_SHEET)
        pixels = np.concatenate([_sheet(folder / f"{part}_{n:03}.webp") for n in range(sheets)])
        return Split(pixels[: len(labels)], labels.astype(np.int64))

    animals = ["bird", "cat", "deer", "dog", "frog", "horse"]
    classes = ["airplane", "automobile", *animals, "ship", "truck"]
    mean, std = (0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)
    return Dataset("cifar10", read, classes=classes, mean=mean, std=std)


def _sheet(path: Path) -> NDArray[np.uint8]:
    """Images of one sheet, uint8 [500, 3, 32, 32]."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path.name} needs Pillow to be read: pip install 'pillow>=10'"
        ) from error
    try:
        with Image.open(path) as picture:
            rows = np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: missing or damaged picture") from error
    if rows.shape != (32 * CIFAR10_SHEET, 32, 3):
        raise InputError(
            f"{path}: {rows.shape[1]} x {rows.shape[0]} pixels, should be 32 x {32 * CIFAR10_SHEET}"
        )
    return np.ascontiguousarray(rows.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))
