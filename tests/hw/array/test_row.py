"""A row group against Python dot products of one bit plane, on the exact cycle."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac_hw.array.row import RowGroup


@pytest.mark.parametrize("shared_rows", [1, 2])
@pytest.mark.parametrize(("lanes", "columns", "segments"), [(1, 16, 4), (4, 8, 4), (16, 8, 8)])
def test_row_sums_a_plane_after_its_latency(lanes, columns, segments, shared_rows):
    config = replace(
        load_config("tiny"), rows=16, columns=columns, segments=segments, lanes=lanes,
        shared_rows=shared_rows,
    )  # fmt: skip
    row, layout = RowGroup(config), config.weight_layout
    rng = random.Random(columns * lanes)
    tiles, plane_count = 4, 2 * columns  # back to back: 2 C planes a tile
    weights = [
        [[(rng.choice([-128, 127, 0, rng.randint(-128, 127)]), rng.randrange(lanes))
          for _ in range(columns)] for _ in range(shared_rows)]
        for _ in range(tiles)
    ]  # fmt: skip
    weights[1] = [[(-128, lanes - 1)] * columns] * shared_rows
    planes = [[rng.getrandbits(lanes) for _ in range(columns)] for _ in range(tiles * plane_count)]
    planes[plane_count] = [(1 << lanes) - 1] * columns  # all -128: the most negative sum
    start = columns  # first plane of column 0

    def word(tile, step):
        values = [weights[tile][r][columns - 1 - step] for r in range(shared_rows)]
        return sum(
            layout.pack_one(value=value, lane=lane) << (r * config.weight_width)
            for r, (value, lane) in enumerate(values)
        )

    async def bench(ctx):
        compared = 0
        for t in range(start + len(planes) + columns + 4):
            # Shift tile k in during the C cycles before its swap token reaches column 0: the
            # first of them is the cycle after tile k-1's token reached column C-1.
            tile, step = divmod(t, 2 * columns)
            shifting = tile < tiles and step < columns
            ctx.set(row.shift, shifting)
            ctx.set(row.weights, word(tile, step) if shifting else rng.getrandbits(8))
            bundle = 0
            for column in range(columns):
                n = t - start - column
                if 0 <= n < len(planes):
                    token = n % plane_count == 0
                    lane_bits = planes[n][column] | token << lanes
                    bundle |= lane_bits << (column * (lanes + 1))
            ctx.set(row.lanes_in, bundle)
            n = t - start - columns - 2
            if 0 <= n < len(planes):
                for r in range(shared_rows):
                    wanted = sum(
                        value * (planes[n][column] >> lane & 1)
                        for column, (value, lane) in enumerate(weights[n // plane_count][r])
                    )
                    assert ctx.get(row.sums[r]) == wanted, (n, r)
                    compared += 1
            await ctx.tick()
            assert ctx.get(row.lanes_out) == bundle
        assert compared == shared_rows * len(planes)

    simulator = Simulator(row)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
