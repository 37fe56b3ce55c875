"""Layouts of :mod:`termac.arch` as Amaranth shapes."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

__all__ = ["field_shape", "struct"]


def field_shape(field):
    """Shape of one :class:`termac.arch.Field`."""
    return signed(field.width) if field.signed else unsigned(field.width)


def struct(layout):
    """The :class:`amaranth.lib.data.StructLayout` of a :class:`termac.arch.Layout`.

    Fields keep their order and therefore their bit offsets; the record that software packs is the
    one that hardware decodes.
    """
    return data.StructLayout({field.name: field_shape(field) for field in layout.fields})
