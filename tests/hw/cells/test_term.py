"""The term cell, its feeder and its row end, against integers."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac.arch.cells import TERMS, TERMS_AHEAD
from termac_hw.cells.term import Feeder, RowEnd, TermCell

PLACE = 4


def make_config(lanes=8, shared_rows=1):
    return replace(
        load_config("tiny"), cell="term", columns=16 if lanes < 4 else 8, rows=8, segments=4,
        lanes=lanes, shared_rows=shared_rows,
    )  # fmt: skip


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def product(layout, word, values):
    term = layout.unpack_one(word)
    sign = -1 if term["negative"] else 1
    return term["used"] * sign * (values[term["lane"]] << term["double"])


@pytest.mark.parametrize(("lanes", "shared_rows"), [(1, 1), (8, 1), (8, 4), (16, 2)])
def test_cell_adds_the_product_of_the_term_at_the_place(lanes, shared_rows):
    """Every term of a full memory; terms stored while beats of the other half go by."""
    config = make_config(lanes, shared_rows)
    cell, layout = TermCell(config), config.weight_layout
    rng = random.Random(lanes)
    limit = (1 << (config.sum_width - 1)) - 257
    cycles = 600
    values = [[rng.choice([-128, 127, 0, rng.randint(-128, 127)]) for _ in range(lanes)]
              for _ in range(cycles)]  # fmt: skip
    sums = [[rng.choice([-limit, limit, rng.randint(-limit, limit)]) for _ in range(shared_rows)]
            for _ in range(cycles)]  # fmt: skip
    stored = [[0] * TERMS for _ in range(shared_rows)]
    compared = 0

    async def bench(ctx):
        nonlocal compared
        wanted = {}
        shadow = [0] * shared_rows
        for t in range(cycles):
            filling = t < 2 * TERMS
            writes = filling or rng.random() < 0.3
            # While the memory is full, only the half that no beat reads is written.
            half = t // 100 % 2
            reading = half * TERMS_AHEAD + rng.randrange(TERMS_AHEAD)
            place = t // 2 % TERMS if filling else (1 - half) * TERMS_AHEAD + rng.randrange(8)
            words = [rng.getrandbits(layout.width) for _ in range(shared_rows)]
            ctx.set(cell.shift, 1)
            ctx.set(cell.weight_in.as_value(), sum(w << layout.width * i
                                                   for i, w in enumerate(words)))  # fmt: skip
            ctx.set(cell.store, writes)
            ctx.set(cell.place, place)
            data = sum((v & 255) << 8 * i for i, v in enumerate(values[t]))
            ctx.set(cell.lanes_in, data | reading << 8 * lanes)
            for row in range(shared_rows):
                ctx.set(cell.sum_in[row], sums[t][row])
                if not filling:
                    wanted[t + 3, row] = product(layout, stored[row][reading], values[t])
            if writes:
                for row in range(shared_rows):
                    stored[row][place] = shadow[row]
            shadow = words
            await ctx.tick()
            assert ctx.get(cell.lanes_out) == data | reading << 8 * lanes
            for row in range(shared_rows):
                assert ctx.get(cell.weight_out[row]) == words[row]
                if (t + 1, row) in wanted:
                    assert ctx.get(cell.sum_out[row]) == sums[t][row] + wanted[t + 1, row]
                    compared += 1

    simulate(cell, bench)
    assert compared >= 500 * shared_rows


def test_extreme_terms_of_a_whole_row_fit():
    """+256 and -254 in every column, the largest sums that terms of int8 make."""
    config = make_config()
    assert config.columns * 256 < 1 << (config.sum_width - 1)
    most = sum(1 << max(0, 7 - beat) for beat in range(TERMS))  # powers that may never rise
    most = max(most, sum([128] * 9 + [64, 32, 16, 8, 4, 2, 1]))
    assert config.columns * 256 * most < 1 << (config.result_width - 1)


@pytest.mark.parametrize("token", [0, 1])
def test_feeder_holds_the_word_and_counts_places(token):
    config = make_config(lanes=4)
    feeder = Feeder(config)

    async def bench(ctx):
        for word, beats in ((0x01020304, 5), (0xFF80007F, 8), (0x5, TERMS_AHEAD + 3)):
            ctx.set(feeder.load, 1)
            ctx.set(feeder.token, token)
            ctx.set(feeder.word, word)
            await ctx.tick()
            ctx.set(feeder.load, 0)
            ctx.set(feeder.token, 1 - token)
            ctx.set(feeder.word, ~word & 0xFFFFFFFF)
            for beat in range(beats):
                lanes = ctx.get(feeder.lanes)
                assert lanes & 0xFFFFFFFF == word
                assert lanes >> 32 == (token * TERMS_AHEAD + beat) % TERMS
                if beat < beats - 1:
                    await ctx.tick()

    simulate(feeder, bench)


def test_row_end_doubles_on_demand_and_forgets_cut_off_vectors():
    config = make_config()
    end = RowEnd(config)
    rng = random.Random(4)
    limit = 1 << (config.sum_width - 1)

    async def vector(ctx, beats, *, cut=False):
        total = 0
        for beat in range(beats):
            value = rng.choice([-limit, limit - 1, rng.randint(-limit, limit - 1)])
            double = rng.randrange(2) if beat < 7 else 0
            total = (2 * total if double and beat else total) + value
            ctx.set(end.sum, value)
            ctx.set(end.first, beat == 0)
            ctx.set(end.last, beat == beats - 1 and not cut)
            ctx.set(end.double, double)
            await ctx.tick()
        ctx.set(end.first, 0)
        ctx.set(end.last, 0)
        return total

    async def bench(ctx):
        for beats in (1, 2, 8, TERMS, 3, 1):
            total = await vector(ctx, beats)
            assert ctx.get(end.result) == total
            for _ in range(rng.randrange(3)):  # idle beats change nothing
                ctx.set(end.sum, rng.randint(-limit, limit - 1))
                await ctx.tick()
                assert ctx.get(end.result) == total
        await vector(ctx, 5, cut=True)
        ctx.set(end.clear, 1)
        await ctx.tick()
        ctx.set(end.clear, 0)
        ctx.set(end.sum, 99)
        await ctx.tick()
        total = await vector(ctx, 4)
        assert ctx.get(end.result) == total

    simulate(end, bench)
