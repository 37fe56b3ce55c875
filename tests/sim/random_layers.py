"""Random layers for the regression: small machines, programs with a theme, and what they cover."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from termac.arch import Config
from termac.arch.estimate import decode_timings
from termac.compile import channel_groups, compile_graph
from termac.errors import CapacityError, ModelError
from termac.graph import Add, Conv, Graph
from termac.graph.requantize import quantize_multiplier
from termac.image import Image

from tests.sw.random_graphs import Builder, random_graph, random_input, split_into_terms

__all__ = [
    "CONFIGS",
    "SHORT_CONFIGS",
    "THEMES",
    "LayerFacts",
    "Program",
    "layer_facts",
    "random_program",
    "table",
]

INT32 = -(1 << 31), (1 << 31) - 1


def _config(rows: int, columns: int, lanes: int, segments: int, **values: Any) -> Config:
    sizes = {
        "activation_depth": 2048,
        "weight_depth": 1 << 14,
        "parameter_depth": 512,
        "accumulator_depth": 16,
        "program_depth": 1 << 13,
        "tap_depth": 1 << 12,
    } | values
    shared = f"r{values['shared_rows']}" if "shared_rows" in values else ""
    return Config(
        name=f"{values.get('cell', '')}{rows}x{columns}a{lanes}s{segments}{shared}",
        rows=rows, columns=columns, lanes=lanes, segments=segments, **sizes,
    )  # fmt: skip


CONFIGS = (
    # In every run: R = W; R = 2W and no power of two anywhere; six row tiles a word.
    _config(8, 8, 4, 4),
    _config(24, 12, 4, 4, shared_rows=2, accumulator_depth=7, activation_depth=1500,
            weight_depth=9000, parameter_depth=500, program_depth=5000, tap_depth=3000),
    _config(8, 24, 16, 8, shared_rows=2),
    _config(16, 16, 8, 8, cell="term", shared_rows=4, accumulator_depth=12),
    _config(8, 8, 4, 4, cell="term_pair", shared_rows=2),
    _config(8, 16, 8, 8, cell="bit_serial", accumulator_depth=9),
    # Long.
    _config(8, 16, 16, 8, shared_rows=2),
    _config(4, 12, 4, 4),  # three row tiles a word
    _config(8, 16, 1, 4),
    _config(16, 32, 2, 8, shared_rows=2, accumulator_depth=2),
    _config(24, 24, 8, 8, accumulator_depth=100),
    _config(16, 16, 8, 8, accumulator_depth=5),
    _config(32, 8, 8, 8, shared_rows=2),  # four words a row tile
    _config(16, 8, 16, 4, shared_rows=2, accumulator_depth=30),
    _config(8, 64, 1, 8),
    _config(8, 24, 8, 8, accumulator_depth=3),
    _config(8, 8, 16, 4, cell="term"),
    _config(24, 12, 4, 4, cell="term", shared_rows=2, accumulator_depth=7),
    _config(16, 16, 8, 8, cell="term_pair", accumulator_depth=5),
    _config(4, 12, 4, 4, cell="bit_serial", shared_rows=2),
)  # fmt: skip
"""Lanes 1..16, segments 4 and 8, rows below, equal to and above a word's bytes, odd counts."""

SHORT_CONFIGS = CONFIGS[:6]
"""Those of every run."""

