"""The engine's beats and records: what it tells row ends and drains of every vector."""

import pytest

from tests.hw.control.bench import Control
from tests.hw.control.bounds import CONFIGS, Case, good
from tests.hw.control.test_control import load, run, simulate


def words(config, case):
    for placed in (case.program(config), case.taps(config)):
        yield [placed.get(address, 0) for address in range(max(placed) + 1)]


@pytest.mark.parametrize("beats", [1, 3, 8])
def test_beats_indices_and_destinations_of_every_vector(beats):
    config = CONFIGS["two words a tile"]
    shape = {"vectors": 7, "out_width": 7, "in_width": 7, "row_tiles": 2, "out_blocks": 3}
    case = Case("", [good(config, beats=beats, out_base=40, parameters=3, **shape)])
    control = Control(config)
    engine = control.engine
    vectors, ends = [], []

    def watch(ctx, now):
        if ctx.get(engine.first):
            vectors.append((
                now, ctx.get(engine.vector.index), ctx.get(engine.vector.parameters),
                ctx.get(engine.destination.address), ctx.get(engine.destination.enable),
            ))  # fmt: skip
        if ctx.get(engine.last):
            ends.append(now)

    async def process(ctx):
        await load(ctx, control, *words(config, case))
        await run(ctx, control, watch)

    simulate(control, process)
    assert [end - start for end, (start, *_) in zip(ends, vectors, strict=True)] == (
        [beats - 1] * 14
    )
    depth = config.accumulator_depth
    for number, (_, index, parameters, address, enable) in enumerate(vectors):
        tile, vector = divmod(number, 7)
        assert index == vector % depth
        assert parameters == 3 + tile * config.segments
        assert address == 40 + 3 * vector + 2 * tile
        assert enable == (0b11, 0b01)[tile]
