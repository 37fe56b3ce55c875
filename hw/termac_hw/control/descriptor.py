"""What the sequencer tells those who work on a layer: its descriptor by field, start and halt."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from termac.arch import DESCRIPTOR_FIELDS

from termac_hw.layouts import field_shape

__all__ = ["Descriptor", "LayerControl", "connect_fields"]


_FIELD_TEXTS = {
    field.name: field.doc or field.name.replace("_", " ") for field in DESCRIPTOR_FIELDS.fields
}


class Descriptor(wiring.Signature):
    """Fields of :data:`termac.arch.DESCRIPTOR` by name, seen from the sequencer.

    Parameters
    ----------
    names : iterable of :class:`str`
        Which fields, in any order.

    Members
    -------
    One ``Out`` of the field's shape per name, in the order of the descriptor.
    """

    port_texts = _FIELD_TEXTS

    def __init__(self, names):
        wanted = set(names)
        unknown = wanted - {field.name for field in DESCRIPTOR_FIELDS.fields}
        if unknown:
            raise KeyError(f"a layer descriptor has no field {sorted(unknown)[0]!r}")
        super().__init__(
            {
                field.name: Out(field_shape(field))
                for field in DESCRIPTOR_FIELDS.fields
                if field.name in wanted
            }
        )


class LayerControl(wiring.Signature):
    """Start and end of a layer, seen from the sequencer.

    Members
    -------
    start : Out(1)
        Pulse: the layer starts. Its descriptor stays as it is until it ends.
    halt : Out(1)
        Drop everything: the program has ended, or a fault has stopped it.
    """

    def __init__(self):
        super().__init__({"start": Out(1), "halt": Out(1)})


def connect_fields(m, source, target):
    """Drive every field of a descriptor port from one that has at least those fields."""
    for name in target.signature.members:
        m.d.comb += getattr(target, name).eq(getattr(source, name))
