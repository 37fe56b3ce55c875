"""Addresses of all tensors: lifetimes, reuse, sums written over their residual operand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from termac.arch import Config
from termac.compile.layers import Layer
from termac.errors import CapacityError
from termac.graph import Graph
from termac.image.storage import Storage

__all__ = ["place"]


@dataclass(eq=False)
class _Buffer:
    """Words that one tensor, or several one after the other, occupy from layer to layer."""

    words: int
    first: int
    last: int
    tensors: list[str]
    base: int = -1


def place(
    graph: Graph,
    layers: Sequence[Layer],
    storages: Mapping[str, Storage],
    beyond: Mapping[str, int],
    config: Config,
) -> dict[str, int]:
    """Base address of every stored tensor.

    Parameters
    ----------
    beyond : words that layers read after the end of a tensor, by name

    Raises
    ------
    CapacityError
        If the activation memory is too small.
    """
    last_read = {graph.input: 0}
    for number, layer in enumerate(layers):
        last_read.setdefault(layer.name, number)
        for name in layer.reads:
            last_read[name] = number
    last_read[graph.output] = len(layers)

    owner: dict[str, _Buffer] = {}

    def own(name: str, first: int) -> None:
        words = storages[name].words + beyond.get(name, 0)
        owner[name] = _Buffer(words, first, last_read[name], [name])

    own(graph.input, -1)
    for number, layer in enumerate(layers):
        residual = layer.residual
        if (
            residual is not None
            and residual.tensor != layer.input
            and last_read[residual.tensor] == number
            and residual.stride == (1, 1)
            and storages[layer.name].same_format(storages[residual.tensor])
        ):
            buffer = owner[layer.name] = owner[residual.tensor]
            buffer.last = last_read[layer.name]
            buffer.words = max(buffer.words, storages[layer.name].words + beyond.get(layer.name, 0))
            buffer.tensors.append(layer.name)
        else:
            own(layer.name, number)

    buffers = list(dict.fromkeys(owner.values()))
    placed: list[_Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.words, b.first)):
        busy = sorted(
            (other.base, other.base + other.words)
            for other in placed
            if other.first <= buffer.last and buffer.first <= other.last
        )
        base = 0
        for start, stop in busy:
            if base + buffer.words <= start:
                break
            base = max(base, stop)
        buffer.base = base
        placed.append(buffer)
    worst = max(buffers, key=lambda b: b.base + b.words)
    needed = worst.base + worst.words
    if needed > config.activation_depth:
        raise CapacityError(
            f"network {graph.name!r} needs {needed} words of activation memory, config "
            f"{config.name!r} has {config.activation_depth} (reached by tensor "
            f"{worst.tensors[0]!r})",
            "raise activation_depth or use a smaller network",
        )
    return {name: buffer.base for name, buffer in owner.items()}
