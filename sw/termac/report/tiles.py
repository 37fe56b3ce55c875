"""Pictures of an image: the packed weight tiles, and how busy the array is in every layer.

Drawn without a display; the same image gives the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from termac.arch import Config, DecodedLayer, descriptors
from termac.image import Image, LayerInfo
from termac.report.canvas import (
    EMPTY,
    INK,
    MOST_VALUE,
    MUTED,
    axes_at,
    new_figure,
    save_figure,
    value_colours,
    write_at,
)

__all__ = [
    "cell_colours",
    "draw_utilization",
    "draw_weights",
    "layer_parts",
    "layer_tiles",
    "tile_mosaic",
]

GAP = to_rgb("#ffffff")
BUSY, FILLED = "#0b5cc4", "#c3d9f7"
PAGE = (16.0, 12.0)
"""Inches of a picture of tiles, at most."""
SIDE, HEAD, FOOT, TITLE, SPACE = 0.4, 0.8, 0.85, 0.46, 0.16
MOST_LAYERS, MOST_CELL = 80, 0.06
"""Layers of a page, and inches of a cell, at most."""


def layer_parts(image: Image, layer: LayerInfo) -> list[DecodedLayer]:
    """Descriptors of a layer, in execution order."""
    return list(descriptors(image.program))[layer.first_descriptor : layer.last_descriptor + 1]


def layer_tiles(image: Image, layer: LayerInfo) -> NDArray[np.int64]:
    """Tiles of a layer in the order in which they are loaded: indices into ``image.cells``.

    A tile that several passes share occurs once per pass. Where cells keep terms, a tile is as many
    planes as the pass has terms, one after the other.
    """
    tiles: list[int] = []
    for part in layer_parts(image, layer):
        values = part.values
        planes = range(max(1, values["terms"]))
        for tile in range(values["row_tiles"]):
            base = values["weights"] + tile * values["weights_tile"]
            firsts = [(base + record["weights"]) // image.config.columns for record in part.passes]
            tiles += [first + plane for first in firsts for plane in planes]
    return np.array(tiles, np.int64)


def tile_mosaic(tiles: NDArray[np.floating], per_line: int) -> NDArray[np.floating]:
    """Tiles ``[n, rows, columns, 3]`` side by side, ``per_line`` in a line, one cell apart."""
    count, rows, columns, _ = tiles.shape
    lines = -(-count // per_line)
    width = min(count, per_line)
    canvas = np.empty((lines * (rows + 1) - 1, width * (columns + 1) - 1, 3))
    canvas[:] = GAP
    for index, tile in enumerate(tiles):
        y, x = divmod(index, per_line)
        y, x = y * (rows + 1), x * (columns + 1)
        canvas[y : y + rows, x : x + columns] = tile
    return canvas


def draw_weights(image: Image, path: Path, *, colour: str = "value") -> None:
    """Draw weight tiles as the array holds them, on one page: R rows, C combined columns each.

    Every layer has a panel with its first tiles, as many as there is room for.

    Parameters
    ----------
    image : Image
    path : PNG file to write
    colour : ``"value"`` (negative orange, positive blue) or ``"lane"`` (which of the lanes of its
        combined column a weight or term reads). Empty slots are gray in both.

    Raises
    ------
    ValueError
        If ``colour`` is neither.
    ConfigError
        If the folder of the file does not exist or cannot be written.
    """
    if colour not in ("value", "lane"):
        raise ValueError(f"colour must be 'value' or 'lane', not {colour!r}")
    config, layers = image.config, image.layers[:MOST_LAYERS]
    grid = _grid(len(layers), config)
    panels = []
    for layer in layers:
        indices = layer_tiles(image, layer)
        shown = indices[: grid.per_line * grid.lines]
        part = f"{len(indices)} {config.kind.tile}{'s' * (len(indices) != 1)}"
        if len(shown) < len(indices):
            part = f"first {len(shown)} of {part}"
        mosaic = tile_mosaic(cell_colours(image, shown, colour), grid.per_line)
        panels.append((layer.name, f"{part}, {layer.density:.0%} used", mosaic))

    # Laid out in inches from the top: no solver, so nothing moves between versions.
    rows = [panels[i : i + grid.across] for i in range(0, len(panels), grid.across)]
    heights = [max(mosaic.shape[0] for *_, mosaic in row) * grid.cell for row in rows]
    total = HEAD + sum(heights) + len(rows) * (TITLE + SPACE) + FOOT
    figure = new_figure(PAGE[0], total)
    write_at(figure, SIDE, total - 0.32, f"Packed weights of {image.graph.name!r}", 15, True)
    part = f"first {len(layers)} of {len(image.layers)} layers, "
    about = (
        f"config {config.name}, {part if len(layers) < len(image.layers) else ''}in every "
        f"{config.kind.tile}: {config.rows} rows of the array downwards, {config.columns} combined "
        f"columns of {config.lanes} lanes to the right; gray = empty slot"
    )
    write_at(figure, SIDE, total - 0.57, about, size=10, color=MUTED)
    y = total - HEAD
    for row, height in zip(rows, heights, strict=True):
        for place, (name, note, mosaic) in enumerate(row):
            x = SIDE + place * grid.width
            write_at(figure, x, y - 0.2, name, size=10, bold=True)
            write_at(figure, x, y - 0.37, note, size=8, color=MUTED)
            tall, wide = mosaic.shape[0] * grid.cell, mosaic.shape[1] * grid.cell
            axes = axes_at(figure, x, y - TITLE - tall, wide, tall)
            axes.imshow(mosaic, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
        y -= TITLE + height + SPACE
    _legend(figure, SIDE, config, colour)
    save_figure(figure, path)


@dataclass(frozen=True)
class _Grid:
    """Panels of a page: how many stand side by side, their width, and what each holds."""

    across: int
    width: float
    cell: float
    per_line: int
    lines: int


def _grid(count: int, config: Config) -> _Grid:
    """The grid of panels with the largest cells, one tile each at least."""
    grids = []
    for across in range(1, min(count, 10) + 1):
        width = (PAGE[0] - 2 * SIDE) / across
        room = (PAGE[1] - HEAD - FOOT) / -(-count // across) - TITLE - SPACE
        cell = min(MOST_CELL, (width - 0.2) / config.columns, max(room, 0.01) / config.rows)
        per_line = int(((width - 0.2) / cell + 1) // (config.columns + 1))
        lines = int((room / cell + 1) // (config.rows + 1))
        grids.append(_Grid(across, width, cell, max(1, per_line), max(1, lines)))
    return max(grids, key=lambda grid: (grid.cell, -grid.across))


def draw_utilization(image: Image, path: Path) -> None:
    """Draw, per layer, which share of all cell cycles adds a weight, and the predicted cycles.

    The pale bar behind is the share of used weight slots: what would be reached without waiting.

    Raises
    ------
    ConfigError
        If the folder of the file does not exist or cannot be written.
    """
    layers = image.layers
    row, side, head, foot, names = 0.42, 0.4, 0.95, 0.85, 0.2 + 0.085 * _longest(layers)
    total = head + row * len(layers) + foot
    figure = new_figure(10.8, total)
    write_at(
        figure, side, total - 0.32, f"Utilization of the array, {image.graph.name!r}", 15, True
    )
    about = f"config {image.config.name}: {image.config.cells} cells, {image.cycles:,} cycles"
    write_at(figure, side, total - 0.57, f"{about} in all (predicted)", size=10, color=MUTED)
    axes = axes_at(figure, side + names, foot, 10.8 - 2 * side - names - 1.7, row * len(layers))
    places = np.arange(len(layers))
    density = [100 * layer.density for layer in layers]
    busy = [100 * layer.utilization for layer in layers]
    axes.barh(places, density, height=0.72, color=FILLED, label="weight slots used")
    axes.barh(places, busy, height=0.42, color=BUSY, label="cell cycles that add a weight")
    for place, layer in enumerate(layers):
        text = f"{layer.utilization:.0%}   {layer.cycles:,} cycles"
        end = max(density[place], busy[place])
        axes.text(end + 0.8, place, text, va="center", fontsize=10, color=INK)
    axes.set_yticks(places, [layer.name for layer in layers], fontsize=10)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)], fontsize=9)
    axes.tick_params(length=0, colors=INK)
    axes.grid(axis="x", color="#d8dde3", linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.legend(
        loc="lower left", bbox_to_anchor=((side - 0.1) / 10.8, 0.1 / total), ncols=2,
        frameon=False, fontsize=10,
    )  # fmt: skip
    save_figure(figure, path)


def cell_colours(image: Image, tiles: NDArray[np.int64], colour: str) -> NDArray[np.float64]:
    """Cells of tiles as RGB 0..1, ``[n, rows, columns, 3]``."""
    values = image.value[tiles]
    if colour == "value":
        scale = MOST_VALUE / image.config.kind.largest
        rgb = value_colours(scale * values.astype(np.float64))
    else:
        rgb = np.asarray(_lane_map(image.config.lanes)(image.lane[tiles]))[..., :3]
    rgb = np.array(rgb, np.float64)
    rgb[values == 0] = EMPTY
    return rgb


def _lane_map(lanes: int) -> ListedColormap:
    from matplotlib import colormaps

    return ListedColormap(colormaps["viridis"](np.linspace(0, 1, max(2, lanes))))


def _legend(figure: Figure, side: float, config: Config, colour: str) -> None:
    """Colour scale at the bottom left."""
    axes, lanes = axes_at(figure, side, 0.5, 3.6, 0.16), config.lanes
    if colour == "value":
        scale = value_colours(np.arange(-MOST_VALUE, MOST_VALUE + 1, dtype=np.float64))
        axes.imshow(scale[None], aspect="auto", extent=(-MOST_VALUE - 0.5, MOST_VALUE + 0.5, 0, 1))
        largest = config.kind.largest
        quarter = max(1, largest // 4)
        ticks = [-largest, -quarter, 0, quarter, largest]
        axes.set_xticks([tick * MOST_VALUE / largest for tick in ticks], [str(t) for t in ticks])
        axes.set_xlabel(config.kind.unit, fontsize=9, color=INK, labelpad=1)
    else:
        scale = np.asarray(_lane_map(lanes)(np.arange(lanes)))
        axes.imshow(scale[None], aspect="auto", extent=(-0.5, lanes - 0.5, 0, 1))
        axes.set_xticks(range(lanes))
        axes.set_xlabel("lane of the combined column", fontsize=9, color=INK, labelpad=1)
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=8, colors=INK, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _longest(layers: Sequence[LayerInfo]) -> int:
    return max(len(layer.name) for layer in layers)
