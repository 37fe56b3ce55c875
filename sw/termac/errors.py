"""Errors meant for the user: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CapacityError",
    "ConfigError",
    "DeviceError",
    "ImageError",
    "InputError",
    "InputWarning",
    "MismatchError",
    "ModelError",
    "TermacError",
    "did_you_mean",
    "printable",
]


class TermacError(Exception):
    """Base of all errors that the command line prints as one line, exit code 2."""


class ConfigError(TermacError):
    """An unknown preset, key or value, or a configuration that cannot be built."""


class ModelError(TermacError):
    """A model file that cannot be read or holds something unsupported; names the node."""


class InputError(TermacError):
    """Input or calibration data of the wrong shape, type or content."""


class InputWarning(UserWarning):
    """Input data that can be used, but hardly is what was meant."""


class CapacityError(TermacError):
    """A network that does not fit the memories of a configuration; says by how much.

    Parameters
    ----------
    fact : what does not fit
    advice : what to do about it, for the end of the message
    """

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(f"{fact}; {advice}" if advice else fact)
        self.fact = fact


class ImageError(TermacError):
    """An image folder that is incomplete, damaged or made for another configuration."""


class DeviceError(TermacError):
    """The accelerator (or its simulator) reported an error."""


class MismatchError(TermacError):
    """Device and golden model disagree; names layer, tile, channel, pixel and values."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` if a known name is close to what was given, else ``""``."""
    by_lower = {entry.lower(): entry for entry in known}
    found = get_close_matches(name.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[found[0]]!r}?)" if found else ""


def printable(text: str, *, lines: bool = False) -> str:
    """Text for a terminal: control and format characters as escapes such as ``\\x1b``.

    Names come from files of others; a line feed or a terminal escape in one must not look like
    output of ours. ``lines``: line feeds stay.

    Examples
    --------
    >>> printable("conv\x1b[2J")
    'conv\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or (lines and c == "\n") else c.encode("unicode_escape").decode()
        for c in text
    )
