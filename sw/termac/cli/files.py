"""Files that users name: arrays are read with a clear error and written in one piece."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from termac.errors import ConfigError, InputError

__all__ = ["check_writable_file", "check_writable_folder", "load_array", "save_array"]


def load_array(path: Path, what: str) -> NDArray[np.generic]:
    """Read a ``.npy`` file of numbers.

    Raises
    ------
    InputError
        If the file is missing, is not an .npy file, is truncated, or holds Python objects.
    """
    if not path.is_file():
        raise InputError(f"{what} {path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with open(path, "rb") as stream:
            if stream.read(6) != b"\x93NUMPY":
                raise InputError(f"{what} {path}: not an .npy file; write it with numpy.save")
            stream.seek(0)
            array = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise InputError(
                f"{what} {path}: holds Python objects; save an array of numbers"
            ) from None
        raise InputError(f"{what} {path}: damaged or truncated .npy file") from None
    return np.asarray(array)


def check_writable_file(path: Path, option: str) -> None:
    """Fail before the work and not after it.

    Raises
    ------
    ConfigError
        If the folder of the file does not exist, is not a folder or cannot be written.
    """
    folder = path.parent
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder, must be a file")
    if not folder.exists():
        raise ConfigError(f"{option} {path}: folder {folder} does not exist; create it first")
    if not folder.is_dir():
        raise ConfigError(f"{option} {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{option} {path}: folder {folder} is not writable")


def check_writable_folder(path: Path, option: str) -> None:
    """The same for a folder that is yet to be made, with its parents.

    Raises
    ------
    ConfigError
        If it or what it would be made in is not a folder or cannot be written.
    """
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not existing.is_dir():
        what = "is a file" if existing == path else f"{existing} is a file"
        raise ConfigError(f"{option} {path}: {what}, must be a folder")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{option} {path}: folder {existing} is not writable")


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an ``.npy`` file in one piece: whoever looks sees the old file or the new one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        try:
            np.save(out, array)
            out.close()
            os.chmod(out.name, 0o666 & ~_umask())
            os.replace(out.name, path)
        except BaseException:
            os.unlink(out.name)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
