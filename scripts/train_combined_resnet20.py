"""Prune the CIFAR-10 ResNet-20 of a public checkpoint so that it packs, and export it.

Starts from the dense checkpoint, which also teaches. The last 2,000 training images are held out
for the accuracy printed by epoch (the dense checkpoint has seen them); test images are not touched.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from _cifar10 import cifar10
from _combining import CombineRecipe, fit_combined, make_combiner
from _options import (
    checkpoint_option,
    data_option,
    epochs_option,
    output_option,
    run_files,
    weights_option,
)
from _training import Command, prepare, report, shifted, torch
from export_resnet20 import CHECKPOINT, MEAN, PROPERTIES, STD, load
from termac.examples import datasets
from termac.train import Combiner

__all__ = ["main"]

RECIPE = CombineRecipe(epochs=40)
HELD_OUT, SAMPLES = 2000, 256


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move by up to 4 pixels, mirror half of the images."""
    moved = shifted(images, generator, 4)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], moved.flip(3), moved)


@click.command(cls=Command, help="Train ResNet-20 to run in CYCLES on a configuration.")
@click.option("--config", default="square", show_default=True, help="Preset, or a TOML file.")
@click.option("--cycles", type=click.IntRange(1), default=100_000, show_default=True)
@output_option()
@weights_option(CHECKPOINT)
@data_option("cifar10", "the CIFAR-10 sheets")
@checkpoint_option()
@epochs_option(RECIPE.epochs, 3)
@click.option(
    "--tune",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Epochs with fixed masks afterwards, at two fifths of the learning rate.",
)
def main(
    config: str,
    cycles: int,
    output: Path | None,
    weights: Path,
    data: Path,
    checkpoint: Path | None,
    epochs: int,
    tune: int,
) -> None:
    name = f"resnet20-{Path(config).stem}-{cycles // 1000}k"
    output, checkpoint = run_files(name, output, checkpoint)
    recipe = replace(RECIPE, epochs=epochs)
    prepare(recipe.seed)
    cifar = cifar10(data)
    train, held_out = cifar.train[:-HELD_OUT], cifar.train[-HELD_OUT:]
    model, teacher = load(weights), load(weights)
    samples = torch.from_numpy(datasets.normalize(train[:SAMPLES].images, MEAN, STD))
    steps = epochs * (len(train) // recipe.batch)
    combiner = make_combiner(
        model, samples, config, steps=steps, cycles=cycles, checkpoint=checkpoint
    )
    click.echo(f"{combiner.cycles:,} cycles; passes by layer: {combiner.passes}")

    def fit(combiner: Combiner, recipe: CombineRecipe, checkpoint: Path) -> list[float]:
        return fit_combined(
            model,
            teacher,
            combiner,
            train,
            held_out,
            recipe,
            scaling=(MEAN, STD),
            augment=augment,
            checkpoint=checkpoint,
        )

    history = fit(combiner, recipe, checkpoint)
    if tune:
        combiner.finish()
        combiner = Combiner(
            model, samples, combiner.config, steps=steps, passes=combiner.passes,
            grouping=combiner.grouping, freeze=0.0,
        )  # fmt: skip
        slower = replace(recipe, epochs=tune, rate=0.4 * recipe.rate)
        history = fit(combiner, slower, checkpoint.with_suffix(".tuned.pt"))
    combiner.finish()
    exported = combiner.save(
        output,
        about="ResNet-20 (option A) for CIFAR-10, pruned for column combining on "
        f"{combiner.config.name!r} in {combiner.cycles:,} cycles. Input NCHW, "
        f"(pixel / 255 - mean) / std, RGB mean {MEAN}, std {STD}.",
        properties=PROPERTIES,
    )
    nonzero = np.mean([float((p != 0).float().mean()) for p in model.parameters() if p.dim() > 1])
    click.echo(f"{nonzero:.1%} of weights are not zero, mean over the layers")
    report(exported, output, history[-1])


if __name__ == "__main__":
    main()
