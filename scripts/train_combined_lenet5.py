"""Prune the package's LeNet-5 so that it packs, and export it (minutes on one core).

Starts from the dense model that comes with the package, which also teaches. The last 5,000 training
images are held out for the accuracy printed by epoch; test images are not touched.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import onnx
from _combining import CombineRecipe, fit_combined, make_combiner
from _options import checkpoint_option, data_option, epochs_option, output_option, run_files
from _training import Command, prepare, report, shifted, torch
from onnx import numpy_helper
from termac.examples import MODELS, datasets
from train_lenet5 import LeNet5

__all__ = ["main"]

RECIPE = CombineRecipe(epochs=16, rate=0.01, half=False)
HELD_OUT, SAMPLES = 5000, 256


def load_dense() -> LeNet5:
    """The network with the weights of the package's ``lenet5.onnx``."""
    tensors = onnx.load(MODELS / "lenet5.onnx").graph.initializer
    model = LeNet5()
    names = model.state_dict()
    arrays = {t.name: numpy_helper.to_array(t).copy() for t in tensors if t.name in names}
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model


@click.command(cls=Command, help="Train LeNet-5 to run in CYCLES on a configuration.")
@click.option("--config", default="square", show_default=True, help="Preset, or a TOML file.")
@click.option("--cycles", type=click.IntRange(1), default=4_000, show_default=True)
@output_option()
@data_option("mnist", "the four idx files")
@checkpoint_option()
@epochs_option(RECIPE.epochs, 3)
def main(
    config: str,
    cycles: int,
    output: Path | None,
    data: Path,
    checkpoint: Path | None,
    epochs: int,
) -> None:
    name = f"lenet5-{Path(config).stem}-{cycles}"
    output, checkpoint = run_files(name, output, checkpoint)
    recipe = replace(RECIPE, epochs=epochs)
    prepare(recipe.seed)
    mnist = datasets.mnist(data)
    train, held_out = mnist.train[:-HELD_OUT], mnist.train[-HELD_OUT:]
    model, teacher = load_dense(), load_dense()
    samples = torch.from_numpy(train[:SAMPLES].images)
    steps = epochs * (len(train) // recipe.batch)
    combiner = make_combiner(
        model, samples, config, steps=steps, cycles=cycles, checkpoint=checkpoint
    )
    click.echo(f"{combiner.cycles:,} cycles; passes by layer: {combiner.passes}")
    history = fit_combined(
        model,
        teacher,
        combiner,
        train,
        held_out,
        recipe,
        scaling=((0.0,), (1.0,)),
        augment=lambda images, generator: shifted(images, generator, 2),
        checkpoint=checkpoint,
    )
    combiner.finish()
    exported = combiner.save(
        output,
        about="LeNet-5 (ReLU, maximum pooling) for MNIST, pruned for column combining on "
        f"{combiner.config.name!r} in {combiner.cycles:,} cycles. Input NCHW, pixel / 255 (0..1).",
        properties={
            "dataset": mnist.name,
            "input_full_scale": "255",
            "input_mean": "0",
            "input_std": "1",
        },
    )
    report(exported, output, history[-1])


if __name__ == "__main__":
    main()
