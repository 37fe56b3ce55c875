"""The cells an array can be built of, one file a cell."""

from termac_hw.cells.kinds import cell_kind, cell_names

__all__ = ["cell_kind", "cell_names"]
