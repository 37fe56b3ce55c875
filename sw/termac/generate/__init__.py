"""The accelerator of a configuration as files: Verilog, tables, C header. Imports the hardware."""

from termac.generate.folder import generate

__all__ = ["generate"]
