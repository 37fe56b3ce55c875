"""Predicted cycles, from the shape of a program alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from termac.arch import DESCRIPTOR, DESCRIPTOR_WORDS, HEADER, PASS, Config, Opcode
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


def decode_timings(program: NDArray[np.uint32]) -> list[LayerTiming]:
    """What the duration of every descriptor of a program depends on, in order."""
    words = [int(word) for word in program]
    result, address = [], 1
    while HEADER.unpack_one(words[address])["opcode"] == Opcode.LAYER:
        values: dict[str, int] = {}
        for layout, word in zip(DESCRIPTOR, words[address:], strict=False):
            values.update(layout.unpack_one(word))
        records = words[values["records"] : values["records"] + values["passes"]]
        result.append(
            LayerTiming(
                row_tiles=values["row_tiles"],
                vectors=values["vectors"],
                last=[bool(PASS.unpack_one(record)["sum_last"]) for record in records],
                terms=values["terms"],
                time=values["time"],
                last_time=values["last_time"],
                residual=bool(values["residual"]),
            )
        )
        address += DESCRIPTOR_WORDS
    return result


def predict(config: Config, program: NDArray[np.uint32]) -> int:
    """Cycles of a whole program."""
    return program_cycles(config, decode_timings(program))
