"""Random integer networks for tests of compiler and hardware; a seed gives the same one always."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from termac.arch import Config
from termac.arch.cells import DATA_TERMS, TERMS
from termac.graph import Add, AvgPool, Conv, Graph, MaxPool, Node, Shortcut, Tensor, Terms
from termac.graph.requantize import quantize_multiplier
from termac.image import Image

__all__ = [
    "CONFIGS",
    "Builder",
    "Coverage",
    "coverage",
    "random_graph",
    "random_input",
    "resnet20",
    "split_into_terms",
]


def _config(rows: int, columns: int, lanes: int, segments: int, **values: Any) -> Config:
    sizes = {
        "activation_depth": 8192,
        "weight_depth": 1 << 16,
        "parameter_depth": 4096,
        "accumulator_depth": 16,
        "program_depth": 1 << 14,
        "tap_depth": 1 << 14,
    }
    cell = values.get("cell", "")
    return Config(
        name=f"{rows}x{columns}x{lanes}s{segments}{cell}",
        rows=rows,
        columns=columns,
        lanes=lanes,
        segments=segments,
        **{**sizes, **values},
    )


CONFIGS = (
    _config(8, 8, 4, 4),  # R = W
    _config(4, 8, 4, 4),  # R < W
    _config(16, 8, 4, 4),  # R > W
    _config(8, 16, 4, 8),
    _config(8, 16, 16, 8, shared_rows=2),  # W = 32: four row tiles a word
    _config(32, 32, 8, 8),
    _config(16, 16, 8, 8, accumulator_depth=7),
    _config(8, 16, 1, 4),  # W = 4, one lane
    _config(8, 16, 2, 4, accumulator_depth=5),
    _config(16, 32, 2, 8, shared_rows=2),
    _config(32, 8, 8, 8, shared_rows=2),
    _config(8, 8, 16, 4, accumulator_depth=30),
    _config(8, 16, 8, 8, cell="term", shared_rows=4),
    _config(16, 8, 4, 4, cell="term"),
    _config(16, 16, 8, 8, cell="term_pair", shared_rows=2, accumulator_depth=7),
    _config(8, 8, 16, 4, cell="term_pair"),
    _config(16, 16, 8, 8, cell="bit_serial", accumulator_depth=7),
)
"""Small machines: lanes 1..16, segments 4 and 8, rows below, equal to and above a word's bytes."""


