"""Writing folders so that a failure never leaves half of one, nor deletes what is not ours."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from termac.errors import TermacError

__all__ = ["MARKER", "atomic_folder"]

MARKER = ".termac"
"""File that lists what Termac wrote into a folder: only such a folder is ever replaced."""


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
    _check(path, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise TermacError(f"{path}: cannot be written: {_reason(error)}") from None
    try:
        yield temporary
        (temporary / MARKER).write_text("".join(f"{name}\n" for name in _content(temporary)))
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        _check(path, target)
        _swap(temporary, target)
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(temporary)):
            raise  # not about this folder
        raise TermacError(f"{path}: cannot be written: {_reason(error)}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        marker = target / MARKER
        known = set(marker.read_text().splitlines()) if marker.is_file() else set()
    except (OSError, UnicodeDecodeError) as error:
        raise TermacError(f"{path}: cannot be read: {error}") from None
    for name in found:
        if name not in known:
            raise TermacError(
                f"{path}: holds {name!r}, which Termac did not write; choose an empty or new folder"
            )


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
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
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


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
