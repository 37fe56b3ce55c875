"""A layer between two stored tensors with everything decided but addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from termac.arch import Config
from termac.compile.contents import Contents, contents
from termac.compile.cut import Part, cut
from termac.compile.layers import Layer
from termac.compile.lower import Axis, Position, axes, positions
from termac.image.storage import Storage

__all__ = ["PlannedLayer", "plan_layer"]


@dataclass(frozen=True, eq=False)
class PlannedLayer:
    """What :class:`termac.compile.assemble.Assembler` writes down.

    Parameters
    ----------
    layer : Layer
    source, target : tensors read and written
    residual : tensor added, once it is placed
    axes : vertical and horizontal geometry
    positions : matrices, one per position of the pooling window
    parts : row tiles, one descriptor each
    holds : what the cells hold of the layer
    """

    layer: Layer
    source: Storage
    target: Storage
    residual: Storage | None
    axes: tuple[Axis, Axis]
    positions: list[Position]
    parts: list[Part]
    holds: Contents

    def placed(self, storages: Mapping[str, Storage]) -> PlannedLayer:
        """A copy whose tensors have addresses.

        Parameters
        ----------
        storages : placed tensors by name
        """
        residual = self.layer.residual
        return replace(
            self,
            source=storages[self.layer.input],
            target=storages[self.layer.name],
            residual=None if residual is None else storages[residual.tensor],
        )

    @property
    def cycles(self) -> int:
        return sum(part.cycles for part in self.parts)

    def weight_words(self, config: Config) -> int:
        """Words of weight memory, before equal row tiles or parts are merged."""
        words, tile = 0, config.columns * self.holds.planes
        for part in self.parts:
            # Positions of a pooling window that have equal weights share them.
            passes = {
                position.weights.tobytes(): count
                for position, count in zip(
                    self.positions, part.passes(config.segments), strict=True
                )
            }
            words += sum(passes.values()) * (part.stop - part.first) * tile
        return words


def plan_layer(
    layer: Layer,
    source: Storage,
    target: Storage,
    config: Config,
) -> PlannedLayer | None:
    """Lower and cut a layer; None if the factors of the two tensors do not go together."""
    both = axes(layer, source, target)
    if both is None:
        return None
    found = positions(layer, source, target, both, config)
    holds = contents(layer, source.tensor.bits, config)
    parts = cut(found, source, target, config, holds, residual=layer.residual is not None)
    return PlannedLayer(layer, source, target, None, both, found, parts, holds)
