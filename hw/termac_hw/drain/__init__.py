"""What follows the array: accumulate, requantize, add, pool, assemble, write."""

from termac_hw.drain.drain import Drain

__all__ = ["Drain"]
