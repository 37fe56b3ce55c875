"""Row ends of an array: every row joins its own planes, in step with the walking plane control."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac_hw.array.row_ends import RowEnds


@pytest.mark.parametrize("shared_rows", [1, 2])
@pytest.mark.parametrize("planes", [1, 2, 5, 8])
def test_each_row_joins_its_planes_in_its_own_cycles(planes, shared_rows):
    config = replace(
        load_config("tiny"), rows=16, columns=8, segments=4, lanes=4, shared_rows=shared_rows
    )
    ends = RowEnds(config)
    rng = random.Random(8 * planes + shared_rows)
    rows, low, high = range(config.rows), -128 * config.columns, 127 * config.columns

    vectors, begin = [], 0  # first cycle of row 0; plane sums of each row, most significant first
    for extreme in (low, high, *[None] * 30):
        sums = [
            [extreme if extreme is not None else rng.randint(low, high) for _ in range(planes)]
            for _ in rows
        ]
        vectors.append((begin, sums))
        begin += planes + rng.choice([0, 0, 1, 5])  # mostly back to back
    cycles = begin + config.rows + planes

    first = {begin for begin, _ in vectors}
    last = {begin + planes - 1 for begin, _ in vectors}
    sums_in, wanted = {}, {}  # both by (cycle, row)
    for begin, sums in vectors:
        for row in rows:
            at = begin + row // shared_rows
            for plane, value in enumerate(sums[row]):
                sums_in[at + plane, row] = value
            weights = [-1 << (planes - 1), *(1 << k for k in reversed(range(planes - 1)))]
            wanted[at + planes, row] = sum(
                weight * value for weight, value in zip(weights, sums[row], strict=True)
            )

    async def bench(ctx):
        held = [None] * config.rows
        compared = 0
        for t in range(cycles):
            ctx.set(ends.first, t in first)
            ctx.set(ends.last, t in last)
            for row in rows:  # between vectors: garbage
                ctx.set(ends.sums[row], sums_in.get((t, row), rng.randint(low, high)))
            for row in rows:
                held[row] = wanted.get((t, row), held[row])  # until the next vector ends
                if held[row] is not None:
                    assert ctx.get(ends.results[row]) == held[row], (t, row)
                    compared += 1
            await ctx.tick()
        assert compared >= config.rows * len(vectors)

    simulator = Simulator(ends)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
