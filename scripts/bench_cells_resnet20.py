"""ResNet-20 on every cell: accuracy, simulated cycles, and cell area times time of an image.

Each row is one network on one array: packed dense, trained to pack (two of eight weights are left),
or rounded to terms without training. Accuracy is the integer model's on 1,000 test images, beside
it images gained and lost against int8 and their exact McNemar probability. The first images run
through the simulated Verilog; one different value or cycle fails.

The last rows are no simulation but a bound in favour of plain multipliers: one MAC a cycle in each
of 1,024 cells, none ever idle. So is "binary pairs": the compiled schedule of the `term-pair` array
with 49 beats for every multiplication of a convolution, what sign and seven bits take.

Area and clock come from ``bench_cells.py --json``, of cells with 8 lanes: LUT-eq with LUT RAM.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from bench_networks import NETWORKS, mcnemar, packed, prepared, simulated
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from termac.arch import load_config
from termac.arch.estimate import decode_timings
from termac.arch.timing import layer_cycles
from termac.compress import quantize
from termac.compress.terms.allowance import Allowance
from termac.errors import TermacError
from termac.examples import MODELS
from termac.frontend import load_onnx
from termac.graph import Conv, Graph, golden
from termac.image import Image

__all__ = ["main"]

BINARY_PAIRS = 49
CELLS = 1024


@dataclass(frozen=True)
class Entry:
    """A way to run the network.

    Parameters
    ----------
    title : what the table says
    preset, segments : configuration, and its segments
    allowance : term budget
    trained : file of a network that was trained to pack
    """

    title: str
    preset: str
    allowance: Allowance | None = None
    trained: str = ""
    segments: int = 8


ENTRIES = (
    Entry("dense", "square"),
    Entry("trained to pack, 2 of 8", "square", trained="resnet20_square_100k.onnx"),
    Entry("dense", "bit-serial"),
    Entry("8 terms of 8 weights", "term", Allowance(8)),
    Entry("6 terms of 8 weights", "term", Allowance(6)),
    Entry("6 terms of 8 weights, S = 4", "term", Allowance(6), segments=4),
    Entry("all terms", "term-pair"),
    Entry("8/8, 2 of data", "term-pair", Allowance(8, 2)),
    Entry("4/8, 2 of data", "term-pair", Allowance(4, 2)),
)


def _binary_cycles(image: Image) -> int:
    """Cycles of the same schedule with all binary pairs: 49 beats for every weight of a group.

    Layers without a budget of pairs stay as they are.
    """
    config, timings, total = image.config, decode_timings(image.program), 0
    for layer in image.layers:
        nodes = [image.graph.node(name) for name in layer.nodes]
        budgets = [n.terms for n in nodes if isinstance(n, Conv) and n.terms is not None]
        pairs = budgets[0].weights * budgets[0].data if budgets else 0
        more = BINARY_PAIRS * config.lanes / pairs if pairs else 1
        for timing in timings[layer.first_descriptor : layer.last_descriptor + 1]:
            times = round(timing.time * more), round(timing.last_time * more)
            total += layer_cycles(config, replace(timing, time=times[0], last_time=times[1]))
    return total


def measure(images: int, advance: Callable[[int, int, str], None]) -> Iterator[dict[str, Any]]:
    """One record per entry."""
    network = NETWORKS["resnet20"]()
    model = load_onnx(network.dense)
    x, calibration = prepared(model, network.test), prepared(model, network.calibration)

    def right(graph: Graph) -> NDArray[np.bool_]:
        y = golden.run(graph, golden.quantize_input(graph, x), outputs_only=True)[graph.output]
        return y.reshape(len(x), -1).argmax(axis=1) == network.test.labels

    whole = right(quantize(model, calibration))
    for entry in ENTRIES:
        title = f"{entry.preset}, {entry.title}"
        advance(0, 1, title)
        config = replace(load_config(entry.preset), segments=entry.segments)
        given = load_onnx(MODELS / entry.trained) if entry.trained else model
        image, enlarged = packed(given, config, calibration, terms=entry.allowance)
        graph = image.graph
        now = right(graph)
        gained, lost = int((now & ~whole).sum()), int((whole & ~now).sum())
        record = {
            "cell": config.cell, "config": config.name, "how": entry.title,
            "accuracy": float(now.mean()), "gained": gained, "lost": lost,
            "mcnemar_p": mcnemar(gained, lost), "cells": config.cells, "cycles": image.cycles,
            "memories_enlarged": enlarged,
        }  # fmt: skip
        if config.kind.data_terms and entry.allowance is not None:
            record["binary_pair_cycles"] = _binary_cycles(image)
        if images:
            stored = golden.quantize_input(graph, x[:images])
            record |= simulated(image, stored, advance)
        yield record
    for cell in ("parallel, LUTs", "parallel, DSP"):
        yield {
            "cell": cell, "config": "bound", "how": "dense, never idle",
            "accuracy": float(whole.mean()), "gained": 0, "lost": 0, "mcnemar_p": 1.0,
            "cells": CELLS, "cycles": -(-image.macs // CELLS), "memories_enlarged": False,
        }  # fmt: skip


def _add_costs(records: list[dict[str, Any]], cells: Path) -> None:
    """Cell area times time of an image, in LUT-eq milliseconds."""
    measured = {(m["cell"], m["lanes"]): m for m in json.loads(cells.read_text())}
    for record in records:
        lanes = 1 if record["cell"].startswith("parallel") else 8
        found = measured[record["cell"], lanes]
        area, mhz = found["LUT-eq all"], found["Fmax"]
        cost = record["cells"] * area * record["cycles"] / mhz / 1e3
        record |= {"LUT-eq of a cell": area, "MHz": mhz, "LUT-eq ms": round(cost)}


def _show(console: Console, records: list[dict[str, Any]]) -> None:
    table = Table(title="ResNet-20, one image")
    table.add_column("cell")
    table.add_column("packed")
    headings = ("accuracy", "against int8", "p", "cells", "cycles", "cell Mcycles", "LUT-eq, MHz",
                "LUT-eq ms", "values equal")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right")
    for r in records:
        cost = ("", "")
        if "MHz" in r:
            cost = f"{r['LUT-eq of a cell']}, {r['MHz']:.0f}", f"{r['LUT-eq ms']:,}"
        table.add_row(
            r["cell"], r["how"], f"{r['accuracy']:.1%}", f"+{r['gained']} -{r['lost']}",
            f"{r['mcnemar_p']:.2f}", f"{r['cells']:,}",
            f"{r['cycles']:,}{'*' if r['memories_enlarged'] else ''}",
            f"{r['cells'] * r['cycles'] / 1e6:.0f}", *cost,
            f"{r['rtl_images']}: {r['values_equal']:,}" if "values_equal" in r else "",
        )  # fmt: skip
    table.caption = "* memories of the preset enlarged for the simulation"
    console.print(table)
    for r in records:
        if "binary_pair_cycles" in r:
            binary = r["binary_pair_cycles"]
            console.print(
                f"{r['cell']}, {r['how']}: all binary pairs would take {binary:,} cycles, "
                f"{binary / r['cycles']:.1f}x"
            )


@click.command(help=__doc__)
@click.option(
    "--cells", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Output of bench_cells.py --json.",
)  # fmt: skip
@click.option(
    "--images", default=3, show_default=True, type=click.IntRange(0),
    help="Images that go through the simulated Verilog.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(cells: Path | None, images: int, as_json: bool) -> None:
    records: list[dict[str, Any]] = []
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("ResNet-20", total=None)

            def advance(done: int, total: int, text: str) -> None:
                progress.update(task, completed=done, total=total, description=text)

            records += measure(images, advance)
        if cells is not None:
            _add_costs(records, cells)
    except TermacError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        _show(Console(width=None if Console().is_terminal else 160), records)


if __name__ == "__main__":
    main()
