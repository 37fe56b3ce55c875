"""The cells an array can be built of.

A cell brings its lane bundle and its row end; :mod:`termac_hw.row` and :mod:`termac_hw.array` are
generic over them. ``config.cell`` names the one to build. The contract of a cell and of a row end
is that of :mod:`termac_hw.cells.bit_plane`: same ports, same latencies.
"""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib.wiring import Component
from termac.arch import Config
from termac.errors import ConfigError

from termac_hw.cells import bit_plane

__all__ = ["CellKind", "cell_kind", "cell_names"]


@dataclass(frozen=True)
class CellKind:
    """What one value of ``config.cell`` stands for.

    Members
    -------
    Cell, RowEnd : component classes, built from the configuration alone
    lane_bundle_width : bits of ``lanes_in`` of one column, as a function of the configuration
    """

    Cell: Callable[[Config], Component]
    RowEnd: Callable[[Config], Component]
    lane_bundle_width: Callable[[Config], int]


_KINDS = {
    "bit_plane": CellKind(
        bit_plane.BitPlaneCell, bit_plane.RowEnd, bit_plane.lane_bundle_width
    ),
}  # fmt: skip


def cell_names() -> list[str]:
    """Legal values of ``config.cell``."""
    return sorted(_KINDS)


def cell_kind(name: str) -> CellKind:
    """The cell that ``config.cell`` names.

    Raises
    ------
    ConfigError
        If there is no such cell; the message lists those there are.
    """
    try:
        return _KINDS[name]
    except KeyError:
        raise ConfigError(f"no cell named {name!r}; cells: {', '.join(cell_names())}") from None
