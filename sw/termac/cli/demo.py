"""``termac demo``: the whole way on one small network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from termac.cli.common import Reporter, import_simulated_device, json_option
from termac.files import check_writable_folder
from termac.report.console import progress

__all__ = ["demo"]

FOLDER = Path("build") / "demo"


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Folder for Verilog, image and pictures.",
)
@click.option(
    "--images",
    type=click.IntRange(1, 360),
    default=16,
    show_default=True,
    help="Test images that run through the Verilog.",
)
@json_option
def demo(output: Path, images: int, reporter: Reporter) -> None:
    """Take a small network all the way to simulated Verilog.

    Quantizes a network for handwritten digits, packs it for the preset `demo`, generates the
    Verilog, builds a simulator, runs test images through the whole network and compares every
    layer with the golden model, value by value. Fails if one differs.
    """
    for folder in ("image", "verilog"):
        check_writable_folder(output / folder, "--output")
    from termac.flow.demo import run_demo

    done = run_demo(output, import_simulated_device(), progress, images=images)
    image, result = done.image, done.result
    cycles = result.cycles[0]
    right = int((done.predictions == done.labels).sum())

    def tables() -> Iterator[Any]:
        from termac.report.tables import facts_table, layers_table, predictions_table

        yield predictions_table(
            [str(label) for label in done.labels],
            [str(guess) for guess in done.predictions],
            result.total_cycles,
        )
        yield layers_table(image, simulated=cycles, simulated_total=int(result.total_cycles[0]))
        yield facts_table("Result", [
            ("float model", f"{done.float_accuracy:.2%} of {done.test_images} test images right"),
            ("integer model", f"{done.integer_accuracy:.2%} of the same images"),
            ("simulated Verilog", f"{right} of {len(done.labels)} images right"),
            ("compared", f"{done.compared:,} values in {len(image.layers)} layers, all equal"),
            ("cycles per image", f"{int(result.total_cycles[0]):,}, as predicted"),
        ])  # fmt: skip
        yield facts_table("Files", [(kind, str(path)) for kind, path in done.files.items()])

    facts = {
        "config": image.config.name,
        "network": image.graph.name,
        "float_accuracy": done.float_accuracy,
        "integer_accuracy": done.integer_accuracy,
        "test_images": done.test_images,
        "images": [
            {"label": label, "prediction": guess, "cycles": count}
            for label, guess, count in zip(
                done.labels, done.predictions, result.total_cycles, strict=True
            )
        ],
        "layers": [
            {
                "layer": layer.name,
                "predicted_cycles": layer.cycles,
                "simulated_cycles": cycles[number],
                "density": layer.density,
                "utilization": layer.utilization,
            }
            for number, layer in enumerate(image.layers)
        ],
        "compared_values": done.compared,
        "files": done.files,
    }
    reporter.show(facts, tables)
