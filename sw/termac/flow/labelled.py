"""Packing with labels: which samples decide, which ones measure, and what is warned about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.errors import ConfigError
from termac.flow.accuracy import WARNING, Accuracy, Labelled, measure_accuracy
from termac.flow.choose import pack_within
from termac.flow.pack import Packed, pack
from termac.graph.floating import FloatGraph

__all__ = ["DISAGREEMENT", "LabelledPack", "check_labels_options", "pack_labelled"]

DISAGREEMENT = 0.02
"""Share of calibration samples with another largest output that is warned about."""


@dataclass(frozen=True, eq=False)
class LabelledPack:
    """A packed network, its accuracy, and what its user must know.

    Parameters
    ----------
    packed : Packed
    accuracy : on samples with labels, None without any
    max_loss : bound of the layers' output error that was chosen for accuracy, None if none was
    warnings : one sentence each
    """

    packed: Packed
    accuracy: Accuracy | None = None
    max_loss: float | None = None
    warnings: list[str] = field(default_factory=list)


def check_labels_options(
    *, labels: bool, test: bool, bound: float | None, max_loss: float | None, is_auto: bool
) -> None:
    """Refuse options of ``termac pack`` that mean nothing without each other.

    Raises
    ------
    ConfigError
    """
    if test and not labels:
        raise ConfigError("--test goes with --labels: without labels there is no accuracy")
    if bound is None:
        return
    if not labels:
        raise ConfigError("--max-accuracy-loss goes with --labels: it is measured on them")
    if not is_auto:
        raise ConfigError(
            "--max-accuracy-loss goes with --combine auto or --terms auto: it bounds what auto "
            "may lose"
        )
    if max_loss is not None:
        raise ConfigError("--max-accuracy-loss does not go with --max-loss: it chooses the latter")


def pack_labelled(
    model: FloatGraph,
    config: Config,
    calibration: NDArray[np.generic],
    *,
    labels: NDArray[np.generic] | None = None,
    test: NDArray[np.generic] | None = None,
    max_accuracy_loss: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **choices: Any,
) -> LabelledPack:
    """Pack a network and measure it on labelled samples.

    With ``max_accuracy_loss`` the first half of the ``test`` samples chooses and the second half
    measures. Without ``test`` samples the first half of the calibration samples calibrates, the
    third quarter chooses and the last measures. Accuracy becomes a note of the image.

    Parameters
    ----------
    model, config, calibration, choices : see :func:`termac.flow.pack.pack`
    labels : of the ``test`` samples, or else of the calibration samples; see
        :class:`termac.flow.accuracy.Labelled`
    test : [N, *input_layout], samples that nothing is fitted to
    max_accuracy_loss : points; see :func:`termac.flow.choose.pack_within`

    Raises
    ------
    TermacError
        What :func:`termac.flow.pack.pack` and :func:`termac.flow.choose.pack_within` raise.
    """
    if labels is None:
        packed = pack(model, config, calibration, progress=progress, **choices)
        return LabelledPack(packed, warnings=_disagreement(packed))
    if test is None:
        given = Labelled(calibration, labels, "calibration samples")
    else:
        given = Labelled(test, labels, "test samples")
    are_classes = given.are_classes(model.output_layout)
    if max_accuracy_loss is None:
        packed = pack(model, config, calibration, progress=progress, **choices)
        return _measured(packed, given, WARNING, None, [])

    if not are_classes:
        raise ConfigError("--max-accuracy-loss needs class numbers as labels, not outputs")
    count = len(given.samples)
    first = count // 2 if test is None else 0
    middle = (first + count) // 2
    if middle - first < 1 or count - middle < 1:
        raise ConfigError(f"--max-accuracy-loss has too few labelled samples to choose on: {count}")
    del choices["max_loss"]
    chosen = pack_within(
        model, config, calibration if test is not None else calibration[:first],
        given.part(first, middle), max_accuracy_loss=max_accuracy_loss, progress=progress,
        **choices,
    )  # fmt: skip
    warnings = []
    if not chosen.is_within:
        warnings.append(
            f"nothing keeps the packed model within {max_accuracy_loss:g} points of the float "
            f"model on {given.part(first, middle).what}: the least it loses is {chosen.loss:.2f}"
        )
    chosen.packed.notes.append(
        f"output error {chosen.max_loss:g} a layer was chosen on {given.part(first, middle).what}, "
        f"where the packed model is {chosen.loss:.2f} points below the float model"
    )
    return _measured(
        chosen.packed, given.part(middle, count), max_accuracy_loss, chosen.max_loss, warnings
    )


def _measured(
    packed: Packed, given: Labelled, bound: float, max_loss: float | None, warnings: list[str]
) -> LabelledPack:
    accuracy = measure_accuracy(packed, given)
    packed.notes.append(accuracy.sentence())
    if accuracy.loss is not None and accuracy.loss > bound:
        warnings.append(
            f"the packed model is {accuracy.loss:.2f} points below the float model on "
            f"{accuracy.what}, more than {bound:g}"
        )
    return LabelledPack(packed, accuracy, max_loss, warnings)


def _disagreement(packed: Packed) -> list[str]:
    """What can be said without labels: answers that are not the float model's."""
    quality = packed.quality
    if quality is None or quality.agreement is None or quality.agreement >= 1 - DISAGREEMENT:
        return []
    return [
        f"the packed model answers {1 - quality.agreement:.1%} of {quality.samples} calibration "
        "samples with another largest output than the float model; --labels tells what that costs"
    ]
