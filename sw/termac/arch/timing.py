"""Distances in cycles that hardware is built from and the cycle prediction counts with.

The array runs in lockstep, so every distance is a constant of the configuration. The prediction
of a layer is a sum over its passes; it equals the simulated count exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from termac.arch.cells import TERMS_AHEAD
from termac.arch.config import Config
from termac.arch.program import DESCRIPTOR_WORDS, TABLE_ENTRIES

__all__ = [
    "DRAIN_LATENCY",
    "ISSUE_LATENCY",
    "WEIGHT_LATENCY",
    "LayerTiming",
    "drain_cycles",
    "feed_latency",
    "layer_cycles",
    "most_beats",
    "offer_read",
    "program_cycles",
    "reload_cycles",
    "residual_queue_depth",
    "residual_spread",
    "row_latency",
    "swap_to_shift",
    "tile_words",
]

ISSUE_LATENCY = 4
"""From the issue of a read in the engine to the read request at bank 0."""

DRAIN_LATENCY = 21
"""From the first result of a vector at a drain to its first byte at the assembling stage."""

FEED_LATENCY = 3
"""From a read request at a bank to the first beat at the array, if nothing encodes it."""

WEIGHT_LATENCY = 3
"""From a weight request at a weight bank to the shift that takes the word into the array."""

CELL_LATENCY = 3
"""From the lanes of a column to its partial sum: lane, product and sum register."""

PROGRAM_OVERHEAD = 3
"""Reading and checking the header."""

END_OVERHEAD = 3
"""Fetching the END word."""


def feed_latency(config: Config) -> int:
    """From a read request at a bank to the first beat of its word at the array."""
    return FEED_LATENCY + config.kind.feed_delay


def row_latency(config: Config) -> int:
    """From the issue of a vector to the sum of its first beat at the end of row 0."""
    return ISSUE_LATENCY + feed_latency(config) + CELL_LATENCY + config.columns - 1


def most_beats(config: Config) -> int:
    """Largest number of beats of a vector."""
    return config.kind.maximum_beats


def tile_words(config: Config, terms: int) -> int:
    """Weight words of one tile: one per column, and per term if cells keep terms."""
    return config.columns * config.kind.planes(terms)


def swap_to_shift(config: Config) -> int:
    """From the issue of a pass to the first read of the next tile's weights.

    The swap token reaches the last column of the last row of a group, S/shared_rows - 1 hops
    below its first row; the shadow registers may shift in the cycle after.
    """
    group = config.segments // config.shared_rows
    token = ISSUE_LATENCY + feed_latency(config) + (config.columns - 1) + (group - 1)
    return token + 1 - WEIGHT_LATENCY


def offer_read(config: Config, terms: int) -> int:
    """Weight reads of a tile after which its pass is offered to the engine.

    The other words are in their cells by the time the pass's first beat reaches the first one: it
    takes ISSUE_LATENCY + feed_latency cycles and one for the handshake; a word takes
    WEIGHT_LATENCY, and one more if it is a term to be stored.
    """
    lead = ISSUE_LATENCY + feed_latency(config) + 1 - WEIGHT_LATENCY - config.kind.store_delay
    return max(1, tile_words(config, terms) - lead)


def reload_cycles(config: Config, terms: int) -> int:
    """Shortest time from one pass to the next: its first beat is everywhere, then load a tile.

    Passes of more than TERMS_AHEAD terms take as long after they have *ended*.
    """
    return swap_to_shift(config) + 1 + offer_read(config, terms)


def drain_cycles(config: Config) -> int:
    """Waiting time after the last issue of a layer until its last byte is in memory."""
    return (
        row_latency(config)
        + config.rows // config.shared_rows
        + config.result_delay
        + DRAIN_LATENCY
        + 2 * config.segments
        + 8
    )


def residual_queue_depth(config: Config) -> int:
    """Vectors whose residual bytes may wait in a drain, a power of two.

    The bytes are read with the vector's taps. The drain needs them once the sums have crossed the
    array and the requantizer. Reads of a word are at least S + 1 cycles apart.
    """
    wait = (
        row_latency(config) + most_beats(config) + config.rows // config.shared_rows
        + config.segments + config.result_delay + DRAIN_LATENCY
    )  # fmt: skip
    return max(16, 1 << (wait // (config.segments + 1)).bit_length())


def residual_spread(config: Config) -> int:
    """How much later a drain gets residual bytes of a word's last row tile than of its first.

    They come from different banks (only if several row tiles share a word). Residual bytes must
    arrive in the order of the vectors, one vector at a time: where a word's last row tile is
    followed by the next word's first, passes with ``sum_last`` must be further apart than this.
    """
    last = max(0, config.word_bytes - config.rows)  # bytes before the last row tile
    firsts = range(0, config.rows, config.unit)
    banks = max((first + last) // config.lanes - first // config.lanes for first in firsts)
    return banks * config.segments


@dataclass(frozen=True)
class LayerTiming:
    """What the duration of a layer depends on.

    Parameters
    ----------
    row_tiles : row tiles
    vectors : output pixels
    last : per pass, whether it completes sums (``PASS.sum_last``)
    terms : terms of a tile, 0 if cells keep weights
    time, last_time : cycles per vector, otherwise and in passes that complete sums
    residual : operand tables are loaded first
    """

    row_tiles: int
    vectors: int
    last: Sequence[bool]
    terms: int
    time: int
    last_time: int
    residual: bool


def layer_cycles(config: Config, layer: LayerTiming) -> int:
    """Cycles of one layer, from the fetch of its descriptor to the end of its drain."""
    setup = DESCRIPTOR_WORDS + 4 + ((2 * TABLE_ENTRIES + 2) if layer.residual else 0)
    fill = 4 + offer_read(config, layer.terms)  # record (two cycles), decode, first tile
    reload = reload_cycles(config, layer.terms)
    deep = layer.terms > TERMS_AHEAD
    depth = config.accumulator_depth
    full, rest = divmod(layer.vectors, depth)
    passes = 0
    for count, times in ((depth, full), (rest, 1 if rest else 0)):
        for last in layer.last:
            issue = count * (layer.last_time if last else layer.time)
            passes += times * (issue + reload if deep else max(issue, reload))
    passes *= layer.row_tiles
    # Nothing is loaded after the last pass, so it is not held back by the interlock.
    final = (rest or depth) * (layer.last_time if layer.last[-1] else layer.time)
    passes -= reload if deep else max(final, reload) - final
    return setup + fill + passes + drain_cycles(config)


def program_cycles(config: Config, layers: Sequence[LayerTiming]) -> int:
    """Cycles of a whole program: the CYCLES register when it is done."""
    return PROGRAM_OVERHEAD + sum(layer_cycles(config, layer) for layer in layers) + END_OVERHEAD
