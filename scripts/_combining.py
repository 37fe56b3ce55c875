"""Training loop of the recipes for the array: masks or term budgets, distillation, quantization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _training import Augment, accuracy, nn, open_checkpoint, save_checkpoint, torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from termac.compile.grouping import Grouping
from termac.examples.datasets import Split, normalize
from termac.train import Combiner, FakeQuantizer, TermQuantizer, distillation_loss

__all__ = ["CombineRecipe", "fit_combined", "make_combiner"]


@dataclass(frozen=True)
class CombineRecipe:
    """SGD with Nesterov momentum, one epoch of warm-up, then a cosine to zero.

    Parameters
    ----------
    epochs, batch : int
    rate : peak learning rate
    decay : weight decay
    share : weight of the dense network's scores in the loss
    quantized_epochs : last epochs with rounded weights and activations
    half : run the network in bfloat16; weights and updates stay in float32
    seed : of the order of the images and the augmentation
    """

    epochs: int
    batch: int = 128
    rate: float = 0.05
    decay: float = 1e-4
    share: float = 0.7
    quantized_epochs: int = 2
    half: bool = True
    seed: int = 1

    def rate_at(self, progress: float) -> float:
        """Learning rate at a share of all steps."""
        warm = min(1.0, progress * self.epochs)
        return self.rate * warm * 0.5 * (1 + math.cos(math.pi * progress))


def make_combiner(
    model: nn.Module,
    samples: torch.Tensor,
    config: str,
    *,
    steps: int,
    cycles: int,
    checkpoint: Path,
) -> Combiner:
    """Masks for ``model``, with the passes and channel orders of ``checkpoint`` if there is one."""
    if checkpoint.exists():
        with open_checkpoint(checkpoint) as saved:
            passes = saved["combiner"]["passes"]
            grouping = Grouping.from_json(saved["combiner"]["grouping"])
        return Combiner(model, samples, config, steps=steps, passes=passes, grouping=grouping)
    click.echo(f"finding passes and channel orders for {config}")
    return Combiner(model, samples, config, steps=steps, cycles=cycles)


def fit_combined(
    model: nn.Module,
    teacher: nn.Module,
    combiner: Combiner | TermQuantizer,
    train: Split,
    held_out: Split,
    recipe: CombineRecipe,
    *,
    scaling: tuple[tuple[float, ...], tuple[float, ...]],
    augment: Augment,
    checkpoint: Path,
) -> list[float]:
    """Train ``model`` in place under masks or term budgets; accuracy on ``held_out`` by epoch, %.

    A run continues from ``checkpoint``, which is written after every epoch.
    """
    steps = len(train) // recipe.batch
    images = torch.from_numpy(normalize(train.images, *scaling))
    labels = torch.from_numpy(train.labels)
    checked = normalize(held_out.images, *scaling)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.decay
    )
    parts = {"model": model, "optimizer": optimizer, "combiner": combiner}
    first_rounded = recipe.epochs - recipe.quantized_epochs
    history = _restore(checkpoint, parts, recipe, model, first_rounded)
    rounding = FakeQuantizer(model) if len(history) > first_rounded else None
    teacher.eval()
    for network in (model, teacher):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  held out {task.fields[score]:.2f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        fields: dict = {"epoch": len(history), "loss": 0.0, "score": (history or [0.0])[-1]}
        total = recipe.epochs * steps
        task = progress.add_task("", total=total, completed=len(history) * steps, **fields)
        for epoch in range(len(history), recipe.epochs):
            if epoch >= first_rounded and rounding is None:
                rounding = FakeQuantizer(model)
            generator = torch.Generator().manual_seed(recipe.seed * 1000 + epoch)
            order = torch.randperm(len(train), generator=generator)
            model.train()
            for step in range(steps):
                chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
                batch = augment(images[chosen], generator).to(memory_format=torch.channels_last)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate_at((epoch * steps + step) / total)
                with torch.autocast("cpu", torch.bfloat16, enabled=recipe.half):
                    with torch.no_grad():
                        guide = teacher(batch)
                    scores = model(batch)
                loss = distillation_loss(scores, guide, labels[chosen], share=recipe.share)
                penalty = combiner.penalty() if isinstance(combiner, Combiner) else 0.0
                optimizer.zero_grad()
                (loss + penalty).backward()
                optimizer.step()
                combiner.step()
                progress.update(task, advance=1, epoch=epoch + 1, loss=loss.item())
            history.append(accuracy(model, checked, held_out.labels))
            progress.update(task, score=history[-1])
            save_checkpoint(checkpoint, parts, recipe, history=history)
            progress.console.print(
                f"epoch {epoch + 1}: loss {loss.item():.4f}, held out {history[-1]:.2f} %"
            )
    if rounding is not None:
        rounding.remove()
    return history


def _restore(
    path: Path, parts: dict, recipe: CombineRecipe, model: nn.Module, first_rounded: int
) -> list[float]:
    """Load the states and return the accuracies so far."""
    if not path.exists():
        return []
    with open_checkpoint(path, recipe) as saved:
        rounding = FakeQuantizer(model) if len(saved["history"]) > first_rounded else None
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        if rounding is not None:
            rounding.remove()  # the caller attaches its own
        return list(np.asarray(saved["history"], float).tolist())
