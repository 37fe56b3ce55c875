"""The registers of the accelerator: what the AXI4-Lite slave decodes and drivers talk to.

Hardware, device drivers, the register documentation and the C header all read
:data:`REGISTERS`; no offset and no bit position is stated anywhere else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from termac.arch.config import Config
from termac.arch.layout import Field, Layout

__all__ = [
    "COUNTERS",
    "ERROR_TEXT",
    "ID",
    "LOG_ENTRIES",
    "REGISTERS",
    "REGISTER_ADDRESS_WIDTH",
    "VERSION",
    "Access",
    "ErrorCode",
    "Register",
]

ID = 0x54524D43
"""Value of the ID register: ``TRMC`` in ASCII, first letter in the highest byte."""

VERSION = (1, 0)
"""Major and minor version of the register and memory interface."""

LOG_ENTRIES = 64
"""Layers whose end is logged; later layers run but are not logged."""

COUNTERS = ("issue", "stall_weights", "setup", "drain")
"""Performance counters besides CYCLES, each a register of that name.

Every cycle of a program counts in exactly one of them.
"""

REGISTER_ADDRESS_WIDTH = 12
"""Bits of a register byte address: 4 KiB, the smallest window that an interconnect hands out."""


class Access(enum.Enum):
    """What the host may do with a register."""

    READ_ONLY = "ro"
    READ_WRITE = "rw"
    PULSE = "w1"
    """Write-only actions: a written 1 triggers, a written 0 does nothing; reads as 0."""


class ErrorCode(enum.IntEnum):
    """Why the accelerator refused or stopped a program."""

    NONE = 0
    CONFIG = 1
    OPCODE = 2
    GEOMETRY = 3
    ADDRESS = 4
    WATCHDOG = 5
    OVERRUN = 6
    BUDGET = 7


ERROR_TEXT: dict[ErrorCode, str] = {
    ErrorCode.NONE: "no error",
    ErrorCode.CONFIG: "the program was made for another configuration, or is not a program",
    ErrorCode.OPCODE: "a program record has an unknown opcode",
    ErrorCode.GEOMETRY: "a count or a vector time of a layer is zero or out of range",
    ErrorCode.ADDRESS: (
        "a program, weight, parameter, tap or activation address lies outside its memory"
    ),
    ErrorCode.WATCHDOG: "the program took more cycles than the WATCHDOG register allows",
    ErrorCode.BUDGET: (
        "the beats of a layer, or its terms, are not what the cells of this accelerator can do"
    ),
    ErrorCode.OVERRUN: "an output was not written in time; cannot happen in correct hardware",
}
"""One line for the user per error code."""


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    Parameters
    ----------
    name : upper case
    offset : byte offset, a multiple of 4
    access : for all of its fields
    fields : layout of the bits, from bit 0 upwards; bits above it are reserved and read as 0
    doc : one sentence
    reset : value after reset; None if it depends on the configuration
    values : enumeration of a field's values, if it has one
    """

    name: str
    offset: int
    access: Access
    fields: Layout
    doc: str
    reset: int | None = 0
    values: type[enum.IntEnum] | None = None

    @property
    def is_constant(self) -> bool:
        """Whether it always reads as its reset value: what changes at run time starts from 0."""
        return self.access is Access.READ_ONLY and self.reset != 0

    def port(self, field: Field) -> str:
        """Name of the hardware port with the value of a field, unless the register is constant.

        It is the name of the register if that has one field only, otherwise that of the field. A
        flag with the name of another register shares the port: it says whether that is not 0.
        """
        return self.name.lower() if len(self.fields.fields) == 1 else field.name

    def pack(self, **values: int) -> int:
        """Register value from field values; absent fields are 0. Raises ValueError if one is
        out of range."""
        return self.fields.pack_one(**values)

    def unpack(self, word: int) -> dict[str, int]:
        """Field values from a register value."""
        return self.fields.unpack_one(word)

    def reset_value(self, config: Config) -> int:
        """Value after reset of an accelerator with this configuration."""
        return config.hash32 if self.reset is None else self.reset


