"""Train LeNet-5 on MNIST, or idx files of the same form, and export it (minutes on one core).

Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, with ReLU and
maximum pooling in place of tanh and trainable subsampling.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from _options import ROOT, checkpoint_option, data_option, epochs_option, output_option
from _training import Command, Recipe, accuracy, fit, nn, prepare, report, shifted, torch
from termac.errors import InputError
from termac.examples import MODELS, datasets
from termac.train.export import export

__all__ = ["LeNet5", "main"]

RECIPE = Recipe(epochs=14, batch=100, rate=4e-3)
relu = nn.functional.relu


class LeNet5(nn.Module):
    """[N, 1, 28, 28] in 0..1 -> scores [N, 10]; 61,706 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.full1 = nn.Linear(400, 120)
        self.full2 = nn.Linear(120, 84)
        self.full3 = nn.Linear(84, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(relu(self.conv1(images)), 2)
        x = nn.functional.max_pool2d(relu(self.conv2(x)), 2)
        x = relu(self.full1(torch.flatten(x, 1)))
        return self.full3(relu(self.full2(x)))


@click.command(cls=Command, help="Train LeNet-5 on a folder of idx files and export it.")
@data_option("mnist", "the four idx files")
@output_option(MODELS / "lenet5.onnx")
@checkpoint_option(ROOT / "build" / "lenet5.pt")
@epochs_option(RECIPE.epochs)
def main(data: Path, output: Path, checkpoint: Path, epochs: int) -> None:
    mnist = datasets.mnist(data)
    for part in (mnist.train, mnist.test):
        if part.pixels.shape[1:] != (1, 28, 28) or part.labels.max() > 9:
            raise InputError(f"{data}: LeNet-5 takes 28 x 28 images of ten classes")
    recipe = replace(RECIPE, epochs=epochs)
    prepare(recipe.seed)
    model = LeNet5()
    fit(
        model,
        mnist.train,
        mnist.test,
        recipe,
        checkpoint=checkpoint,
        augment=lambda images, generator: shifted(images, generator, 2),
    )
    score = accuracy(model, mnist.test.images, mnist.test.labels)
    exported = export(
        model,
        (1, 28, 28),
        output,
        about="LeNet-5 (ReLU, maximum pooling) for MNIST. Input NCHW, pixel / 255 (0..1), white "
        f"on black. Float test accuracy {score:.2f} % on {len(mnist.test):,} images.",
        properties={
            "dataset": mnist.name,
            "input_full_scale": "255",
            "input_mean": "0",
            "input_std": "1",
            "float_accuracy": f"{score:.2f}",
        },
    )
    report(exported, output, score)


if __name__ == "__main__":
    main()
