"""Weight bank: what is shifted and stored, and in which cycle; the walk to the next bank."""

import random

import pytest
from termac.arch.timing import WEIGHT_LATENCY
from termac_hw.memory.weights import WeightBank

from tests.hw.memory.test_bank import make_config, simulate

CYCLES = 60


async def fill(ctx, bank, words):
    """Write the memory, then go on with the last word at the port without its enable."""
    for address, word in enumerate(words):
        ctx.set(bank.host_write.enable, 1)
        ctx.set(bank.host_write.address, address)
        ctx.set(bank.host_write.data, word)
        await ctx.tick()
    ctx.set(bank.host_write.enable, 0)
    ctx.set(bank.host_write.address, 0)


@pytest.mark.parametrize("cell", ["bit_plane", "term"])
@pytest.mark.parametrize("shared_rows", [1, 2])
def test_words_are_shifted_stored_and_handed_on_in_their_cycles(cell, shared_rows):
    config = make_config(cell=cell, shared_rows=shared_rows)
    bank = WeightBank(config)
    rng = random.Random(shared_rows)
    width = config.segments * config.weight_width
    words = [rng.getrandbits(width) for _ in range(config.weight_depth)]
    requests = []
    for _ in range(CYCLES):
        request = {"address": rng.randrange(config.weight_depth), "valid": rng.randrange(2)}
        if config.kind.terms:
            request |= {"store": rng.randrange(2), "place": rng.randrange(16)}
        requests.append(request)
    hop = config.segments // config.shared_rows
    shifted, stored = 0, 0

    async def process(ctx):
        nonlocal shifted, stored
        await fill(ctx, bank, words)
        for cycle, request in enumerate(requests):
            ctx.set(bank.request, request)
            if cycle >= hop:
                assert ctx.get(bank.request_out.address) == requests[cycle - hop]["address"]
                assert ctx.get(bank.request_out.valid) == requests[cycle - hop]["valid"]
            if cycle >= WEIGHT_LATENCY:
                then = requests[cycle - WEIGHT_LATENCY]
                assert ctx.get(bank.shift) == then["valid"], cycle
                if then["valid"]:
                    assert ctx.get(bank.weights) == words[then["address"]], cycle
                    shifted += 1
            if config.kind.terms and cycle > WEIGHT_LATENCY:
                then = requests[cycle - WEIGHT_LATENCY - 1]
                assert ctx.get(bank.store) == (then["valid"] and then["store"]), cycle
                if ctx.get(bank.store):
                    assert ctx.get(bank.place) == then["place"], cycle
                    stored += 1
            await ctx.tick()

    simulate(bank, process)
    assert shifted > CYCLES // 4
    assert stored > CYCLES // 8 or not config.kind.terms
