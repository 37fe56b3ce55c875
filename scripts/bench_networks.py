"""Accuracy against cycles: networks packed dense, combined without training, and trained to pack.

LeNet-5 on MNIST (10,000 test images) and ResNet-20 on CIFAR-10 (1,000 test images). Accuracy is the
integer model's, set against the dense float model on the same images: images gained and lost, and
the exact McNemar probability of so uneven a split by chance. Dense and trained networks also run
through the simulated Verilog, every layer compared with the golden model; one different value or
cycle fails. Memories of a configuration are enlarged only where a network does not fit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from typing import Any

import click
import numpy as np
from _cifar10 import cifar10
from _options import DATA, ROOT
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from termac.arch import Config, load_config
from termac.device.compare import check_cycles, compare
from termac.errors import CapacityError, InputError, TermacError
from termac.examples import MODELS
from termac.examples.datasets import Split, mnist, normalize
from termac.flow.pack import pack
from termac.frontend import load_onnx
from termac.graph import Conv, FloatGraph, golden
from termac.image import Image

__all__ = ["main", "mcnemar", "packed"]

LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Bounds of ``termac pack --combine auto --max-loss`` along the curve."""


@dataclass(frozen=True)
class Network:
    """A dense model, its data, and the models trained to pack.

    Parameters
    ----------
    dense : ONNX file
    trained : file name within the package's models, and configuration
    calibration, test : training images to calibrate on, and what is measured
    dense_images, images : that go through the Verilog, dense and trained
    """

    dense: Path
    trained: tuple[tuple[str, str], ...]
    calibration: Split
    test: Split
    dense_images: int
    images: int


def _packaged(name: str) -> Path:
    return MODELS / name


def _lenet5() -> Network:
    data = mnist(DATA / "mnist")
    trained = (("lenet5_square_6000.onnx", "square"), ("lenet5_square_4000.onnx", "square"))
    return Network(_packaged("lenet5.onnx"), trained, data.train[:512], data.test, 50, 50)


def _resnet20() -> Network:
    data = cifar10(DATA / "cifar10")
    model = ROOT / "build" / "resnet20.onnx"
    if not model.is_file():
        raise InputError(f"{model}: no such file; run scripts/export_resnet20.py first")
    trained = (
        ("resnet20_square_100k.onnx", "square"),
        ("resnet20_square_80k.onnx", "square"),
        ("resnet20_ecp5_70k.onnx", "ecp5-85f"),
    )
    return Network(model, trained, data.train[:256], data.test, 1, 5)


NETWORKS: dict[str, Callable[[], Network]] = {"lenet5": _lenet5, "resnet20": _resnet20}


