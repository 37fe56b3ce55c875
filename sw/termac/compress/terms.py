"""Term encodings and the group budget: see :mod:`termac.terms`, which the golden model uses too."""

from termac.terms import Encoding, count, encode, limit

__all__ = ["Encoding", "count", "encode", "limit"]
