"""The systolic array: rows of cells, and the control that walks down their ends."""

from termac_hw.array.array import Array

__all__ = ["Array"]
