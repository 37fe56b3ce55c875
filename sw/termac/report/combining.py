"""Picture of column combining: every filter matrix as trained, and as the array holds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from termac.graph import Conv, FloatConv, FloatGraph
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
from termac.report.tiles import cell_colours, layer_parts, layer_tiles

__all__ = ["draw_combining", "packed_matrix"]

PRUNED = np.array((0.98, 0.93, 0.80))
WIDTH, SIDE, MIDDLE = 10.8, 0.4, 0.35
MOST_CELL = 0.04
"""Inches of a weight, where the matrices are small."""


def packed_matrix(image: Image, layer: LayerInfo) -> NDArray[np.int64]:
    """Tiles of a layer as one matrix: row tiles below each other, passes side by side.

    int [row tiles, passes] of indices into ``image.value``; -1 where a row tile has fewer passes.
    """
    tiles = layer_tiles(image, layer).tolist()
    strips: list[list[int]] = []
    for part in layer_parts(image, layer):
        for _ in range(part.values["row_tiles"]):
            strips.append(tiles[: len(part.passes)])
            del tiles[: len(part.passes)]
    widest = max(map(len, strips))
    return np.array([strip + [-1] * (widest - len(strip)) for strip in strips])


def draw_combining(
    original: FloatGraph, image: Image, path: Path, *, dense_cycles: Mapping[str, int] | None = None
) -> None:
    """Draw every convolution: the filter matrix as trained, beside it its packed tiles.

    Left: one row per filter, columns (ky, kx, channel); pruned weights are pale yellow. Right: what
    the cells hold, one row per row of the array and tile; gray cells are empty.

    Parameters
    ----------
    original : the network before pruning
    image : compiled after it
    path : PNG file to write
    dense_cycles : of the layer that computes each convolution, without combining
    """
    blocks = []
    for node in original.nodes:
        if isinstance(node, FloatConv):
            layer = next(layer for layer in image.layers if node.name in layer.nodes)
            blocks.append((node, layer, _trained(node, image), _packed(image, layer)))
    heights = []
    for _, _, left, right in blocks:
        cell = min(MOST_CELL, (WIDTH - 2 * SIDE - MIDDLE) / (left.shape[1] + right.shape[1]))
        heights.append((cell, cell * max(len(left), len(right))))
    head, foot, title, space = 1.1, 0.2, 0.3, 0.2
    total = head + foot + sum(height + title + space for _, height in heights)
    figure = new_figure(WIDTH, total)
    write_at(
        figure, SIDE, total - 0.32, f"Filter matrices of {image.graph.name!r}", size=15, bold=True
    )
    config = image.config
    about = (
        f"left as trained (yellow: pruned, gray: zero), right packed for config {config.name}: "
        f"{config.lanes} columns share one, gray = empty"
    )
    write_at(figure, SIDE, total - 0.57, about, size=10, color=MUTED)
    names = (
        "left: filters downwards, taps and channels to the right; right: rows, passes of columns"
    )
    write_at(figure, SIDE, total - 0.77, names, size=10, color=MUTED)
    y = total - head
    for (node, layer, left, right), (cell, height) in zip(blocks, heights, strict=True):
        y -= title
        end = write_at(figure, SIDE, y + 0.09, layer.name, size=11, bold=True, color=INK)
        cycles = f"{dense_cycles[node.name]:,} -> " if dense_cycles else ""
        note = (
            f"{left.shape[0]} x {left.shape[1]} -> {layer.columns} combined columns, "
            f"{layer.nonzero / layer.weights:.0%} dense -> {layer.density:.0%}, "
            f"{cycles}{layer.cycles:,} cycles"
        )
        write_at(figure, end + 0.15, y + 0.09, note, size=10, color=MUTED)
        x = SIDE
        for matrix in (left, right):
            rows, columns = matrix.shape[:2]
            axes = axes_at(figure, x, y - rows * cell, columns * cell, rows * cell)
            axes.imshow(matrix, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            x += columns * cell + MIDDLE
        y -= height + space
    save_figure(figure, path)


def _trained(node: FloatConv, image: Image) -> NDArray[np.float64]:
    """RGB [filters, weights of a filter, 3]."""
    weights = node.weights.reshape(len(node.weights), -1).astype(np.float64)
    left = image.graph.node(node.name)
    assert isinstance(left, Conv)
    kept = left.weights.reshape(weights.shape) != 0
    largest = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-30)
    colours = np.array(value_colours(MOST_VALUE * weights / largest), np.float64)
    colours[~kept] = PRUNED
    colours[weights == 0] = EMPTY
    return colours


def _packed(image: Image, layer: LayerInfo) -> NDArray[np.float64]:
    """RGB [row tiles * R, passes * C, 3]."""
    strips = []
    for strip in packed_matrix(image, layer):
        cells = cell_colours(image, np.maximum(strip, 0), "value")
        cells[strip < 0] = 1.0
        strips.append(np.concatenate(list(cells), axis=1))
    return np.concatenate(strips)
