"""Draw the rooms of the code, from the contracts between them and the imports that there are.

The floors are the layers that ``[tool.importlinter]`` in pyproject.toml allows, the arrows are the
imports. A room is a folder or a loose file. ``python scripts/draw_house.py`` writes sw/house.svg.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import grimp

__all__ = ["Room", "arrows", "main", "rooms"]

ROOT = Path(__file__).resolve().parents[1]
PLACES = {"termac": ("sw", 0.0), "termac_hw": ("hw", 8.6), "termac_sim": ("sim", 8.6)}
"""Folder of every package, and where its floors start from the left."""
BOX_WIDTH, BOX_HEIGHT, FLOOR = 1.75, 0.62, 1.0


@dataclass(frozen=True)
class Room:
    """A folder or a loose file, and where it is drawn.

    Parameters
    ----------
    module : dotted name
    x, y : centre
    files, lines : how much is in it
    """

    module: str
    x: float
    y: float
    files: int
    lines: int

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]


def floors() -> dict[str, list[list[str]]]:
    """Rooms of every package by floor, the top floor first."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    result: dict[str, list[list[str]]] = {"termac_sim": [["termac_sim"]]}
    for contract in document["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            (package,) = contract["containers"]
            result[package] = [
                [f"{package}.{name.strip()}" for name in layer.replace("|", ":").split(":")]
                for layer in contract["layers"]
            ]
    return result


def rooms() -> list[Room]:
    """All rooms, placed on their floors."""
    result = []
    for package, layers in floors().items():
        folder, left = PLACES[package]
        top = 0.0 if package != "termac_hw" else -2.0
        for number, names in enumerate(layers):
            for column, module in enumerate(names):
                path = ROOT / folder / module.replace(".", "/")
                sources = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
                lines = sum(len(source.read_text().splitlines()) for source in sources)
                aside = (number % 2 - 0.5) * 0.5 if len(names) == 1 else 0.0
                x = left + (column - (len(names) - 1) / 2 + 1.5) * (BOX_WIDTH + 0.3) + aside
                result.append(Room(module, x, top - number * FLOOR, len(sources), lines))
    return result


def arrows(every: list[Room]) -> dict[tuple[str, str], int]:
    """Number of imports from a room to another, by their modules.

    Left out are imports of ``termac.errors``, which all rooms share, and rooms that are also
    reached by a longer way.
    """
    graph = grimp.build_graph("termac", "termac_hw", "termac_sim", cache_dir=None)
    names = {room.module for room in every}

    def home(module: str) -> str:
        while module not in names and "." in module:
            module = module.rpartition(".")[0]
        return module

    counts: dict[tuple[str, str], int] = {}
    for importer in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            pair = home(importer), home(imported)
            if names.issuperset(pair) and pair[0] != pair[1] and pair[1] != "termac.errors":
                counts[pair] = counts.get(pair, 0) + 1

    def reaches(start: str, end: str) -> bool:
        return any(a == start and (b == end or reaches(b, end)) for a, b in counts)

    return {
        (importer, imported): count
        for (importer, imported), count in counts.items()
        if not any(a == importer and b != imported and reaches(b, imported) for a, b in counts)
    }


def draw(output: Path) -> None:
    """Write the picture; the same code gives the same bytes."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "termac", "svg.fonttype": "none"})
    from matplotlib import pyplot

    every = rooms()
    by_name = {room.module: room for room in every}
    figure, axes = pyplot.subplots(figsize=(13.2, 10.2))
    for (importer, imported), count in arrows(every).items():
        _draw_arrow(axes, by_name[importer], by_name[imported], count)
    colours = {"termac": "#dbe9f6", "termac_hw": "#fde5cc", "termac_sim": "#d9f0d9"}
    for room in every:
        colour = colours[room.module.split(".")[0]]
        axes.add_patch(
            matplotlib.patches.FancyBboxPatch(
                (room.x - BOX_WIDTH / 2, room.y - BOX_HEIGHT / 2), BOX_WIDTH, BOX_HEIGHT,
                boxstyle="round,pad=0.02", facecolor=colour, edgecolor="#444444", zorder=3,
            )
        )  # fmt: skip
        size = f"{room.files} files, {room.lines:,} lines" if room.files > 1 else "1 file"
        axes.text(
            room.x, room.y + 0.1, room.name, ha="center", va="center", weight="bold", zorder=4
        )
        axes.text(room.x, room.y - 0.16, size, ha="center", va="center", fontsize=8, zorder=4)
    for text, x, y in (
        ("sw/termac", 3.1, 0.75), ("sim/termac_sim", 11.7, 0.75), ("hw/termac_hw", 11.7, -1.25),
    ):  # fmt: skip
        axes.text(x, y, text, ha="center", fontsize=13)
    axes.set_xlim(-1.2, 15)
    axes.set_ylim(-12.8, 1.2)
    axes.set_axis_off()
    figure.savefig(output, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _draw_arrow(axes: Any, start: Room, end: Room, count: int) -> None:
    """A line from a room to one below, wider for more imports."""
    level = abs(start.y - end.y) < 0.1
    first = (start.x, start.y - (0 if level else BOX_HEIGHT / 2))
    last = (end.x, end.y + (0 if level else BOX_HEIGHT / 2))
    axes.annotate(
        "", xy=last, xytext=first, zorder=1,
        arrowprops={
            "arrowstyle": "-|>", "color": "#5d7285", "alpha": 0.8,
            "linewidth": min(3.0, 0.6 + 0.15 * count), "shrinkA": 0, "shrinkB": 0,
            "connectionstyle": "arc3,rad=0.08",
        },
    )  # fmt: skip


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=ROOT / "sw" / "house.svg",
    help="Picture to write [sw/house.svg].",
)  # fmt: skip
def main(output: Path) -> None:
    """Draw the rooms of the code and what they import from each other."""
    draw(output)
    click.echo(f"Picture written to {output}")


if __name__ == "__main__":
    main()
