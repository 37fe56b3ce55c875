"""From an integer graph to what the accelerator executes."""

from termac.compile.compiler import compile_graph
from termac.image.storage import Storage, channel_groups

__all__ = ["Storage", "channel_groups", "compile_graph"]
