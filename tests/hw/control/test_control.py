"""Sequencer, loader and engine: every read, its cycle, the counters, every named error."""

import random

import pytest
from amaranth.sim import Simulator
from termac.arch.registers import COUNTERS, ErrorCode
from termac.arch.timing import (
    ISSUE_LATENCY,
    PROGRAM_OVERHEAD,
    WEIGHT_LATENCY,
    drain_cycles,
    feed_latency,
    layer_cycles,
    program_cycles,
    reload_cycles,
    swap_to_shift,
)

from tests.hw.control.bench import Control, program, random_layer
from tests.hw.memory.test_bank import make_config

CONFIGS = {
    "plain": {},
    "shared rows, two words a tile": {"rows": 16, "shared_rows": 2},
    "two tiles a word": {"rows": 4, "lanes": 4, "columns": 8},
    "eight segments": {"rows": 8, "columns": 8, "lanes": 8, "segments": 8},
    "four columns": {"rows": 4, "columns": 4, "lanes": 4},
}


def control_config(name):
    depths = {"activation_depth": 512, "weight_depth": 512, "parameter_depth": 64,
              "program_depth": 1024, "tap_depth": 256}  # fmt: skip
    return make_config(**(depths | CONFIGS[name]))


async def load(ctx, control, words, taps):
    sequencer, engine = control.sequencer, control.engine
    ctx.set(sequencer.program_write.enable, 1)
    for address, word in enumerate(words):
        ctx.set(sequencer.program_write.address, address)
        ctx.set(sequencer.program_write.data, word)
        await ctx.tick()
    ctx.set(sequencer.program_write.enable, 0)
    ctx.set(engine.tap_write.enable, 1)
    for address, word in enumerate(taps):
        ctx.set(engine.tap_write.address, address)
        ctx.set(engine.tap_write.data, word)
        await ctx.tick()
    ctx.set(engine.tap_write.enable, 0)


async def run(ctx, control, watch=None, limit=20000):
    sequencer = control.sequencer
    ctx.set(sequencer.start, 1)
    await ctx.tick()
    ctx.set(sequencer.start, 0)
    for cycle in range(limit):
        if not ctx.get(sequencer.busy):
            return
        if watch:
            watch(ctx, cycle)
        await ctx.tick()
    raise AssertionError("the sequencer never came back")


def simulate(control, process):
    simulator = Simulator(control)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


def expected_reads(config, layer):
    """Reads of a layer in order, as (address or None, segment or residual word, swap)."""
    f, segments = layer.fields, config.segments
    reads = []
    for tile in range(f["row_tiles"]):
        block = tile // config.tiles_per_word * config.words_per_tile
        for first in range(0, f["vectors"], config.accumulator_depth):
            chunk = range(first, min(f["vectors"], first + config.accumulator_depth))
            for number, record in enumerate(layer.passes):
                for vector in chunk:
                    row, column = divmod(vector, f["out_width"])
                    y = f["origin_y"] + row * f["stride_y"]
                    x = f["origin_x"] + column * f["stride_x"]
                    line = f["in_wrap"] + f["in_step"] * (f["out_width"] - 1)
                    origin = f["in_origin"] + row * line + column * f["in_step"]
                    for s in range(segments):
                        tap = layer.taps[number * segments + s]
                        inside = (
                            0 <= y + tap["dy"] < f["in_height"]
                            and 0 <= x + tap["dx"] < f["in_width"]
                        )
                        address = origin + tap["offset"] if tap["valid"] and inside else None
                        reads.append(("tap", address, s, vector == chunk[0]))
                    if f["residual"] and record["sum_last"]:
                        line = f["residual_wrap"] + f["residual_step"] * (f["out_width"] - 1)
                        at = f["residual_origin"] + row * line + column * f["residual_step"]
                        for word in range(config.words_per_tile):
                            there = f["residual_low"] <= block + word < f["residual_high"]
                            address = at + block + word if there else None
                            reads.append(("residual", address, word, False))
    return reads


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_reads_and_cycles_of_random_programs(name, seed):
    config = control_config(name)
    rng = random.Random(seed)
    layers = [random_layer(config, rng) for _ in range(3)]
    control = Control(config)
    reads = []

    def watch(ctx, cycle):
        request = control.engine.request
        if ctx.get(request.load):
            address = None if ctx.get(request.pad) else ctx.get(request.address)
            reads.append(("tap", address, ctx.get(request.segment), bool(ctx.get(request.token))))
        if ctx.get(request.residual):
            address = None if ctx.get(request.pad) else ctx.get(request.address)
            reads.append(("residual", address, ctx.get(request.word), False))

    async def process(ctx):
        await load(ctx, control, *program(config, layers))
        await run(ctx, control, watch)
        sequencer = control.sequencer
        assert ctx.get(sequencer.error) == ErrorCode.NONE
        assert ctx.get(sequencer.done)
        timings = [layer.timing for layer in layers]
        assert ctx.get(sequencer.cycles) == program_cycles(config, timings)
        parts = {name: ctx.get(getattr(sequencer, name)) for name in COUNTERS}
        assert sum(parts.values()) == ctx.get(sequencer.cycles)
        assert parts["drain"] == len(layers) * drain_cycles(config)
        total = PROGRAM_OVERHEAD
        for index, timing in enumerate(timings):
            ctx.set(sequencer.log_index, index)
            await ctx.tick().repeat(2)
            total += layer_cycles(config, timing)
            assert ctx.get(sequencer.log_cycles) == total

    simulate(control, process)
    wanted = [read for layer in layers for read in expected_reads(config, layer)]
    assert reads == wanted


