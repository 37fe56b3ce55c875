"""What a term is: signed powers of two, groups that share them, and the slots that hold them."""

from termac.terms.digits import LARGEST, Encoding, count, encode, limit
from termac.terms.terms import Terms

__all__ = ["LARGEST", "Encoding", "Terms", "count", "encode", "limit"]