class Builder:
    """Adds random nodes to a graph. All choices come from one generator."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], *, bits: int = 8):
        self.rng = rng
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.last = self._tensor("input", shape, bits)

    def _tensor(
        self, name: str, shape: tuple[int, int, int], bits: int, zero: int | None = None
    ) -> str:
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        if zero is None:
            zero = int(self.rng.choice([low, high, 0, int(self.rng.integers(low, high + 1))]))
        self.tensors[name] = Tensor(name, shape, 0.05, zero, bits)
        return name

    def shape(self, name: str) -> tuple[int, int, int]:
        return self.tensors[name].shape

    def _name(self, kind: str) -> str:
        return f"{kind}{len(self.nodes)}"

    def _clamp(self, name: str) -> tuple[int, int]:
        """Limits of the result, perhaps with a ReLU that leaves something of it."""
        low, high = self.tensors[name].limits
        zero = self.tensors[name].zero_point
        if zero <= (low + high) // 2 and self.rng.random() < 0.5:
            low = zero
        return low, high

    def _like(self, bits: int, *sources: str) -> int:
        """A zero point about where the sources have theirs, so that few results saturate."""
        places = []
        for source in sources:
            low, high = self.tensors[source].limits
            places.append((self.tensors[source].zero_point - low) / (high - low))
        return round(float(np.mean(places)) * ((1 << bits) - 1)) - (1 << (bits - 1))

    def conv(
        self,
        channels: int,
        *,
        source: str | None = None,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (1, 1, 1, 1),
        bits: int = 8,
        density: float = 1.0,
        depthwise: bool = False,
    ) -> str:
        rng = self.rng
        source = source or self.last
        height, width, inner = self.shape(source)
        out = (
            (height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1,
            (width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1,
            channels,
        )
        name = self._tensor(self._name("conv"), out, bits)
        weights = rng.integers(-128, 128, (channels, *kernel, inner)).astype(np.int8)
        weights *= rng.random(weights.shape) < density
        if depthwise:
            weights *= np.eye(channels, dtype=np.int8)[:, None, None, :]
        # Scale and bias that spread the results over the output's range.
        spread = 75.0 * (1 << (self.tensors[source].bits - 1)) / 2
        taps = max(1.0, np.count_nonzero(weights) / channels)
        real = min(0.9, 0.6 * (1 << (bits - 1)) / (spread * taps**0.5))
        scales = real * rng.uniform(0.5, 1.0, channels)
        pairs = np.array([quantize_multiplier(float(scale)) for scale in scales])
        low, high = self._clamp(name)
        middle = (low + high) / 2 + rng.uniform(-0.2, 0.2, channels) * (high - low)
        bias = np.round((middle - self.tensors[name].zero_point) / scales)
        self.nodes.append(
            Conv(
                name=name,
                input=source,
                weights=weights,
                bias=bias.astype(np.int32),
                multiplier=pairs[:, 0].astype(np.int32),
                shift=pairs[:, 1].astype(np.int32),
                stride=stride,
                padding=padding,
                low=low,
                high=high,
            )
        )
        self.last = name
        return name

    def dense(self, channels: int, *, bits: int = 8) -> str:
        """Fully connected over the whole tensor."""
        height, width, _ = self.shape(self.last)
        return self.conv(channels, kernel=(height, width), padding=(0, 0, 0, 0), bits=bits)

    def add(self, first: str, second: str, *, bits: int = 8) -> str:
        zero = self._like(bits, first, second)
        name = self._tensor(self._name("add"), self.shape(first), bits, zero)
        inner = [quantize_multiplier(float(self.rng.uniform(0.3, 0.999))) for _ in range(2)]
        widest = max(self.tensors[t].bits for t in (first, second))
        multiplier, shift = quantize_multiplier(0.7 * 2.0 ** (bits - widest - 20))
        low, high = self._clamp(name)
        self.nodes.append(
            Add(
                name=name,
                first=first,
                second=second,
                multipliers=(inner[0][0], inner[1][0]),
                shifts=(inner[0][1], inner[1][1]),
                multiplier=multiplier,
                shift=shift,
                low=low,
                high=high,
            )
        )
        self.last = name
        return name

    def _pooled(self, kernel, stride, padding) -> tuple[int, int, int]:
        height, width, channels = self.shape(self.last)
        return (
            (height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1,
            (width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1,
            channels,
        )

    def max_pool(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> str:
        source = self.tensors[self.last]
        shape = self._pooled(kernel, stride, padding)
        name = self._tensor(self._name("max"), shape, source.bits, source.zero_point)
        self.nodes.append(
            MaxPool(name=name, input=self.last, kernel=kernel, stride=stride, padding=padding)
        )
        self.last = name
        return name

    def average(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        *,
        bits: int = 8,
    ) -> str:
        shape = self._pooled(kernel, stride, padding)
        name = self._tensor(self._name("mean"), shape, bits, self._like(bits, self.last))
        scale = 0.95 * 2.0 ** (bits - self.tensors[self.last].bits) / (kernel[0] * kernel[1])
        multiplier, shift = quantize_multiplier(min(scale, 0.99))
        low, high = self.tensors[name].limits
        self.nodes.append(
            AvgPool(
                name=name,
                input=self.last,
                kernel=kernel,
                stride=stride,
                padding=padding,
                multiplier=multiplier,
                shift=shift,
                low=low,
                high=high,
            )
        )
        self.last = name
        return name

    def shortcut(self, source: str, stride: tuple[int, int], before: int, after: int) -> str:
        height, width, channels = self.shape(source)
        shape = (-(-height // stride[0]), -(-width // stride[1]), before + channels + after)
        given = self.tensors[source]
        name = self._tensor(self._name("cut"), shape, given.bits, given.zero_point)
        self.nodes.append(
            Shortcut(name=name, input=source, stride=stride, before=before, after=after)
        )
        return name

    def graph(self, name: str = "random") -> Graph:
        height, width, channels = self.tensors["input"].shape
        return Graph(
            name=name,
            tensors=self.tensors,
            nodes=self.nodes,
            input="input",
            output=self.last,
            input_layout=(channels, height, width),
            output_layout=self.shape(self.last),
        )


def random_graph(seed: int, *, size: int = 9, channels: int = 20, nodes: int = 5) -> Graph:
    """A network of up to ``nodes`` blocks on images of up to ``size`` pixels a side."""
    rng = np.random.default_rng(seed)

    def bits() -> int:
        return 8 if rng.random() < 0.6 else int(rng.integers(1, 9))

    def some(limit: int) -> int:
        return int(rng.integers(1, limit + 1))

    build = Builder(rng, (some(size), some(size), some(channels)), bits=bits())
    count = some(nodes)
    for _ in range(count):
        height, width, inner = build.shape(build.last)
        kernel = some(min(5, height + 2)), some(min(5, width + 2))
        pad = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        pad[2] = max(pad[2], kernel[0] - height - pad[0])
        pad[3] = max(pad[3], kernel[1] - width - pad[1])
        padding = (pad[0], pad[1], pad[2], pad[3])
        stride = some(3), some(3)
        density = float(rng.choice([1.0, 1.0, 0.3, 0.05]))
        kind = rng.choice(["conv", "conv", "depthwise", "block", "option_a", "max", "mean", "join"])
        if kind == "conv":
            build.conv(some(channels), kernel=kernel, stride=stride, padding=padding,
                       bits=bits(), density=density)  # fmt: skip
        elif kind == "depthwise":
            build.conv(inner, kernel=kernel, stride=stride, padding=padding, bits=bits(),
                       depthwise=True)  # fmt: skip
        elif kind == "block":  # residual block; the projection is a convolution or nothing
            start = build.last
            out = inner if rng.random() < 0.5 else some(channels)
            first = build.conv(some(channels), bits=bits(), density=density)
            second = build.conv(out, source=first, bits=bits())
            other = start
            if out != inner:
                other = build.conv(out, source=start, kernel=(1, 1), padding=(0, 0, 0, 0))
            pair = [second, other]
            if rng.random() < 0.5:
                pair.reverse()
            build.add(*pair, bits=bits())
        elif kind == "option_a":
            start = build.last
            steps = some(2), some(2)
            before, after = int(rng.integers(0, inner + 1)), int(rng.integers(0, inner + 1))
            first = build.conv(inner + before + after, source=start, stride=steps, bits=bits(),
                               density=density)  # fmt: skip
            other = build.shortcut(start, steps, before, after)
            build.add(first, other, bits=bits())
        elif kind in ("max", "mean"):
            window = some(min(3, height)), some(min(3, width))
            step = window if rng.random() < 0.5 else (some(2), some(2))
            around = (0, 0, 0, 0)
            if rng.random() < 0.4:
                around = tuple(int(rng.integers(0, w)) for w in (*window, *window))
            if kind == "max":
                build.max_pool(window, step, around)  # type: ignore[arg-type]
            else:
                build.average(window, step, around, bits=bits())  # type: ignore[arg-type]
        else:  # a sum whose operands are no convolutions
            build.add(build.last, build.last if rng.random() < 0.3 else build.max_pool(
                (1, 1), (1, 1)), bits=bits())  # fmt: skip
    if not build.nodes or rng.random() < 0.6:
        build.dense(some(3 * channels), bits=bits())
    return build.graph(f"random_{seed}")


def split_into_terms(graph: Graph, config: Config, seed: int) -> Graph:
    """The same network with random ways to split its convolutions, as far as the cell can do it."""
    if not config.kind.terms:
        return graph
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Conv) and rng.random() < 0.8:
            weights = node.weights.astype(np.int16)
            terms = Terms(weights=int(rng.integers(2, TERMS + 1)))
            if config.kind.data_terms:
                data = int(rng.integers(0, DATA_TERMS + 1))
                terms = replace(terms, data=data, encoding=str(rng.choice(["naf", "hese"])))
            else:
                # Down to 0, in steps of 0 or 1; the first may be any the rest leaves room for.
                falls = rng.random(terms.weights - 1) < 0.5
                powers = np.cumsum([*falls, 0][::-1])[::-1]
                powers = np.minimum(powers, 7)
                terms = replace(terms, exponents=tuple(powers.tolist()))
                # As large as a few passes hold: up to twice the first power.
                weights = weights * (2 << powers[0]) // 129
            node = replace(node, weights=weights, terms=terms)
        nodes.append(node)
    return replace(graph, nodes=nodes)


def random_input(graph: Graph, seed: int) -> NDArray[np.int8]:
    """One input, int8 [height, width, channels], with the extremes among its values."""
    tensor = graph.tensors[graph.input]
    low, high = tensor.limits
    rng = np.random.default_rng(seed)
    values = rng.integers(low, high + 1, tensor.shape)
    extremes = rng.random(tensor.shape)
    values[extremes < 0.1], values[extremes > 0.9] = low, high
    return values.astype(np.int8)


def resnet20(seed: int = 0, *, density: float = 1.0, size: int = 32) -> Graph:
    """A network of ResNet-20's shape with option-A shortcuts and random weights."""
    build = Builder(np.random.default_rng(seed), (size, size, 3))
    build.conv(16)
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            start = build.last
            step = (2, 2) if stage and not block else (1, 1)
            build.conv(channels, source=start, stride=step, density=density)
            second = build.conv(channels, density=density)
            other = start
            if step == (2, 2):
                other = build.shortcut(start, step, channels // 4, channels // 4)
            build.add(second, other)
    build.average((size // 4, size // 4), (1, 1))
    build.dense(10)
    return build.graph("resnet20")


@dataclass(frozen=True)
class Coverage:
    """What an image exercises: the most of anything in one descriptor."""

    descriptors: int
    row_tiles: int
    passes: int
    chunks: int
    residual: bool
    pooled: bool
    grouped_pixels: bool
    planes: frozenset[int]


def coverage(image: Image) -> Coverage:
    """Facts about an image, for regressions that want to know what they have tested."""
    from termac.arch.estimate import decode_timings

    timings = decode_timings(image.program)
    return Coverage(
        descriptors=len(timings),
        row_tiles=max(t.row_tiles for t in timings),
        passes=max(len(t.last) for t in timings),
        chunks=max(-(-t.vectors // image.config.accumulator_depth) for t in timings),
        residual=any(t.residual for t in timings),
        pooled=any(sum(t.last) > 1 for t in timings),
        grouped_pixels=any(layer.storage.factor != (1, 1) for layer in image.layers),
        planes=frozenset(tensor.bits for tensor in image.graph.tensors.values()),
    )
