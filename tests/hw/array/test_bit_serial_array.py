"""Feeders, an array of bit-serial cells and row ends: exact dot products; clean Verilog."""

import random
import subprocess

import pytest
from amaranth.hdl import Module
from termac_hw.array import Array
from termac_hw.array.row import RowGroup
from termac_hw.array.row_ends import RowEnds
from termac_hw.cells import cell_kind
from termac_hw.cells.bit_serial import Feeder
from termac_hw.core import Core
from termac_hw.emit import write_verilog
from termac_sim.launch import verilator_folder

from tests.hw.cells.test_bit_serial import byte, serial_config, simulate


class Chain:
    """Feeders, rows of cells and row ends; passes of random tiles back to back."""

    def __init__(self, config, *, seed, layers=2, tiles=3):
        self.config = config
        self.rng = rng = random.Random(seed)
        rows, columns, lanes = config.rows, config.columns, config.lanes
        hop = rows // config.shared_rows
        self.layers = []  # (first cycle, [tile]); a tile: (weights, [(start, inputs)])
        at = columns + 2
        for layer in range(layers):
            clear, content = at - columns - 2, []
            for tile in range(tiles):
                # One group of all rows shifts: after the token crossed it, before the next.
                least, begin, vectors = 2 * columns + hop, at, []
                while at < begin + least or rng.random() < 0.5:
                    inputs = [[byte(rng) for _ in range(lanes)] for _ in range(columns)]
                    vectors.append((at, inputs))
                    at += rng.choice([8, 8, 8, 8, 9, 10, 12])
                weights = [[(byte(rng), rng.randrange(lanes)) for _ in range(columns)]
                           for _ in range(rows)]  # fmt: skip
                if tile == 0:
                    weights[0] = [(-128, lanes - 1)] * columns
                    weights[1] = [(127, 0)] * columns
                    vectors[0] = (vectors[0][0], [[-128] * lanes] * columns)
                    vectors[1] = (vectors[1][0], [[127] * lanes] * columns)
                content.append((weights, vectors))
            self.layers.append((clear, content))
            at += 40 + layer + 2 * columns + rows
        self.cycles = at

        kind = cell_kind(config.cell)
        self.top = m = Module()
        self.feeders = [kind.Feeder(config) for _ in range(columns)]
        self.array, self.ends = Array(config), RowEnds(config)
        m.submodules.array, m.submodules.ends = self.array, self.ends
        width = kind.lane_bundle_width(config)
        for column, feeder in enumerate(self.feeders):
            m.submodules[f"feeder_{column}"] = feeder
            m.d.comb += self.array.lanes[column * width : (column + 1) * width].eq(feeder.lanes)
        m.d.comb += self.ends.sums.eq(self.array.sums)

    async def run(self, ctx):
        config, layout = self.config, self.config.weight_layout
        rows, columns = range(config.rows), config.columns
        loads, shifts, firsts, wanted, clears = {}, {}, set(), {}, set()
        for clear, tiles in self.layers:
            clears.add(clear)
            for weights, vectors in tiles:
                token = vectors[0][0]
                for step in range(columns):  # in the latest cycles allowed
                    shifts[token - columns + step] = [w[columns - 1 - step] for w in weights]
                for start, inputs in vectors:
                    firsts.add(start + columns + 2)
                    for column in range(columns):
                        loads[start + column - 1, column] = (inputs[column], start == token)
                    for row in rows:
                        total = sum(
                            value * inputs[column][lane]
                            for column, (value, lane) in enumerate(weights[row])
                        )
                        at = start + columns + 2 + row // config.shared_rows
                        wanted[at + config.result_width, row] = total
        lasts = {first + config.result_width - 1 for first in firsts}
        held, compared = {}, 0
        for t in range(self.cycles):
            for column, feeder in enumerate(self.feeders):
                values, token = loads.get((t, column), (None, self.rng.getrandbits(1)))
                ctx.set(feeder.clear, t in clears)
                ctx.set(feeder.load, values is not None)
                ctx.set(feeder.token, token)
                if values is not None:
                    ctx.set(feeder.word, sum((x & 255) << 8 * i for i, x in enumerate(values)))
            ctx.set(self.array.shift, (1 << config.drains) - 1 if t in shifts else 0)
            if t in shifts:
                word = 0
                for row, (value, lane) in enumerate(shifts[t]):
                    word |= layout.pack_one(value=value, lane=lane) << (row * config.weight_width)
                ctx.set(self.array.weights, word)
            ctx.set(self.ends.clear, t in clears)
            ctx.set(self.ends.first, t in firsts)
            ctx.set(self.ends.last, t in lasts)
            for row in rows:
                held[row] = wanted.get((t, row), held.get(row))
                if held[row] is not None:
                    assert ctx.get(self.ends.results[row]) == held[row], (t, row)
                compared += (t, row) in wanted
            await ctx.tick()
        vectors = sum(len(vectors) for _, tiles in self.layers for _, vectors in tiles)
        assert compared == config.rows * vectors


@pytest.mark.parametrize("shared_rows", [1, 2])
@pytest.mark.parametrize(("lanes", "columns"), [(1, 16), (8, 8), (16, 12)])
def test_chain_gives_dot_products(lanes, columns, shared_rows):
    rows = 4 if columns == 8 else 12 if columns == 12 else 8
    config = serial_config(lanes, columns, rows=rows, shared_rows=shared_rows)
    chain = Chain(config, seed=lanes + shared_rows)
    simulate(chain.top, chain.run)


@pytest.mark.parametrize("lanes", [1, 8])
def test_verilog_is_clean(tmp_path, lanes):
    config = serial_config(lanes, 16, shared_rows=2)
    for part in (RowGroup(config), RowEnds(config), Feeder(config), Core(config)):
        name = part.module_name
        write_verilog(part, tmp_path / f"{name}.v")
        run = subprocess.run(
            [verilator_folder() / "verilator", "--lint-only", "-Wall", "--top-module", name,
             "waivers.vlt", f"{name}.v"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
