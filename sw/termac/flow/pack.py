"""The whole way from a model to an image: combine, quantize, round to terms, compile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.compile import Grouping, compile_graph
from termac.compile.limits import check_limits
from termac.compress import quantize
from termac.compress.combine.prune import MAX_LOSS, CombinedLayer, CombinedNetwork, combine_network
from termac.compress.quantize.equalize import equalize_if_better
from termac.compress.quantize.findings import calibration_findings
from termac.compress.quantize.quality import Quality, measure_quality
from termac.compress.terms.allowance import MORE, Allowance, check_allowance, check_cell
from termac.compress.terms.layer import TermLayer
from termac.compress.terms.network import TermNetwork, fit_terms
from termac.errors import CapacityError, ConfigError, InputError
from termac.flow.ways_out import listed, roomy, ways_out
from termac.graph import FloatConv, FloatGraph, Graph
from termac.image import Image, LayerInfo
from termac.terms.budget import PROPERTY, TermBudget, read_budgets

__all__ = ["TERMS_LOSS", "Packed", "check_choices", "pack"]

TERMS_LOSS = 0.02
"""Bound of each layer's output error with ``terms="auto"``, if none is given."""

Progress = Callable[[int, int, str], None]
_Model = TypeVar("_Model", FloatGraph, Graph)


@dataclass(frozen=True, eq=False, kw_only=True)
class Packed:
    """A packed network and how it came about.

    Parameters
    ----------
    image : Image
    model : FloatGraph, optional
        The network as it was read, equalized if that helps; None if it came in integers. See
        :mod:`termac.compress.quantize.equalize`.
    pruned : FloatGraph, optional
        What was quantized: ``model``, pruned where columns combine.
    grouping : Grouping, optional
        What the formats of the image started from.
    dense : the network in integers before columns combined or weights were rounded to terms
        None: the same as ``graph``.
    calibration : the samples that the network was calibrated with, None if it came in integers
    budgets : by layer, the integers and terms that the network was trained for
    combined : what column combining left of every convolution, in execution order
    termed : what rounding to terms left of every convolution, in execution order
    """

    image: Image
    model: FloatGraph | None = None
    pruned: FloatGraph | None = None
    grouping: Grouping | None = None
    dense: Graph | None = None
    calibration: NDArray[np.generic] | None = None
    budgets: Mapping[str, TermBudget] = field(default_factory=dict)
    combined: list[CombinedLayer] = field(default_factory=list)
    termed: list[TermLayer] = field(default_factory=list)

    @property
    def graph(self) -> Graph:
        """The network in integers, as the image has it."""
        return self.image.graph

    @property
    def notes(self) -> list[str]:
        """What was changed or left out on the way, one sentence each."""
        return self.graph.notes

    def layer(self, node: str) -> LayerInfo:
        """The layer of the image that computes a node of the graph."""
        return next(layer for layer in self.image.layers if node in layer.nodes)

    @cached_property
    def warnings(self) -> list[str]:
        """What is doubtful about the calibration data, one line each."""
        if self.pruned is None or self.calibration is None:
            return []
        return calibration_findings(self.pruned, self.graph, self.calibration)

    @cached_property
    def quality(self) -> Quality | None:
        """How near the integers come to the float model on the calibration data, layer by layer."""
        if self.model is None or self.calibration is None:
            return None
        return measure_quality(self.model, self.graph, self.calibration)

    @cached_property
    def dense_image(self) -> Image:
        """The network packed without combining: what combining is to be compared with.

        Where it does not fit the configuration, memories are as large as they need to be.
        """
        if self.dense is None:
            return self.image
        config = self.image.config
        try:
            return compile_graph(self.dense, config)
        except CapacityError:
            return compile_graph(self.dense, roomy(config))

    @property
    def combining_rows(self) -> list[dict[str, Any]]:
        """One record per combined convolution: what is left of it, cycles without and with."""
        rows = []
        for combined in self.combined:
            layer = self.layer(combined.node)
            dense = next(n for n in self.dense_image.layers if combined.node in n.nodes)
            rows.append(
                {
                    "layer": layer.name,
                    **combined.record(),
                    "combined_columns": layer.columns,
                    "packed_density": layer.density,
                    "dense_cycles": dense.cycles,
                    "cycles": layer.cycles,
                }
            )
        return rows

    @property
    def terms_rows(self) -> list[dict[str, Any]]:
        """One record per convolution that was rounded to terms, and the cycles of its layer."""
        return [
            {"layer": layer.name, **done.record(), "cycles": layer.cycles}
            for done in self.termed
            for layer in [self.layer(done.node)]
        ]


