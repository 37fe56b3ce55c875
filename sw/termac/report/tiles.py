"""Pictures of an image: the packed weight tiles, and how busy the array is in every layer.

Drawn without a display; the same image gives the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
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
LINE_CELLS = 150
"""Cells that stand side by side in a line of tiles."""
MOST_TILES, MOST_ROWS = 64, 300
"""Tiles drawn of one layer, in at most so many rows of cells; the title says what is left out."""


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
    """Draw every weight tile as the array holds it: R rows, C combined columns, a cell a pixel.

    Parameters
    ----------
    image : Image
    path : PNG file to write
    colour : ``"value"`` (negative red, positive blue) or ``"lane"`` (which of the lanes of its
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
    config = image.config
    per_line = max(1, (LINE_CELLS + 1) // (config.columns + 1))
    mosaics, titles = [], []
    for layer in image.layers:
        indices = layer_tiles(image, layer)
        lines = max(1, MOST_ROWS // (config.rows + 1))
        shown = indices[: min(MOST_TILES, lines * per_line)]
        tiles = cell_colours(image, shown, colour)
        mosaics.append(tile_mosaic(tiles, per_line))
        part = f"{len(indices)} {config.kind.tile}{'s' * (len(indices) != 1)}"
        if len(shown) < len(indices):
            part = f"the first {len(shown)} of {part}"
        titles.append((layer.name, f"{part}, {layer.density:.0%} of the slots used"))

    # Lay out in inches from the top: no solver, so nothing moves between versions.
    widest = max(min(LINE_CELLS, mosaic.shape[1]) for mosaic in mosaics)
    cell = 10.0 / max(widest, 60)
    side, head, foot, title, space = 0.4, 0.75, 0.85, 0.3, 0.22
    heights = [mosaic.shape[0] * cell for mosaic in mosaics]
    total = head + sum(heights) + len(mosaics) * (title + space) + foot
    figure = new_figure(10.8, total)
    write_at(
        figure, side, total - 0.32, f"Packed weights of {image.graph.name!r}", size=15, bold=True
    )
    about = (
        f"config {config.name}: tiles of {config.rows} rows x {config.columns} combined columns, "
        f"{config.lanes} lanes each; gray = empty slot"
    )
    write_at(figure, side, total - 0.57, about, size=10, color=MUTED)
    y = total - head
    for mosaic, height, (name, note) in zip(mosaics, heights, titles, strict=True):
        y -= title
        end = write_at(figure, side, y + 0.09, name, size=11, bold=True)
        write_at(figure, end + 0.15, y + 0.09, note, size=10, color=MUTED)
        y -= height
        axes = axes_at(figure, side, y, mosaic.shape[1] * cell, height)
        axes.imshow(mosaic, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        y -= space
    _legend(figure, side, config, colour)
    save_figure(figure, path)


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

    return ListedColormap(colormaps["turbo"](np.linspace(0.04, 0.96, max(2, lanes))))


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
