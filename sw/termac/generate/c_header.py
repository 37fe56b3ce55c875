"""The C header of one configuration: registers, error codes, memory regions."""

from __future__ import annotations

import re

from termac.arch.config import Config
from termac.arch.memory_map import MemoryMap
from termac.arch.registers import ERROR_TEXT, REGISTERS, ErrorCode

__all__ = ["c_header"]


def c_header(config: Config) -> str:
    """Text of ``termac.h``: nothing but macros and one enumeration, for C and C++.

    Offsets and addresses are relative to the base addresses of the two AXI slaves.
    """
    sections = [
        _configuration(config),
        _registers(config),
        _errors(),
        _regions(config),
    ]
    body = "\n".join("\n".join(section) + "\n" for section in sections)
    return (
        f"/* Termac: registers and memory map of configuration {_comment(config.name)}.\n"
        " * Generated file: change the generator instead. */\n"
        "#ifndef TERMAC_H\n#define TERMAC_H\n\n"
        f"{body}\n#endif /* TERMAC_H */\n"
    )


def _comment(text: str) -> str:
    """Text that cannot end a C comment, on one line."""
    return re.sub(r"\s+", " ", text.replace("*/", "* /").replace("/*", "/ *"))


def _define(name: str, value: str, doc: str = "") -> str:
    line = f"#define TERMAC_{name:<31} {value}"
    return f"{line} /* {_comment(doc)} */" if doc else line


def _configuration(config: Config) -> list[str]:
    lines = ["/* Configuration */", _define("CONFIG_HASH", f"0x{config.hash32:08x}u")]
    for key in ("rows", "columns", "lanes", "segments", "word_bytes", "drains"):
        lines.append(_define(key.upper(), f"{getattr(config, key)}u"))
    return lines


def _registers(config: Config) -> list[str]:
    lines = ["/* Registers: byte offsets in the AXI4-Lite window, reset values, fields */"]
    for register in REGISTERS.values():
        name = f"REG_{register.name}"
        lines.append(_define(name, f"0x{register.offset:03x}u", register.doc))
        lines.append(_define(f"{name}_RESET", f"0x{register.reset_value(config):08x}u"))
        for field in register.fields.fields:
            shift = register.fields.offset(field.name)
            mask = ((1 << field.width) - 1) << shift
            prefix = f"{name}_{field.name.upper()}"
            lines.append(_define(f"{prefix}_SHIFT", f"{shift}u"))
            lines.append(_define(f"{prefix}_MASK", f"0x{mask:08x}u", field.doc))
    return lines


def _errors() -> list[str]:
    codes = [
        f"    TERMAC_ERROR_{code.name} = {code.value}{',' if code is not max(ErrorCode) else ''}"
        f" /* {_comment(ERROR_TEXT[code])} */"
        for code in ErrorCode
    ]
    return ["/* Codes in TERMAC_REG_ERROR */", "enum termac_error {", *codes, "};"]


def _regions(config: Config) -> list[str]:
    lines = ["/* Memory regions: byte addresses in the AXI4 window */"]
    for region in MemoryMap(config).regions:
        name = f"MEM_{region.name.upper()}"
        lines += [
            _define(f"{name}_BASE", f"0x{region.base:08x}u", region.doc),
            _define(f"{name}_WORDS", f"{region.words}u"),
            _define(f"{name}_GROUPS", f"{region.groups}u"),
            _define(f"{name}_BEATS", f"{region.beats}u"),
            f"#define TERMAC_{name}_ADDRESS(word, group, beat) \\",
            f"    (0x{region.base:08x}u + (word) * {region.word_stride}u"
            f" + (group) * {region.group_stride}u + (beat) * 4u)",
        ]
    return lines
