"""``termac generate``: the accelerator of a configuration as a folder of files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from termac.arch.config import Config
from termac.arch.memory_map import MemoryMap, Region
from termac.arch.registers import REGISTERS, Register
from termac.files import atomic_folder
from termac.generate.c_header import c_header
from termac.generate.markdown import memory_map_table, register_table

__all__ = ["generate"]


def generate(config: Config, folder: str | Path) -> list[Path]:
    """Write the Verilog of an accelerator and everything a driver needs to know about it.

    ``accelerator.v`` (top module ``termac``), ``ecp5_cells.v`` (the cell in Lattice ECP5
    primitives, to be read by yosys over the plain one), ``waivers.vlt`` (Verilator),
    ``registers.md`` and ``.json``, ``memory_map.md`` and ``.json``, ``termac.h`` and
    ``config.json``. Equal configurations give equal bytes.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    TermacError
        If the folder cannot be written or holds anything that Termac did not write.
    """
    folder = Path(folder)
    with atomic_folder(folder) as temporary:
        # Only here is the hardware description needed; it takes a second to import.
        from termac_hw.cells.ecp5 import ecp5_primitives
        from termac_hw.core import Core
        from termac_hw.emit import WAIVERS, emit_verilog

        texts = {
            "accelerator.v": emit_verilog(Core(config)),
            "ecp5_cells.v": ecp5_primitives(config),
            "waivers.vlt": WAIVERS.read_text(),
            "registers.md": register_table(config),
            "registers.json": _json([_register(r, config) for r in REGISTERS.values()]),
            "memory_map.md": memory_map_table(config),
            "memory_map.json": _json(_memory_map(config)),
            "termac.h": c_header(config),
            "config.json": _json(asdict(config) | {"digest": config.digest}),
        }
        texts = {name: text for name, text in texts.items() if text}
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in sorted(texts)]


def _register(register: Register, config: Config) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": register.name,
        "offset": register.offset,
        "access": register.access.value,
        "reset": register.reset_value(config),
        "doc": register.doc,
        "fields": [
            {
                "name": field.name,
                "offset": register.fields.offset(field.name),
                "width": field.width,
                "doc": field.doc,
            }
            for field in register.fields.fields
        ],
    }
    if register.values is not None:
        result["values"] = {value.name: value.value for value in register.values}
    return result


def _memory_map(config: Config) -> dict[str, Any]:
    def region(r: Region) -> dict[str, Any]:
        return asdict(r) | {
            "beats": r.beats,
            "word_stride": r.word_stride,
            "group_stride": r.group_stride,
            "size": r.size,
        }

    memory_map = MemoryMap(config)
    return {
        "address_width": memory_map.address_width,
        "regions": [region(r) for r in memory_map.regions],
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
