"""Whatever runs an image, and the comparison of what it computed with the golden model."""

from termac.device.compare import check_cycles, compare
from termac.device.device import Device, GoldenDevice, Progress, Result, join_results

__all__ = [
    "Device",
    "GoldenDevice",
    "Progress",
    "Result",
    "check_cycles",
    "compare",
    "join_results",
]
