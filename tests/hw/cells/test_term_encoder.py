"""The term encoder, over every activation and zero point, against the software's encoding."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac.arch.cells import DATA_TERMS
from termac.terms import limit
from termac_hw.cells.term_encoder import UNUSED, LaneEncoder, TermEncoder
from termac_hw.emit import emit_verilog

ENCODINGS = ["naf", "hese"]


def term_value(term):
    """Value of a term as packed bits: exponent, negative."""
    exponent, negative = term & 15, term >> 4
    if exponent == UNUSED:
        return 0
    assert exponent <= 8
    return -(1 << exponent) if negative else 1 << exponent


def lane_values(bits):
    """Values of the terms of one lane."""
    return [term_value(bits >> (5 * term) & 31) for term in range(DATA_TERMS)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "zeros",
    [
        pytest.param((-128, 127, -3), id="every difference"),
        pytest.param(range(-128, 128), id="every pair", marks=pytest.mark.long),
    ],
)
def test_the_largest_terms_of_every_difference(encoding, zeros):
    """Zero points -128 and 127 make all differences; others must make the same of them."""
    encoder = LaneEncoder()
    differences = np.arange(-255, 256)
    kept = [
        limit(differences, group=1, budget=count, encoding=encoding)
        for count in range(1, DATA_TERMS + 1)
    ]
    wanted = {d: [int(row[i]) for row in kept] for i, d in enumerate(differences)}
    seen = {}

    async def bench(ctx):
        ctx.set(encoder.hese, encoding == "hese")
        pairs = [(x, zero) for zero in zeros for x in range(-128, 128)]
        for index in range(len(pairs) + 2):
            x, zero = pairs[min(index, len(pairs) - 1)]
            ctx.set(encoder.value, x)
            ctx.set(encoder.zero, zero)
            if index >= 2:
                x, zero = pairs[index - 2]
                bits = ctx.get(encoder.terms.as_value())
                assert seen.setdefault(x - zero, bits) == bits, (x, zero)
            await ctx.tick()

    simulator = Simulator(encoder)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(seen) == 511
    for difference, bits in seen.items():
        assert np.cumsum(lane_values(bits)).tolist() == wanted[difference], difference


def test_a_word_is_encoded_lane_by_lane_in_two_cycles():
    config = replace(load_config("tiny"), cell="term_pair", lanes=4)
    encoder = TermEncoder(config)
    rng = np.random.default_rng(4)
    words = rng.integers(-128, 128, (40, 4))
    zero = -3
    seen = []

    async def bench(ctx):
        ctx.set(encoder.zero, zero)
        for word in [*words, *words[:2]]:
            ctx.set(encoder.word, int.from_bytes(word.astype(np.int8).tobytes(), "little"))
            seen.append(ctx.get(encoder.coded.as_value()))
            await ctx.tick()

    simulator = Simulator(encoder)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    wanted = limit(words - zero, group=1, budget=DATA_TERMS)
    for word, bits in zip(wanted, seen[2:], strict=True):
        lanes = [bits >> (20 * lane) & 0xFFFFF for lane in range(4)]
        assert [sum(lane_values(lane)) for lane in lanes] == word.tolist()


def test_one_module_for_all_lanes():
    verilog = emit_verilog(TermEncoder(replace(load_config("tiny"), cell="term_pair", lanes=8)))
    assert verilog.count("module termac_lane_encoder(") == 1
    assert verilog.count("  termac_lane_encoder lane_") == 8
