"""What the training scripts share: a resumable training loop, accuracy and clean errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
import numpy as np
import onnx
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from termac.errors import InputError, TermacError
from termac.examples.datasets import Split

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    print("Error: PyTorch is missing: pip install 'termac[train]'", file=sys.stderr)
    raise SystemExit(2) from None

__all__ = [
    "Command",
    "Recipe",
    "accuracy",
    "fit",
    "nn",
    "open_checkpoint",
    "prepare",
    "report",
    "save_checkpoint",
    "shifted",
    "torch",
]

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class Command(click.Command):
    """A command that prints a :class:`TermacError` as one line and exits with code 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TermacError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))

    @staticmethod
    def _fail(message: str) -> NoReturn:
        click.echo(f"Error: {message}", err=True)
        raise SystemExit(2)


@dataclass(frozen=True)
class Recipe:
    """Adam with weight decay under a one-cycle learning rate.

    Parameters
    ----------
    epochs, batch : int
    rate : peak learning rate
    decay : weight decay
    seed : of the initial weights, the order of the images and the augmentation
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 1e-2
    seed: int = 1


def prepare(seed: int) -> None:
    """Make a run repeatable: one thread, fixed seed, deterministic kernels."""
    torch.set_num_threads(1)  # the order of sums, so the result, depends on the thread count
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


def shifted(images: torch.Tensor, generator: torch.Generator, reach: int) -> torch.Tensor:
    """Move each image of [N, C, H, W] by up to ``reach`` pixels each way; zeros come in."""
    height, width = images.shape[2:]
    padded = nn.functional.pad(images, (reach,) * 4)
    moves = torch.randint(0, 2 * reach + 1, (2, len(images), 1), generator=generator)
    rows = moves[0] + torch.arange(height)
    columns = moves[1] + torch.arange(width)
    image = torch.arange(len(images))[:, None, None]
    # Advanced indices around the channel slice: the channel axis comes out last.
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def accuracy(
    model: nn.Module, images: np.ndarray, labels: np.ndarray, *, batch: int = 250
) -> float:
    """Share of float32 images [N, C, H, W] whose largest output is their label, in percent."""
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(labels), batch):
            scores = model(torch.from_numpy(images[start : start + batch]))
            right += int((scores.argmax(1).numpy() == labels[start : start + batch]).sum())
    return 100 * right / len(labels)


def report(exported: onnx.ModelProto, path: Path, score: float) -> None:
    """Print the file, its size, parameters and operators, and the accuracy in percent."""
    weights = sum(
        int(np.prod(tensor.dims))
        for tensor in exported.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )
    operators = " ".join(node.op_type for node in exported.graph.node)
    click.echo(f"accuracy    {score:.2f} % (float)")
    click.echo(f"model       {path} ({path.stat().st_size:,} bytes, {weights:,} parameters)")
    click.echo(f"operators   {operators}")


def fit(
    model: nn.Module,
    train: Split,
    test: Split,
    recipe: Recipe,
    *,
    augment: Augment | None = None,
    checkpoint: Path | None = None,
) -> float:
    """Train ``model`` in place and return its test accuracy in percent.

    Images are 0..1. Every epoch draws from its own seed, so a run that continues from
    ``checkpoint`` ends with the same weights as one that was never interrupted. The weights after
    the last epoch are kept, not the best ones on the test images.

    Raises
    ------
    InputError
        The checkpoint was written by another recipe or model.
    """
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    test_images = test.images
    steps = len(train) // recipe.batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.rate, total_steps=recipe.epochs * steps
    )
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = _restore(checkpoint, parts, recipe) if checkpoint and checkpoint.exists() else 0
    score = accuracy(model, test_images, test.labels) if first else 0.0
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  test {task.fields[score]:.2f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        fields: dict = {"epoch": first, "loss": 0.0, "score": score}
        task = progress.add_task("", total=recipe.epochs * steps, completed=first * steps, **fields)
        for epoch in range(first, recipe.epochs):
            generator = torch.Generator().manual_seed(recipe.seed * 1000 + epoch)
            order = torch.randperm(len(train), generator=generator)
            model.train()
            for step in range(steps):
                chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
                batch = images[chosen]
                if augment is not None:
                    batch = augment(batch, generator)
                loss = nn.functional.cross_entropy(model(batch), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update(task, advance=1, epoch=epoch + 1, loss=loss.item())
            score = accuracy(model, test_images, test.labels)
            progress.update(task, score=score)
            if checkpoint is not None:
                save_checkpoint(checkpoint, parts, recipe, epochs_done=epoch + 1)
    return score


def save_checkpoint(path: Path, parts: dict[str, Any], recipe: Any, **progress: Any) -> None:
    """Write the states of ``parts``, the recipe (a dataclass) and how far the run is."""
    states = {name: part.state_dict() for name, part in parts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    torch.save({"recipe": asdict(recipe), **progress, **states}, fresh)
    fresh.replace(path)  # a run stopped while it saves keeps the old file


@contextmanager
def open_checkpoint(path: Path, recipe: Any = None) -> Iterator[dict[str, Any]]:
    """What :func:`save_checkpoint` wrote.

    Raises
    ------
    InputError
        If the file is of another recipe, is damaged, or the block cannot use what it holds.
    """
    advice = "delete it or name another with --checkpoint"
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        if recipe is not None and saved["recipe"] != asdict(recipe):
            raise InputError(f"{path}: checkpoint of another recipe; {advice}")
        yield saved
    except InputError:
        raise
    except Exception as error:  # torch raises a dozen kinds on a damaged file
        raise InputError(f"{path}: not a checkpoint of this script; {advice}") from error


def _restore(path: Path, parts: dict[str, Any], recipe: Recipe) -> int:
    """Load the states and return the number of epochs done."""
    with open_checkpoint(path, recipe) as saved:
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        return int(saved["epochs_done"])
