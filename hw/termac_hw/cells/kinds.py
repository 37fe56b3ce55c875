"""The cells an array can be built of.

A cell brings its lane bundle, the feeder that fills it, and its row end;
:mod:`termac_hw.memory.bank`, :mod:`termac_hw.array.row` and :mod:`termac_hw.array.array` are
generic over them. ``config.cell`` names the one to build; what software must know of it is in
:mod:`termac.arch.cells`.

Contract, in cycles: ``lanes_out`` is ``lanes_in`` one cycle later. A beat on ``lanes_in`` in cycle
t meets ``sum_in`` of t+2 and is on ``sum_out`` in t+3. A feeder shows the first beat of a word in
the cycle after ``load``, the others in those that follow, until the next load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Value
from amaranth.lib.wiring import Component
from termac.arch import DESCRIPTOR, Config
from termac.errors import ConfigError

from termac_hw.cells import bit_plane, bit_serial, bit_serial_end, term, term_pair
from termac_hw.cells.term_encoder import TermEncoder

__all__ = ["ROW_SETTINGS", "SETTINGS", "CellKind", "cell_kind", "cell_names", "connect_settings"]

_WIDTHS = {field.name: field.width for word in DESCRIPTOR for field in word.fields}

SETTINGS = {"clear": 1, **{name: _WIDTHS[name] for name in ("terms", "hese", "centred")}}
"""Ports, with their widths, through which feeders and encoders may be told about a layer.

``clear`` is a pulse before a layer starts; the others are fields of the layer descriptor.
"""

ROW_SETTINGS = {"clear": 1, "doubles": _WIDTHS["doubles"]}
"""The same for the row ends."""


@dataclass(frozen=True)
class CellKind:
    """What one value of ``config.cell`` stands for.

    Members
    -------
    Cell, Feeder, RowEnd : component classes, built from the configuration alone
    lane_bundle_width : bits of ``lanes_in`` of one column, as a function of the configuration
    Encoder : component class between a bank's words and its feeders, if there is one
    settings : names of :data:`SETTINGS` that feeder or encoder take
    row_settings : names of :data:`ROW_SETTINGS` that the row ends take; with ``doubles``, a row end
        has a port ``double``, valid with its beat
    budget_fields : fields of the layer descriptor that say how a vector is cut into beats
    budget_faults : conditions under which it cannot do a layer, on those fields and ``beats`` of a
        :class:`termac_hw.control.descriptor.Descriptor`
    """

    Cell: Callable[[Config], Component]
    Feeder: Callable[[Config], Component]
    RowEnd: Callable[[Config], Component]
    lane_bundle_width: Callable[[Config], int]
    Encoder: Callable[[Config], Component] | None = None
    settings: tuple[str, ...] = ()
    row_settings: tuple[str, ...] = ()
    budget_fields: tuple[str, ...] = ()
    budget_faults: Callable[[Any], list[Value]] = lambda layer: []


_KINDS = {
    "bit_plane": CellKind(
        bit_plane.BitPlaneCell, bit_plane.Feeder, bit_plane.RowEnd, bit_plane.lane_bundle_width,
    ),
    "bit_serial": CellKind(
        bit_serial.BitSerialCell, bit_serial.Feeder, bit_serial_end.RowEnd,
        bit_serial.lane_bundle_width, settings=("clear",), row_settings=("clear",),
        budget_faults=bit_serial.budget_faults,
    ),
    "term": CellKind(
        term.TermCell, term.Feeder, term.RowEnd, term.lane_bundle_width,
        row_settings=("clear", "doubles"), budget_fields=("terms",),
        budget_faults=term.budget_faults,
    ),
    "term_pair": CellKind(
        term_pair.TermPairCell, term_pair.Feeder, term_pair.RowEnd, term_pair.lane_bundle_width,
        Encoder=TermEncoder, settings=("terms", "hese", "centred"), row_settings=("clear",),
        budget_fields=("terms", "data_terms"), budget_faults=term_pair.budget_faults,
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


def connect_settings(m, parent, child):
    """Hand on those settings that the child has a port for; the parent has the same ports."""
    for name in SETTINGS:
        if name in child.signature.members:
            m.d.comb += getattr(child, name).eq(getattr(parent, name))