def test_weights_never_shift_before_the_swap_has_left():
    """The interlock, cycle by cycle: distances of swap tokens and weight reads."""
    config = control_config("plain")
    rng = random.Random(5)
    layer = random_layer(config, rng)
    layer.fields |= {"vectors": 1, "out_width": 1, "row_tiles": 2, "residual": 0,
                     "in_wrap": layer.fields["in_step"]}  # fmt: skip
    control = Control(config)
    swaps, weights = [], []

    def watch(ctx, cycle):
        if ctx.get(control.engine.push):
            swaps.append(cycle)
        if ctx.get(control.loader.request.valid):
            weights.append(cycle)

    async def process(ctx):
        await load(ctx, control, *program(config, [layer]))
        await run(ctx, control, watch)

    simulate(control, process)
    passes = 2 * len(layer.passes)
    assert len(swaps) == passes
    assert len(weights) == passes * config.columns
    for index in range(1, passes):
        assert swaps[index] - swaps[index - 1] == max(
            reload_cycles(config, 0),
            layer.fields["last_time" if layer.passes[(index - 1) % len(layer.passes)]["sum_last"]
                         else "time"],
        )  # fmt: skip
        assert weights[index * config.columns] >= swaps[index - 1] + swap_to_shift(config)
        # Complete when the first cell swaps: the last word shifts before the token is there.
        assert weights[(index + 1) * config.columns - 1] + WEIGHT_LATENCY < (
            swaps[index] + ISSUE_LATENCY + feed_latency(config)
        )


def broken(field, value):
    def change(config, layer):
        layer.fields[field] = value

    return change


