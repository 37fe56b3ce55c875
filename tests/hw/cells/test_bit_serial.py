"""The bit-serial cell, its feeder and its row end against Python integers, on the exact cycle."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac_hw.cells import cell_kind
from termac_hw.cells.bit_serial import OFFSET, BitSerialCell, Feeder
from termac_hw.cells.bit_serial_end import RowEnd

EXTREMES = (-128, -127, -1, 0, 1, 127)


def serial_config(lanes=4, columns=8, **changes):
    changes = {"rows": 8, "segments": 4, "cell": "bit_serial"} | changes
    if lanes == 1:
        columns = max(columns, 16)
    return replace(load_config("tiny"), columns=columns, lanes=lanes, **changes)


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def byte(rng):
    return rng.choice([*EXTREMES, *[rng.randint(-128, 127) for _ in range(6)]])


def starts_of(rng, count):
    """First cycles of vectors: mostly back to back, else of up to 12 cycles, or a pause."""
    at, starts = 0, []
    for _ in range(count):
        starts.append(at)
        at += rng.choice([8, 8, 8, 9, 10, 11, 12, 12, 40])
    return starts


def mac_at(t, starts):
    """Number of the MAC on the lanes: it counts up after the sign beat of every vector."""
    return sum(t >= start + 8 for start in starts) % 4


def test_registry():
    kind = cell_kind("bit_serial")
    assert (kind.Cell, kind.Feeder, kind.RowEnd) == (BitSerialCell, Feeder, RowEnd)
    assert kind.settings == kind.row_settings == ("clear",)


@pytest.mark.parametrize("shared_rows", [1, 2])
@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_cell_adds_the_product_to_the_stream_of_its_mac(lanes, shared_rows):
    config = serial_config(lanes, 16, shared_rows=shared_rows)
    cell, layout = BitSerialCell(config), config.weight_layout
    rng = random.Random(10 * lanes + shared_rows)
    rows = range(shared_rows)
    count = 120
    starts = [10 + start for start in starts_of(rng, count)]
    swaps = [n == 0 or rng.random() < 0.3 for n in range(count)]
    inputs = [[byte(rng) for _ in range(lanes)] for _ in range(count)]
    limit = (1 << config.result_width) - (1 << 16)
    sums = [[rng.choice([0, limit, rng.randint(0, limit)]) for _ in rows] for _ in range(count)]
    cycles = starts[-1] + 40

    weights = [[(byte(rng), rng.randrange(lanes)) for _ in rows] for _ in range(cycles)]
    for n in range(0, count, 7):  # extremes of product and sum
        inputs[n] = [rng.choice([-128, 127])] * lanes
    swap_cycles = {start for start, swap in zip(starts, swaps, strict=True) if swap}
    # The shadow holds still in the cycle of a token only: it may shift in the next one.
    shifts = [t < 10 or (t not in swap_cycles and rng.random() < 0.5) for t in range(cycles)]
    shadow = [[None] * shared_rows]
    for t in range(cycles):
        shadow.append(weights[t] if shifts[t] else shadow[t])

    lanes_in = [mac_at(t, starts) << lanes for t in range(cycles)]
    sum_in = [[0] * shared_rows for _ in range(cycles)]
    wanted = [[0] * shared_rows for _ in range(cycles)]
    active = None
    for n, start in enumerate(starts):
        if swaps[n]:
            active = shadow[start]
            lanes_in[start] |= 1 << (lanes + 2)
        for k in range(8):
            lanes_in[start + k] |= sum((x >> k & 1) << i for i, x in enumerate(inputs[n]))
        for row in rows:
            value, lane = active[row]
            total = sums[n][row] + value * inputs[n][lane] + OFFSET
            assert 0 <= total < 1 << config.result_width
            for j in range(32):
                if start + 3 + j < cycles:
                    sum_in[start + 2 + j][row] |= (sums[n][row] >> j & 1) << (n % 4)
                    wanted[start + 3 + j][row] |= (total >> j & 1) << (n % 4)

    async def bench(ctx):
        for t in range(cycles):
            ctx.set(cell.lanes_in, lanes_in[t])
            ctx.set(cell.shift, shifts[t])
            for row in rows:
                value, lane = weights[t][row]
                ctx.set(cell.weight_in[row], layout.pack_one(value=value, lane=lane))
                ctx.set(cell.sum_in[row], sum_in[t][row] - 16 * (sum_in[t][row] >> 3))
                assert ctx.get(cell.sum_out[row]) & 15 == wanted[t][row], (t, row)
                if shadow[t][row] is not None:
                    value, lane = shadow[t][row]
                    word = layout.pack_one(value=value, lane=lane)
                    assert ctx.get(cell.weight_out[row]) == word
            if t:
                assert ctx.get(cell.lanes_out) == lanes_in[t - 1]
            await ctx.tick()

    simulate(cell, bench)


def test_cell_multiplies_every_weight_by_every_activation_near_a_power_of_two():
    config = serial_config(1)
    cell = BitSerialCell(config)
    near = sorted({x for k in range(8) for p in (1 << k, -1 << k) for x in (p - 1, p, p + 1)})
    near = [x for x in near if -128 <= x <= 127]

    async def bench(ctx):
        collected = []
        jobs = [(w, x) for w in range(-128, 128) for x in near]
        for number, (weight, x) in enumerate(jobs):
            for beat in range(8):
                mac = number % 4
                ctx.set(cell.shift, beat == 7)
                ctx.set(cell.weight_in[0], jobs[(number + 1) % len(jobs)][0] & 255)
                ctx.set(cell.lanes_in, (x >> beat & 1) | mac << 1 | (beat == 0) << 3)
                collected.append(ctx.get(cell.sum_out[0]))
                await ctx.tick()
            if number >= 5:  # the first weight was never shifted in
                weight, x = jobs[number - 3]
                begin = 8 * (number - 3) + 3
                bits = [s >> ((number - 3) % 4) & 1 for s in collected[begin : begin + 16]]
                got = sum(bit << j for j, bit in enumerate(bits))
                assert got == weight * x + OFFSET, (weight, x)

    simulate(cell, bench)


@pytest.mark.parametrize("beats", range(1, 8))
def test_a_sign_beat_forgets_an_unfinished_vector(beats):
    """What is left of a layer that an error or a reset ended; ``clear`` sends the sign beat."""
    config = serial_config(1)
    cell = BitSerialCell(config)
    bundles = [1 | 1 << 1 | (beat == 0) << 3 for beat in range(beats)] + [3 << 1] + [0] * 16
    start = len(bundles)
    bundles += [1 | (beat == 0) << 3 for beat in range(8)] + [1 << 1] * 20  # times -1

    async def bench(ctx):
        got = 0
        for t, bundle in enumerate(bundles):
            ctx.set(cell.shift, t < 2)
            ctx.set(cell.weight_in[0], 127)
            ctx.set(cell.lanes_in, bundle)
            if 0 <= t - start - 3 < 24:
                got |= (ctx.get(cell.sum_out[0]) & 1) << (t - start - 3)
            await ctx.tick()
        assert got == -127 + OFFSET

    simulate(cell, bench)


@pytest.mark.parametrize("lanes", [1, 8])
def test_feeder_sends_bits_mac_and_token(lanes):
    config = serial_config(lanes)
    feeder = Feeder(config)
    rng = random.Random(lanes)

    async def bench(ctx):
        for restart in (3, 1, 2, 4):  # layers of so many vectors: each starts at MAC 0
            ctx.set(feeder.clear, 1)
            await ctx.tick()
            ctx.set(feeder.clear, 0)
            assert ctx.get(feeder.lanes) >> lanes == 3  # a sign beat, for the MAC before 0
            await ctx.tick()
            for number in range(restart + 4 * (restart == 1)):
                values = [byte(rng) for _ in range(lanes)]
                token = rng.getrandbits(1)
                ctx.set(feeder.word, sum((x & 255) << (8 * i) for i, x in enumerate(values)))
                ctx.set(feeder.token, token)
                ctx.set(feeder.load, 1)
                time = rng.choice([8, 8, 9, 12])
                for beat in range(time):
                    await ctx.tick()
                    ctx.set(feeder.load, 0)
                    ctx.set(feeder.word, rng.getrandbits(8 * lanes))
                    ctx.set(feeder.token, rng.getrandbits(1))
                    bits = sum((x >> beat & 1) << i for i, x in enumerate(values))
                    mac = (number + (beat >= 8)) % 4
                    wanted = (bits if beat < 8 else 0) | mac << lanes
                    wanted |= (token and beat == 0) << (lanes + 2)
                    assert ctx.get(feeder.lanes) == wanted, (number, beat)

    simulate(feeder, bench)


@pytest.mark.parametrize("columns", [4, 8, 12, 16, 128])
def test_row_end_collects_four_streams_and_takes_the_offset_off(columns):
    config = serial_config(8 if columns < 128 else 2, columns)
    end = RowEnd(config)
    rng = random.Random(columns)
    width = config.result_width
    limit = columns * (1 << 14)
    layers = []
    for count in (41, 6, 3, 50):
        starts = starts_of(rng, count)
        least = columns * -128 * 127
        values = [rng.choice([limit, least, 0, rng.randint(least, limit)]) for _ in range(count)]
        layers.append((starts, values))

    async def bench(ctx):
        held, compared = None, 0
        for starts, values in layers:
            ctx.set(end.clear, 1)
            await ctx.tick()
            ctx.set(end.clear, 0)
            cycles = starts[-1] + width + 2
            sums = [0] * (cycles + 32)
            for n, (start, value) in enumerate(zip(starts, values, strict=True)):
                for j in range(32):
                    sums[start + j] |= (value + columns * OFFSET >> j & 1) << (n % 4)
            ready = {start + width: value for start, value in zip(starts, values, strict=True)}
            for t in range(cycles):
                ctx.set(end.sum, sums[t] - 16 * (sums[t] >> 3))
                ctx.set(end.first, t in starts)
                ctx.set(end.last, t + 1 in ready)
                if t in ready:
                    held = ready[t]
                    compared += 1
                if held is not None:  # until the next vector ends
                    assert ctx.get(end.result) == held, t
                await ctx.tick()
        assert compared == sum(len(values) for _, values in layers)

    simulate(end, bench)
