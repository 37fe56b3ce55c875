"""What makes a network fit that does not: ways out that were tried, not guessed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from termac.arch import Config, load_config, preset_names
from termac.arch.cells import TERMS
from termac.compile import Grouping, compile_graph
from termac.compress.terms.allowance import MORE, Allowance, more_for, needs_more
from termac.errors import CapacityError
from termac.graph import Conv, Graph, Terms
from termac.image import channel_groups
from termac.image.summary import memory_rows
from termac.terms.digits import limit
from termac.terms.schedule import HIGHEST, spread
from termac.terms.slots import fill

__all__ = ["listed", "roomy", "ways_out"]

_DEPTHS = {
    "activations": ("activation_depth", 1 << 16),
    "weights": ("weight_depth", 1 << 20),
    "parameters": ("parameter_depth", 1 << 16),
    "program": ("program_depth", 1 << 16),
    "taps": ("tap_depth", 1 << 16),
}
"""Key and largest value of every memory of a configuration."""
_Squeeze = Callable[[Graph, Config, int], Graph]
_USUAL_TERMS = 8
_COMPRESSIBLE = ("weights", "taps", "program")
"""Memories that pruning or rounding relieves."""


def roomy(config: Config) -> Config:
    """A configuration with the largest memories that there can be."""
    return _deeper(config, dict(_DEPTHS.values()))


def _deeper(config: Config, depths: Mapping[str, int]) -> Config:
    return replace(config, **depths)  # type: ignore[arg-type]


def ways_out(
    graph: Graph, config: Config, *, grouping: Grouping | None = None, options: bool = True
) -> list[str]:
    """What a network that does not fit a configuration fits with, the cheapest first.

    Everything is compiled before it is named: first what needs no other hardware, then presets,
    then the same configuration with larger memories. Weights are pruned or rounded greedily for
    that, because how much memory a layer needs does not depend on which weights stay. Pruning
    proper may fit with one weight more, as it shares them among the words of a layer.

    Parameters
    ----------
    graph : Graph
        In integers, neither pruned nor rounded to terms.
    config : Config
    grouping : Grouping, optional
        Formats to keep to.
    options : bool
        The network can still be pruned or rounded by options of ``termac pack``.

    Returns
    -------
    list of str
        Options of ``termac pack``, or keys of a configuration with their values; empty if
        nothing helps.
    """
    found: list[str] = []
    short = _short_memories(graph, config, grouping)
    options = options and not any(isinstance(n, Conv) and n.terms for n in graph.nodes)
    if options and (not short or set(short) & set(_COMPRESSIBLE)):
        found += _compressed(graph, config)
    found += _preset(graph, config, grouping, options=options)
    return found + _deeper_memories(graph, config, grouping, short)


def _deeper_memories(
    graph: Graph, config: Config, grouping: Grouping | None, short: Mapping[str, int] | None
) -> list[str]:
    """The depths that make a network fit, as one entry, or nothing if no depths do."""
    if not short:
        return []
    depths = {_DEPTHS[memory][0]: words for memory, words in short.items()}
    if not _fits(graph, grouping, _deeper(config, depths)):  # smaller ones make other formats
        return []
    values = " and ".join(f"{key} = {words}" for key, words in depths.items())
    return [f"a configuration with {values}"]


def _fits(graph: Graph, grouping: Grouping | None, config: Config) -> bool:
    with contextlib.suppress(CapacityError):
        compile_graph(graph, config, grouping=grouping)
        return True
    return False


def _short_memories(
    graph: Graph, config: Config, grouping: Grouping | None
) -> dict[str, int] | None:
    """Words needed of every memory that is too small; None if the largest ones are."""
    try:
        image = compile_graph(graph, roomy(config), grouping=grouping)
    except CapacityError:
        return None
    used = {row["memory"]: row["used"] for row in memory_rows(image)}
    return {
        memory: used[memory]
        for memory, (key, _) in _DEPTHS.items()
        if used[memory] > getattr(config, key)
    }


def _compressed(graph: Graph, config: Config) -> list[str]:
    """The option with the largest number that makes a network fit, or nothing."""
    squeeze: _Squeeze
    if config.kind.terms:
        squeeze, first, most = _to_terms, _USUAL_TERMS, TERMS
        option = f"--terms {{}}/{config.lanes}" + (",2" if config.kind.data_terms else "")
    elif config.kind.combines and config.lanes > 1:
        squeeze, first, most = _pruned, config.lanes // 2, config.lanes - 1
        option = "--combine {}"
    else:
        return []
    for number in _candidates(graph, config, squeeze, first, most):
        if _fits(squeeze(graph, config, number), None, config):
            return [option.format(number)]
    return []


def _candidates(
    graph: Graph, config: Config, squeeze: _Squeeze, first: int, most: int
) -> Iterator[int]:
    """Numbers to try, falling, from about where the need grows beyond the memory."""
    short = memory_rows(compile_graph(squeeze(graph, config, first), roomy(config)))
    room = min(
        getattr(config, _DEPTHS[row["memory"]][0]) / row["used"]
        for row in short
        if row["memory"] in _COMPRESSIBLE
    )
    start = min(most, int(first * room) + 2)
    yield from range(start, max(0, start - 6), -1)


def _to_terms(graph: Graph, config: Config, terms: int) -> Graph:
    """The network with so many terms for each group of weights, taken greedily."""
    return _with_weights(graph, lambda node: _terms_of(node, graph, config, terms))


def _terms_of(node: Conv, graph: Graph, config: Config, terms: int) -> Conv:
    weights = node.weights
    channels = weights.shape[3]
    padded = np.pad(weights, ((0, 0), (0, 0), (0, 0), (0, -channels % config.lanes)))
    groups = padded.reshape(-1, config.lanes)
    if config.kind.data_terms:
        allowance = Allowance(terms, 2)
        if needs_more(weights, is_first=node.input == graph.input):
            allowance = more_for(MORE, weights)
        kept = limit(groups, group=config.lanes, budget=allowance.weights)
        budget = Terms(weights=allowance.weights, data=allowance.data)
    else:
        budget = Terms(weights=terms, exponents=spread(terms, min(terms, HIGHEST + 1)))
        coefficients, lanes = fill(groups, budget.exponents)
        kept = np.zeros(groups.shape, np.int64)
        for slot, exponent in enumerate(budget.exponents):
            kept[np.arange(len(kept)), lanes[:, slot]] += (
                coefficients[:, slot].astype(np.int64) << exponent
            )
    rounded = kept.reshape(padded.shape)[..., :channels]
    return replace(node, weights=rounded.astype(np.int16), terms=budget)


def _pruned(graph: Graph, config: Config, selects: int) -> Graph:
    """The network with the largest weights of every filter, tap and combined column left.

    ``selects`` of them stay. The lanes of a column are not neighbours: see
    :func:`termac.image.channel_groups`.
    """

    def prune(node: Conv) -> Conv:
        weights = node.weights.copy()
        columns = channel_groups(weights.shape[3], config)
        for column in np.unique(columns):
            lanes = np.flatnonzero(columns == column)
            part = weights[..., lanes]
            order = np.argsort(-np.abs(part.astype(np.int16)), axis=-1, kind="stable")
            np.put_along_axis(part, order[..., selects:], 0, axis=-1)
            weights[..., lanes] = part
        return replace(node, weights=weights)

    return _with_weights(graph, prune)


def _with_weights(graph: Graph, change: Callable[[Conv], Conv]) -> Graph:
    nodes = [change(node) if isinstance(node, Conv) else node for node in graph.nodes]
    return replace(graph, nodes=nodes)


def _preset(graph: Graph, config: Config, grouping: Grouping | None, *, options: bool) -> list[str]:
    """The preset with the fewest cells that holds the network; those of the same cell first."""
    others = [load_config(name) for name in preset_names() if name != config.name]
    others.sort(key=lambda other: (other.cell != config.cell, other.cells))
    for other in others:
        fitting = grouping if grouping is not None and grouping.fits(other) else None
        if _fits(graph, fitting, other):
            return [f"--config {other.name}"]
    for other in others:
        if options and other.kind.terms and not config.kind.terms:
            for option in _compressed(graph, other):
                return [f"--config {other.name} {option}"]
    return []


def listed(ways: Sequence[str]) -> str:
    """Ways out as the end of a sentence."""
    if not ways:
        return "no preset and no size of its memories holds it; use a smaller network"
    return "it fits with " + ", or with ".join(ways)
