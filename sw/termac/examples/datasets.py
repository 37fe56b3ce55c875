"""Image data sets as NCHW arrays: idx files, MNIST and scikit-learn's digits.

Nothing is downloaded: the readers take a folder, or data that a package brings along. scikit-learn,
which has the digits, is imported only when it is needed.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError

__all__ = [
    "Dataset",
    "Split",
    "digits",
    "existing_folder",
    "file_bytes",
    "mnist",
    "normalize",
    "read_idx",
]

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DIGITS_TEST = 360  # of 1,797


@dataclass(frozen=True)
class Split:
    """One part of a data set; ``split[a:b]`` or ``split[indices]`` is a smaller part.

    Parameters
    ----------
    pixels : uint8 [N, channels, height, width]
    labels : int64 [N]
    full_scale : pixel value that stands for 1.0
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    full_scale: int = 255

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise InputError(
                f"{len(self.pixels)} images but {len(self.labels)} labels: files do not belong "
                "together"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: slice | NDArray) -> Split:
        return Split(self.pixels[which], self.labels[which], self.full_scale)

    @property
    def images(self) -> NDArray[np.float32]:
        """float32 [N, channels, height, width], 0..1; a new array on each use."""
        return self.pixels.astype(np.float32) / np.float32(self.full_scale)


class Dataset:
    """A training and a test part, each read on first use.

    Parameters
    ----------
    name : str
    read : returns the :class:`Split` called ``"train"`` or ``"test"``
    classes : what the labels mean
    mean, std : per channel, of the training images scaled to 0..1

    Raises
    ------
    InputError
        On first use of :attr:`train` or :attr:`test`, if their files are missing or damaged.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[str], Split],
        *,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self._read = read

    @cached_property
    def train(self) -> Split:
        return self._read("train")

    @cached_property
    def test(self) -> Split:
        return self._read("test")


def normalize(
    images: NDArray[np.float32], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """``(images - mean) / std`` per channel of float32 [N, channels, height, width]."""
    shape = (1, -1, 1, 1)
    offset = np.asarray(mean, np.float32).reshape(shape)
    return (images - offset) / np.asarray(std, np.float32).reshape(shape)


def file_bytes(path: Path) -> bytes:
    """Content of a file, unzipped if it is gzip.

    Raises
    ------
    InputError
        If the file cannot be read, or is a damaged gzip file.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_idx(path: str | Path) -> NDArray:
    """Read one idx file, gzip or plain, of any element type and rank.

    The format: two zero bytes, a type byte, the rank, the sizes as big-endian 32-bit integers, the
    elements in C order, big-endian. The array returned is in native byte order.

    Raises
    ------
    InputError
        The file cannot be read, is not an idx file, or is shorter or longer than its header says.
    """
    path = Path(path)
    content = file_bytes(path)
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES:
        raise InputError(f"{path}: not an idx file (starts with {magic.hex(' ') or 'nothing'})")
    rank = magic[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise InputError(f"{path}: truncated idx file, its header of {start} bytes is cut short")
    shape = tuple(np.frombuffer(content, ">u4", rank, 4).tolist())
    dtype = np.dtype(IDX_TYPES[magic[2]])
    expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(content) != expected:
        what = "truncated idx file" if len(content) < expected else "idx file with extra bytes"
        raise InputError(
            f"{path}: {what}, {len(content)} bytes instead of the {expected} that its header "
            f"(shape {shape}) asks for; fetch it again"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def existing_folder(folder: str | Path, hint: str) -> Path:
    """The folder of a data set.

    Parameters
    ----------
    folder : str or Path
    hint : what it should hold

    Raises
    ------
    InputError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it should hold {hint}")
    return folder


def _idx_file(folder: Path, stem: str, rank: int) -> NDArray:
    names = [f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"]
    for name in (name + suffix for name in names for suffix in (".gz", "")):
        if (folder / name).is_file():
            array = read_idx(folder / name)
            if array.dtype != np.uint8 or array.ndim != rank or not len(array):
                raise InputError(
                    f"{folder / name}: {array.dtype} of shape {array.shape}, "
                    f"should be uint8 of rank {rank} and not empty"
                )
            return array
    raise InputError(f"{folder}: no file {names[0]}.gz (or without .gz)")


def mnist(folder: str | Path) -> Dataset:
    """MNIST, or any data set of its form, from the four idx files in ``folder``.

    The files are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same with
    ``t10k``, each gzip (``.gz``) or plain.
    """
    folder = existing_folder(folder, "train-images-idx3-ubyte.gz and the other three idx files")

    def read(part: str) -> Split:
        stem = "train" if part == "train" else "t10k"
        pixels = _idx_file(folder, f"{stem}-images", 3)
        labels = _idx_file(folder, f"{stem}-labels", 1)
        return Split(pixels[:, None], labels.astype(np.int64))

    return Dataset("mnist", read, classes="0123456789", mean=[0.1307], std=[0.3081])


def digits() -> Dataset:
    """The 1,797 handwritten 8x8 digits bundled with scikit-learn: 1,437 to train, 360 to test.

    The split is a fixed shuffle; a pixel of 16 is 1.0.

    Raises
    ------
    InputError
        scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise InputError(
            "The digits come with scikit-learn, which is missing: pip install 'termac[demo]'"
        ) from error

    def read(part: str) -> Split:
        bunch = load_digits()
        # RandomState's stream is frozen for good; that of default_rng may change.
        order = np.random.RandomState(0).permutation(len(bunch.target))
        chosen = order[DIGITS_TEST:] if part == "train" else order[:DIGITS_TEST]
        pixels = bunch.images.astype(np.uint8)[chosen, None]
        return Split(pixels, bunch.target[chosen].astype(np.int64), full_scale=16)

    return Dataset("digits", read, classes="0123456789", mean=[0.3055], std=[0.3760])
