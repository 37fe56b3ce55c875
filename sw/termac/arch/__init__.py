"""The contract of hardware and software: configuration, layouts, memory map, registers, timing.

Everything both sides must agree on is derived here from one :class:`Config`; nothing else in the
project states a field offset, an address or a cycle count.
"""

from termac.arch.config import Config, load_config, preset_names
from termac.arch.layout import Field, Layout, concatenate, split
from termac.arch.program import (
    DESCRIPTOR,
    DESCRIPTOR_FIELDS,
    DESCRIPTOR_WORDS,
    HEADER,
    PARAMETER,
    PASS,
    TABLE_ENTRIES,
    TAP,
    DecodedLayer,
    Opcode,
    descriptors,
    pack_descriptor,
)

__all__ = [
    "DESCRIPTOR",
    "DESCRIPTOR_FIELDS",
    "DESCRIPTOR_WORDS",
    "HEADER",
    "PARAMETER",
    "PASS",
    "TABLE_ENTRIES",
    "TAP",
    "Config",
    "DecodedLayer",
    "Field",
    "Layout",
    "Opcode",
    "concatenate",
    "descriptors",
    "load_config",
    "pack_descriptor",
    "preset_names",
    "split",
]
