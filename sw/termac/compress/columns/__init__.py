"""Free grouping of columns: the published yardstick and ours. On no path to an image."""

from termac.compress.columns.combine import Combining, Packed, combine

__all__ = ["Combining", "Packed", "combine"]
