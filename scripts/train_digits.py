"""Train a small residual network on the 8x8 digits and export it (under two minutes on one core).

It has one of everything the accelerator does: convolution, residual addition, maximum and average
pooling, and a fully connected layer.
"""

from __future__ import annotations

from pathlib import Path

import click
from _options import ROOT, checkpoint_option, output_option
from _training import Command, Recipe, accuracy, fit, nn, prepare, report, shifted, torch
from termac.examples import MODELS, datasets
from termac.train.export import export

__all__ = ["DigitsNet", "main"]

RECIPE = Recipe(epochs=60, batch=32, rate=5e-3)
relu = nn.functional.relu


class DigitsNet(nn.Module):
    """[N, 1, 8, 8] in 0..1 -> scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.first = nn.Conv2d(16, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.wide = nn.Conv2d(16, 32, 3, padding=1)
        self.scores = nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = relu(self.stem(images))
        x = relu(self.second(relu(self.first(x))) + x)
        x = nn.functional.max_pool2d(x, 2)
        x = nn.functional.avg_pool2d(relu(self.wide(x)), 2)
        return self.scores(torch.flatten(x, 1))


@click.command(cls=Command, help="Train a small residual network on scikit-learn's digits.")
@output_option(MODELS / "digits.onnx")
@checkpoint_option(ROOT / "build" / "digits.pt")
def main(output: Path, checkpoint: Path | None) -> None:
    data = datasets.digits()
    prepare(RECIPE.seed)
    model = DigitsNet()
    fit(
        model,
        data.train,
        data.test,
        RECIPE,
        checkpoint=checkpoint,
        augment=lambda images, generator: shifted(images, generator, 1),
    )
    score = accuracy(model, data.test.images, data.test.labels)
    exported = export(
        model,
        (1, 8, 8),
        output,
        about="Residual network for 8x8 handwritten digits. Input NCHW, pixel / 16 (0..1). "
        f"Float test accuracy {score:.2f} % on {len(data.test)} images.",
        properties={
            "dataset": data.name,
            "input_full_scale": "16",
            "input_mean": "0",
            "input_std": "1",
            "float_accuracy": f"{score:.2f}",
        },
    )
    report(exported, output, score)


if __name__ == "__main__":
    main()