def pack(
    model: FloatGraph | Graph,
    config: Config,
    calibration: NDArray[np.generic] | None = None,
    *,
    bits: int | Mapping[str, int] = 8,
    combine: int | Literal["auto"] | None = None,
    terms: Allowance | Literal["auto"] | None = None,
    encoding: str | None = None,
    max_loss: float | None = None,
    grouping: Grouping | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Pack a network for one configuration.

    Parameters
    ----------
    model : FloatGraph or Graph
        A network in integers is compiled as it is: it takes no calibration data and nothing but
        a ``grouping``.
    config : Config
    calibration : [N, *input_layout], typical inputs in the model's own layout
        100 to 1000 are plenty.
    bits : of the activations, see :func:`termac.compress.quantize.quantize.quantize`
    combine : 1..lanes, "auto" or None
        Prune so that columns combine; see
        :func:`termac.compress.combine.prune.combine_network`.
    terms : Allowance, "auto" or None
        Round weights to terms; see :func:`termac.compress.terms.network.fit_terms`. The first and
        depthwise convolutions keep practically all terms where cells split activations, as
        published, unless "auto" decides.
    encoding : "naf", "hese" or None
        How cells that split activations do it; goes with ``terms``. None: "naf".
    max_loss : bound of each layer's squared output error, over the output's variance
        Goes with "auto". None: :data:`TERMS_LOSS`, or
        :data:`termac.compress.combine.prune.MAX_LOSS`.
    grouping : Grouping, optional
        Formats to keep to. None: those that travel with the model, if any. One that does not fit
        the configuration is left out, with a note.
    progress : called with (steps done, steps, what)

    Raises
    ------
    ConfigError
        If choices contradict each other, the configuration or the model.
    InputError
        If the calibration data is missing or does not fit the model.
    ModelError
        If the network cannot run on the accelerator.
    CapacityError
        If a memory of the configuration is too small; names what the network would fit with.
    """
    check_choices(config, combine=combine, terms=terms, encoding=encoding, max_loss=max_loss)
    report = progress or (lambda done, total, what: None)
    if isinstance(model, Graph):
        if combine is not None or terms is not None:
            raise ConfigError(
                f"network {model.name!r} is in integers already: neither columns combine nor are "
                "weights rounded to terms; take the model in floating point"
            )
        graph, grouping = _fitting(model, grouping, config)
        return Packed(
            image=_compile(graph, config, grouping, graph, options=False), grouping=grouping
        )
    if calibration is None:
        raise InputError(f"network {model.name!r} is in floating point: it needs calibration data")

    check_limits(model, config)
    if grouping is None:
        grouping = Grouping.read(model.properties, model.shapes)
    read, grouping = _fitting(model, grouping, config)
    if PROPERTY not in read.properties:  # a model trained for terms has the scales it needs
        read = equalize_if_better(read, calibration, bits=bits)
    pruned, combined = read, []
    if combine is not None:
        done = _combine(read, calibration, config, combine, max_loss, grouping, progress)
        pruned, grouping, combined = done.graph, done.grouping, done.layers
    report(1, 3, "quantize")
    budgets: Mapping[str, TermBudget] = {}
    if terms is None:
        pruned, budgets = _trained_budgets(pruned, config)
    graph = quantize(pruned, calibration, bits=bits, budgets=budgets)
    dense: Graph | None = None
    if combine is not None:
        dense = quantize(read, calibration, bits=bits)
    termed: list[TermLayer] = []
    if terms is not None:
        dense = graph
        fitted = _fit(pruned, graph, calibration, config, terms, encoding, max_loss, progress)
        graph, termed = fitted.graph, fitted.layers
    report(2, 3, "compile")
    image = _compile(graph, config, grouping, dense if dense is not None else graph, options=True)
    return Packed(
        image=image,
        model=read,
        pruned=pruned,
        grouping=grouping,
        dense=dense,
        calibration=calibration,
        budgets=budgets,
        combined=combined,
        termed=termed,
    )


def _compile(
    graph: Graph, config: Config, grouping: Grouping | None, dense: Graph, *, options: bool
) -> Image:
    """Compile a graph, or say what ``dense``, the same network in plain integers, fits with."""
    try:
        return compile_graph(graph, config, grouping=grouping)
    except CapacityError as error:
        ways = ways_out(dense, config, grouping=grouping, options=options)
        raise CapacityError(error.fact, listed(ways)) from None


def check_choices(
    config: Config,
    *,
    combine: int | Literal["auto"] | None = None,
    terms: Allowance | Literal["auto"] | None = None,
    encoding: str | None = None,
    max_loss: float | None = None,
) -> None:
    """Refuse choices of :func:`pack` that contradict each other or the cells of a configuration.

    Raises
    ------
    ConfigError
        Named as the options of ``termac pack`` are.
    """
    if max_loss is not None and "auto" not in (combine, terms):
        raise ConfigError(
            "--max-loss goes with --combine auto or --terms auto: it bounds what auto may lose"
        )
    if terms is None:
        if encoding is not None:
            raise ConfigError("--encoding goes with --terms: it says how activations are split")
        return
    if combine is not None:
        raise ConfigError("--terms does not go with --combine: cells keep terms or a weight")
    check_cell(config)
    if terms != "auto":
        check_allowance(terms, data_terms=config.kind.data_terms)
    if encoding is not None and not config.kind.data_terms:
        raise ConfigError(
            f"config {config.name!r} takes whole activations: --encoding means nothing to it"
        )


def _fitting(
    model: _Model, grouping: Grouping | None, config: Config
) -> tuple[_Model, Grouping | None]:
    """The grouping if it fits the configuration; else none, and a note in the model."""
    if grouping is None or grouping.fits(config):
        return model, grouping
    note = (
        f"the model was trained to pack into {grouping.lanes} lanes of {grouping.columns} "
        f"columns, config {config.name!r} has {config.lanes} of {config.columns}: its "
        "grouping is not used"
    )
    return replace(model, notes=[*model.notes, note]), None


def _combine(
    model: FloatGraph,
    samples: NDArray[np.generic],
    config: Config,
    selects: int | Literal["auto"],
    max_loss: float | None,
    grouping: Grouping | None,
    progress: Progress | None,
) -> CombinedNetwork:
    return combine_network(
        model,
        samples,
        config,
        selects=selects,
        max_loss=MAX_LOSS if max_loss is None else max_loss,
        grouping=grouping,
        progress=progress,
    )


def _trained_budgets(
    model: FloatGraph, config: Config
) -> tuple[FloatGraph, Mapping[str, TermBudget]]:
    """Budgets that a model was trained for; none, and a note, if the cells cannot keep to them."""
    filters = {n.name: len(n.weights) for n in model.nodes if isinstance(n, FloatConv)}
    budgets = read_budgets(model.properties, filters)
    data_terms = max((b.terms.data for b in budgets.values() if b.terms is not None), default=0)
    if not budgets or (config.kind.terms and data_terms <= config.kind.data_terms):
        return model, budgets
    note = (
        f"the model was trained for few terms, which the {config.cell!r} cells of config "
        f"{config.name!r} cannot keep to: its budgets are not used"
    )
    return replace(model, notes=[*model.notes, note]), {}


def _fit(
    model: FloatGraph,
    graph: Graph,
    samples: NDArray[np.generic],
    config: Config,
    terms: Allowance | Literal["auto"],
    encoding: str | None,
    max_loss: float | None,
    progress: Progress | None,
) -> TermNetwork:
    shared = not config.kind.data_terms
    return fit_terms(
        model,
        graph,
        samples,
        lanes=config.lanes,
        allowance=terms,
        shared=shared,
        max_loss=TERMS_LOSS if max_loss is None else max_loss,
        encoding=encoding or "naf",
        more=None if shared or terms == "auto" else MORE,
        progress=progress,
    )
