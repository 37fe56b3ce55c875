"""What all commands do with doubtful data: a line on stderr, or an error with ``--strict``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from termac.errors import InputError

__all__ = ["strict_option", "warn"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def strict_option(command: _Command) -> _Command:
    """Add ``--strict``; the command hands it to :func:`warn`."""
    return click.option("--strict", is_flag=True, help="Warnings are errors.")(command)


def warn(findings: Sequence[str], *, strict: bool) -> None:
    """One line on stderr for each finding.

    Raises
    ------
    InputError
        If ``strict`` and there is a finding: the first, and how many more there are.
    """
    if strict and findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise InputError(f"{findings[0]}{more}")
    for finding in findings:
        click.echo(f"warning: {finding}", err=True)
