"""Amaranth to readable Verilog: each distinct module once."""

from termac_hw.emit.emit import WAIVERS, emit_verilog, place, write_verilog

__all__ = ["WAIVERS", "emit_verilog", "place", "write_verilog"]
