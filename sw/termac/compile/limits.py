"""What no layout of a network can make fit, told from the float graph, before any calibration.

Only what is certain is refused here. The compiler finds the rest, once formats are chosen.
"""

from __future__ import annotations

from termac.arch import DESCRIPTOR_FIELDS, TAP, Config
from termac.compile.factors import SIZES
from termac.errors import CapacityError
from termac.graph import (
    FloatAdd,
    FloatAvgPool,
    FloatGraph,
    FloatMaxPool,
    FloatNode,
    FloatShortcut,
)

__all__ = ["MOST_PADDING", "check_limits"]

MOST_PADDING = -max(SIZES) * (DESCRIPTOR_FIELDS["origin_y"].limits[0] + TAP["dy"].limits[0])
"""Pixels: a layer starts at an origin and a tap's distance from it, of stored pixels each."""

MOST_VALUES = 1 << 26
"""Values of one sample of a tensor that is pooled before it is stored."""


def check_limits(graph: FloatGraph, config: Config) -> None:
    """Refuse a network that cannot be compiled for a configuration, whatever its formats.

    Raises
    ------
    CapacityError
        Names the layer or tensor, what it needs and what there is.
    """
    where = f"network {graph.name!r}"
    for node in graph.nodes:
        padding = max(getattr(node, "padding", (0,)))
        if padding > MOST_PADDING:
            raise CapacityError(
                f"{where}: layer {node.name!r} pads {padding:,} pixels, more than the fields of a "
                f"program can hold ({MOST_PADDING:,})"
            )
    room = config.activation_depth * config.word_bytes
    pooled = _pooled(graph)
    for name, (height, width, channels) in graph.shapes.items():
        values = height * width * channels
        if values <= (MOST_VALUES if name in pooled else room):
            continue
        what = f"tensor {name!r} of {height:,}x{width:,} pixels and {channels:,} channels"
        if name in pooled:
            raise CapacityError(
                f"{where}: {what} has more than {MOST_VALUES:,} values before it is pooled"
            )
        raise CapacityError(
            f"{where}: {what} takes {values:,} bytes, the activation memory of config "
            f"{config.name!r} has {room:,}",
            "raise activation_depth or use a smaller network",
        )


def _pooled(graph: FloatGraph) -> set[str]:
    """Tensors that may never be stored: windows are taken of them, or of a sum with them."""
    readers: dict[str, list[FloatNode]] = {name: [] for name in graph.shapes}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)
    pooled: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name != graph.output and all(
            isinstance(reader, (FloatMaxPool, FloatAvgPool))
            or (isinstance(reader, (FloatAdd, FloatShortcut)) and reader.name in pooled)
            for reader in readers[node.name]
        ):
            pooled.add(node.name)
    return pooled
