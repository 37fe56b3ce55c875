"""The bit-plane cell and its row end against Python integers, on the exact cycle."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac.errors import ConfigError
from termac_hw.cells import cell_kind
from termac_hw.cells.bit_plane import BitPlaneCell, RowEnd
from termac_hw.cells.kinds import cell_names


def cell_config(lanes, shared_rows=1):
    return replace(
        load_config("tiny"), columns=16, rows=8, segments=4, lanes=lanes, shared_rows=shared_rows
    )


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def pack(fields, width):
    """Concatenate fields of equal width, first lowest."""
    return sum((int(field) & ((1 << width) - 1)) << (width * i) for i, field in enumerate(fields))


@pytest.mark.parametrize("shared_rows", [1, 2])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
def test_cell_adds_the_selected_weight_three_cycles_after_the_plane(lanes, shared_rows):
    config = cell_config(lanes, shared_rows)
    cell, layout = BitPlaneCell(config), config.weight_layout
    rng = random.Random(lanes + shared_rows)
    cycles = 400
    rows = range(shared_rows)
    limit = 1 << (config.sum_width - 1)

    planes = [rng.getrandbits(lanes) for _ in range(cycles)]
    swaps = [t == 20 or (t > 20 and rng.random() < 0.15) for t in range(cycles)]
    shifts = [not swaps[t] and (t < 20 or rng.random() < 0.5) for t in range(cycles)]
    weights = [
        [(rng.choice([-128, -1, 0, 127, rng.randint(-128, 127)]), rng.randrange(lanes))
         for _ in rows]
        for _ in range(cycles)
    ]  # fmt: skip
    sums = [[rng.randint(128 - limit, limit - 128) for _ in rows] for _ in range(cycles)]

    shadow, active = [[None] * shared_rows], []
    for t in range(cycles):  # the weights that a plane of cycle t meets
        active.append(shadow[t] if swaps[t] else active[-1] if t else [None] * shared_rows)
        shadow.append(weights[t] if shifts[t] else shadow[t])

    async def bench(ctx):
        compared = 0
        for t in range(cycles):
            ctx.set(cell.lanes_in, planes[t] | swaps[t] << lanes)
            ctx.set(cell.shift, shifts[t])
            for row in rows:
                value, lane = weights[t][row]
                ctx.set(cell.weight_in[row], layout.pack_one(value=value, lane=lane))
                ctx.set(cell.sum_in[row], sums[t][row])
            if t:
                assert ctx.get(cell.lanes_out) == planes[t - 1] | swaps[t - 1] << lanes
            for row in rows:
                if shadow[t][row] is not None:
                    value, lane = shadow[t][row]
                    word = layout.pack_one(value=value, lane=lane)
                    assert ctx.get(cell.weight_out[row]) == word
                if t >= 23:
                    value, lane = active[t - 3][row]
                    wanted = sums[t - 1][row] + value * (planes[t - 3] >> lane & 1)
                    assert ctx.get(cell.sum_out[row]) == wanted, (t, row)
                    compared += 1
            await ctx.tick()
        assert compared == shared_rows * (cycles - 23)

    simulate(cell, bench)


def test_cell_swaps_for_the_plane_of_the_token_and_may_shift_right_after():
    config = cell_config(8)
    cell, layout = BitPlaneCell(config), config.weight_layout
    old = layout.pack_one(value=-128, lane=7)
    new = layout.pack_one(value=127, lane=2)
    lanes = 0b1000_0100  # one bit for each of the two

    async def bench(ctx):
        seen = []
        for t in range(12):
            ctx.set(cell.weight_in, [{0: old, 2: new}.get(t, 0)])
            ctx.set(cell.shift, t in (0, 2, 5))  # 5: the cycle after the second token
            ctx.set(cell.lanes_in, lanes | (t in (1, 4)) << 8)
            seen.append(ctx.get(cell.sum_out[0]))
            await ctx.tick()
        assert seen[4:7] == [-128, -128, -128]  # planes of cycles 1, 2, 3
        assert seen[7:] == [127] * 5

    simulate(cell, bench)


def test_cell_holds_the_extreme_sums():
    """C weights of -128 or of 127 along a row fit the sum."""
    for columns in (8, 16, 64, 128):
        config = replace(load_config("tiny"), columns=columns, lanes=16, rows=8, segments=4)
        limit = 1 << (config.sum_width - 1)
        assert -limit <= -128 * columns
        assert 127 * columns < limit
        assert config.result_width >= config.sum_width + 8


@pytest.mark.parametrize("planes", range(1, 9))
@pytest.mark.parametrize("columns", [8, 16])
def test_row_end_joins_planes_of_signed_activations(columns, planes):
    config = replace(load_config("tiny"), columns=columns, lanes=8, rows=8, segments=4)
    end = RowEnd(config)
    rng = random.Random(planes)
    low, high = -(1 << (planes - 1)), (1 << (planes - 1)) - 1
    vectors = [([low] * columns, [-128] * columns), ([low] * columns, [127] * columns)]
    vectors += [([high] * columns, [-128] * columns), ([high] * columns, [127] * columns)]
    vectors += [
        ([rng.randint(low, high) for _ in range(columns)],
         [rng.randint(-128, 127) for _ in range(columns)])
        for _ in range(40)
    ]  # fmt: skip

    async def bench(ctx):
        expected = None
        for number, (activations, weights) in enumerate(vectors):
            for plane in reversed(range(planes)):
                pairs = zip(activations, weights, strict=True)
                ctx.set(end.sum, sum(w * (a >> plane & 1) for a, w in pairs))
                ctx.set(end.first, plane == planes - 1)
                ctx.set(end.last, plane == 0)
                if expected is not None:  # held until the next vector ends
                    assert ctx.get(end.result) == expected
                await ctx.tick()
            expected = sum(a * w for a, w in zip(activations, weights, strict=True))
            assert ctx.get(end.result) == expected
            for _ in range(rng.choice([0, 0, 1, 5]) if number else 3):  # idle cycles: garbage
                limit = 1 << (config.sum_width - 1)
                ctx.set(end.sum, rng.randint(-limit, limit - 1))
                ctx.set(end.first, 0)
                ctx.set(end.last, 0)
                assert ctx.get(end.result) == expected
                await ctx.tick()

    simulate(end, bench)


def test_registry_names_its_cells():
    assert cell_names() == ["bit_plane", "bit_serial", "term", "term_pair"]
    assert cell_kind("bit_plane").Cell is BitPlaneCell
    assert cell_kind("bit_plane").RowEnd is RowEnd
    with pytest.raises(ConfigError, match=r"no cell named 'nand'; cells: bit_plane"):
        cell_kind("nand")
