"""Column combining inside anybody's training loop.

Joint optimization after Kung, McDanel, Zhang (ASPLOS 2019, section 3): prune, group, prune
conflicts, retrain, with masks rebuilt from all weights at each event. What shares a combined
column follows from how the accelerator stores the tensors, so the trained network runs in the
cycles it was trained for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from termac.arch import Config, load_config
from termac.compile.grouping import PROPERTY, Grouping
from termac.compress.combine.cycles import find_budget
from termac.compress.combine.packing import Packing
from termac.compress.combine.worth import Worth
from termac.errors import ConfigError, ModelError
from termac.frontend import read_model
from termac.graph import FloatConv, FloatGraph
from termac.train.compact import compacted
from termac.train.export import to_onnx
from termac.train.masked import Masked
from termac.train.samples import Samples, as_array

__all__ = ["Combiner"]


@dataclass(eq=False)
class _Target:
    """One module that is pruned."""

    module: Any  # nn.Module whose weight is parametrized
    masked: Masked
    packing: Packing
    passes: int
    dense: int  # slots of a position that any weights need
    row_scale: NDArray[np.float64]  # what folding makes of each filter
    power: NDArray[np.float64]  # mean square of each input channel
    limits: NDArray[np.int64]  # slots of every word

    def weights(self) -> NDArray[np.float64]:
        """All weights, pruned or not, float64 [filters, kernel height, kernel width, channels]."""
        weight = self.module.parametrizations.weight.original.detach().double().numpy()
        filters, channels = len(weight), len(self.power)
        # Linear layers read a flattened image, channels first.
        window = self.packing.layer.linear.weights.shape[1:3]
        return weight.reshape(filters, channels, *window).transpose(0, 2, 3, 1)

    def worth(self) -> NDArray[np.float64]:
        """Float64 [filters, weights]: the energy that a weight adds to the output."""
        scaled = self.weights() * self.row_scale[:, None, None, None]
        return (scaled**2 * self.power).reshape(len(scaled), -1)

    def kept(self) -> NDArray[np.bool_]:
        """The mask, bool [filters, weights]."""
        filters, channels = len(self.masked.mask), len(self.power)
        mask = self.masked.mask.numpy().reshape(filters, channels, -1)
        return mask.transpose(0, 2, 1).reshape(filters, -1) > 0

    def apply(self, kept: NDArray[np.bool_]) -> None:
        filters, channels = len(kept), len(self.power)
        window = self.packing.layer.linear.weights.shape[1:3]
        mask = kept.reshape(filters, *window, channels).transpose(0, 3, 1, 2)
        shape = self.masked.mask.shape
        self.masked.mask.copy_(torch.from_numpy(np.ascontiguousarray(mask)).reshape(shape))


class Combiner:
    """Prunes a model in training so that it packs into fewer passes.

    Call :meth:`penalty` with the loss and :meth:`step` after each step of the optimizer. At the
    end call :meth:`finish`, then :meth:`save`.

    Parameters
    ----------
    model : nn.Module
        Of Conv2d and Linear layers and whatever else the ONNX reader accepts. Changed in place.
    samples : [N, ...], NumPy array or tensor
        Typical inputs in the model's own layout, 50 to 500. They say how strong each channel is.
    config : Config or name of a preset
    steps : int
        Training steps in all.
    cycles : int, optional
        Cycles that the network may take: passes go where they keep the most.
    passes : int or mapping from layer name to int, optional
        Passes of every layer instead, at least 1. Layers that a mapping leaves out stay dense.
    grouping : Grouping, optional
        Formats and channel orders found before, as :attr:`grouping` has them.
    events : int
        Masks tighten at so many points over the first half of the steps, along
        ``1 - (1 - i/events)**3``: the published schedule.
    refresh : int
        Between events, masks are rebuilt from all weights every so many steps ...
    freeze : float
        ... until this share of the steps is done.
    stay : float
        A pruned weight takes a kept one's place if it is worth this many times as much.
    l1 : float
        Weight of the sum of magnitudes in :meth:`penalty`.
    decay : float
        Weight decay of pruned weights, so that masks settle (SR-STE, Zhou et al., ICLR 2021).

    Raises
    ------
    InputError
        If the samples do not fit the model.
    ConfigError
        If the cycles cannot be reached, or passes name a layer that does not exist.
    ModelError
        If a layer of the graph cannot be told from the modules' names.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        config: Config | str,
        *,
        steps: int,
        cycles: int | None = None,
        passes: int | Mapping[str, int] | None = None,
        grouping: Grouping | None = None,
        events: int = 10,
        refresh: int = 50,
        freeze: float = 0.8,
        stay: float = 2.0,
        l1: float = 1e-6,
        decay: float = 2e-4,
    ) -> None:
        self.model = model
        self.config = load_config(config) if isinstance(config, str) else config
        self.steps, self.events, self.refresh = steps, events, refresh
        self.freeze_at, self.stay = int(freeze * steps), stay
        self.l1, self.decay = l1, decay
        self.steps_done = 0
        x = as_array(samples)
        self._shape = tuple(x.shape[1:])
        graph = _float_graph(model, self._shape)
        worth = Worth.of(graph, x)
        budget = find_budget(
            graph, x, worth, self.config, cycles=cycles, passes=passes, grouping=grouping
        )
        self.passes, self.cycles, self.grouping = budget.passes, budget.cycles, budget.grouping
        self._targets = [
            self._target(packing, graph, worth) for packing in budget.packings
            if self.passes[packing.node] < packing.dense_passes
        ]  # fmt: skip
        self._tighten(0)

    def _target(self, packing: Packing, graph: FloatGraph, worth: Worth) -> _Target:
        module = dict(self.model.named_modules()).get(packing.node)
        weight: torch.Tensor | None = getattr(module, "weight", None)
        folded = next(node for node in graph.nodes if node.name == packing.node)
        assert isinstance(folded, FloatConv)
        if module is None or weight is None or weight.numel() != folded.weights.size:
            raise ModelError(
                f"layer {packing.node!r} is no Conv2d or Linear module of the model; give each "
                "layer a module of its own"
            )
        flat = weight.detach().double().numpy().reshape(len(weight), -1)
        scale = np.linalg.norm(folded.weights.reshape(len(weight), -1), axis=1)
        masked = Masked(weight.detach())
        parametrize.register_parametrization(module, "weight", masked)
        every = np.ones(packing.worth.shape, bool)
        return _Target(
            module=module,
            masked=masked,
            packing=packing,
            passes=self.passes[packing.node],
            dense=packing.selects.slots(packing.selects.needed(every)),
            row_scale=scale / np.maximum(np.linalg.norm(flat, axis=1), 1e-12),
            power=worth.power[packing.node],
            limits=packing.selects.needed(every),
        )

    # --- In the training loop ------------------------------------------------------------------

    def penalty(self) -> torch.Tensor:
        """To be added to the loss: L1 of kept weights, decay of pruned ones."""
        total = torch.zeros(())
        for target in self._targets:
            weight = target.module.parametrizations.weight.original
            if self.l1:
                total = total + self.l1 * (weight * target.masked.mask).abs().sum()
            if self.decay and not target.masked.frozen:
                total = total + self.decay / 2 * (weight * (1 - target.masked.mask)).square().sum()
        return total

    def step(self) -> None:
        """Count a step, and rebuild the masks when it is time."""
        self.steps_done += 1
        done, period = self.steps_done, max(1, self.steps // 2 // self.events)
        if done >= self.freeze_at:
            self._freeze()
        elif done % period == 0 and done // period <= self.events:
            self._tighten(done // period)
        elif done % self.refresh == 0:
            self._rebuild()

    def _tighten(self, event: int) -> None:
        left = (1 - event / self.events) ** 3
        for target in self._targets:
            goal = target.passes * self.config.segments
            slots = goal + int(np.ceil(left * max(0, target.dense - goal)))
            target.limits = target.packing.selects.spend(target.worth(), slots)
        self._rebuild()

    def _rebuild(self) -> None:
        for target in self._targets:
            worth = target.worth() * np.where(target.kept(), self.stay, 1.0)
            target.apply(target.packing.selects.keep(worth, target.limits))

    def _freeze(self) -> None:
        """Masks stay as they are from here, as tight as they must be in the end."""
        segments = self.config.segments
        slots = [target.packing.selects.slots(target.limits) for target in self._targets]
        goals = [target.passes * segments for target in self._targets]
        if any(now > goal for now, goal in zip(slots, goals, strict=True)):
            self._tighten(self.events)
        for target in self._targets:
            target.masked.frozen = True

    # --- Afterwards ----------------------------------------------------------------------------

    def finish(self) -> None:
        """Make the masks part of the weights: the model is an ordinary one again.

        Training that ends before its last step is pruned as far as it would have been.
        """
        self._freeze()
        for target in self._targets:
            parametrize.remove_parametrizations(target.module, "weight", leave_parametrized=True)

    def save(
        self, path: str | Path, *, about: str = "", properties: Mapping[str, str] | None = None
    ) -> onnx.ModelProto:
        """Write the model as ONNX, with the grouping that ``termac pack`` then keeps to.

        Weights are rounded to int8, as packing would. Call :meth:`finish` first.
        """
        exported = compacted(to_onnx(self.model, self._shape))
        exported.doc_string = about
        onnx.helper.set_model_props(
            exported, {**(properties or {}), PROPERTY: self.grouping.to_json()}
        )
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(exported.SerializeToString(deterministic=True))
        return exported

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of the training must hold in addition to the model."""
        return {
            "steps_done": self.steps_done,
            "limits": [torch.from_numpy(target.limits) for target in self._targets],
            "grouping": self.grouping.to_json(),
            "passes": dict(self.passes),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue. The masks come with the model's own state."""
        if state["grouping"] != self.grouping.to_json() or state["passes"] != self.passes:
            raise ConfigError("checkpoint of another grouping; delete it or start a new one")
        self.steps_done = state["steps_done"]
        for target, limits in zip(self._targets, state["limits"], strict=True):
            target.limits = limits.numpy()
        if self.steps_done >= self.freeze_at:
            self._freeze()


def _float_graph(model: nn.Module, shape: tuple[int, ...]) -> FloatGraph:
    return read_model(to_onnx(model, shape))
