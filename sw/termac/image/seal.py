"""The files of an image folder, read and compared with their checksums before they mean anything.

The manifest holds a checksum of every other file and, in ``seal``, one of its own content. What
JSON does not tell apart, such as blanks, does not count.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch import PARAMETER, Config
from termac.errors import ImageError
from termac.files import fault_of_npy, read_plain

__all__ = ["GraphArrays", "file_limits", "read_files", "read_manifest", "seal"]

LARGEST_TEXT = 1 << 26
"""Bytes of a manifest, a graph without its arrays, or a summary."""
LARGEST_ARRAYS = 1 << 29
"""Bytes of the arrays of a graph: more than the largest weight memory holds."""


def seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a manifest without its seal."""
    content = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path, version: int) -> dict[str, Any]:
    """The manifest of a format version; its seal is yet to be compared.

    Raises
    ------
    ImageError
        If it is missing, is not JSON or is of another version.
    """
    try:
        data = read_plain(folder / "manifest.json", LARGEST_TEXT)
    except OSError as error:
        raise ImageError(
            f"{folder}: no image here, manifest.json cannot be read: {error.strerror}"
        ) from None
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        raise ImageError(f"{folder}/manifest.json is damaged: not JSON") from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if type(found) is not int or found != version:
        raise ImageError(
            f"{folder}: image format is {found!r}, this version reads {version}; compile it again"
        )
    return manifest


def file_limits(config: Config) -> dict[str, int]:
    """Files of a folder besides the manifest, and the most bytes that each can have."""
    weight_bits = config.segments * config.weight_width
    memories = {"program": (config.program_depth, 32), "taps": (config.tap_depth, 32)}
    for drain in range(config.drains):
        memories[f"weights_{drain}"] = (config.weight_depth, weight_bits)
        memories[f"parameters_{drain}"] = (config.parameter_depth, PARAMETER.width)
    limits = {}
    for name, (depth, width) in memories.items():
        limits[f"{name}.bin"] = depth * 4 * -(-width // 32)
        limits[f"{name}.mem"] = depth * (-(-width // 4) + 1)
    limits |= dict.fromkeys(("graph.json", "summary.json", "summary.txt"), LARGEST_TEXT)
    return limits | {"graph.npz": LARGEST_ARRAYS}


def read_files(folder: Path, digests: Mapping[str, str], config: Config) -> dict[str, bytes]:
    """Contents of the files that an image is made of, by name; all files are verified.

    Raises
    ------
    ImageError
        If a file is missing, unknown, larger than it can be, or not what the manifest says.
    """
    limits, files = file_limits(config), {}
    for name in (*digests, *limits):
        if name not in digests or name not in limits:
            what = "is missing" if name in limits else "is no file of an image"
            raise ImageError(f"{folder}/manifest.json is damaged: {name!r} {what}")
    for name, limit in limits.items():
        try:
            data = read_plain(folder / name, limit)
        except FileNotFoundError:
            raise ImageError(f"{folder}: file {name} is missing; compile the image again") from None
        except OSError as error:
            raise ImageError(f"{folder}: file {name} cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise ImageError(f"{folder}: checksum of {name} is wrong; compile the image again")
        if not name.endswith((".mem", ".txt")):
            files[name] = data
    return files


class GraphArrays(Mapping[str, NDArray[Any]]):
    """Arrays of ``graph.npz``, each read when it is asked for.

    Only stored members are read, so that an array takes no more memory than the file.

    Parameters
    ----------
    data : content of the file

    Raises
    ------
    ValueError
        If a member is damaged or compressed; here, or when it is read.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except Exception as error:  # BadZipFile, NotImplementedError, struct.error and others
            raise ValueError(f"not an archive: {error}") from None
        self._members = {m.filename.removesuffix(".npy"): m for m in self._archive.infolist()}
        if len(self._members) != len(self._archive.infolist()):
            raise ValueError("a member is there twice")
        self._read: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"array {name!r} is compressed")
        try:
            data = self._archive.read(member)
        except Exception as error:  # BadZipFile, zlib.error, RuntimeError, EOFError and others
            raise ValueError(f"array {name!r} cannot be read: {error}") from None
        fault = fault_of_npy(io.BytesIO(data), len(data))
        if fault:
            raise ValueError(f"array {name!r}: {fault}")
        self._read.add(name)
        return np.load(io.BytesIO(data), allow_pickle=False)

    def check_all_read(self) -> None:
        """Refuse members that nobody asked for.

        Raises
        ------
        ValueError
            Names one.
        """
        unknown = sorted(self._members.keys() - self._read)
        if unknown:
            raise ValueError(f"array {unknown[0]!r} belongs to no node of the graph")
