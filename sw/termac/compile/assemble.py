"""Puts layers into words: descriptors, pass records, taps, tables, weights, parameters.

Equal pieces are stored once: layers of one shape share their taps and records, row tiles and
pooling positions with equal weights share those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.arch import DESCRIPTOR_WORDS, HEADER, PASS, TAP, Config, Opcode, pack_descriptor
from termac.arch.estimate import vector_times
from termac.compile.cut import Part
from termac.compile.layers import Residual
from termac.compile.plan import PlannedLayer
from termac.errors import CapacityError
from termac.graph.operators.add import ADD_SHIFT
from termac.graph.requantize import requantize
from termac.image.storage import Storage

__all__ = ["Assembler", "residual_tables"]


def residual_tables(residual: Residual, own_zero: int, stored: Storage) -> NDArray[np.int64]:
    """Operand terms of an addition, int32 [2, 256]: by convolution byte, by stored residual byte.

    Bytes index as unsigned; stored bytes are left-aligned.
    """
    node = residual.node
    values = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
    own, other = (1, 0) if residual.swapped else (0, 1)
    return np.stack([
        requantize((values - own_zero) << ADD_SHIFT, node.multipliers[own], node.shifts[own]),
        requantize(
            ((values >> stored.align) - stored.tensor.zero_point) << ADD_SHIFT,
            node.multipliers[other],
            node.shifts[other],
        ),
    ])  # fmt: skip


@dataclass
class _Pool:
    """A memory that is filled from the bottom; equal pieces get one address."""

    memory: str
    depth: int
    used: int = 0
    pieces: list[NDArray] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)

    def add(self, piece: NDArray, words: int) -> int:
        key = piece.tobytes()
        if key not in self.known:
            self.known[key] = self.used
            self.pieces.append(piece)
            self.used += words
        return self.known[key]


class Assembler:
    """Collects the contents of all memories but the activations'.

    Members
    -------
    program, taps : uint32 words
    cells : uint16 [planes, rows, columns]
    parameters : dict of int64 [words, drains]: bias, multiplier, shift
    """

    def __init__(self, config: Config, planned: Sequence[PlannedLayer], network: str):
        self.config = config
        self.network = network
        self._taps = _Pool("tap", config.tap_depth)
        self._weights = _Pool("weight", config.weight_depth)
        self._parameters = _Pool("parameter", config.parameter_depth)
        start = 2 + DESCRIPTOR_WORDS * sum(len(plan.parts) for plan in planned)
        self._program = _Pool("program", config.program_depth, used=start)
        self._owners: dict[str, str] = {}  # first layer beyond a memory's end
        head: list[int] = [
            HEADER.pack_one(opcode=Opcode.HEADER, config=config.hash32 & ((1 << 28) - 1))
        ]
        for plan in planned:
            for part in plan.parts:
                try:
                    head += self._descriptor(plan, part)
                except ValueError as error:
                    raise CapacityError(
                        f"layer {plan.layer.name!r} is beyond what a descriptor can say: {error}"
                    ) from None
            for pool in (self._taps, self._weights, self._parameters, self._program):
                if pool.used > pool.depth:
                    self._owners.setdefault(pool.memory, plan.layer.name)
        head.append(HEADER.pack_one(opcode=Opcode.END))
        self._check()
        rest = [piece.ravel() for piece in self._program.pieces]
        self.program = np.concatenate([np.array(head, np.uint32), *rest]).astype(np.uint32)
        self.taps = np.concatenate([piece.ravel() for piece in self._taps.pieces])
        self.cells = np.concatenate(self._weights.pieces)
        rows = np.concatenate(self._parameters.pieces)
        tiled = rows.reshape(-1, config.drains, config.segments, 3).transpose(0, 2, 1, 3)
        drained = tiled.reshape(-1, config.drains, 3)
        self.parameters = {
            name: drained[..., i] for i, name in enumerate(("bias", "multiplier", "shift"))
        }

    def _check(self) -> None:
        for pool in (self._weights, self._parameters, self._taps, self._program):
            if pool.used > pool.depth:
                raise CapacityError(
                    f"network {self.network!r} needs {pool.used} words of {pool.memory} memory, "
                    f"config {self.config.name!r} has {pool.depth} (full at layer "
                    f"{self._owners[pool.memory]!r})",
                    f"raise {pool.memory}_depth or use a smaller network",
                )

    # --- Pieces of one part ------------------------------------------------------------------

    def _cells(self, plan: PlannedLayer, part: Part, number: int) -> NDArray[np.uint16]:
        """Tiles of one position, uint16 [passes, row tiles, planes, rows, columns]."""
        config, position, slots = self.config, plan.positions[number], part.slots[number]
        passes = part.passes(config.segments)[number]
        tiles, planes = part.stop - part.first, plan.holds.planes
        rows = position.weights[part.first * config.rows : part.stop * config.rows]
        banked = rows.reshape(tiles, config.rows, -1, config.banks, config.lanes)
        entries = 1 + max((entry for _, entry in slots), default=0)
        held = [plan.holds.words(banked, entry) for entry in range(entries)]
        column = {word: index for index, word in enumerate(position.words)}
        cells = np.zeros(
            (passes, tiles, planes, config.rows, config.banks, config.segments), np.uint16
        )
        for slot, ((dy, dx, block), entry) in enumerate(slots):
            pass_number, segment = divmod(slot, config.segments)
            for tile in range(tiles):
                moved = part.moved(part.first + tile, config)
                index = column.get((dy, dx, block + moved))
                if index is not None:
                    words = held[entry][tile, :, index]  # [rows, banks, planes]
                    cells[pass_number, tile, ..., segment] = words.transpose(2, 0, 1)
        return cells.reshape(passes, tiles, planes, config.rows, config.columns)

    def _weight_tiles(self, plan: PlannedLayer, part: Part) -> tuple[int, int, list[int]]:
        """First word, words from row tile to row tile, and first word of every pass."""
        words = self.config.columns * plan.holds.planes
        unique: dict[bytes, int] = {}
        pieces: list[NDArray[np.uint16]] = []
        offsets: list[int] = []
        for number in range(len(plan.positions)):
            for cells in self._cells(plan, part, number):
                key = cells.tobytes()
                if key not in unique:
                    unique[key] = len(pieces)
                    pieces.append(cells)
                offsets.append(unique[key] * words)
        tiles = np.stack(pieces, axis=1)  # [row tiles, passes, ...]
        period = len(pieces) * words
        if (tiles == tiles[:1]).all():
            tiles, period = tiles[:1], 0
        flat = tiles.reshape(-1, *tiles.shape[3:])
        return self._weights.add(flat, len(flat) * self.config.columns), period, offsets

    def _records(self, part: Part, offsets: Sequence[int]) -> int:
        words: list[int] = []
        counts = part.passes(self.config.segments)
        for position, count in enumerate(counts):
            for number in range(count):
                words.append(
                    PASS.pack_one(
                        weights=offsets[len(words)],
                        sum_first=number == 0,
                        sum_last=number == count - 1,
                        pool_first=position == 0,
                        pool_last=position == len(counts) - 1,
                    )
                )
        return self._program.add(np.array(words, np.uint32), len(words))

    def _tap_words(self, plan: PlannedLayer, part: Part, origin: tuple[int, int]) -> int:
        segments, source = self.config.segments, plan.source
        words = []
        for slots, passes in zip(part.slots, part.passes(segments), strict=True):
            for (dy, dx, block), _ in slots:
                dy, dx = dy - origin[0], dx - origin[1]
                offset = (dy * source.width + dx) * source.blocks + block
                words.append(TAP.pack_one(offset=offset, dy=dy, dx=dx, valid=1))
            words += [0] * (passes * segments - len(slots))
        return self._taps.add(np.array(words, np.uint32), len(words))

    def _parameter_rows(self, plan: PlannedLayer, part: Part) -> int:
        """Parameters of the rows of a part; rows without a channel get zeros."""
        config, linear = self.config, plan.layer.linear
        rows = np.zeros((len(plan.positions[0].weights), 3), np.int64)
        bias = linear.bias
        if plan.holds.fields.get("centred"):  # the zero point is taken away before
            bias = bias + linear.pad_value * linear.weights.sum(axis=(1, 2, 3), dtype=np.int64)
        for positions in plan.target.positions.reshape(-1, plan.target.tensor.shape[2]):
            rows[positions] = np.stack([bias, linear.multiplier, linear.shift], axis=1)
        rows = rows[part.first * config.rows : part.stop * config.rows]
        return self._parameters.add(rows, (part.stop - part.first) * config.segments)

    # --- The descriptor ------------------------------------------------------------------------

    def _descriptor(self, plan: PlannedLayer, part: Part) -> list[int]:
        config, layer, linear = self.config, plan.layer, plan.layer.linear
        source, target = plan.source, plan.target
        block = part.first * config.rows // config.word_bytes  # first output word
        time, last_time = vector_times(
            config, beats=plan.holds.beats, residual=layer.residual is not None
        )
        origin = _origin(plan)
        weights, weights_tile, offsets = self._weight_tiles(plan, part)
        stride_y, stride_x = plan.axes[0].stride, plan.axes[1].stride
        in_step = stride_x * source.blocks
        values = {
            "opcode": Opcode.LAYER,
            **plan.holds.fields,
            "time": time,
            "last_time": last_time,
            "align": target.align,
            "row_tiles": part.stop - part.first,
            "passes": len(offsets),
            "vectors": target.height * target.width,
            "out_width": target.width,
            "in_height": source.height,
            "in_width": source.width,
            "pad": linear.pad_value << source.align,
            "origin_y": origin[0],
            "origin_x": origin[1],
            "stride_y": stride_y,
            "stride_x": stride_x,
            "in_origin": source.base + (origin[0] * source.width + origin[1]) * source.blocks,
            "in_step": in_step,
            "in_wrap": stride_y * source.width * source.blocks - (target.width - 1) * in_step,
            "in_tile": part.step,
            "taps": self._tap_words(plan, part, origin),
            "records": self._records(part, offsets),
            "weights": weights,
            "weights_tile": weights_tile,
            "parameters": self._parameter_rows(plan, part),
            "out_blocks": target.blocks,
            "out_base": target.base + block,
            **linear.fields,
        }
        if layer.residual is not None and plan.residual is not None:
            values.update(self._residual(plan, layer.residual, plan.residual, block))
        return pack_descriptor(values)

    def _residual(
        self, plan: PlannedLayer, residual: Residual, stored: Storage, block: int
    ) -> dict[str, int]:
        node, target = residual.node, plan.target
        tables = residual_tables(residual, plan.layer.linear.zero, stored)
        step = residual.stride[1] * stored.blocks
        line = residual.stride[0] * stored.width * stored.blocks
        words = tables.astype(np.int32).view(np.uint32)
        return {
            "residual": 1,
            "add_low": node.low,
            "add_high": node.high,
            "add_zero": target.tensor.zero_point,
            "add_multiplier": node.multiplier,
            "add_shift": node.shift,
            "residual_pad": stored.zero_byte,
            "residual_origin": stored.base + block,
            "residual_step": step,
            "residual_wrap": line - (target.width - 1) * step,
            "residual_low": 0,
            "residual_high": max(0, min(stored.blocks, target.blocks) - block),
            "table": self._program.add(words, words.size),
        }


def _origin(plan: PlannedLayer) -> tuple[int, int]:
    """Origin of the first vector: zero, unless a large window needs taps on both its sides."""
    result = []
    for axis, name in ((0, "dy"), (1, "dx")):
        distances = [word[axis] for position in plan.positions for word in position.words] or [0]
        low, high = TAP[name].limits
        result.append(max(0, max(distances) - high) + min(0, min(distances) - low))
    return result[0], result[1]
