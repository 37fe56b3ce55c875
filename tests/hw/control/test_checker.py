"""The checker of layer descriptors, on every cell, against rules written down once more."""

import random

import pytest
from amaranth.sim import Simulator
from termac.arch.registers import ErrorCode
from termac_hw.control.checker import Checker

from tests.hw.memory.test_bank import make_config

CELLS = ("bit_plane", "bit_serial", "term", "term_pair")
MOST_BEATS = {"bit_plane": 8, "bit_serial": 8, "term": 16, "term_pair": 64}
DEPTH = 1024
SEGMENTS = 4
COUNTS = ("row_tiles", "passes", "vectors", "out_width", "out_blocks")


def expected(cell, f):
    """Error of a descriptor; addresses come before budgets, budgets before geometry."""
    if f["residual"] and f["table"] + 512 > DEPTH:
        return ErrorCode.ADDRESS
    beats = f["beats"]
    good = {
        "bit_plane": True,
        "bit_serial": beats == 8,
        "term": 1 <= f["terms"] <= 16 and beats == f["terms"],
        "term_pair": 1 <= f["terms"] <= 16
        and 1 <= f["data_terms"] <= 4
        and beats == f["terms"] * f["data_terms"],
    }[cell]
    if not good:
        return ErrorCode.BUDGET
    last = SEGMENTS + f["residual"]  # one word a row tile
    ok = (
        1 <= beats <= MOST_BEATS[cell]
        and f["time"] >= max(SEGMENTS, beats)
        and f["last_time"] >= max(last, beats)
        and all(f[name] for name in COUNTS)
    )
    return ErrorCode.NONE if ok else ErrorCode.GEOMETRY


def good_layer(cell, rng):
    terms, data_terms = rng.randint(1, 16), rng.randint(1, 4)
    beats = {
        "bit_plane": rng.randint(1, 8), "bit_serial": 8, "term": terms,
        "term_pair": terms * data_terms,
    }[cell]  # fmt: skip
    residual = rng.randrange(2)
    return {
        "terms": terms, "data_terms": data_terms, "beats": beats, "residual": residual,
        "time": max(beats, SEGMENTS) + rng.choice([0, 0, 3]),
        "last_time": max(beats, SEGMENTS + residual) + rng.choice([0, 0, 3]),
        "table": rng.choice([0, DEPTH - 512]),
        **{name: rng.choice([1, 5]) for name in COUNTS},
    }  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_errors_of_random_descriptors(cell):
    """Good ones, and ones with a field or two at or beyond its bounds."""
    config = make_config(cell=cell, program_depth=DEPTH)
    assert (config.segments, config.words_per_tile) == (SEGMENTS, 1)
    checker, rng = Checker(config), random.Random(1)
    seen = set()
    edges = {
        "beats": [0, 1, 7, 8, 9, 16, 17, 64, 65], "time": [0, 3, 4, 5, 127],
        "last_time": [0, 3, 4, 5, 127], "table": [0, DEPTH - 512, DEPTH - 511, 65535],
        "residual": [0, 1], "terms": [0, 1, 8, 16, 17, 31], "data_terms": [0, 1, 4, 5, 7],
        **{name: [0, 1] for name in COUNTS},
    }  # fmt: skip

    async def process(ctx):
        for _ in range(600):
            fields = good_layer(cell, rng)
            for name in rng.sample(sorted(edges), rng.choice([0, 1, 1, 2])):
                fields[name] = rng.choice(edges[name])
            for name in checker.layer.signature.members:
                ctx.set(getattr(checker.layer, name), fields[name])
            await ctx.delay(1e-9)
            error = ErrorCode(ctx.get(checker.error))
            assert error == expected(cell, fields), fields
            seen.add(error)

    simulator = Simulator(checker)
    simulator.add_testbench(process)
    simulator.run()
    budget = set() if cell == "bit_plane" else {ErrorCode.BUDGET}
    assert seen == {ErrorCode.NONE, ErrorCode.GEOMETRY, ErrorCode.ADDRESS} | budget