ERRORS = {
    "no beats": (broken("beats", 0), ErrorCode.GEOMETRY),
    "9 beats": (broken("beats", 9), ErrorCode.GEOMETRY),
    "time below S": (broken("time", 3), ErrorCode.GEOMETRY),
    "no passes": (broken("passes", 0), ErrorCode.GEOMETRY),
    "no row tiles": (broken("row_tiles", 0), ErrorCode.GEOMETRY),
    "no vectors": (broken("vectors", 0), ErrorCode.GEOMETRY),
    "no line": (broken("out_width", 0), ErrorCode.GEOMETRY),
    "no blocks": (broken("out_blocks", 0), ErrorCode.GEOMETRY),
    "opcode": (broken("opcode", 9), ErrorCode.OPCODE),
    "input beyond memory": (broken("in_origin", 5000), ErrorCode.ADDRESS),
    "output beyond memory": (broken("out_base", 511), ErrorCode.ADDRESS),
    "weights beyond memory": (broken("weights", 512), ErrorCode.ADDRESS),
    "parameters beyond memory": (broken("parameters", 64), ErrorCode.ADDRESS),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_bad_program_ends_in_a_named_error_and_a_good_one_runs_after_it(name):
    config = control_config("plain")
    change, code = ERRORS[name]
    rng = random.Random(2)
    layers = [random_layer(config, rng) for _ in range(2)]
    for layer in layers:
        layer.fields |= {"residual": 0, "in_height": 6, "in_width": 6}
        for record in layer.passes:
            record |= {"sum_last": 1, "pool_last": 1}
        for tap in layer.taps:
            tap |= {"dy": 2, "dx": 2, "offset": 0, "valid": 1}
    good, timings = program(config, layers), [layer.timing for layer in layers]
    change(config, layers[1])
    bad = program(config, layers)
    control = Control(config)

    async def process(ctx):
        sequencer = control.sequencer
        await load(ctx, control, *bad)
        await run(ctx, control)
        assert ErrorCode(ctx.get(sequencer.error)) == code
        assert ctx.get(sequencer.error_layer) == 1
        assert not ctx.get(sequencer.done)
        await load(ctx, control, *good)
        await run(ctx, control)
        assert ErrorCode(ctx.get(sequencer.error)) == ErrorCode.NONE
        assert ctx.get(sequencer.done)
        assert ctx.get(sequencer.cycles) == program_cycles(config, timings)

    simulate(control, process)


@pytest.mark.parametrize("name", ["plain", "two tiles a word", "eight segments"])
@pytest.mark.parametrize("seed", range(2))
def test_the_watchdog_allows_exactly_its_number_of_cycles(name, seed):
    """A program of n cycles is done with n, and stopped after n - 1 cycles with n - 1."""
    config = control_config(name)
    rng = random.Random(seed)
    layers = [random_layer(config, rng) for _ in range(seed + 1)]
    for layer in layers:
        layer.fields |= {"vectors": 2, "row_tiles": 1}
    control = Control(config)
    cycles = program_cycles(config, [layer.timing for layer in layers])

    async def process(ctx):
        sequencer = control.sequencer
        await load(ctx, control, *program(config, layers))
        for limit in (cycles, cycles - 1, cycles - 2, 1, 0xFFFF_FFFF, 2, 3, cycles + 1, 0):
            ctx.set(sequencer.watchdog, limit)
            await run(ctx, control)
            stopped = 0 < limit < cycles
            error = ErrorCode(ctx.get(sequencer.error))
            assert error == (ErrorCode.WATCHDOG if stopped else ErrorCode.NONE), limit
            assert ctx.get(sequencer.done) == (not stopped)
            assert ctx.get(sequencer.cycles) == (limit if stopped else cycles)
            assert sum(ctx.get(getattr(sequencer, name)) for name in COUNTERS) == ctx.get(
                sequencer.cycles
            )

    simulate(control, process)


def test_a_running_program_is_stopped_by_a_smaller_watchdog():
    config = control_config("plain")
    layer = random_layer(config, random.Random(1))
    control = Control(config)

    def watch(ctx, cycle):
        if cycle == 60:
            ctx.set(control.sequencer.watchdog, 10)

    async def process(ctx):
        await load(ctx, control, *program(config, [layer]))
        await run(ctx, control, watch)
        assert ErrorCode(ctx.get(control.sequencer.error)) == ErrorCode.WATCHDOG
        assert ctx.get(control.sequencer.cycles) in range(60, 64)

    simulate(control, process)


def test_wrong_configuration_watchdog_and_runaway_program():
    config = control_config("plain")
    layer = random_layer(config, random.Random(0))
    control = Control(config)

    async def process(ctx):
        sequencer = control.sequencer
        words, taps = program(config, [layer])
        await load(ctx, control, [words[0] ^ 1 << 10, *words[1:]], taps)
        await run(ctx, control)
        assert ErrorCode(ctx.get(sequencer.error)) == ErrorCode.CONFIG

        await load(ctx, control, words, taps)
        ctx.set(sequencer.watchdog, 50)
        await run(ctx, control)
        assert ErrorCode(ctx.get(sequencer.error)) == ErrorCode.WATCHDOG
        assert ctx.get(sequencer.cycles) == 50
        ctx.set(sequencer.watchdog, 0)

        # No END word: started near the end, the program runs off the end of the memory.
        ctx.set(sequencer.program, config.program_depth - 10)
        tail = [words[0], *words[1:10]]
        await load(ctx, control, [0] * (config.program_depth - 10) + tail, taps)
        await run(ctx, control)
        assert ErrorCode(ctx.get(sequencer.error)) == ErrorCode.ADDRESS

    simulate(control, process)
