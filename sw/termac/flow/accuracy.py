"""What a network gets right on labelled samples: in floating point, in integers, packed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.errors import InputError
from termac.flow.pack import Packed
from termac.graph import Graph, golden

__all__ = [
    "WARNING",
    "Accuracy",
    "Labelled",
    "accuracy_notes",
    "answers",
    "measure_accuracy",
    "measure_answers",
]

WARNING = 1.0
"""Points below the float model from which a packed model is warned about."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples and what is right for them.

    Parameters
    ----------
    samples : [N, *input_layout], in the model's own layout
    labels : int [N], the right class of each; or [N, *output_layout], the right outputs
    what : which samples these are, for tables
    """

    samples: NDArray[np.generic]
    labels: NDArray[np.generic]
    what: str

    def __post_init__(self) -> None:
        count = len(self.labels) if self.labels.ndim else 1
        if len(self.samples) != count or self.labels.ndim == 0:
            raise InputError(
                f"labels are {count}, {self.what} are {len(self.samples)}: there must be one for "
                "each"
            )

    def are_classes(self, layout: tuple[int, ...]) -> bool:
        """Whether labels are classes of a network with outputs of a shape, or such outputs.

        Raises
        ------
        InputError
            If they are neither, or a class is out of range.
        """
        labels, classes = self.labels, math.prod(layout)
        if labels.shape[1:] == layout and labels.dtype.kind in "fiu":
            return False
        if labels.size != len(labels) or labels.dtype.kind not in "iu" or classes < 2:
            raise InputError(
                f"labels of type {labels.dtype} and shape {'x'.join(map(str, labels.shape))} are "
                f"neither class numbers (integers, one a sample) nor outputs of shape "
                f"{'x'.join(map(str, ('N', *layout)))}"
            )
        if not 0 <= labels.min() <= labels.max() < classes:
            raise InputError(
                f"labels span {labels.min()}..{labels.max()}, the network tells classes "
                f"0..{classes - 1}"
            )
        return True

    def part(self, first: int, stop: int) -> Labelled:
        """Samples ``first`` to ``stop - 1``."""
        chosen = slice(first, stop)
        what = f"{self.what} {first:,} to {stop - 1:,}"
        return Labelled(self.samples[chosen], self.labels[chosen], what)


@dataclass(frozen=True)
class Accuracy:
    """Figures of a network in several forms, on the same samples.

    Parameters
    ----------
    figures : by form (``"float"``, ``"integer"``, ``"packed"``)
        Share of samples with the right class, 0..1; or the squared error of the outputs over the
        variance of the right ones.
    is_share : whether figures are shares of right classes
    samples : number of samples
    what : which samples
    """

    figures: Mapping[str, float]
    is_share: bool
    samples: int
    what: str

    @property
    def loss(self) -> float | None:
        """Points that the packed model is below the float model; None if figures are errors."""
        if not self.is_share or "float" not in self.figures:
            return None
        return 100 * (self.figures["float"] - self.figures["packed"])

    def shown(self, form: str) -> str:
        """A figure as people read it."""
        figure = self.figures[form]
        if not self.is_share:
            return f"squared error over variance {figure:.4g}"
        return f"{figure:.2%} ({round(figure * self.samples):,} of {self.samples:,} right)"

    def sentence(self) -> str:
        """All figures in one line."""
        forms = ", ".join(f"{form} {self.shown(form)}" for form in self.figures)
        return f"accuracy on {self.what}: {forms}"

    def record(self) -> dict[str, Any]:
        """For ``--json``."""
        measure = "top-1" if self.is_share else "squared error over variance"
        return {
            **self.figures, "measure": measure, "samples": self.samples, "what": self.what,
            "loss_points": self.loss,
        }  # fmt: skip


def accuracy_notes(graph: Graph) -> list[str]:
    """Accuracies that were measured when the network was packed: its notes have them."""
    return [note for note in graph.notes if note.startswith("accuracy on ")]


def answers(graph: Graph, samples: NDArray[np.generic]) -> NDArray[np.float64]:
    """Real outputs of the golden model ``[N, *output_layout]`` for samples in the model's layout.

    Raises
    ------
    InputError
        If the samples do not fit.
    """
    x = golden.quantize_input(graph, samples)
    y = golden.run(graph, x, outputs_only=True, batch=64)[graph.output]
    return golden.dequantize_output(graph, y)


def measure_answers(outputs: Mapping[str, NDArray[np.floating]], given: Labelled) -> Accuracy:
    """Compare outputs with labels.

    Parameters
    ----------
    outputs : by form, [N, *output_layout]
    given : Labelled

    Raises
    ------
    InputError
        If the labels are neither classes nor outputs of the network.
    """
    labels = given.labels
    if not given.are_classes(next(iter(outputs.values())).shape[1:]):
        right = labels.astype(np.float64)
        power = max(float(right.var(axis=0).sum()), 1e-30)
        errors = {
            form: float(np.square(y - right).sum() / len(right) / power)
            for form, y in outputs.items()
        }
        return Accuracy(errors, False, len(labels), given.what)
    shares = {
        form: float((y.reshape(len(y), -1).argmax(axis=1) == labels.ravel()).mean())
        for form, y in outputs.items()
    }
    return Accuracy(shares, True, len(labels), given.what)


def measure_accuracy(packed: Packed, given: Labelled) -> Accuracy:
    """Accuracy of the float model, of the integer model and of what is left of it when packed.

    The integer model is only told from the packed one where columns combined or weights were
    rounded to terms.

    Raises
    ------
    InputError
        If samples or labels do not fit the network.
    """
    outputs: dict[str, NDArray[np.floating]] = {}
    if packed.model is not None:
        outputs["float"] = packed.model.predict(given.samples)
    if packed.dense is not None:
        outputs["integer"] = answers(packed.dense, given.samples)
    outputs["packed"] = answers(packed.graph, given.samples)
    return measure_answers(outputs, given)
