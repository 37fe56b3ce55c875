"""Accuracy against term pairs: weights and activations limited to their largest terms.

LeNet-5 on MNIST (10,000 test images) and ResNet-20 on CIFAR-10 (1,000 test images), groups of eight
weights. Accuracy is the integer model's, on the golden model, set against the int8 model on the
same images: images gained and lost, and the exact McNemar probability of so uneven a split by
chance. Three ways to spend a budget, all without training:

published: int8 weights keep their largest terms, the others are dropped
own powers: weights fitted on calibration images, every term with an exponent of its own
shared powers: the same for cells whose groups share exponents and take whole activations

Pairs are term pairs per multiplication, over all layers, the first with its larger budget. A whole
activation counts as its five terms, although a cell of the last kind takes it in one beat.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from bench_networks import NETWORKS, Network, mcnemar, prepared
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from termac.compress import quantize
from termac.compress.terms.allowance import MORE, Allowance
from termac.compress.terms.network import fit_terms
from termac.compress.terms.published import limit_terms
from termac.errors import TermacError
from termac.frontend import load_onnx
from termac.graph import Conv, Graph, golden

__all__ = ["beats_per_mac", "main"]

GROUP = 8
BUDGETS = (4, 6, 8, 10, 12, 16)
DATA = (1, 2, 3, 4, 0)
BINARY_PAIRS = 49
"""Of a multiplication of sign and seven binary digits by the same, the published baseline."""
WHOLE = 5
"""Most terms of an activation less its zero point, nine bits, in non-adjacent form."""
METHODS = ("published", "own powers", "shared powers")


@dataclass(frozen=True)
class Subject:
    """An int8 network and what it is measured on."""

    network: Network
    model: Any
    graph: Graph
    calibration: NDArray[np.float32]
    stored: NDArray[np.int8]

    @classmethod
    def of(cls, network: Network) -> Subject:
        model = load_onnx(network.dense)
        calibration = prepared(model, network.calibration)
        graph = quantize(model, calibration)
        stored = golden.quantize_input(graph, prepared(model, network.test))
        return cls(network, model, graph, calibration, stored)

    def right(self, graph: Graph) -> NDArray[np.bool_]:
        y = golden.run(graph, self.stored, outputs_only=True)[graph.output]
        scores = golden.dequantize_output(graph, y)
        return scores.argmax(axis=1) == self.network.test.labels

    def limited(self, method: str, allowance: Allowance) -> Graph:
        if method == "published":
            return limit_terms(
                self.graph, group=GROUP, budget=allowance.weights, data_terms=allowance.data
            )
        shared = method == "shared powers"
        return fit_terms(
            self.model, self.graph, self.calibration, lanes=GROUP, allowance=allowance,
            shared=shared, more=None if shared else MORE,
        ).graph  # fmt: skip


def beats_per_mac(graph: Graph, group: int, whole: int) -> float:
    """Weight terms times data terms per multiplication, over all layers.

    Parameters
    ----------
    group : weights of a group
    whole : what a whole activation counts as
    """
    beats = macs = 0.0
    for node in graph.nodes:
        if isinstance(node, Conv):
            assert node.terms is not None
            height, width, _ = graph.tensors[node.name].shape
            channels = node.weights.shape[3]
            count = height * width * node.weights.size
            groups = -(-channels // group) / channels
            beats += count * groups * node.terms.weights * (node.terms.data or whole)
            macs += count
    return beats / macs


def budgets(method: str) -> list[Allowance]:
    if method == "shared powers":
        return [Allowance(k) for k in BUDGETS]
    data = DATA if method == "published" else (1, 2, 3, 4)
    return [Allowance(k, s) for k in BUDGETS for s in data]


def points(
    name: str, methods: tuple[str, ...], chosen: tuple[Allowance, ...], advance: Callable
) -> Iterator[dict[str, Any]]:
    """Records of a network: int8, then every method and budget."""
    advance(0, 1, "int8")
    subject = Subject.of(NETWORKS[name]())
    base = subject.right(subject.graph)

    def record(method: str, k: int, s: int, pairs: float, beats: float, now: NDArray) -> dict:
        gained, lost = int((now & ~base).sum()), int((base & ~now).sum())
        return {
            "network": name, "method": method, "terms": k, "group": GROUP, "data_terms": s,
            "pairs": pairs, "fewer": BINARY_PAIRS / pairs, "beats": beats, "images": len(base),
            "accuracy": float(now.mean()), "gained": gained, "lost": lost,
            "mcnemar_p": mcnemar(gained, lost),
        }  # fmt: skip

    yield record("int8", 0, 0, BINARY_PAIRS, BINARY_PAIRS, base)
    for method in methods:
        wanted = [a for a in budgets(method) if not chosen or a in chosen]
        for number, allowance in enumerate(wanted):
            advance(number, len(wanted), f"{name}, {method}: {allowance}")
            graph = subject.limited(method, allowance)
            pairs = beats_per_mac(graph, GROUP, WHOLE)
            beats = beats_per_mac(graph, GROUP, 1) if method == "shared powers" else pairs
            now = subject.right(graph)
            yield record(method, allowance.weights, allowance.data, pairs, beats, now)


def _budget(text: str) -> Allowance:
    weights, _, data = text.partition(",")
    return Allowance(int(weights), int(data or 0))


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, type=click.Choice(list(NETWORKS)))
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS))
@click.option("--budget", "chosen", multiple=True, metavar="K[,S]", help="These budgets only.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves.")
@click.option(
    "--earlier",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Show records of an earlier run as well, a file of --json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    networks: tuple[str, ...],
    methods: tuple[str, ...],
    chosen: tuple[str, ...],
    earlier: tuple[Path, ...],
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measure the networks."""
    rows: list[dict] = [row for path in earlier for row in json.loads(path.read_text())]
    try:
        allowances = tuple(_budget(text) for text in chosen)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for name in networks or ([] if earlier else list(NETWORKS)):
                task = progress.add_task(name, total=None)

                def advance(done: int, total: int, text: str, task: Any = task) -> None:
                    progress.update(task, completed=done, total=total, description=text)

                rows += points(name, methods or METHODS, allowances, advance)
        rows = list({json.dumps(row): row for row in rows}.values())
    except TermacError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if picture is not None:
        _draw(rows, picture)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(title="Terms")
    for heading in ("network", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("k/g", "s", "pairs per MAC", "fewer than 49", "beats", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("gained / lost", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["network"],
            row["method"],
            f"{row['terms']}/{row['group']}" if row["terms"] else "",
            str(row["data_terms"] or "whole") if row["terms"] else "",
            f"{row['pairs']:.2f}",
            f"{row['fewer']:.1f}x",
            f"{row['beats']:.2f}",
            f"{row['accuracy']:.2%}",
            f"+{row['gained']} -{row['lost']}",
            f"{row['mcnemar_p']:.3f}",
        )
    Console(width=None if Console().is_terminal else 130).print(table)


def _best(rows: list[dict]) -> list[dict]:
    """Those that no row of as few beats surpasses, by beats."""
    result: list[dict] = []
    for row in sorted(rows, key=lambda r: (r["beats"], -r["accuracy"])):
        if not result or row["accuracy"] > result[-1]["accuracy"]:
            result.append(row)
    return result


def _draw(rows: list[dict], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(5.4 * len(names), 4.2), dpi=100)
    FigureCanvasAgg(figure)
    colours = dict(zip(METHODS, ("#57606a", "#c2410c", "#0b5cc4"), strict=True))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        own = [row for row in rows if row["network"] == name]
        int8 = next(row for row in own if row["method"] == "int8")
        shown = [int8["accuracy"]]
        for method in METHODS:
            line = [row for row in own if row["method"] == method]
            if not line:
                continue
            best = _best(line)
            shown += [row["accuracy"] for row in best]
            axes.plot(
                [row["beats"] for row in line], [100 * row["accuracy"] for row in line],
                ".", color=colours[method], ms=4, alpha=0.4,
            )  # fmt: skip
            axes.plot(
                [row["beats"] for row in best], [100 * row["accuracy"] for row in best],
                "o-", color=colours[method], ms=4, label=method,
            )  # fmt: skip
        axes.axhline(100 * int8["accuracy"], color="#1f2328", lw=0.8, ls="--")
        axes.axvline(BINARY_PAIRS / 16, color="#1f2328", lw=0.8, ls=":")
        least, most = 100 * min(shown), 100 * max(shown)
        axes.set_ylim(max(least, 100 * int8["accuracy"] - 8) - 0.3, most + 0.3)
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xscale("log", base=2)
        axes.set_xticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
        axes.set_xlabel("beats per multiplication (dashed int8, dotted 49/16)")
        axes.set_ylabel("test accuracy, %")
        axes.grid(color="#d8dde3", lw=0.6)
        axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()
