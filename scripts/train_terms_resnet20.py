"""Train the CIFAR-10 ResNet-20 of a public checkpoint for a tight term budget, and export it.

Starts from the dense checkpoint, which also teaches. The last 2,000 training images are held out
for the accuracy printed by epoch (the dense checkpoint has seen them); test images are not touched.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from _cifar10 import cifar10
from _combining import CombineRecipe, fit_combined
from _options import (
    checkpoint_option,
    data_option,
    epochs_option,
    output_option,
    run_files,
    weights_option,
)
from _training import Command, prepare, report
from export_resnet20 import CHECKPOINT, MEAN, PROPERTIES, STD, load
from termac.graph import Terms
from termac.train import TermQuantizer
from train_combined_resnet20 import HELD_OUT, augment

__all__ = ["main"]

RECIPE = CombineRecipe(epochs=5, rate=0.01, quantized_epochs=0)
REFIT = 100


@click.command(cls=Command, help="Train ResNet-20 so that groups of weights keep TERMS terms.")
@click.option("--terms", type=click.IntRange(1, 16), default=8, show_default=True)
@click.option(
    "--group",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Input channels that share them.",
)
@click.option(
    "--data-terms",
    type=click.IntRange(0, 4),
    help="Terms of an activation; 0: all [2, with slots 0].",
)
@click.option("--slots", is_flag=True, help="Terms lie in slots whose powers all groups share.")
@output_option()
@weights_option(CHECKPOINT)
@data_option("cifar10", "the CIFAR-10 sheets")
@checkpoint_option()
@epochs_option(RECIPE.epochs)
@click.option("--rate", type=click.FloatRange(0), default=RECIPE.rate, show_default=True)
def main(
    terms: int,
    group: int,
    data_terms: int | None,
    slots: bool,
    output: Path | None,
    weights: Path,
    data: Path,
    checkpoint: Path | None,
    epochs: int,
    rate: float,
) -> None:
    counted = data_terms if data_terms is not None else 0 if slots else 2
    name = f"resnet20-{'slots' if slots else 'terms'}-{terms}of{group}"
    name += f"-{counted}" if counted else ""
    output, checkpoint = run_files(name, output, checkpoint)
    recipe = replace(RECIPE, epochs=epochs, rate=rate)
    prepare(recipe.seed)
    cifar = cifar10(data)
    train, held_out = cifar.train[:-HELD_OUT], cifar.train[-HELD_OUT:]
    model, teacher = load(weights), load(weights)
    budget = Terms(weights=terms, data=counted)
    shape = train.images.shape[1:]
    quantizer = TermQuantizer(
        model, shape, budget, group=group, slots=slots, refit=REFIT if slots else 0
    )
    history = fit_combined(
        model,
        teacher,
        quantizer,
        train,
        held_out,
        recipe,
        scaling=(MEAN, STD),
        augment=augment,
        checkpoint=checkpoint,
    )
    quantizer.finish()
    limits = f"{terms} terms {'in slots ' if slots else ''}per group of {group} weights"
    if counted:
        limits += f", {counted} terms per activation"
    exported = quantizer.save(
        output,
        about=f"ResNet-20 (option A) for CIFAR-10, trained for {limits}. Input NCHW, "
        f"(pixel / 255 - mean) / std, RGB mean {MEAN}, std {STD}.",
        properties=PROPERTIES,
    )
    report(exported, output, history[-1])


if __name__ == "__main__":
    main()
