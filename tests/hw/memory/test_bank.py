"""Activation bank: planes, padding, residual slices, write arbitration, host access."""

import random

import pytest
from amaranth.sim import Simulator
from termac.arch import Config
from termac_hw.memory.bank import ActivationBank


def make_config(**changes):
    values = {
        "name": "test", "rows": 8, "columns": 8, "lanes": 4, "segments": 4,
        "activation_depth": 32, "weight_depth": 64, "parameter_depth": 16,
        "accumulator_depth": 8, "program_depth": 64, "tap_depth": 16,
    } | changes  # fmt: skip
    return Config(**values)


def simulate(component, process):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


async def fill(ctx, bank, words):
    lanes = bank.config.lanes
    for address, word in enumerate(words):
        ctx.set(bank.host_write.address, address)
        ctx.set(bank.host_write.data, word)
        ctx.set(bank.host_write.enable, (1 << lanes) - 1)
        await ctx.tick()
    ctx.set(bank.host_write.enable, 0)


@pytest.mark.parametrize(("lanes", "segments"), [(1, 4), (4, 4), (8, 8), (16, 8)])
def test_planes_reach_the_column_after_the_latency(lanes, segments):
    config = make_config(lanes=lanes, segments=segments, columns=16 if lanes == 1 else 8, rows=8)
    bank = ActivationBank(config)
    rng = random.Random(lanes)
    words = [rng.getrandbits(8 * lanes) for _ in range(32)]
    requests = [(rng.randrange(32), rng.random() < 0.2, rng.random() < 0.3) for _ in range(40)]
    planes_per_vector = 8
    expected = {}  # (cycle, segment) -> bits
    observed = {}
    pad = -77 & 0xFF

    async def process(ctx):
        await fill(ctx, bank, words)
        ctx.set(bank.pad, pad)
        cycle = 0
        for address, is_pad, swap in requests:
            for step in range(planes_per_vector):
                load = step < segments
                ctx.set(bank.request, {
                    "address": (address + step) % 32, "pad": is_pad, "load": load,
                    "segment": step % segments, "token": swap,
                    "residual": 0, "word": 0, "phase": 0,
                })  # fmt: skip
                if load:
                    word = words[(address + step) % 32]
                    if is_pad:
                        word = int.from_bytes(bytes([pad]) * lanes, "little")
                    for plane in range(8):
                        bits = sum(
                            (word >> (8 * lane + 7 - plane) & 1) << lane for lane in range(lanes)
                        )
                        token = (swap and plane == 0) << lanes
                        expected[cycle + bank.LATENCY + plane, step] = bits | token
                assert not ctx.get(bank.residual_push)
                value = ctx.get(bank.lanes)
                for segment in range(segments):
                    observed[cycle, segment] = value >> (segment * (lanes + 1)) & (
                        (1 << (lanes + 1)) - 1
                    )
                await ctx.tick()
                cycle += 1

    simulate(bank, process)
    compared = [key for key in expected if key in observed]
    assert len(compared) > 8 * segments * 30
    for key in compared:
        assert observed[key] == expected[key], key


def test_request_is_handed_on_after_s_cycles():
    config = make_config()
    bank = ActivationBank(config)
    seen = []

    async def process(ctx):
        for cycle in range(20):
            ctx.set(bank.request.address, cycle)
            seen.append(ctx.get(bank.request_out.address))
            await ctx.tick()

    simulate(bank, process)
    assert seen[config.segments :] == list(range(20 - config.segments))


def test_residual_slice_and_its_padding():
    config = make_config()
    bank = ActivationBank(config)

    async def process(ctx):
        await fill(ctx, bank, [0x11223344 + i for i in range(32)])
        ctx.set(bank.pad, 0x55)
        ctx.set(bank.residual_pad, 0xAA)
        base = {"load": 0, "segment": 0, "token": 0, "word": 0, "phase": 0}
        for pad, residual, data in ((0, 1, 0x11223349), (1, 1, 0xAAAAAAAA), (0, 0, None)):
            ctx.set(bank.request, base | {"address": 5, "pad": pad, "residual": residual})
            await ctx.tick().repeat(bank.LATENCY)
            assert ctx.get(bank.residual_push) == residual
            if data is not None:
                assert ctx.get(bank.residual_data) == data

    simulate(bank, process)


def test_every_write_request_is_granted_within_s_cycles():
    # R = 2 W and unit = alpha / 2: four requesters.
    config = make_config(lanes=8, segments=4, columns=8, rows=32)
    bank = ActivationBank(config)
    assert bank.requesters == 4
    rng = random.Random(1)
    pending, waited, written = {}, {}, {}

    async def process(ctx):
        due = [rng.randrange(4) for _ in range(4)]
        for cycle in range(400):
            for n in range(4):
                if cycle % 4 == due[n] and n not in pending and cycle < 380:
                    pending[n] = (rng.randrange(32), rng.getrandbits(32))
                    waited[n] = 0
                if n in pending:
                    ctx.set(bank.write_address[n], pending[n][0])
                    ctx.set(bank.write_data[n], pending[n][1])
            ctx.set(bank.write_valid, sum(1 << n for n in pending))
            ready = ctx.get(bank.write_ready)
            assert ready.bit_count() <= 1
            for n in list(pending):
                if ready >> n & 1:
                    address, value = pending.pop(n)
                    written[address, n % 2] = value
                else:
                    waited[n] += 1
                    assert waited[n] < 4
            await ctx.tick()
        ctx.set(bank.write_valid, 0)
        ctx.set(bank.host_read, 1)
        for (address, half), value in written.items():
            ctx.set(bank.host_read_address, address)
            await ctx.tick().repeat(2)
            assert ctx.get(bank.host_data) >> (32 * half) & 0xFFFFFFFF == value

    simulate(bank, process)
    assert len(written) > 40


def test_a_write_happens_once():
    bank = ActivationBank(make_config())

    async def process(ctx):
        ctx.set(bank.write_address[0], 7)
        ctx.set(bank.write_data[0], 0x11111111)
        ctx.set(bank.write_valid, 1)
        await ctx.tick()
        ctx.set(bank.write_valid, 0)
        await ctx.tick().repeat(2)
        await fill(ctx, bank, [0x22222222] * 32)
        ctx.set(bank.host_read, 1)
        ctx.set(bank.host_read_address, 7)
        await ctx.tick().repeat(4)
        assert ctx.get(bank.host_data) == 0x22222222

    simulate(bank, process)


def test_host_write_honours_byte_enables():
    bank = ActivationBank(make_config())

    async def process(ctx):
        await fill(ctx, bank, [0] * 32)
        ctx.set(bank.host_read_address, 7)
        ctx.set(bank.host_write.address, 7)
        ctx.set(bank.host_write.data, 0xDDCCBBAA)
        ctx.set(bank.host_write.enable, 0b0101)
        await ctx.tick()
        ctx.set(bank.host_write.enable, 0)
        ctx.set(bank.host_read, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(bank.host_data) == 0x00CC00AA

    simulate(bank, process)
