"""Fast, cached Verilator builds for cocotb.

Three things make a thousand cells simulate at full speed: only the handles that a bench needs are
public (cocotb's default, everything public, is several times slower to build and to run), unknowns
get whatever value is cheapest, and the C++ compiler runs with ``-O1``, which for Verilator's output
is both the fastest code and the fastest build.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import cocotb_tools.config
from termac.errors import DeviceError
from termac.files import temporary_folder
from termac_hw.emit import WAIVERS

from termac_sim.cache import UNFIT, cache_folder, make_private
from termac_sim.launch import last_lines, launch, verilator_folder
from termac_sim.tools import check_tools
from termac_sim.waves import prepare_build, trace_arguments

__all__ = ["BUILD_ARGUMENTS", "build", "control_file"]

BUILD_ARGUMENTS = (
    "--no-public-flat-rw",  # undoes what cocotb's runner puts before these arguments
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "-Wno-lint",  # tests lint the same Verilog with -Wall
    "-Wno-style",
)

_COVERAGE = ("--coverage-line", "--coverage-toggle")

_MAKEFLAGS = (
    "CFG_CXXFLAGS_PCH_I=-include "  # the wheel leaves it empty, then large designs do not compile
    "OPT_FAST=-O1 OPT_GLOBAL=-O2"
)
_KEPT_BUILDS = 24
_OFTEN = 8

_OBJECT_CACHE = """\
#!/bin/sh
# Compiler prefix: the objects of Verilator's runtime are the same for every design.
for source; do :; done
case $source in
*/include/verilated*.cpp) ;;
*) exec "$@" ;;
esac
object=${source##*/}
object=${object%.cpp}.o
cached=$(dirname "$0")/$(printf '%s\\n' "$@" | cksum | tr ' ' -)-$object
[ -f "$cached" ] && exec cp "$cached" "$object"
"$@" && cp "$object" "$cached.$$" && mv "$cached.$$" "$cached"
"""


def build(
    verilog: str,
    top: str,
    public: Iterable[tuple[str, str]] = (),
    *,
    coverage: bool = False,
    waves: str = "",
) -> Path:
    """Compile a simulator for one design, or find it in the cache.

    Parameters
    ----------
    verilog : str
        All modules, as :func:`termac_hw.emit.emit.emit_verilog` writes them.
    top : str
        Name of the top module. Its ports are always accessible to the bench.
    public : iterable of (module, variable)
        Registers, nets and memories below the ports that the bench accesses.
    coverage : bool
        Count executed lines and toggled bits; every run writes ``coverage.dat``. Slower.
    waves : "", "fst" or "vcd"
        Allow ``run_bench(..., waves=True)``; slower. It then writes ``dump.fst`` or ``dump.vcd``.

    Returns
    -------
    Path
        Folder for :func:`termac_sim.runner.run_bench`. Never changed once it exists, so any number
        of processes may build and use the same one.

    Raises
    ------
    ValueError
        If a public variable does not occur in its module, which Verilator would ignore silently,
        or the format of waves is unknown.
    DeviceError
        If Verilator or the C++ compiler fails; shows the end of the log.
    """
    control = control_file(verilog, top, public)
    arguments = [*BUILD_ARGUMENTS, *(_COVERAGE if coverage else ()), *trace_arguments(waves)]
    key = _key(verilog, top, control, *arguments, f"waves={waves}")
    folder = cache_folder() / "simulators" / key
    if _is_whole(folder):
        with suppress(OSError):  # a cache that cannot be written is as good for reading
            os.utime(folder)
        return folder
    check_tools()
    make_private(folder.parent)
    with temporary_folder("building-", folder.parent) as work:
        _compile(work, verilog, top, control, arguments, waves)
        information = {"top": top, "waves": waves, "coverage": coverage, "files": _digests(work)}
        (work / "build.json").write_text(json.dumps(information))
        with temporary_folder("replaced-", folder.parent) as damaged:
            if folder.exists() and not _is_whole(folder):
                folder.rename(damaged / "old")
            try:
                work.rename(folder)
            except OSError:  # another process was faster
                if not _is_whole(folder):
                    raise
    _prune(folder.parent)
    return folder


def _digests(folder: Path) -> dict[str, str]:
    """Checksums of the files of a build."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != "build.json"
    }


def _is_whole(folder: Path) -> bool:
    """Whether a build is there, and still as it was made; older ones do not tell."""
    try:
        information = json.loads((folder / "build.json").read_text())
        return information.get("files") in (None, _digests(folder))
    except (OSError, ValueError, AttributeError):
        return False


