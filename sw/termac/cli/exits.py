"""Exit codes, and the one place that turns exceptions into them and one line on stderr."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from termac.errors import DeviceError, MismatchError, TermacError, printable

__all__ = [
    "EXIT_BROKEN_PIPE",
    "EXIT_ERROR",
    "EXIT_INTERNAL",
    "EXIT_INTERRUPTED",
    "EXIT_MISMATCH",
    "EXIT_TERMINATED",
    "ReportingGroup",
    "standard_output",
]

EXIT_MISMATCH = 1
EXIT_ERROR = 2
EXIT_INTERNAL = 3
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + 13  # SIGPIPE, which not every system has
EXIT_TERMINATED = 128 + signal.SIGTERM

LONGEST = 4000
"""Characters of a message; what is longer loses its middle."""


class ReportingGroup(click.Group):
    """Turns exceptions into one line on stderr and an exit code.

    Commands let :class:`TermacError` and ``OSError`` pass. Whatever else comes out of them is a
    fault of Termac: one line and an exit code of its own, so that no script takes it for a
    disagreement of hardware and golden model.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reported(show_traceback=bool(os.environ.get("TERMAC_TRACEBACK"))):
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        show_traceback = bool(ctx.params.get("traceback"))
        with _reported(show_traceback=show_traceback), _terminable(), _held_warnings():
            return super().invoke(ctx)


@contextmanager
def _reported(*, show_traceback: bool) -> Iterator[None]:
    try:
        yield
    except (click.ClickException, click.exceptions.Exit):
        raise
    except MismatchError as error:
        _fail(str(error), EXIT_MISMATCH)
    except DeviceError as error:  # may end in lines of a log
        _fail(str(error), EXIT_ERROR, lines=True)
    except TermacError as error:
        _fail(str(error), EXIT_ERROR)
    except (KeyboardInterrupt, click.Abort):  # click would exit with 1, a mismatch here
        _fail("interrupted", EXIT_INTERRUPTED)
    except _Terminated:
        _fail("terminated", EXIT_TERMINATED)
    except BrokenPipeError:  # a reader such as `head` has seen enough
        _discard_output()
        raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if name]
        reason = error.strerror or str(error)
        _fail(": ".join([" -> ".join(names), reason] if names else [reason]), EXIT_ERROR)
    except MemoryError as error:
        _fail(f"not enough memory{f': {error}' if str(error) else ''}", EXIT_ERROR)
    except Exception as error:
        if show_traceback:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        _fail(_internal(error), EXIT_INTERNAL)


def _fail(message: str, code: int, *, lines: bool = False) -> NoReturn:
    text = printable(message, lines=lines)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    with suppress(OSError, ValueError):  # stderr may be closed or full
        click.echo(f"error: {text}", err=True)
    raise click.exceptions.Exit(code) from None


def _internal(error: Exception) -> str:
    """What nobody expected: its type, its reason and where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f for f in reversed(frames) if "termac" in f.filename), frames[-1])
    name = os.sep.join(where.filename.split(os.sep)[-2:])
    try:
        reason = f": {error}" if str(error) else ""
    except Exception:  # an exception whose own text fails
        reason = ""
    return (
        f"internal error at {name}:{where.lineno}: {type(error).__name__}{reason}; this is a fault "
        "of Termac, please report it (termac --traceback COMMAND or TERMAC_TRACEBACK=1 shows the "
        "traceback)"
    )


@contextmanager
def standard_output() -> Iterator[None]:
    """Names standard output in an error of writing to it, while it can still be told."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        _discard_output()
        raise OSError(error.errno, error.strerror, "standard output") from None


def _discard_output() -> None:
    """Let nothing that is still buffered fail once more when the interpreter ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Terminated(BaseException):
    """SIGTERM or SIGHUP."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack, so that processes and folders are cleaned up."""
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return

    def terminate(number: int, frame: Any) -> NoReturn:
        for other in numbers:  # cleaning up is not to be interrupted
            signal.signal(other, signal.SIG_IGN)
        raise _Terminated

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _held_warnings() -> Iterator[None]:
    """Warnings of libraries in one line each, after a command that succeeds.

    An error line says what is wrong; NumPy's warnings on the way there only hide it.
    """
    with warnings.catch_warnings(record=True) as caught:
        yield
    for text in dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught):
        click.echo(f"warning: {printable(text)}", err=True)
