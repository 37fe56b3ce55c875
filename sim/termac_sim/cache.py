"""Where simulators are kept: a folder that is private and whose name make can take."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import warnings
from pathlib import Path

from termac.errors import DeviceError

__all__ = ["UNFIT", "cache_folder", "make_private"]

UNFIT = re.compile(r"[^\w./+@%:,~-]")
"""What make or a shell would take apart in a path."""


def cache_folder() -> Path:
    """Folder for everything that can be made again: ``$XDG_CACHE_HOME/termac``, ``~/.cache``.

    Make and Verilator cannot take paths with spaces: then a private folder of the system's folder
    for temporary files takes its place, with a warning.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "termac"
    if not UNFIT.search(str(folder)):
        return folder
    fallback = Path(tempfile.gettempdir()) / f"termac-cache-{os.getuid()}"
    warnings.warn(
        f"the cache {folder} has a name that make cannot take; {fallback} is used instead, set "
        "XDG_CACHE_HOME to choose another",
        stacklevel=2,
    )
    return fallback


def make_private(folder: Path) -> None:
    """Make a folder of the cache that nobody else can read or write, whatever the umask.

    Raises
    ------
    DeviceError
        If it cannot be made, or belongs to somebody else.
    """
    top = cache_folder()
    try:
        top.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        top.mkdir(mode=0o700, exist_ok=True)
        if top.is_symlink() and top.parent == Path(tempfile.gettempdir()):
            raise OSError(errno.EPERM, "is a link", str(top))
        os.chmod(top, 0o700)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(
            f"the cache {top} cannot be written: {error.strerror}; set XDG_CACHE_HOME to a folder "
            "of your own"
        ) from None
