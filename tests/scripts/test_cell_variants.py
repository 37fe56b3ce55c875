"""The cells that are only measured compute what they are compared for."""

import random
from dataclasses import replace

import _cell_variants as variants
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from termac.arch import load_config

BASE = replace(load_config("tiny"), rows=8, columns=16, segments=4, cell="term")


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("lanes", [1, 8])
def test_a_term_with_its_own_exponent(lanes):
    config = variants.OwnExponents.of(replace(BASE, lanes=lanes))
    cell, layout = variants.OwnExponentCell(config), config.weight_layout
    rng = random.Random(lanes)
    terms = [
        {"lane": rng.randrange(lanes), "negative": negative, "exponent": exponent, "used": used}
        for negative in (0, 1) for exponent in range(8) for used in (1, 0)
    ]  # fmt: skip
    limit = 1 << (config.sum_width - 1)
    assert limit > 16 << 14

    async def bench(ctx):
        for term in terms:
            ctx.set(cell.weight_in, [layout.pack_one(**term)])
            ctx.set(cell.shift, 1)
            await ctx.tick()
            ctx.set(cell.shift, 0)
            ctx.set(cell.store, 1)
            await ctx.tick()
            ctx.set(cell.store, 0)
            for extreme in (-128, 127, 0, rng.randint(-128, 127)):
                values = [rng.randint(-128, 127) for _ in range(lanes)]
                values[term["lane"]] = extreme
                before = rng.choice([(1 << 14) - limit, limit - 1 - (1 << 14), 0])
                ctx.set(cell.lanes_in, sum((v & 255) << 8 * i for i, v in enumerate(values)))
                await ctx.tick().repeat(2)
                ctx.set(cell.sum_in, [before])
                await ctx.tick()
                product = term["used"] * (extreme << term["exponent"])
                wanted = before + (-product if term["negative"] else product)
                assert ctx.get(cell.sum_out[0]) == wanted, (term, extreme)

    simulate(cell, bench)


def test_a_grid_of_parallel_cells_is_a_matrix_product():
    """Two weight tiles, the second shifted in behind the swap token of the first."""
    rows, columns = 2, 3
    grid = variants.Grid(variants.ParallelCell, rows, columns)
    rng = random.Random(5)
    values = [-128, 127, 0, -1]
    tiles = [[[rng.choice(values) for _ in range(columns)] for _ in range(rows)] for _ in range(2)]
    vectors = [[rng.choice(values) for _ in range(columns)] for _ in range(8)]
    seen = {}

    async def bench(ctx):
        start = columns  # the cycle of the first vector at column 0
        for cycle in range(start + 8 + columns + rows + 3):
            shifts = {step: (0, step) for step in range(columns)}
            shifts |= {start + columns + rows + step: (1, step) for step in range(columns)}
            tile, step = shifts.get(cycle, (0, None))
            ctx.set(grid.shift, step is not None)
            if step is not None:
                ctx.set(grid.weights, sum(
                    (tiles[tile][row][columns - 1 - step] & 255) << 8 * row for row in range(rows)
                ))  # fmt: skip
            lanes = 0
            for column in range(columns):
                vector = cycle - start - column
                if 0 <= vector < 8:
                    bundle = vectors[vector][column] & 255 | (vector == 0) << 8
                    lanes |= bundle << 9 * column
            ctx.set(grid.lanes, lanes)
            sums = Value.cast(grid.sums)
            for row in range(rows):
                vector = cycle - start - (columns + 2) - row
                if 0 <= vector < 8:
                    seen[row, vector] = ctx.get(sums[24 * row : 24 * row + 24].as_signed())
            await ctx.tick()

    simulate(grid, bench)
    assert seen == {
        (row, vector): sum(a * w for a, w in zip(vectors[vector], tiles[0][row], strict=True))
        for row in range(rows) for vector in range(8)
    }  # fmt: skip