def control_file(verilog: str, top: str, public: Iterable[tuple[str, str]]) -> str:
    """Verilator control file: the top's ports and the listed variables public, rows not inlined."""
    modules = dict(re.findall(r"^module (\w+)(.*?)^endmodule", verilog, re.M | re.S))
    if top not in modules:
        raise ValueError(f"The Verilog has no module {top!r}; it has {', '.join(modules)}")
    ports = re.findall(r"^ *(?:input|output)\b[^,;=/]*?(\w+)(?: =|[,;]|$| +//)", modules[top], re.M)
    wanted = dict.fromkeys([(top, port) for port in ports] + list(public))
    lines = ["`verilator_config"]
    for module, variable in wanted:
        if module not in modules:
            raise ValueError(f"The Verilog has no module {module!r}; it has {', '.join(modules)}")
        declaration = rf"^ *(?:input|output|wire|reg)\b.*?\b{variable}\b"
        is_port = module == top and variable in ports
        if not is_port and not re.search(declaration, modules[module], re.M):
            raise ValueError(f"Module {module!r} has no variable {variable!r}")
        lines.append(f'public_flat_rw -module "{module}" -var "{variable}"')
    lines += [f'no_inline -module "{module}"' for module in _repeated(modules)]
    return "\n".join(lines) + "\n"


def _repeated(modules: dict[str, str]) -> list[str]:
    """Modules that are placed often and have children, such as a row of cells.

    One C++ function for all of them compiles in half the time; one per cell would run slowly.
    """
    placed = Counter(
        name
        for text in modules.values()
        for name in re.findall(r"^  (\w+) \w+ \($", text, re.M)
        if name in modules
    )
    return [
        name
        for name, text in modules.items()
        if placed[name] >= _OFTEN and re.search(r"^  \w+ \w+ \($", text, re.M)
    ]


def _compile(
    work: Path, verilog: str, top: str, control: str, arguments: list[str], waves: str
) -> None:
    (work / f"{top}.v").write_text(verilog)
    (work / "public.vlt").write_text(control)
    shutil.copyfile(WAIVERS, work / WAIVERS.name)
    prepare_build(work, waves)
    log = work / "build.log"
    sources = [str(work / name) for name in ("public.vlt", WAIVERS.name, f"{top}.v")]
    code = launch(
        "build",
        {
            "sources": sources,
            "hdl_toplevel": top,
            "build_dir": str(work),
            "build_args": arguments,
            "timescale": ["1ns", "1ps"],
            "waves": bool(waves),
        },
        log=log,
        environment={"MAKEFLAGS": _makeflags()},
    )
    if code or not (work / top).is_file():
        kept = cache_folder() / "failed-build.log"
        shutil.copyfile(log, kept)
        raise DeviceError(
            f"the simulator of {top} does not build; end of {kept}:\n{last_lines(log)}"
        )
    for path in work.iterdir():  # objects and C++ sources are most of the size
        if path.suffix in (".o", ".a", ".cpp", ".h", ".d", ".gch", ".mk", ".dat"):
            path.unlink()


def _makeflags() -> str:
    """Variables for Verilator's makefile; a cache of runtime objects saves most of a small build.

    A path of Python with a space cannot be passed on; the build then works without it.
    """
    flags = _MAKEFLAGS
    folder = cache_folder() / "objects" / hashlib.sha256(_tools().encode()).hexdigest()[:16]
    script = folder / "compile"
    if not script.is_file():
        make_private(folder)
        draft = folder / f"compile.{os.getpid()}"
        draft.write_text(_OBJECT_CACHE)
        draft.chmod(0o755)
        draft.rename(script)
    for variable, path in (("OBJCACHE", str(script)), ("PYTHON3", sys.executable)):
        if not UNFIT.search(path):
            flags += f" {variable}={path}"
    return flags


def _tools() -> str:
    """Which Verilator there is."""
    program = verilator_folder() / "verilator"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return f"{program}\0{told.stdout}\0{platform.machine()}"


def _key(*parts: str) -> str:
    """SHA-256 of everything that decides what a build is."""
    facts = (
        _tools(),
        version("cocotb"),
        str(cocotb_tools.config.libs_dir),  # its path is linked into the program
        _MAKEFLAGS,
        WAIVERS.read_text(),
    )
    return hashlib.sha256("\0".join((*parts, *facts)).encode()).hexdigest()


def _prune(folder: Path) -> None:
    """Keep the builds that were used last."""

    def used(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:
            return 0.0

    builds = [
        path for path in folder.iterdir() if not path.name.startswith(("building-", "replaced-"))
    ]
    for path in sorted(builds, key=used, reverse=True)[_KEPT_BUILDS:]:
        shutil.rmtree(path, ignore_errors=True)
