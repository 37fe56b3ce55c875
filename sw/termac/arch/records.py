"""Records that travel inside the accelerator: from the sequencer to the drain lanes.

Software does not pack these; the simulator's benches and the hardware share them.
"""

from __future__ import annotations

from termac.arch.config import Config
from termac.arch.layout import Field, Layout
from termac.arch.program import DESCRIPTOR_FIELDS, PASS

__all__ = [
    "DRAIN_LAYER",
    "SCALE",
    "destination_layout",
    "vector_layout",
]


def _address(name: str, depth: int, doc: str) -> Field:
    """Field that addresses ``depth`` places, at least one bit wide."""
    return Field(name, max(1, (depth - 1).bit_length()), doc=doc)


def vector_layout(config: Config) -> Layout:
    """What a drain lane must know about one vector."""
    return Layout(
        "vector",
        (
            _address("index", config.accumulator_depth, "position of the vector in its chunk"),
            *PASS.subset("flags", ("sum_first", "sum_last", "pool_first", "pool_last")).fields,
            _address("parameters", config.parameter_depth, "first parameter of the row tile"),
        ),
    )


def destination_layout(config: Config) -> Layout:
    """Where a drain lane's S bytes of one vector go."""
    return Layout(
        "destination",
        (
            _address("address", config.activation_depth, "word of the activation memory"),
            _address("phase", config.tiles_per_word, "part of the word the row tile fills"),
            Field("enable", 1, doc="write the bytes; 0: beyond the output's blocks"),
        ),
    )


DRAIN_LAYER = DESCRIPTOR_FIELDS.subset(
    "drain_layer",
    (
        *("out_zero", "low", "high"),
        *("residual", "add_multiplier", "add_shift", "add_zero", "add_low", "add_high"),
        "align",
    ),
)
"""Constants of a layer that every drain lane reads."""

SCALE = Layout(
    "scale",
    (
        Field("multiplier", 31, doc="Q31 mantissa without its sign, which is never set"),
        Field("shift", 5, doc="rounding right shift after the multiplication"),
    ),
)
"""How a drain keeps multiplier and shift of a channel: 36 bits, one block RAM wide."""
