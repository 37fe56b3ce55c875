"""Training for term budgets: groups of weights, and activations, keep their largest terms only.

H. T. Kung, B. McDanel, S. Q. Zhang, "Term Quantization: Furthering Quantization at Run Time on
Quantized DNNs", SC 2020, limits terms after training. A few epochs with the limits in place, and
gradients that do not see them, allow tighter ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from termac.errors import ConfigError, ModelError
from termac.frontend import read_model
from termac.graph import FloatConv, Terms
from termac.terms.bounds import reason_against
from termac.terms.budget import PROPERTY, TermBudget, write_budgets
from termac.terms.schedule import HIGHEST
from termac.train.compact import compacted
from termac.train.export import to_onnx
from termac.train.fake_quantize import FakeQuantizer, RoundedInput, RoundedWeight
from termac.train.samples import Samples, sample_shape
from termac.train.term_parts import SlotWeight, TermInput, TermWeight

__all__ = ["TermQuantizer"]


class TermQuantizer(FakeQuantizer):
    """Makes a model compute nearly what its integer form will with a limited number of terms.

    Attach it to a trained model, train on at a small rate, with :meth:`step` after each step of
    the optimizer. At the end call :meth:`finish`, then :meth:`save`. The first layer and depthwise
    layers keep all terms, because few operations carry much in them.

    Parameters
    ----------
    model : nn.Module
        Of Conv2d and Linear layers and whatever else the ONNX reader accepts. Changed in place.
    samples : [N, ...], NumPy array or tensor
        Inputs in the model's own layout, of which only the shape counts; or the shape of one
        sample.
    terms : Terms
        Budget of every other layer. With exponents, terms lie in slots at these powers.
    group : int
        Neighbouring input channels of one tap that share a budget: the lanes of the array.
    slots : bool
        Terms lie in slots. Exponents are chosen for a layer whose budget names none.
    layers : mapping from layer name to Terms or None, optional
        Budgets of single layers instead. None keeps all terms.
    refit : int
        Steps after which scales of layers with slots are fitted again, 0 for never.
    bits, momentum : as of :class:`termac.train.FakeQuantizer`

    Raises
    ------
    ConfigError
        If a budget is out of range, or there is no layer of that name.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples | Sequence[int],
        terms: Terms,
        *,
        group: int = 8,
        slots: bool = False,
        layers: Mapping[str, Terms | None] | None = None,
        refit: int = 0,
        bits: int = 8,
        momentum: float = 0.98,
    ) -> None:
        if isinstance(group, bool) or not isinstance(group, int) or group < 1:
            raise ConfigError(f"group must be an integer from 1, not {group!r}")
        self.model, self.group, self.refit = model, group, refit
        self.steps_done = 0
        self.budgets: dict[str, TermBudget] = {}
        self._shape, self._slots = sample_shape(samples), slots
        self._terms = _by_layer(model, terms, dict(layers or {}))
        self._windows = _windows(model, self._shape, self._terms)
        super().__init__(model, bits=bits, momentum=momentum)

    def _input(self, name: str, bits: int, momentum: float) -> RoundedInput:
        terms = self._terms[name]
        if terms is None or not terms.data:
            return RoundedInput(bits, momentum)
        return TermInput(bits, momentum, terms.data)

    def _weight(self, name: str) -> RoundedWeight:
        terms = self._terms[name]
        if terms is None:
            return RoundedWeight()
        weight = self._layers[name].weight.detach()
        height, width = self._windows[name]
        shape = (len(weight), weight[0].numel() // (height * width), height, width)
        if self._slots or terms.exponents:
            return SlotWeight(shape, terms, self.group, weight)
        return TermWeight(shape, terms, self.group)

    def _parts(self) -> dict[str, tuple[RoundedWeight, torch.Tensor]]:
        """What rounds the weights of every layer, and the weights."""
        chains: dict[str, Any] = {
            name: getattr(module.parametrizations, "weight")  # noqa: B009
            for name, module in self._layers.items()
        }
        return {name: (chain[-1], chain.original) for name, chain in chains.items()}

    def step(self) -> None:
        """Count a step, and fit the scales when it is time."""
        self.steps_done += 1
        if self.refit and self.steps_done % self.refit == 0:
            for part, weight in self._parts().values():
                if isinstance(part, SlotWeight):
                    part.fit(weight.detach())

    # --- Afterwards ----------------------------------------------------------------------------

    def finish(self) -> None:
        """Make the rounding part of the weights: the model is an ordinary one again."""
        if self.budgets:
            return
        held = {name: part.final(weight) for name, (part, weight) in self._parts().items()}
        for name, (part, _) in self._parts().items():
            peaks = held[name][0].abs().flatten(1).amax(1).int().tolist()
            if isinstance(part, TermWeight):
                self.budgets[name] = TermBudget(tuple(peaks), self.group, part.terms)
            else:
                self.budgets[name] = TermBudget(tuple(peaks))
        self.remove()
        with torch.no_grad():
            for name, (integers, scale) in held.items():
                self._layers[name].weight.copy_(integers * scale)

    def save(
        self, path: str | Path, *, about: str = "", properties: Mapping[str, str] | None = None
    ) -> onnx.ModelProto:
        """Write the model as ONNX, its weights as integers, with the budgets they keep to.

        Call :meth:`finish` first.
        """
        peaks = {name: budget.peaks for name, budget in self.budgets.items()}
        exported = compacted(to_onnx(self.model, self._shape), peaks)
        exported.doc_string = about
        entries = {**(properties or {}), PROPERTY: write_budgets(self.budgets)}
        onnx.helper.set_model_props(exported, entries)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(exported.SerializeToString(deterministic=True))
        return exported

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of the training must hold in addition to the model."""
        terms = {
            name: (part.terms.weights, part.terms.data, part.terms.exponents)
            for name, (part, _) in self._parts().items() if isinstance(part, TermWeight)
        }  # fmt: skip
        ranges = {name: (each.low, each.high) for name, each in self._inputs.items()}
        return {"steps_done": self.steps_done, "ranges": ranges, "terms": terms}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue. The scales come with the model's own state."""
        if state["terms"] != self.state_dict()["terms"]:
            raise ConfigError("checkpoint of other term budgets; delete it or start a new one")
        self.steps_done = state["steps_done"]
        for name, (low, high) in state["ranges"].items():
            self._inputs[name].low, self._inputs[name].high = low, high


def _by_layer(
    model: nn.Module, terms: Terms, given: dict[str, Terms | None]
) -> dict[str, Terms | None]:
    """Budget of every layer."""
    result: dict[str, Terms | None] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
            result[name] = None if depthwise or not result else terms
    unknown = [name for name in given if name not in result]
    if unknown:
        raise ConfigError(f"no layer {unknown[0]!r}; layers: {', '.join(result)}")
    result.update(given)
    for name, budget in result.items():
        if budget is not None:
            _check(name, budget)
    return result


def _check(name: str, budget: Terms) -> None:
    wrong = reason_against(budget)
    if not wrong and budget.encoding != "naf":
        wrong = "only encoding 'naf' can be trained"
    if not wrong and budget.exponents and budget.exponents[0] > HIGHEST:
        wrong = f"exponents above {HIGHEST} cannot be trained"
    if wrong:
        raise ConfigError(f"terms of {name!r}: {wrong}")


def _windows(
    model: nn.Module, shape: tuple[int, ...], terms: Mapping[str, Terms | None]
) -> dict[str, tuple[int, int]]:
    """Kernel height and width of every layer with a budget. Of Linear layers it is the image's."""
    modules = dict(model.named_modules())
    chosen = {name: modules[name] for name, budget in terms.items() if budget is not None}
    result = {n: m.kernel_size for n, m in chosen.items() if isinstance(m, nn.Conv2d)}
    if len(result) < len(chosen):
        graph = read_model(to_onnx(model, shape))
        nodes = {node.name: node for node in graph.nodes if isinstance(node, FloatConv)}
        for name in chosen:
            if name not in result:
                if name not in nodes:
                    raise ModelError(
                        f"layer {name!r} cannot be told from the modules' names; give each layer "
                        "a module of its own"
                    )
                result[name] = nodes[name].weights.shape[1:3]
    return result  # type: ignore[return-value]
