"""The part of ``termac pack`` that combines columns: options, pruning, table and picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from termac.compress.combine.prune import CombinedLayer
    from termac.image import Image

__all__ = ["Selects", "combining_rows"]


class Selects(click.ParamType):
    """``auto``, or a number from 1."""

    name = "selects"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        if value == "auto" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither 'auto' nor a number", param, ctx)


def combining_rows(image: Image, layers: list[CombinedLayer]) -> list[dict[str, Any]]:
    """One record per convolution: what is left of it, and the cycles before and after."""
    rows = []
    for combined in layers:
        info = next(layer for layer in image.layers if combined.node in layer.nodes)
        rows.append(
            {
                **combined.record(),
                "combined_columns": info.columns,
                "packed_density": info.density,
                "cycles_before": info.dense_cycles,
                "cycles": info.cycles,
            }
        )
    return rows
