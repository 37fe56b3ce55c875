"""Executes a packed program in NumPy: the accelerator without its timing. For tests only.

Everything is decoded from the words that a host writes into the memory window, through the layouts,
so that an image which this runs correctly is an image that the hardware understands.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from termac.arch import (
    DESCRIPTOR,
    DESCRIPTOR_WORDS,
    HEADER,
    PARAMETER,
    PASS,
    TABLE_ENTRIES,
    TAP,
    Opcode,
    split,
)
from termac.arch.memory_map import MemoryMap, Region
from termac.arch.timing import most_beats
from termac.graph.requantize import requantize
from termac.image import Image
from termac.terms import limit


class Interpreter:
    """The memories of an accelerator, loaded with an image.

    Members
    -------
    activations : uint8 [activation_depth, word_bytes]
    """

    def __init__(self, image: Image):
        self.config = config = image.config
        memory = MemoryMap(config)
        window = np.zeros(memory.region_size * 8 // 4, np.uint32)
        for blocks in image.blocks().values():
            for block in blocks:
                first = block.address // 4
                window[first : first + len(block.words)] = block.words

        def entries(region: Region) -> NDArray[np.uint32]:
            data = window[region.base // 4 : (region.base + region.size) // 4]
            shaped = data.reshape(-1, 1 << region.group_width, 1 << region.beat_width)
            return shaped[: region.words, : region.groups, : region.beats]

        self.program = [int(word) for word in entries(memory.program)[:, 0, 0]]
        self.taps = [int(word) for word in entries(memory.taps)[:, 0, 0]]
        self.weights = split(
            np.ascontiguousarray(entries(memory.weights)), config.weight_width, config.segments
        ).reshape(-1, config.rows)
        self.parameters = np.ascontiguousarray(entries(memory.parameters))
        self.activations = np.zeros((config.activation_depth, config.word_bytes), np.uint8)

    def descriptors(self) -> Iterator[dict[str, int]]:
        header = HEADER.unpack_one(self.program[0])
        assert header["opcode"] == Opcode.HEADER
        assert header["config"] == self.config.hash32 & ((1 << 28) - 1)
        address = 1
        while True:
            opcode = HEADER.unpack_one(self.program[address])["opcode"]
            if opcode == Opcode.END:
                return
            assert opcode == Opcode.LAYER
            values: dict[str, int] = {}
            for layout, word in zip(DESCRIPTOR, self.program[address:], strict=False):
                values.update(layout.unpack_one(word))
            yield values
            address += DESCRIPTOR_WORDS

    def run(self) -> Iterator[int]:
        """Run descriptor by descriptor; yields the number of the one just completed."""
        for number, layer in enumerate(self.descriptors()):
            self._layer(layer)
            yield number

    def _tile(self, address: int, d: dict[str, int]) -> NDArray[np.int64]:
        """What a pass multiplies the bytes of its S words with, [rows, segments, word_bytes]."""
        config = self.config
        planes = max(1, d["terms"])
        words = self.weights[address : address + planes * config.columns]
        assert len(words) == planes * config.columns, "weights beyond their memory"
        layout = config.weight_layout
        matrix = np.zeros((config.rows, config.segments, config.word_bytes), np.int64)
        column = np.arange(config.columns)
        power = bin(d["doubles"]).count("1")
        for plane in range(planes):
            cells = words[plane * config.columns :][: config.columns][::-1].T.astype(np.int64)
            fields = {}
            for field in layout.fields:
                bits = cells >> layout.offset(field.name) & ((1 << field.width) - 1)
                if field.signed:
                    bits -= bits >> (field.width - 1) << field.width
                fields[field.name] = bits
            if config.cell in ("bit_plane", "bit_serial"):
                value = fields["value"]
            elif config.cell == "term_pair":
                value = fields["used"] * (1 - 2 * fields["negative"]) << fields["exponent"]
            else:
                power -= d["doubles"] >> plane & 1
                value = fields["used"] * (1 - 2 * fields["negative"]) << fields["double"] + power
            byte = column // config.segments * config.lanes + fields["lane"]  # [rows, columns]
            place = np.arange(config.rows)[:, None], column % config.segments, byte
            np.add.at(matrix, place, value)
        return matrix

    def _data(self, words: NDArray[np.int8], d: dict[str, int]) -> NDArray[np.int64]:
        """Bytes of words as the array counts them."""
        if self.config.cell == "bit_plane":
            return (words >> np.int8(8 - d["beats"])).astype(np.int64)
        if self.config.cell == "term_pair":
            values = words.astype(np.int64) - d["centred"] * d["pad"]
            encoding = "hese" if d["hese"] else "naf"
            return limit(values[..., None], group=1, budget=d["data_terms"], encoding=encoding)[
                ..., 0
            ]
        return words.astype(np.int64)

    def _parameters(self, first: int) -> NDArray[np.int64]:
        """Bias, multiplier, shift of every row, [3, rows]."""
        rows = []
        for drain in range(self.config.drains):
            for entry in self.parameters[first : first + self.config.segments, drain]:
                word = sum(int(beat) << (32 * i) for i, beat in enumerate(entry))
                rows.append(list(PARAMETER.unpack_one(word).values()))
        return np.array(rows, np.int64).T

    def _fetch(self, address: NDArray[np.int64], absent: NDArray[np.bool_], pad: int) -> NDArray:
        """Signed bytes of words, [n, word_bytes]; a read outside the memory is an error."""
        wanted = address[~absent]
        inside = (wanted >= 0) & (wanted < self.config.activation_depth)
        assert inside.all(), "read beyond the activation memory"
        words = self.activations[np.where(absent, 0, address)].view(np.int8)
        return np.where(absent[:, None], np.int8(pad), words)

    def _layer(self, d: dict[str, int]) -> None:
        config = self.config
        segments = config.segments
        per_word, per_tile = config.tiles_per_word, config.words_per_tile
        assert 1 <= d["beats"] <= most_beats(config)
        assert bool(d["terms"]) == (config.cell in ("term", "term_pair"))
        if config.cell == "term_pair":
            assert d["beats"] == d["terms"] * d["data_terms"]
        elif config.cell == "term":
            assert d["beats"] == d["terms"]
            assert not d["doubles"] & 1
        assert d["time"] >= max(d["beats"], segments)
        assert d["last_time"] >= max(d["beats"], segments)
        assert not d["residual"] or d["last_time"] >= segments + per_tile
        vector = np.arange(d["vectors"])
        line, column = np.divmod(vector, d["out_width"])
        turn = d["out_width"] - 1
        x0 = d["origin_x"] + column * d["stride_x"]
        y0 = d["origin_y"] + line * d["stride_y"]
        origin = d["in_origin"] + line * (d["in_wrap"] + turn * d["in_step"])
        origin = origin + column * d["in_step"]
        residual = d["residual_origin"] + column * d["residual_step"]
        residual = residual + line * (d["residual_wrap"] + turn * d["residual_step"])
        records = [
            PASS.unpack_one(word)
            for word in self.program[d["records"] : d["records"] + d["passes"]]
        ]
        tables = np.array(
            self.program[d["table"] : d["table"] + 2 * TABLE_ENTRIES], np.uint32
        ).view(np.int32)
        results = []
        for tile in range(d["row_tiles"]):
            moved = tile // per_word
            base = d["weights"] + tile * d["weights_tile"]
            bias, multiplier, shift = self._parameters(d["parameters"] + tile * segments)
            total = pooled = None
            for number, record in enumerate(records):
                matrix = self._tile(base + record["weights"], d)
                fetched = []
                for s in range(segments):
                    tap = TAP.unpack_one(self.taps[d["taps"] + number * segments + s])
                    y, x = y0 + tap["dy"], x0 + tap["dx"]
                    outside = (y < 0) | (y >= d["in_height"]) | (x < 0) | (x >= d["in_width"])
                    address = origin + moved * d["in_tile"] + tap["offset"]
                    words = self._fetch(address, outside | (not tap["valid"]), d["pad"])
                    fetched.append(self._data(words, d))
                data = np.stack(fetched, axis=1)  # [vectors, S, W]
                sums = data.reshape(len(vector), -1) @ matrix.reshape(config.rows, -1).T
                total = sums if record["sum_first"] else total + sums
                if not record["sum_last"]:
                    continue
                out = requantize(total + bias, multiplier, shift) + d["out_zero"]
                out = np.clip(out, d["low"], d["high"])
                if d["residual"]:
                    out = self._add(d, out, tables, residual, tile)
                pooled = out if record["pool_first"] else np.maximum(pooled, out)
                if record["pool_last"]:
                    results.append((pooled << d["align"]).astype(np.uint8))
                    self._write(d, results[-1], tile)

    def _add(self, d, out, tables, residual, tile):
        config = self.config
        columns = []
        for k in range(config.words_per_tile):
            word = tile // config.tiles_per_word * config.words_per_tile + k
            absent = not d["residual_low"] <= word < d["residual_high"]
            words = self._fetch(residual + word, np.full(len(out), absent), d["residual_pad"])
            part = tile % config.tiles_per_word * config.rows
            columns.append(words[:, part : part + config.rows])
        stored = np.concatenate(columns, axis=1).view(np.uint8).astype(np.int64)
        terms = tables[out & 255].astype(np.int64) + tables[TABLE_ENTRIES + stored]
        assert np.abs(terms).max() < 1 << 31
        summed = requantize(terms, d["add_multiplier"], d["add_shift"]) + d["add_zero"]
        return np.clip(summed, d["add_low"], d["add_high"])

    def _write(self, d, result, tile):
        config = self.config
        for k in range(config.words_per_tile):
            word = tile // config.tiles_per_word * config.words_per_tile + k
            if word >= d["out_blocks"]:
                continue
            address = d["out_base"] + np.arange(len(result)) * d["out_blocks"] + word
            assert address.max() < config.activation_depth, "write beyond the activation memory"
            size = min(config.rows, config.word_bytes)
            part = tile % config.tiles_per_word * config.rows
            self.activations[address, part : part + size] = result[:, k * size : (k + 1) * size]
