"""The part of ``termac pack`` that rounds weights to terms: options, rounding, table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from termac.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from termac.arch import Config
    from termac.compress.terms.layer import TermLayer
    from termac.compress.terms.network import TermNetwork
    from termac.graph import Graph
    from termac.graph.floating import FloatGraph
    from termac.image import Image
    from termac.terms.budget import TermBudget

__all__ = [
    "MAX_LOSS",
    "TermChoice",
    "TermOption",
    "check_companions",
    "check_terms",
    "fit_chosen",
    "term_rows",
    "trained_budgets",
]

MAX_LOSS = 0.02
"""Bound of ``--terms auto``, if none is given."""


@dataclass(frozen=True)
class TermChoice:
    """What ``--terms`` asks for.

    Parameters
    ----------
    weights : terms of a group
    group : weights of a group
    data : terms of an activation, 0 if not given
    is_auto : as many as each layer needs
    """

    weights: int = 0
    group: int = 0
    data: int = 0
    is_auto: bool = False


class TermOption(click.ParamType):
    """``auto``, ``k/g`` or ``k/g,s``."""

    name = "terms"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> TermChoice:
        if isinstance(value, TermChoice):
            return value
        if value == "auto":
            return TermChoice(is_auto=True)
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


def check_terms(choice: TermChoice, config: Config) -> None:
    """Refuse what the cells of a configuration cannot keep.

    Raises
    ------
    ConfigError
    """
    from termac.compress.terms.allowance import Allowance, check_allowance, check_cell

    check_cell(config, None if choice.is_auto else choice.group)
    if not choice.is_auto:
        allowance = Allowance(choice.weights, choice.data)
        check_allowance(allowance, splits_data=config.kind.splits_data)


def check_companions(choice: TermChoice | None, *, combine: bool, encoding: str | None) -> None:
    """Refuse options that contradict ``--terms``, or mean nothing without it.

    Raises
    ------
    ConfigError
    """
    if choice is None:
        if encoding is not None:
            raise ConfigError("--encoding goes with --terms: it says how activations are split")
    elif combine:
        raise ConfigError("--terms does not go with --combine: cells keep terms or a weight")


def trained_budgets(model: FloatGraph, config: Config) -> Mapping[str, TermBudget]:
    """Budgets that a model was trained for; none, with a note, if the cells cannot keep to them."""
    from termac.graph.floating import FloatConv
    from termac.terms.budget import read_budgets

    filters = {n.name: len(n.weights) for n in model.nodes if isinstance(n, FloatConv)}
    budgets = read_budgets(model.properties, filters)
    splits = any(budget.terms is not None and budget.terms.data for budget in budgets.values())
    if budgets and (not config.kind.keeps_terms or (splits and not config.kind.splits_data)):
        model.notes.append(
            f"the model was trained for few terms, which the {config.cell!r} cells of config "
            f"{config.name!r} cannot keep to: its budgets are not used"
        )
        return {}
    return budgets


def fit_chosen(
    model: FloatGraph,
    graph: Graph,
    samples: NDArray[np.generic],
    config: Config,
    choice: TermChoice,
    *,
    max_loss: float | None = None,
    encoding: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> TermNetwork:
    """Round the weights of a quantized network as ``--terms`` asks.

    The first and depthwise convolutions keep practically all terms where cells split activations,
    as published.

    Raises
    ------
    ConfigError
        If the cells of the configuration cannot keep what was asked for.
    """
    from termac.compress.terms.allowance import MORE, Allowance
    from termac.compress.terms.network import fit_terms

    check_terms(choice, config)
    splits_data = config.kind.splits_data
    if encoding is not None and not splits_data:
        raise ConfigError(
            f"config {config.name!r} takes whole activations: --encoding means nothing to it"
        )
    return fit_terms(
        model,
        graph,
        samples,
        lanes=config.lanes,
        allowance="auto" if choice.is_auto else Allowance(choice.weights, choice.data),
        shared=not splits_data,
        max_loss=MAX_LOSS if max_loss is None else max_loss,
        encoding=encoding or "naf",
        more=MORE if splits_data and not choice.is_auto else None,
        progress=progress,
    )


def term_rows(layers: Sequence[TermLayer], image: Image | None = None) -> list[dict[str, Any]]:
    """One record per convolution; with an image also the cycles of its layer."""
    rows = []
    for layer in layers:
        row = layer.record()
        if image is not None:
            info = next(info for info in image.layers if layer.node in info.nodes)
            row["cycles"] = info.cycles
        rows.append(row)
    return rows
