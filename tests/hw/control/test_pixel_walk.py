"""Walking output pixels, against nested loops in Python."""

import random

import pytest
from amaranth.sim import Simulator
from termac_hw.control.pixel_walk import PixelWalk

from tests.hw.control.bench import random_layer
from tests.hw.memory.test_bank import make_config

SHAPES = {
    "one word a tile": {},
    "two words a tile": {"rows": 16},
    "two tiles a word": {"rows": 4, "lanes": 4, "columns": 8},
}


def expected(config, fields, chunks):
    """Per row tile, chunk and vector: position, block and phase, parameters."""
    f = fields
    for tile in range(f["row_tiles"]):
        word, phase = divmod(tile, config.tiles_per_word)
        first = word * config.words_per_tile
        for chunk in chunks:
            positions = []
            for vector in chunk:
                row, column = divmod(vector, f["out_width"])
                line = f["in_wrap"] + f["in_step"] * (f["out_width"] - 1)
                residual = f["residual_wrap"] + f["residual_step"] * (f["out_width"] - 1)
                positions.append({
                    "y": f["origin_y"] + row * f["stride_y"],
                    "x": f["origin_x"] + column * f["stride_x"],
                    "input": f["in_origin"] + word * f["in_tile"] + row * line
                    + column * f["in_step"],
                    "residual": f["residual_origin"] + first + row * residual
                    + column * f["residual_step"],
                    "output": f["out_base"] + first + vector * f["out_blocks"],
                })  # fmt: skip
            parameters = f["parameters"] + tile * config.segments
            yield positions, first, phase, parameters


@pytest.mark.parametrize("name", SHAPES)
def test_positions_of_every_pass(name):
    config = make_config(**SHAPES[name])
    rng = random.Random(len(name))
    fields = random_layer(config, rng).fields
    fields |= {"row_tiles": 3, "parameters": 0, "vectors": 3 * fields["out_width"], "in_tile": 5}
    count = fields["vectors"]
    half = (count + 1) // 2
    chunks = [range(half), range(half, count)] if count > half else [range(count)]
    walk = PixelWalk(config)

    async def take(ctx, **flags):
        for flag in ("tile", "chunk"):
            ctx.set(getattr(walk, flag), flags.get(flag, 0))
        ctx.set(walk.take, 1)
        await ctx.tick()
        ctx.set(walk.take, 0)

    async def process(ctx):
        for field in walk.layer.signature.members:
            ctx.set(getattr(walk.layer, field), fields[field])
        ctx.set(walk.start, 1)
        await ctx.tick()
        ctx.set(walk.start, 0)
        turn = 0
        for positions, block, phase, parameters in expected(config, fields, chunks):
            for number in range(2):  # passes
                tile = number == 0 and turn % len(chunks) == 0
                await take(ctx, tile=tile, chunk=number == 0 and not tile)
                for position in positions:
                    found = {
                        field: ctx.get(getattr(walk.here, field))
                        for field in walk.here.signature.members
                    }
                    assert found | {"output": ctx.get(walk.output)} == position
                    assert ctx.get(walk.row_tile.block) == block
                    assert ctx.get(walk.row_tile.phase) == phase
                    assert ctx.get(walk.parameters) == parameters
                    await ctx.tick().repeat(3 + rng.randrange(2))
                    ctx.set(walk.advance, 1)
                    await ctx.tick()
                    ctx.set(walk.advance, 0)
            turn += 1
        assert turn == 3 * len(chunks)

    simulator = Simulator(walk)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
