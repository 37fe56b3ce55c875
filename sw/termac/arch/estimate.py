"""Predicted cycles, from the shape of a program alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from termac.arch.config import Config
from termac.arch.program import descriptors
from termac.arch.timing import LayerTiming, layer_cycles, program_cycles

__all__ = ["decode_timings", "part_cycles", "predict", "vector_times"]


def vector_times(config: Config, *, beats: int, residual: bool) -> tuple[int, int]:
    """Cycles per vector: of a pass, and of a pass that completes sums.

    The latter also reads the residual words of the vector and waits for their additions.
    """
    time = max(beats, config.segments)
    return time, max(time, config.segments + config.words_per_tile) if residual else time


def part_cycles(
    config: Config,
    *,
    row_tiles: int,
    vectors: int,
    passes: Sequence[int],
    beats: int,
    terms: int,
    residual: bool,
) -> int:
    """Cycles of one descriptor. ``passes``: per position of the pooling window."""
    time, last_time = vector_times(config, beats=beats, residual=residual)
    last = [number == count - 1 for count in passes for number in range(count)]
    return layer_cycles(
        config,
        LayerTiming(
            row_tiles=row_tiles,
            vectors=vectors,
            last=last,
            terms=terms,
            time=time,
            last_time=last_time,
            residual=residual,
        ),
    )


def decode_timings(program: Iterable[int]) -> list[LayerTiming]:
    """What the duration of every descriptor of a program depends on, in execution order.

    Raises
    ------
    ValueError
        If the words are no program, see :func:`termac.arch.program.descriptors`.
    """
    return [
        LayerTiming(
            row_tiles=layer.values["row_tiles"],
            vectors=layer.values["vectors"],
            last=[bool(record["sum_last"]) for record in layer.passes],
            terms=layer.values["terms"],
            time=layer.values["time"],
            last_time=layer.values["last_time"],
            residual=bool(layer.values["residual"]),
        )
        for layer in descriptors(program)
    ]


def predict(config: Config, program: Iterable[int]) -> int:
    """Cycles of a whole program."""
    return program_cycles(config, decode_timings(program))
