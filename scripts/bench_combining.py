"""Column combining, published greedy against ours: combined columns, what gets lost, seconds.

Random matrices of 256x2304 (Gaussian times Bernoulli), alpha 8, gamma 0.5; and every 3x3 layer of
the CIFAR-10 ResNet-20, pruned by magnitude to 15 %. Columns are grouped freely. Seconds are of
processor time, so that other load does not count. Exit status 1 if a target is missed.
With --layout also what is left where columns combine as the hardware has them: lanes of a word,
one channel order for all taps.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from termac.compress.columns import Combining, combine
from termac.compress.combine.orders import Reader, improve_order
from termac.compress.combine.selects import Selects
from termac.errors import InputError, TermacError

__all__ = ["main"]

CHECKPOINT = Path(__file__).resolve().parents[2].joinpath(
    "shared", "data", "resnet_cifar10", "resnet20-12fca82f.th"
)  # fmt: skip
ROWS, COLUMNS = 256, 2304
LARGE = 4096
TAPS = 9
WORD_BANKS = 4
"""Combined columns that one select of a word fills, as on `square`."""
KEPT = 0.15
"""Weights of a ResNet-20 layer that pruning leaves."""
DENSITIES = {"random_10": 0.10, "random_16": 0.16}
TARGETS = {"random_10": 0.45, "random_16": 0.25}
"""Least reduction of the mass lost, at alpha 8 and gamma 0.5."""
SECONDS, LARGE_SECONDS = 0.5, 20.0

FIGURES = {
    "groups": "{:,}",
    "density": "{:.1%}",
    "nonzeros_lost": "{:.1%}",
    "mass_lost": "{:.2%}",
    "energy_lost": "{:.2%}",
    "seconds": "{:.2f}",
}
"""What is shown of each method, and how."""
HEADINGS = {
    "density": "packed", "nonzeros_lost": "nonzeros", "mass_lost": "mass", "energy_lost": "energy",
}  # fmt: skip
METHODS: dict[str, Callable[..., Combining]] = {
    "published": partial(combine, method="published"),
    "ours": partial(combine, method="magnitude"),
}


def sparse(rows: int, columns: int, density: float, seed: int) -> NDArray[np.float64]:
    """Standard normal weights, each kept with probability ``density``; [rows, columns]."""
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, columns)) * (random.random((rows, columns)) < density)


def pruned(weights: NDArray[Any], kept: float) -> NDArray[Any]:
    """The largest weights of a layer, the others zero."""
    limit = np.quantile(np.abs(weights), 1 - kept)
    return np.where(np.abs(weights) > limit, weights, 0)


def resnet20_layers(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and weights [output channels, input channels x 9] of the 3x3 convolutions.

    Raises
    ------
    InputError
        If PyTorch or the checkpoint is missing, or the checkpoint is damaged.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError("PyTorch is missing: pip install 'termac[train]'")
    from export_resnet20 import load  # late: the random matrices need no PyTorch

    for name, weights in load(path).state_dict().items():
        if weights.ndim == 4:
            array = weights.numpy()
            yield name.removesuffix(".weight"), array.reshape(len(array), -1)


def figures(result: Combining, seconds: float) -> dict[str, float]:
    return {
        "groups": len(result.groups),
        "density": result.density,
        "nonzeros_lost": result.nonzeros_lost,
        "mass_lost": result.mass_lost,
        "energy_lost": result.energy_lost,
        "seconds": round(seconds, 4),
    }


def in_layout(matrix: NDArray[Any], alpha: int, columns: int) -> dict[str, float]:
    """Figures of a 3x3 layer whose combined columns are lanes of a memory word.

    alpha channels of one tap share a combined column; one channel order serves all taps. There are
    at most ``columns`` combined columns; each tap's words have as many selects as pays.
    """
    started = time.process_time()
    filters, channels = len(matrix), matrix.shape[1] // TAPS
    banks = min(WORD_BANKS, channels // alpha)
    blocks = channels // (banks * alpha)
    words = tuple((0, (tap, 0, block)) for tap in range(TAPS) for block in range(blocks))
    tap, channel = np.divmod(np.arange(TAPS * channels), channels)
    groups = tap * blocks * banks + channel // alpha
    worth = np.abs(matrix).reshape(filters, channels, TAPS).transpose(0, 2, 1)
    worth = worth.reshape(filters, -1).astype(np.float64)
    selects = Selects(words, banks, groups[None])
    slots = columns // banks
    reader = Reader(selects, worth, selects.spend(worth, slots), channels)
    order = np.array(improve_order([reader], channels, sweeps=1))
    ordered = worth[:, tap * channels + order[channel]]
    kept = selects.keep(ordered, selects.spend(ordered, slots))
    used = slots * banks
    return {
        "groups": used,
        "density": float(np.count_nonzero(ordered[kept])) / (filters * used),
        "nonzeros_lost": 1 - np.count_nonzero(ordered[kept]) / np.count_nonzero(worth),
        "mass_lost": 1 - float(ordered[kept].sum() / worth.sum()),
        "energy_lost": 1 - float(np.square(ordered[kept]).sum() / np.square(worth).sum()),
        "seconds": round(time.process_time() - started, 4),
    }


def measure(
    name: str, matrix: NDArray[Any], alpha: int, gamma: float, *, layout: bool
) -> dict[str, Any]:
    """One record: the figures of each method, and by how much ours lowers the mass lost."""
    record: dict[str, Any] = {
        "matrix": name,
        "shape": list(matrix.shape),
        "nonzero_density": float(np.count_nonzero(matrix)) / matrix.size,
    }
    for name, method in METHODS.items():
        started = time.process_time()
        result = method(matrix, alpha=alpha, gamma=gamma)
        record[name] = figures(result, time.process_time() - started)
    if layout and matrix.shape[1] // TAPS >= alpha:
        record["layout"] = in_layout(matrix, alpha, record["published"]["groups"])
    yardstick = record["published"]["mass_lost"]
    record["ratio"] = record["ours"]["mass_lost"] / yardstick if yardstick else 1.0
    return record


def missed(kind: str, records: list[dict]) -> list[str]:
    """Targets that the records of a kind miss, in words."""
    found = []
    limit = LARGE_SECONDS if kind == "large" else SECONDS
    for record in records:
        name, ours, gain = record["matrix"], record["ours"], 1 - record["ratio"]
        if ours["seconds"] > limit:
            found.append(f"{name}: {ours['seconds']:.2f} s, target {limit} s")
        if ours["groups"] > record["published"]["groups"]:
            found.append(f"{name}: more combined columns than published")
        if gain < TARGETS.get(kind, 0):
            found.append(f"{name}: {gain:.1%} less mass lost, target {TARGETS[kind]:.0%}")
    return found


def show(console: Console, title: str, records: list[dict]) -> None:
    table = Table(title=title)
    table.add_column("matrix", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for name in FIGURES:
        table.add_column(HEADINGS.get(name, name), justify="right", no_wrap=True)
    table.add_column("mass, ours / published", justify="right")
    for record in records:
        for row, method in enumerate(name for name in (*METHODS, "layout") if name in record):
            cells = [form.format(record[method][name]) for name, form in FIGURES.items()]
            ratio = f"{record['ratio']:.3f}" if method == "ours" else ""
            table.add_row("" if row else record["matrix"], method, *cells, ratio)
    ratios = [record["ratio"] for record in records]
    table.caption = (
        "packed: weights per slot of the combined matrix; nonzeros, mass, energy: fraction lost. "
        f"ours / published: median {np.median(ratios):.3f}, largest {max(ratios):.3f}"
    )
    console.print(table)


@click.command(help=__doc__)
@click.option("--alpha", default=8, show_default=True, help="Most columns of a group.")
@click.option("--gamma", default=0.5, show_default=True, help="Conflicts per row of a group.")
@click.option(
    "--seeds", default=10, show_default=True, type=click.IntRange(0), help="Random matrices."
)
@click.option("--layout", is_flag=True, help="Within the hardware's layout as well (minutes).")
@click.option("--large", is_flag=True, help=f"A {LARGE}x{LARGE} matrix at 10 % as well.")
@click.option(
    "--weights",
    type=click.Path(dir_okay=False, path_type=Path),
    default=CHECKPOINT,
    help=f"Checkpoint [../shared/data/resnet_cifar10/{CHECKPOINT.name} beside the project].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(
    alpha: int,
    gamma: float,
    seeds: int,
    layout: bool,
    large: bool,
    weights: Path,
    as_json: bool,
) -> None:
    records: dict[str, list[dict]] = {kind: [] for kind in (*DENSITIES, "large", "resnet20")}
    try:
        layers = [(name, pruned(matrix, KEPT)) for name, matrix in resnet20_layers(weights)]
    except InputError as error:
        click.echo(f"ResNet-20 is skipped: {error}", err=True)
        layers = []
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            total = len(DENSITIES) * seeds + int(large) + len(layers)
            task = progress.add_task("combining", total=total)

            def run(kind: str, name: str, matrix: NDArray[Any]) -> None:
                within = layout and kind != "large"
                records[kind].append(measure(name, matrix, alpha, gamma, layout=within))
                progress.advance(task)

            for kind, density in DENSITIES.items():
                for seed in range(seeds):
                    matrix = sparse(ROWS, COLUMNS, density, seed)
                    run(kind, f"{density:.0%}, seed {seed}", matrix)
            if large:
                run("large", f"{LARGE}x{LARGE}, 10%", sparse(LARGE, LARGE, 0.1, 0))
            for name, matrix in layers:
                run("resnet20", f"{name} {'x'.join(map(str, matrix.shape))}", matrix)
    except TermacError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=120)
        titles = {
            **{kind: f"Random {ROWS}x{COLUMNS}, {share:.0%}" for kind, share in DENSITIES.items()},
            "large": "Large random matrix",
            "resnet20": f"3x3 layers of ResNet-20, pruned to {KEPT:.0%}",
        }
        for kind, title in titles.items():
            if records[kind]:
                show(console, f"{title}; alpha {alpha}, gamma {gamma}", records[kind])
    failures = [text for kind in records for text in missed(kind, records[kind])]
    if failures and (alpha, gamma) == (8, 0.5):
        click.echo("\n".join(f"target missed: {text}" for text in failures), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