def prepared(graph: FloatGraph, split: Split) -> NDArray[np.float32]:
    """Images as a model wants them: scaled by its own metadata."""
    mean, std = (
        [float(value) for value in graph.properties[f"input_{key}"].split()]
        for key in ("mean", "std")
    )
    return normalize(split.images, mean, std)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact probability of a split at least as uneven, if both were equally likely."""
    total, less = gained + lost, min(gained, lost)
    tail = sum(comb(total, k) for k in range(less + 1)) / 2**total
    return min(1.0, 2 * tail)


def packed(
    model: FloatGraph, config: Config, calibration: NDArray[np.generic], **choices: Any
) -> tuple[Image, bool]:
    """Image, and whether memories had to be enlarged for it."""
    try:
        return pack(model, config, calibration, **choices).image, False
    except CapacityError:
        roomy = replace(config, weight_depth=1 << 16, program_depth=1 << 14, tap_depth=1 << 14)
        return pack(model, roomy, calibration, **choices).image, True


def simulated(image: Image, x: NDArray[np.int8], advance: Callable[..., None]) -> dict[str, Any]:
    """Run images through the Verilog and compare everything."""
    from termac_sim.device import SimulatedDevice

    result = SimulatedDevice(image).run(x, tensors=True, progress=advance)
    equal = compare(image, result, golden.run(image.graph, x))
    check_cycles(image, result)
    (cycles,) = set(result.total_cycles.tolist())
    return {"rtl_images": len(x), "values_equal": equal, "simulated_cycles": cycles}


def points(network: Network, *, rtl: bool, curve: bool, advance: Callable) -> Iterator[dict]:
    """Records of a network: per configuration dense, combined, trained."""
    dense = load_onnx(network.dense)
    x = prepared(dense, network.test)
    calibration = prepared(dense, network.calibration)
    right = dense.predict(x).argmax(axis=1) == network.test.labels

    def record(how: str, model: FloatGraph, config: Config, images: int, **choices: Any) -> dict:
        advance(0, 1, f"{config.name}: {how}")
        image, enlarged = packed(model, config, calibration, **choices)
        stored = golden.quantize_input(image.graph, x)
        y = golden.run(image.graph, stored, outputs_only=True)[image.graph.output]
        scores = golden.dequantize_output(image.graph, y)
        now = scores.argmax(axis=1) == network.test.labels
        gained, lost = int((now & ~right).sum()), int((right & ~now).sum())
        weights = [node.weights for node in image.graph.nodes if isinstance(node, Conv)]
        return {
            "network": network.dense.stem,
            "config": config.name,
            "how": how,
            "memories_enlarged": enlarged,
            "predicted_cycles": image.cycles,
            "ideal_dense_cycles": 8 * image.macs / config.cells,
            "nonzero": sum(map(np.count_nonzero, weights)) / sum(w.size for w in weights),
            "float_accuracy": float(right.mean()),
            "accuracy": float(now.mean()),
            "gained": gained,
            "lost": lost,
            "mcnemar_p": mcnemar(gained, lost),
            **(simulated(image, stored[:images], advance) if rtl and images else {}),
        }

    for config_name in dict.fromkeys(config for _, config in network.trained):
        config = load_config(config_name)
        yield record("dense", dense, config, network.dense_images)
        for loss in LOSSES if curve else ():
            how = f"--max-loss {loss}"
            yield record(how, dense, config, 0, combine="auto", max_loss=loss)
        for name, trained_for in network.trained:
            if trained_for == config_name:
                how = f"trained, {name.rsplit('_')[-1].removesuffix('.onnx')}"
                yield record(how, load_onnx(_packaged(name)), config, network.images)


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, type=click.Choice(list(NETWORKS)))
@click.option("--config", "configs", multiple=True, help="Of these configurations only.")
@click.option("--no-rtl", is_flag=True, help="Predicted cycles only: no simulation.")
@click.option("--no-curve", is_flag=True, help="Leave out what is combined without training.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    networks: tuple[str, ...],
    configs: tuple[str, ...],
    no_rtl: bool,
    no_curve: bool,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measure the networks."""
    rows: list[dict] = []
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for name in networks or NETWORKS:
                task = progress.add_task(name, total=None)

                def advance(done: int, total: int, text: str, task: Any = task) -> None:
                    progress.update(task, completed=done, total=total, description=text)

                network = NETWORKS[name]()
                if configs:
                    chosen = tuple(pair for pair in network.trained if pair[1] in configs)
                    network = replace(network, trained=chosen)
                rows += points(network, rtl=not no_rtl, curve=not no_curve, advance=advance)
    except TermacError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if picture is not None:
        _draw(rows, picture)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(title="Column combining")
    for heading in ("network", "config", "packed"):
        table.add_column(heading, no_wrap=True)
    for heading in ("nonzero", "cycles", "of dense", "accuracy", "gained / lost", "p", "on RTL"):
        table.add_column(heading, justify="right", no_wrap=True)
    dense = 0
    for row in rows:
        if row["how"] == "dense":
            dense = row["predicted_cycles"]
        table.add_row(
            row["network"],
            row["config"],
            row["how"],
            f"{row['nonzero']:.1%}",
            f"{row['predicted_cycles']:,}{'*' if row['memories_enlarged'] else ''}",
            f"1/{dense / row['predicted_cycles']:.2f}",
            f"{row['accuracy']:.2%}",
            f"+{row['gained']} -{row['lost']}",
            f"{row['mcnemar_p']:.3f}",
            f"{row['rtl_images']}: {row['values_equal']:,} equal" if "rtl_images" in row else "",
        )
    notes = {f"{r['network']} {r['config']}: {r['float_accuracy']:.2%} float, ideal dense "
             f"{r['ideal_dense_cycles']:,.0f} cycles" for r in rows}  # fmt: skip
    table.caption = "\n".join([*sorted(notes), "* memories enlarged for the simulation"])
    Console(width=None if Console().is_terminal else 150).print(table)


def _draw(rows: list[dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(5.4 * len(names), 4.2), dpi=100)
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        own = [row for row in rows if row["network"] == name]
        for colour, config in zip(
            ("#0b5cc4", "#c2410c"), dict.fromkeys(row["config"] for row in own), strict=False
        ):
            line = [r for r in own if r["config"] == config and not r["how"].startswith("trained")]
            line.sort(key=lambda r: r["predicted_cycles"])
            cycles = [r["predicted_cycles"] / 1000 for r in line]
            shown = [100 * r["accuracy"] for r in line]
            axes.plot(cycles, shown, "o-", color=colour, ms=4, label=f"{config}, no training")
            stars = [r for r in own if r["config"] == config and r["how"].startswith("trained")]
            axes.plot(
                [r["predicted_cycles"] / 1000 for r in stars],
                [100 * r["accuracy"] for r in stars],
                "*", color=colour, ms=13, label=f"{config}, trained to pack",
            )  # fmt: skip
        axes.axhline(100 * own[0]["float_accuracy"], color="#57606a", lw=0.8, ls="--")
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("thousand cycles an image")
        axes.set_ylabel("test accuracy, %")
        axes.set_xlim(left=0)
        axes.grid(color="#d8dde3", lw=0.6)
        axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()
