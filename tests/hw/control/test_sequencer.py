"""The sequencer beside the bounds: what a start, CONTROL.clear, a table and an error do when."""

import random

from termac.arch import TABLE_ENTRIES
from termac.arch.registers import ErrorCode
from termac.arch.timing import drain_cycles

from tests.hw.control.bench import Control
from tests.hw.control.bounds import CONFIGS, Case, good
from tests.hw.control.test_control import load, simulate

CONFIG = CONFIGS["bit_plane"]


def words(case):
    """Program and taps as lists, zeros where the case says nothing."""
    for placed in (case.program(CONFIG), case.taps(CONFIG)):
        yield [placed.get(address, 0) for address in range(max(placed) + 1)]


async def start(ctx, sequencer):
    ctx.set(sequencer.start, 1)
    await ctx.tick()
    ctx.set(sequencer.start, 0)


async def finish(ctx, sequencer, each_cycle=None):
    """Wait for the end; returns the cycles that took."""
    for cycle in range(5000):
        if not ctx.get(sequencer.busy):
            return cycle
        if each_cycle:
            each_cycle(ctx)
        await ctx.tick()
    raise AssertionError("the sequencer never came back")


def test_tables_arrive_whole_and_in_order():
    control, rng = Control(CONFIG), random.Random(1)
    case = Case("tables", [good(CONFIG, residual=1, table=800)])
    program, taps = words(case)
    table = [rng.getrandbits(32) for _ in range(2 * TABLE_ENTRIES)]
    program += [0] * (800 - len(program)) + table
    written = []

    def watch(ctx):
        port = control.sequencer.table_write
        if ctx.get(port.enable):
            written.append((ctx.get(port.address), ctx.get(port.data) & 0xFFFFFFFF))

    async def process(ctx):
        await load(ctx, control, program, taps)
        await start(ctx, control.sequencer)
        await finish(ctx, control.sequencer, watch)
        assert ctx.get(control.sequencer.done)

    simulate(control, process)
    assert written == list(enumerate(table))


def test_every_layer_clears_what_the_last_one_left_and_then_starts():
    control = Control(CONFIG)
    sequencer = control.sequencer
    case = Case("three layers", [good(CONFIG)] * 3)
    events = []

    def watch(ctx):
        pulses = ("clear", sequencer.layer_clear), ("start", sequencer.control.start)
        events.extend(name for name, pulse in pulses if ctx.get(pulse))

    async def process(ctx):
        await load(ctx, control, *words(case))
        await start(ctx, sequencer)
        await finish(ctx, sequencer, watch)

    simulate(control, process)
    assert events == ["clear", "start"] * 3


def test_a_start_while_busy_is_ignored_and_clear_forgets_when_idle():
    control = Control(CONFIG)
    sequencer = control.sequencer
    case = Case("three layers", [good(CONFIG, vectors=3, out_width=3, in_width=3)] * 3)

    async def process(ctx):
        await load(ctx, control, *words(case))
        await start(ctx, sequencer)
        await finish(ctx, sequencer)
        await start(ctx, sequencer)
        assert not ctx.get(sequencer.done)
        ctx.set(sequencer.program, 40)
        for wait in (3, 20, 50, 90):
            await ctx.tick().repeat(wait)
            ctx.set(sequencer.clear, 1)
            await start(ctx, sequencer)
            ctx.set(sequencer.clear, 0)
        await finish(ctx, sequencer)
        assert ctx.get(sequencer.done)
        assert ctx.get(sequencer.cycles) == case.cycles(CONFIG)
        timings = [layer.timing for layer in case.layers]
        assert ctx.get(sequencer.issue) == sum(t.vectors * t.last_time for t in timings)
        await ctx.tick().repeat(10)
        assert ctx.get(sequencer.cycles) == case.cycles(CONFIG)
        ctx.set(sequencer.clear, 1)
        await ctx.tick()
        ctx.set(sequencer.clear, 0)
        assert not ctx.get(sequencer.done)
        await start(ctx, sequencer)  # there is no header at 40
        await finish(ctx, sequencer)
        assert ErrorCode(ctx.get(sequencer.error)) == ErrorCode.CONFIG
        ctx.set(sequencer.clear, 1)
        await ctx.tick()
        assert ErrorCode(ctx.get(sequencer.error)) == ErrorCode.NONE

    simulate(control, process)


def test_the_pipeline_runs_empty_after_an_error():
    """As long as the last outputs of a layer take; nothing is issued any more."""
    control = Control(CONFIG)
    sequencer = control.sequencer
    far = {"vectors": 5, "out_width": 5, "in_width": 5, "last_time": 40}
    case = Case("beyond", [good(CONFIG, in_origin=CONFIG.activation_depth, **far)])
    busy, issued = [], []

    def watch(ctx):
        if ctx.get(sequencer.error) != ErrorCode.NONE.value:
            busy.append(1)
            issued.append(ctx.get(control.engine.request.load) | ctx.get(control.engine.push))

    async def process(ctx):
        await load(ctx, control, *words(case))
        await start(ctx, sequencer)
        await finish(ctx, sequencer, watch)
        await ctx.tick().repeat(2)
        assert not ctx.get(control.engine.running)

    simulate(control, process)
    assert sum(busy) == drain_cycles(CONFIG) + 1
    assert not any(issued[6:])
