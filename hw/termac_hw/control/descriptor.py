"""The layer descriptor as hardware sees it: all words side by side, fields by name."""

from amaranth.lib import data
from termac.arch import DESCRIPTOR

from termac_hw.layouts import field_shape

__all__ = ["Descriptor"]


class Descriptor(data.StructLayout):
    """Every field of every word of :data:`termac.arch.DESCRIPTOR`, in order, 32 bits a word."""

    def __init__(self):
        members = {}
        for index, word in enumerate(DESCRIPTOR):
            for field in word.fields:
                name = f"reserved_{index}" if field.name == "reserved" else field.name
                members[name] = field_shape(field)
        super().__init__(members)
