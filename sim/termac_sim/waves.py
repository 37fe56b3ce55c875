"""Recorded signals: which format a file name asks for, and what a build needs to write it.

FST, the format of GTKWave, keeps what VCD keeps in a fraction of the bytes. Verilator's writer of
it includes the headers of two compression libraries, which are rarely installed: this package
brings the few functions that it calls.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from termac.errors import ConfigError, DeviceError

from termac_sim.launch import verilator_folder

__all__ = ["FORMATS", "prepare_build", "trace_arguments", "wave_format"]

FORMATS = ("fst", "vcd")
"""Suffixes of wave files, without the dot."""

_HEADERS = tuple(Path(__file__).parent / "fst" / name for name in ("lz4.h", "zlib.h"))
_ARCHIVES = ("liblz4.a", "libz.a")
_EMPTY_ARCHIVE = b"!<arch>\n"


def wave_format(path: Path) -> str:
    """``"fst"`` or ``"vcd"``, as the name ends.

    Raises
    ------
    ConfigError
        If the name ends otherwise.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise ConfigError(
            f"--waves {path}: must end in .fst, or in .vcd for a file many times as large"
        )
    return suffix


def trace_arguments(waves: str) -> list[str]:
    """Arguments of Verilator for a format; none for ``""`` and ``"vcd"``.

    They change whenever the headers do, so that nothing that was compiled with others is reused.

    Raises
    ------
    ValueError
        If there is no such format.
    """
    if waves not in ("", *FORMATS):
        raise ValueError(f"waves must be '', 'fst' or 'vcd', not {waves!r}")
    if waves != "fst":
        return []
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in _HEADERS)).hexdigest()
    return ["--trace-fst", "-CFLAGS", f"-DTERMAC_FST=0x{digest[:8]}", "-LDFLAGS", "-L."]


def prepare_build(folder: Path, waves: str) -> None:
    """Put into the folder of a build what Verilator's FST writer includes and links.

    Raises
    ------
    DeviceError
        If this Verilator is an old one, whose writer needs all of zlib, and zlib is not installed.
    """
    if waves != "fst":
        return
    if not (_verilator_root() / "include" / "fstcpp").is_dir():
        _check_zlib()
        return
    for header in _HEADERS:
        shutil.copyfile(header, folder / header.name)
    for name in _ARCHIVES:  # Verilator's makefile links them; the headers hold all functions
        (folder / name).write_bytes(_EMPTY_ARCHIVE)


def _verilator_root() -> Path:
    program = verilator_folder() / "verilator"
    command = [str(program), "--getenv", "VERILATOR_ROOT"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(told.stdout.strip())


def _check_zlib() -> None:
    command = ["c++", "-E", "-x", "c++", "-"]
    text = "#include <zlib.h>\n"
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except OSError:
        return  # no compiler: the build says so
    if done.returncode:
        raise DeviceError(
            "waves in FST need the header zlib.h with this Verilator, which is missing (Debian: "
            "zlib1g-dev); install it or a newer Verilator, or give the file the suffix .vcd"
        )
