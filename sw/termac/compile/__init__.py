"""From an integer graph to what the accelerator executes."""

from termac.compile.compiler import compile_graph
from termac.compile.grouping import Grouping
from termac.image.storage import Storage, channel_groups

__all__ = ["Grouping", "Storage", "channel_groups", "compile_graph"]
