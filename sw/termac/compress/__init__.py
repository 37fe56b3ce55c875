"""Compression: from a float graph to an integer graph with fewer bits, weights and terms."""

from termac.compress.combine import Combining, Packed, combine
from termac.compress.quantize import quantize

__all__ = ["Combining", "Packed", "combine", "quantize"]
