"""Options that have a form of their own, or that commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from termac.compress.terms.allowance import Allowance

__all__ = ["SelectsOption", "TermChoice", "TermOption", "labels_option", "test_option"]


_Command = TypeVar("_Command", bound=Callable[..., Any])


def labels_option(what: str) -> Callable[[_Command], _Command]:
    """``--labels Y.npy``; the command gets its path as ``labels_path``."""
    return click.option(
        "--labels",
        "labels_path",
        metavar="Y.npy",
        type=click.Path(path_type=Path),
        help=f"Print accuracy on {what}. One class number a sample, or the right outputs.",
    )


def test_option(help_text: str) -> Callable[[_Command], _Command]:
    """``--test X.npy``; the command gets its path as ``test_path``."""
    return click.option(
        "--test",
        "test_path",
        metavar="X.npy",
        type=click.Path(path_type=Path),
        help=help_text,
    )


class SelectsOption(click.ParamType):
    """``auto``, or a number from 1."""

    name = "selects"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        if value == "auto" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither 'auto' nor a number", param, ctx)


@dataclass(frozen=True)
class TermChoice:
    """What ``--terms`` asks for.

    Parameters
    ----------
    weights : terms of a group
    group : weights of a group, None with "auto"
    data : terms of an activation, 0 if not given
    """

    weights: int = 0
    group: int | None = None
    data: int = 0

    @property
    def allowance(self) -> Allowance | Literal["auto"]:
        """The same, for the library."""
        from termac.compress.terms.allowance import Allowance

        return "auto" if self.group is None else Allowance(self.weights, self.data)


class TermOption(click.ParamType):
    """``auto``, ``k/g`` or ``k/g,s``."""

    name = "terms"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> TermChoice:
        if isinstance(value, TermChoice):
            return value
        if value == "auto":
            return TermChoice()
        parts = re.fullmatch(r"(-?\d{1,9})/(-?\d{1,9})(?:,(-?\d{1,9}))?", value)
        if parts is None:
            self.fail(
                f"{value!r} is neither 'auto' nor k/g or k/g,s: k terms for a group of g weights, "
                "s terms for an activation",
                param,
                ctx,
            )
        weights, group, data = parts.groups()
        if data is not None and int(data) == 0:
            self.fail(f"{value!r}: an activation must keep a term at least", param, ctx)
        return TermChoice(int(weights), int(group), int(data or 0))
