"""What the pictures share: figures laid out in inches, colours, text.

Drawn without a display and without a layout solver: the same values give the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = [
    "EMPTY",
    "INK",
    "MOST_VALUE",
    "MUTED",
    "axes_at",
    "new_figure",
    "save_figure",
    "value_colours",
    "write_at",
]

EMPTY = to_rgb("#e6e9ed")
INK, MUTED = "#1f2328", "#57606a"
DPI = 100
MOST_VALUE = 127


def value_colours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blue above zero, orange below: colour-blind readers tell them apart (Okabe and Ito, 2008).

    Small values stay visible: the scale is a square root.
    """
    strength = np.sqrt(np.clip(np.abs(values) / MOST_VALUE, 0, 1))[..., None]
    strength = 0.18 + 0.82 * strength
    strong = np.where(values[..., None] < 0, to_rgb("#b84300"), to_rgb("#004f86"))
    pale = np.where(values[..., None] < 0, to_rgb("#f9cfae"), to_rgb("#b5daf2"))
    return pale + (strong - pale) * strength


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def axes_at(figure: Figure, x: float, y: float, width: float, height: float) -> Any:
    """Axes at a place in inches from the bottom left."""
    w, h = figure.get_size_inches()
    return figure.add_axes((x / w, y / h, width / w, height / h))


def write_at(
    figure: Figure, x: float, y: float, text: str, size: float, bold: bool = False,
    color: str = INK,
) -> float:  # fmt: skip
    """Write at a place in inches from the bottom left; returns where the text ends."""
    w, h = figure.get_size_inches()
    weight = "bold" if bold else "normal"
    drawn = figure.text(x / w, y / h, text, fontsize=size, fontweight=weight, color=color)
    return float(drawn.get_window_extent().x1) / DPI


def save_figure(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", metadata={"Software": None})
