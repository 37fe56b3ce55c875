"""Compression: from a float graph to an integer graph with fewer bits, weights and terms."""

from termac.compress.quantize.quantize import quantize

__all__ = ["quantize"]
