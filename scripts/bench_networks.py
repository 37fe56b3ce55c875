"""Real networks from the trained model to the simulated Verilog: accuracy, cycles, equality.

LeNet-5 on MNIST (10,000 test images) and ResNet-20 on CIFAR-10 (1,000 test images), packed dense
for the `square` configuration with memories enlarged as far as the network needs. Every layer of
the simulated images is compared with the golden model; one different value or cycle fails.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from termac import golden
from termac.arch import Config, load_config
from termac.compile import compile_graph
from termac.compress import quantize
from termac.datasets import Split, cifar10, mnist, normalize
from termac.device import check_cycles, compare
from termac.errors import TermacError
from termac.frontend import load_onnx
from termac_sim.device import SimulatedDevice

__all__ = ["main"]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Workload:
    """A model, its data, and how many images go through the Verilog."""

    model: Path
    calibration: Any
    test: Split
    prepare: Callable[[Any], Any]
    simulated: int


def _lenet5() -> Workload:
    data = mnist(DATA / "mnist")
    with resources.as_file(resources.files("termac").joinpath("models", "lenet5.onnx")) as path:
        return Workload(path, data.train.images[:512], data.test, lambda images: images, 50)


def _resnet20() -> Workload:
    data = cifar10(DATA / "cifar10")

    def prepare(images: Any) -> Any:
        return normalize(images, data.mean, data.std)

    model = Path(__file__).resolve().parents[1] / "build" / "resnet20.onnx"
    return Workload(model, prepare(data.train[:256].images), data.test, prepare, 1)


WORKLOADS = {"lenet5": _lenet5, "resnet20": _resnet20}


def measure(name: str, config: Config, images: int | None, advance: Callable[..., None]) -> dict:
    """One row of the table."""
    work = WORKLOADS[name]()
    float_graph = load_onnx(work.model)
    graph = quantize(float_graph, work.calibration)
    image = compile_graph(graph, config)
    samples = work.prepare(work.test.images)
    x = golden.quantize_input(graph, samples)
    y = golden.run(graph, x, outputs_only=True)[graph.output]
    count = work.simulated if images is None else images
    device = SimulatedDevice(image, progress=advance)
    result = device.run(x[:count], tensors=True)
    compared = compare(image, result, golden.run(graph, x[:count]))
    check_cycles(image, result)
    scores = golden.dequantize_output(graph, y)

    def accuracy(predicted: Any) -> float:
        return float(np.mean(predicted.argmax(axis=1) == work.test.labels))

    return {
        "network": name,
        "config": config.name,
        "test_images": len(work.test),
        "float_accuracy": accuracy(float_graph.predict(samples)),
        "integer_accuracy": accuracy(scores),
        "simulated_images": count,
        "values_equal": compared,
        "predicted_cycles": image.cycles,
        "simulated_cycles": sorted(set(result.total_cycles.tolist())),
        "ideal_dense_cycles": 8 * image.macs / config.cells,
    }


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, type=click.Choice(list(WORKLOADS)))
@click.option("--config", "preset", default="square", show_default=True, help="Preset or TOML.")
@click.option("--images", type=click.IntRange(min=1), help="Images through the Verilog.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(networks: tuple[str, ...], preset: str, images: int | None, as_json: bool) -> None:
    """Measure the networks."""
    try:
        # Dense weights exceed the block RAM of a part; the array and its timing are the preset's.
        config = replace(load_config(preset), weight_depth=1 << 15, program_depth=1 << 14)
        rows = []
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for name in networks or WORKLOADS:
                task = progress.add_task(name, total=None)

                def advance(done: int, total: int, text: str, task: Any = task) -> None:
                    progress.update(task, completed=done, total=total)

                rows.append(measure(name, config, images, advance))
    except TermacError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(title=f"Dense, on {config.name}: {config.rows} x {config.columns} cells")
    table.add_column("network", no_wrap=True)
    for heading in ("float", "integer", "RTL images", "values equal", "cycles", "ideal"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["network"],
            f"{row['float_accuracy']:.2%}",
            f"{row['integer_accuracy']:.2%}",
            f"{row['simulated_images']}",
            f"{row['values_equal']:,}",
            f"{row['predicted_cycles']:,}",
            f"{row['ideal_dense_cycles']:,.0f}",
        )
    table.caption = "Accuracy on the whole test set; cycles predicted and simulated; ideal: dense."
    Console().print(table)


if __name__ == "__main__":
    main()