THEMES = ("passes", "rows", "chunks", "residual", "extremes", "selects", "mixed", "planes")


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled network and one input, int8 [height, width, channels]."""

    name: str
    image: Image
    x: NDArray[np.int8]
    extremes: dict[str, int]
    """By layer: channels whose accumulators reach an end of int32 exactly."""


def random_program(config: Config, seed: int) -> Program:
    """A seed gives the same program always; themes follow one another.

    Where a machine is too small for a network, a smaller one of the same theme is drawn.
    """
    theme = THEMES[seed % len(THEMES)]
    for attempt in range(20):
        rng = np.random.default_rng([seed, attempt])
        if theme == "mixed":
            graph = random_graph(1000 * seed + attempt, size=9 - attempt // 3)
        else:
            graph = _themed(theme, config, rng, 1 / (1 + attempt))
        graph = split_into_terms(graph, config, seed)
        x = random_input(graph, seed)
        extremes = _extremes(graph, x, rng, 0.6 if theme == "extremes" else 0.05)
        try:
            image = compile_graph(graph, config)
        except CapacityError:
            continue
        except ModelError as error:  # some random strides are beyond what the hardware does
            if theme != "mixed" or "node" not in str(error):
                raise
            continue
        return Program(f"{config.name} seed {seed} ({theme})", image, x, extremes)
    raise AssertionError(f"no {theme} network fits {config.name}")


def _themed(theme: str, config: Config, rng: np.random.Generator, scale: float) -> Graph:
    def some(low: int, high: int) -> int:
        return int(rng.integers(low, max(low, round(high * scale)) + 1))

    def bits() -> int:
        return 8 if rng.random() < 0.4 else int(rng.integers(1, 9))

    word, rows = min(config.word_bytes, 40), config.rows
    size = (some(2, 7), some(2, 7))
    channels = some(1, 2 * word)
    if theme == "chunks":  # more pixels than fit in the accumulators
        side = int((2.5 * min(config.accumulator_depth, 40)) ** 0.5) + 2
        size, channels = (side + some(0, 3), side + some(0, 2)), some(1, word)
    build = Builder(rng, (*size, channels), bits=bits())
    for _ in range(int(rng.integers(1, 4))):
        height, width, _ = build.shape(build.last)
        kernel = (min(some(1, 4), height + 2), min(some(1, 4), width + 2))
        if theme in ("passes", "extremes"):
            kernel = (min(some(3, 5), height + 2), min(3, width + 2))
        stride = (1, 1) if theme == "chunks" else (some(1, 3), some(1, 3))
        pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        pads[2] = max(pads[2], kernel[0] - height - pads[0])
        pads[3] = max(pads[3], kernel[1] - width - pads[1])
        padding = (pads[0], pads[1], pads[2], pads[3])
        out = some(1, 2 * word)
        if theme == "rows":
            out = some(2 * rows + 1, max(4 * rows, 2 * rows + 9))
        if theme == "residual":
            _block(build, config, rng, bits)
            continue
        build.conv(out, kernel=kernel, stride=stride, padding=padding, bits=bits(),
                   density=float(rng.choice([1.0, 0.6, 0.2])))  # fmt: skip
        if theme == "selects" or rng.random() < 0.3:
            _prune(build, config, int(rng.integers(1, config.lanes + 1)))
        if theme == "chunks" and min(build.shape(build.last)[:2]) >= 2 and rng.random() < 0.5:
            build.max_pool((2, 2), (2, 2))
    return build.graph(theme)


def _block(build: Builder, config: Config, rng: np.random.Generator, bits) -> None:
    """A residual block: identity, option A, a projection, or a sum without any convolution."""
    start = build.last
    channels = build.shape(start)[2]
    kind = rng.choice(["identity", "shortcut", "projection", "sum"])
    if kind == "identity":
        build.conv(channels, bits=bits(), density=float(rng.choice([1.0, 0.3])))
        other = start
    elif kind == "shortcut":
        before, after = (int(rng.integers(0, config.word_bytes + 1)) for _ in range(2))
        step = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        build.conv(before + channels + after, stride=step, bits=bits())
        other = build.shortcut(start, step, before, after)
        build.last = build.nodes[-2].name
    elif kind == "sum":
        build.max_pool((1, 1), (1, 1))
        other = start
    else:
        out = int(rng.integers(1, 2 * config.word_bytes + 1))
        second = build.conv(out, bits=bits())
        other = build.conv(out, source=start, kernel=(1, 1), padding=(0, 0, 0, 0), bits=bits())
        build.last = second
    pair = [build.last, other]
    if rng.random() < 0.5:
        pair.reverse()
    build.add(*pair, bits=bits())


def _prune(build: Builder, config: Config, selects: int) -> None:
    """Leave at most ``selects`` weights per filter, tap and combined column."""
    node = build.nodes[-1]
    assert isinstance(node, Conv)
    groups = channel_groups(node.weights.shape[3], config)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        keys = build.rng.random(node.weights[..., members].shape)
        drop = np.argsort(np.argsort(keys, axis=-1), axis=-1) >= selects
        node.weights[..., members] *= ~drop


def _extremes(
    graph: Graph, x: NDArray[np.int8], rng: np.random.Generator, share: float
) -> dict[str, int]:
    """Move biases so that accumulators reach the ends of int32 exactly, for this input."""
    values = {graph.input: x[None]}
    counts: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node, Conv):
            zero = graph.tensors[node.input].zero_point
            for channel in np.flatnonzero(rng.random(len(node.bias)) < share):
                node.bias[channel] = 0
                sums = node.accumulate(values[node.input], graph.tensors[node.input])[..., channel]
                folded = zero * int(node.weights[channel].astype(np.int64).sum())
                end = int(rng.integers(0, 2))
                reached = int((sums.min(), sums.max())[end])
                bias = INT32[end] - reached
                # The hardware's own bias has the zero point folded in and must fit as well.
                if all(INT32[0] <= value <= INT32[1] for value in (bias, bias - folded)):
                    node.bias[channel] = bias
                    counts[node.name] = counts.get(node.name, 0) + 1
                    if rng.random() < 0.6:  # not all saturated
                        real = float(2.0 ** (graph.tensors[node.name].bits - 33))
                        pair = quantize_multiplier(real * rng.uniform(0.2, 1.2))
                        node.multiplier[channel], node.shift[channel] = pair
        values[node.name] = node.evaluate(values, graph.tensors)
    return counts


@dataclass(frozen=True)
class LayerFacts:
    """What one layer exercises."""

    passes: int
    row_tiles: int
    chunks: int
    residual: bool
    pooled: bool
    grouped: bool
    extreme: bool
    selects: int
    planes: int
    strides: tuple[int, int]
    zero: str


def layer_facts(program: Program) -> list[LayerFacts]:
    """One entry per layer of the program."""
    image, graph = program.image, program.image.graph
    timings = decode_timings(image.program)
    facts = []
    for layer in image.layers:
        parts = timings[layer.first_descriptor : layer.first_descriptor + layer.descriptors]
        nodes = [graph.node(name) for name in layer.nodes]
        conv = next((node for node in nodes if isinstance(node, Conv)), None)
        source = graph.tensors[conv.input if conv is not None else nodes[0].inputs[0]]
        low, high = source.limits
        facts.append(
            LayerFacts(
                passes=max(len(part.last) for part in parts),
                row_tiles=max(part.row_tiles for part in parts),
                chunks=-(-parts[0].vectors // image.config.accumulator_depth),
                residual=any(isinstance(node, Add) for node in nodes) and parts[0].residual,
                pooled=any(sum(part.last) > 1 for part in parts),
                grouped=layer.storage.factor != (1, 1),
                extreme=any(name in program.extremes for name in layer.nodes),
                selects=0 if conv is None else _selects(conv, image.config),
                planes=source.bits,
                strides=(1, 1) if conv is None else conv.stride,
                zero={low: "lowest", high: "highest"}.get(source.zero_point, "between"),
            )
        )
    return facts


def _selects(conv: Conv, config: Config) -> int:
    """Weights of one filter, tap and combined column, at most."""
    groups = channel_groups(conv.weights.shape[3], config)
    return max(
        int(np.count_nonzero(conv.weights[..., groups == group], axis=-1).max(initial=0))
        for group in np.unique(groups)
    )


def table(facts: Iterable[LayerFacts]) -> dict[str, int]:
    """Layers by what they exercise."""
    facts = list(facts)
    counts = {
        "layers": len(facts),
        "3 or more passes (weight tiles) a row tile": sum(f.passes >= 3 for f in facts),
        "2 or more row tiles": sum(f.row_tiles >= 2 for f in facts),
        "2 or more accumulator chunks": sum(f.chunks >= 2 for f in facts),
        "residual": sum(f.residual for f in facts),
        "pooling": sum(f.pooled for f in facts),
        "pixels grouped in words": sum(f.grouped for f in facts),
        "accumulator at an end of int32": sum(f.extreme for f in facts),
        "stride above 1": sum(max(f.strides) > 1 for f in facts),
        "stride 3": sum(max(f.strides) == 3 for f in facts),
        "zero point lowest": sum(f.zero == "lowest" for f in facts),
        "zero point highest": sum(f.zero == "highest" for f in facts),
        "1 select a word": sum(f.selects == 1 for f in facts),
        "2 or more selects a word": sum(f.selects >= 2 for f in facts),
        "16 selects a word": sum(f.selects == 16 for f in facts),
    }
    return counts | {
        f"{planes} bits": sum(f.planes == planes for f in facts) for planes in range(1, 9)
    }
