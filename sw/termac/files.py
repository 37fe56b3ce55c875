"""Files and folders that users name: read with a clear error, written in one piece.

A failure never leaves half of a file or folder, nor deletes what is not ours.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import reprlib
import shutil
import socket
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from termac.errors import ConfigError, InputError, TermacError

__all__ = [
    "MARKER",
    "atomic_folder",
    "check_writable_file",
    "check_writable_folder",
    "fault_of_npy",
    "load_array",
    "open_plain",
    "read_plain",
    "save_array",
    "temporary_folder",
]

MARKER = ".termac"
"""File that lists what Termac wrote into a folder, with checksums: only that is ever replaced."""


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``path`` if the block ends without error.

    Examples
    --------
    ::

        with atomic_folder("out") as folder:
            (folder / "a.txt").write_text("a")

    An absent or empty folder is taken; a folder that Termac wrote before is replaced as a whole,
    as long as nothing was added to it. The new folder also gets a file :data:`MARKER`.

    Raises
    ------
    TermacError
        If ``path`` is a file, is or contains the working directory, holds anything that Termac
        did not write, or if it cannot be written. It then is as it was before.
    """
    target = Path(os.path.realpath(path))
    _restore(target)
    _check(path, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _make_temporary(f".{target.name}.", target.parent)
    except OSError as error:
        raise TermacError(f"{path}: cannot be written: {_reason(error)}") from None
    try:
        yield temporary
        written = {name: _fingerprint(temporary / name) for name in _content(temporary)}
        (temporary / MARKER).write_text(json.dumps(written, indent=0) + "\n")
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        _check(path, target)
        _swap(temporary, target)
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(temporary)):
            raise  # not about this folder
        raise TermacError(f"{path}: cannot be written: {_reason(error)}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_plain(path: str | Path) -> BufferedReader:
    """Open a file for reading, unless it is a device, a pipe or a folder.

    Raises
    ------
    OSError
        As ``open``, and if what is there is no plain file. Names the file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return open(descriptor, "rb")


def read_plain(path: str | Path, largest: int) -> bytes:
    """Content of a plain file of at most ``largest`` bytes.

    Raises
    ------
    OSError
        As :func:`open_plain`, and if the file is larger.
    """
    with open_plain(path) as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"larger than {largest:,} bytes", str(path))
    return data


def load_array(path: Path, what: str) -> NDArray[np.generic]:
    """Read a ``.npy`` file of numbers.

    Raises
    ------
    InputError
        If the file is missing, is not an .npy file, is not as long as its header says, or holds
        anything but numbers.
    """
    if not path.is_file():
        raise InputError(f"{what} {path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with open_plain(path) as stream:
            if stream.read(6) != b"\x93NUMPY":
                raise InputError(f"{what} {path}: not an .npy file; write it with numpy.save")
            stream.seek(0)
            reason = fault_of_npy(stream, os.fstat(stream.fileno()).st_size)
            if reason:
                raise InputError(f"{what} {path}: {reason}")
            stream.seek(0)
            return np.asarray(np.load(stream, allow_pickle=False))
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be read: {_reason(error)}") from None


def fault_of_npy(stream: BinaryIO, size: int) -> str:
    """What is wrong with an .npy file of a size, or nothing; before anything is allocated."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]  # later ones are for names of fields only
        with warnings.catch_warnings(action="ignore"):
            shape, _, dtype = read_header(stream)
    except Exception as error:  # a header is Python: SyntaxError, TokenError, TypeError and so on
        name = (str(error).splitlines() or [type(error).__name__])[0]
        return f"damaged .npy file: its header cannot be read ({name})"
    if dtype.hasobject:
        return "holds Python objects; save an array of numbers"
    if dtype.kind not in "biufc":
        return f"is of type {dtype}, must be floating point or integer"
    if any(type(axis) is not int or not 0 <= axis < 1 << 63 for axis in shape):
        return f"damaged .npy file: shape {reprlib.repr(shape)} is impossible"
    wanted = math.prod(shape) * dtype.itemsize
    found = size - stream.tell()
    if found != wanted or math.prod(axis for axis in shape if axis) >= 1 << 63:
        less = "truncated" if found < wanted else "damaged"
        return (
            f"damaged or truncated .npy file ({less}): shape {shape} of {dtype} takes {wanted:,} "
            f"bytes, the file has {found:,}"
        )
    return ""


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
    """Fail before the work if :func:`atomic_folder` would refuse a folder after it.

    Raises
    ------
    ConfigError
        If it or what it would be made in is not a folder or cannot be written.
    TermacError
        If it holds anything that Termac did not write.
    """
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not existing.is_dir():
        what = "is a file" if existing == path else f"{existing} is a file"
        raise ConfigError(f"{option} {path}: {what}, must be a folder")
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{option} {path}: folder {existing} is not writable")
    _check(path, Path(os.path.realpath(path)))


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an ``.npy`` file in one piece: whoever looks sees the old file or the new one."""
    try:
        with temporary_folder(f".{path.name}.", path.parent) as folder:
            np.save(folder / "array.npy", array)
            os.replace(folder / "array.npy", path)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {_reason(error)}", str(path)) from None


def _check(path: str | Path, target: Path) -> None:
    """Refuse to replace anything that Termac did not write."""
    if not os.path.exists(target):  # False, unlike Path.exists, where we may not look
        return
    if not target.is_dir():
        raise TermacError(f"{path}: exists and is not a folder; choose another name")
    if Path.cwd().is_relative_to(target):
        raise TermacError(f"{path}: is or contains the working directory; choose another folder")
    try:
        found = _content(target)
        known = _marked(target)
        for name in found:
            if name not in known:
                what = "which Termac did not write"
            elif known[name] != _fingerprint(target / name):
                what = "which is not what Termac wrote there"
            else:
                continue
            raise TermacError(f"{path}: holds {name!r}, {what}; choose an empty or new folder")
    except OSError as error:
        raise TermacError(f"{path}: cannot be read: {error}") from None


def _marked(folder: Path) -> dict[str, str]:
    """What a marker says was written: a name alone would delete whatever has that name."""
    try:
        known = json.loads(read_plain(folder / MARKER, 1 << 24))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _fingerprint(path: Path) -> str:
    """Tells apart what was written from what has the same name."""
    if path.is_symlink():
        return f"link {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    with open_plain(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content(folder: Path) -> list[str]:
    """Every file, and every folder that holds none, relative to ``folder``; without the marker."""
    names = []
    for entry in sorted(folder.rglob("*")):
        is_folder = entry.is_dir() and not entry.is_symlink()
        if not (is_folder and any(entry.iterdir())):
            names.append(entry.relative_to(folder).as_posix())
    return [name for name in names if name != MARKER]


def _swap(temporary: Path, target: Path) -> None:
    """Put ``temporary`` in the place of ``target``; on failure ``target`` stays."""
    if not target.exists():
        temporary.rename(target)
        return
    aside = _make_temporary(f".{target.name}.", target.parent)
    old = aside / "old"
    try:
        target.rename(old)
        temporary.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


# --- Temporary folders ---------------------------------------------------------------------------


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A private folder that is gone after the block.

    Folders of the same prefix whose process was killed are removed before.

    Parameters
    ----------
    prefix : start of its name
    parent : where it is made; the system's folder for temporary files if absent

    Raises
    ------
    OSError
        Always with a file name: of the folder, if nothing else is known.
    """
    folder = _make_temporary(prefix, parent or Path(tempfile.gettempdir()))
    try:
        yield folder
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(folder)) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_temporary(prefix: str, parent: Path) -> Path:
    for folder in _left_behind(prefix, parent):
        shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-{_boot()}-", dir=parent))


def _restore(target: Path) -> None:
    """Put back what a killed process had moved aside and not yet replaced."""
    if os.path.lexists(target):
        return
    for folder in _left_behind(f".{target.name}.", target.parent):
        with suppress(OSError):
            (folder / "old").rename(target)
            return


def _left_behind(prefix: str, parent: Path) -> list[Path]:
    """Temporary folders of ours whose process is gone."""
    pattern = re.compile(rf"{re.escape(prefix)}(\d{{1,9}})-{_boot()}-\w+")
    with suppress(OSError):
        found = [(entry, pattern.fullmatch(entry.name)) for entry in parent.iterdir()]
        return [entry for entry, match in found if match and not _is_running(int(match[1]))]
    return []


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


@cache
def _boot() -> str:
    """Process numbers mean something to this machine, or container, since it was started."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink(
            "/proc/self/ns/pid"
        )
    except OSError:
        boot = socket.gethostname()
    return hashlib.sha256(boot.encode()).hexdigest()[:8]


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