def _one(width: int, doc: str) -> tuple[Field, ...]:
    """The field of a register that is nothing but one value."""
    return (Field("value", width, doc=doc),)


def _table(
    *rows: tuple[int, str, Access, str, tuple[Field, ...], int | None],
) -> dict[str, Register]:
    table: dict[str, Register] = {}
    for offset, name, access, doc, fields, reset in rows:
        values = ErrorCode if name == "ERROR" else None
        table[name] = Register(
            name, offset, access, Layout(name.lower(), fields), doc, reset, values
        )
    return table


REGISTERS: dict[str, Register] = _table(
    (0x000, "ID", Access.READ_ONLY, "Identifies the accelerator.",
     _one(32, "0x54524D43, \"TRMC\""), ID),
    (0x004, "VERSION", Access.READ_ONLY, "Version of this register and memory interface.",
     (Field("minor", 16, doc="changes that old drivers need not know"),
      Field("major", 16, doc="changes that break old drivers")), VERSION[0] << 16 | VERSION[1]),
    (0x008, "CONFIG_HASH", Access.READ_ONLY,
     "Names the configuration; programs are made for exactly one.",
     _one(32, "first 32 bits of the SHA-256 of the configuration"), None),
    (0x00C, "CONTROL", Access.PULSE, "Starts programs.",
     (Field("start", 1, doc="run the program at PROGRAM; ignored while STATUS.busy is set"),
      Field("clear", 1, doc="reset STATUS.done and ERROR; ignored while STATUS.busy is set; "
            "start does so as well")), 0),
    (0x010, "STATUS", Access.READ_ONLY, "State of the accelerator.",
     (Field("busy", 1, doc="a program is running; the memories cannot be accessed"),
      Field("done", 1, doc="the last program has ended without error"),
      Field("error", 1, doc="the last program was stopped; see ERROR")), 0),
    (0x014, "ERROR", Access.READ_ONLY, "Why the last program was stopped.",
     (Field("code", 3, doc="error code"),), 0),
    (0x018, "ERROR_LAYER", Access.READ_ONLY, "Layer in which the last program was stopped.",
     _one(16, "layer, from 0"), 0),
    (0x01C, "LAYER", Access.READ_ONLY, "Layer that is running.",
     _one(16, "layer, from 0; the number of layers after the program has ended"), 0),
    (0x020, "PROGRAM", Access.READ_WRITE, "Where the program starts.",
     _one(16, "word address of the HEADER in program memory"), 0),
    (0x024, "WATCHDOG", Access.READ_WRITE, "Longest run of a program.",
     _one(32, "cycles after which a program is stopped; 0: no limit"), 0xFFFF_FFFF),
    (0x040, "CYCLES", Access.READ_ONLY, "Duration of the current or last program.",
     _one(32, "cycles from start until done"), 0),
    (0x044, "ISSUE", Access.READ_ONLY, "Share of CYCLES that the array was fed.",
     _one(32, "cycles in which vectors are issued"), 0),
    (0x048, "STALL_WEIGHTS", Access.READ_ONLY, "Share of CYCLES that was lost to weights.",
     _one(32, "cycles in which the array waits for weights"), 0),
    (0x04C, "SETUP", Access.READ_ONLY, "Share of CYCLES between layers.",
     _one(32, "cycles in which descriptors and tables are loaded"), 0),
    (0x050, "DRAIN", Access.READ_ONLY, "Share of CYCLES at the ends of layers.",
     _one(32, "cycles in which the last outputs of a layer are awaited"), 0),
    (0x060, "LOG_INDEX", Access.READ_WRITE, "Selects the layer that LOG_CYCLES shows.",
     _one((LOG_ENTRIES - 1).bit_length(), f"layer, 0..{LOG_ENTRIES - 1}"), 0),
    (0x064, "LOG_CYCLES", Access.READ_ONLY, "When a layer ended.",
     _one(32, "CYCLES at the end of layer LOG_INDEX of the last program that ran it"), 0),
)  # fmt: skip
"""All registers by name, in the order of their offsets."""
