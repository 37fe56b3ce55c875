"""Registers and memory map as Markdown pages."""

from __future__ import annotations

from termac.arch.config import Config
from termac.arch.memory_map import MemoryMap
from termac.arch.registers import REGISTERS, Access

__all__ = ["memory_map_table", "register_table"]


def register_table(config: Config) -> str:
    """The registers as a Markdown page."""
    lines = [
        "# Registers",
        "",
        f"Configuration `{config.name}`. 32-bit registers behind the AXI4-Lite slave `s_axil`; "
        "offsets in bytes. Other offsets and writes to read-only registers answer SLVERR.",
        "",
        "| offset | register | access | reset | bits | field | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for register in REGISTERS.values():
        access = {Access.READ_ONLY: "read", Access.READ_WRITE: "read, write",
                  Access.PULSE: "write 1"}[register.access]  # fmt: skip
        lines.append(
            f"| 0x{register.offset:03X} | **{register.name}** | {access} "
            f"| 0x{register.reset_value(config):08X} | | | {register.doc} |"
        )
        for field in register.fields.fields:
            low = register.fields.offset(field.name)
            bits = f"{low + field.width - 1}:{low}" if field.width > 1 else f"{low}"
            meaning = field.doc
            if register.values is not None:
                meaning += ": " + ", ".join(f"{v.value} {v.name}" for v in register.values)
            lines.append(f"| | | | | {bits} | {field.name} | {meaning} |")
    return "\n".join(lines) + "\n"


def memory_map_table(config: Config) -> str:
    """The memory map as a Markdown page."""
    memory_map = MemoryMap(config)
    lines = [
        "# Memory map",
        "",
        f"Configuration `{config.name}`. Byte addresses of the AXI4 slave `s_axi` "
        f"({memory_map.address_width} bits). The beat of an entry lies at",
        "`base + word * word stride + group * group stride + 4 * beat`, lowest bits in beat 0.",
        "",
        "| region | base | words | groups | bits | beats | word stride | group stride | access "
        "| content |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in memory_map.regions:
        lines.append(
            f"| {r.name} | 0x{r.base:08X} | {r.words} | {r.groups} | {r.width} | {r.beats} "
            f"| {r.word_stride} | {r.group_stride} | {'read, ' if r.readable else ''}write "
            f"| {r.doc} |"
        )
    lines += [
        "",
        "The beats of an entry of a write-only region must be written whole, one after another; "
        "the entry is stored with its last beat. Activations may be written byte by byte. "
        "Beats between the last one and the next group are padding: writes are ignored, reads "
        "yield 0. Everything else, and every access while STATUS.busy is set, answers SLVERR.",
    ]
    return "\n".join(lines) + "\n"
