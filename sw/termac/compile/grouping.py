"""Which weights of a network share selects: pixels per stored pixel, and channel orders.

What a network was pruned for travels with the model file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from termac.arch import Config
from termac.errors import ModelError

__all__ = ["PROPERTY", "Grouping"]

PROPERTY = "termac.grouping"
"""Key of the model file's metadata."""


@dataclass(frozen=True)
class Grouping:
    """Formats of the tensors that decide which weights share selects.

    Parameters
    ----------
    lanes, columns, segments : of the configuration that the grouping was made for
    factors : (y, x) pixels per stored pixel, by tensor name
        The compiler's search starts from them.
    orders : channel order, by tensor name
        ``order[i]`` is the channel that takes place i; see
        :func:`termac.compile.channel_groups`. Holds for all tensors that additions join.
    """

    lanes: int
    columns: int
    segments: int
    factors: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    orders: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def on(
        cls,
        config: Config,
        *,
        factors: Mapping[str, tuple[int, int]] | None = None,
        orders: Mapping[str, Sequence[int]] | None = None,
    ) -> Grouping:
        """Grouping for the words of a configuration."""
        divided = config.lanes, config.columns, config.segments
        return cls(*divided, dict(factors or {}), dict(orders or {}))

    def fits(self, config: Config) -> bool:
        """Whether words of a configuration are divided as those it was made for."""
        own = self.lanes, self.columns, self.segments
        same = own == (config.lanes, config.columns, config.segments)
        return same and config.kind.combines

    def to_json(self) -> str:
        values = {"lanes": self.lanes, "columns": self.columns, "segments": self.segments}
        return json.dumps(
            {**values, "factors": {k: list(v) for k, v in self.factors.items()},
             "orders": {k: list(v) for k, v in self.orders.items()}},
            separators=(",", ":"), sort_keys=True,
        )  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> Grouping:
        """Inverse of :meth:`to_json`; all kinds of exceptions if the text is anything else."""
        values = json.loads(text)
        factors = {str(k): (int(v[0]), int(v[1])) for k, v in values["factors"].items()}
        orders = {str(k): [int(i) for i in v] for k, v in values["orders"].items()}
        lanes, columns, segments = (int(values[key]) for key in ("lanes", "columns", "segments"))
        return cls(lanes, columns, segments, factors, orders)

    @classmethod
    def read(
        cls, properties: Mapping[str, str], shapes: Mapping[str, tuple[int, int, int]]
    ) -> Grouping | None:
        """Grouping in a model file's metadata, None if it has none.

        ``shapes``: (height, width, channels) by tensor name.

        Raises
        ------
        ModelError
            If it is damaged, or does not belong to the network.
        """
        if PROPERTY not in properties:
            return None
        try:
            found = cls.from_json(properties[PROPERTY])
        except (
            *(ValueError, TypeError, KeyError, IndexError),
            *(AttributeError, OverflowError, RecursionError),
        ):
            raise ModelError(
                f"metadata {PROPERTY!r} of the model is damaged; remove it or train again"
            ) from None
        unknown = [name for name in (*found.factors, *found.orders) if name not in shapes]
        if unknown:
            raise ModelError(
                f"metadata {PROPERTY!r} of the model names tensor {unknown[0]!r}, which it does "
                "not have; remove the entry or train again"
            )
        return found
