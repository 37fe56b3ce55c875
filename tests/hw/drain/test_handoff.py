"""Hand-off chain and weight bank: delays and records."""

import random

import pytest
from amaranth.sim import Simulator
from termac_hw.drain.handoff import Handoff
from termac_hw.memory.weights import WeightBank

from tests.hw.memory.test_bank import make_config, simulate


@pytest.mark.parametrize("delay", [2, 4, 8])
def test_records_walk_with_their_starts(delay):
    chain = Handoff(8, count=4, delay=delay, module_name="chain")
    rng = random.Random(delay)
    sent, cycle = {}, 0
    while cycle < 200:
        sent[cycle] = rng.randrange(256)
        cycle += delay + rng.choice([0, 0, 1, 5])
    seen = [{} for _ in range(4)]

    async def process(ctx):
        current = [None] * 4
        for now in range(260):
            ctx.set(chain.start, now in sent)
            ctx.set(chain.record, sent.get(now, 0xEE))
            for stage in range(4):
                if ctx.get(chain.starts) >> stage & 1:
                    current[stage] = seen[stage][now] = ctx.get(chain.records[stage])
                elif current[stage] is not None:
                    assert ctx.get(chain.records[stage]) == current[stage]
            await ctx.tick()

    simulate(chain, process)
    for stage in range(4):
        assert seen[stage] == {at + 1 + stage * delay: value for at, value in sent.items()}


def test_weight_bank_shifts_after_its_latency_and_hands_the_request_on():
    config = make_config(shared_rows=2)
    bank = WeightBank(config)
    rng = random.Random(0)
    width = config.segments * config.weight_width
    words = [rng.getrandbits(width) for _ in range(64)]
    hop = config.segments // config.shared_rows

    async def process(ctx):
        for address, word in enumerate(words):
            ctx.set(bank.host_write.enable, 1)
            ctx.set(bank.host_write.address, address)
            ctx.set(bank.host_write.data, word)
            await ctx.tick()
        ctx.set(bank.host_write.enable, 0)
        history = []
        for _ in range(100):
            request = {"address": rng.randrange(64), "valid": rng.randrange(2)}
            ctx.set(bank.request, request)
            history.append(request)
            await ctx.tick()
            if len(history) >= bank.LATENCY:
                shown = history[-bank.LATENCY]
                assert ctx.get(bank.shift) == shown["valid"]
                if shown["valid"]:
                    assert ctx.get(bank.weights) == words[shown["address"]]
            if len(history) > hop:
                late = history[-hop]
                assert ctx.get(bank.request_out.address) == late["address"]
                assert ctx.get(bank.request_out.valid) == late["valid"]

    simulator = Simulator(bank)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
