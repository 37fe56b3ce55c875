"""Where people read: a console that prints names as they are, and progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from termac.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Advance", "plain_console", "progress"]

QUIET_SECONDS = 3.0
"""Shorter work is not announced, unless there is a terminal."""
LINE_SECONDS = 10.0
"""Between two lines of progress."""

Advance = Callable[[int, int, str], None]
"""Reports progress: what is done, of how much, and what is going on."""


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
