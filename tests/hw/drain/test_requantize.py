"""The requantizer against the software's exact arithmetic."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from termac.graph.requantize import requantize
from termac_hw.drain.requantize import Requantizer

INT32 = (-(1 << 31), (1 << 31) - 1)
MULTIPLIERS = (0, 1, (1 << 17) - 1, 1 << 17, 1 << 30, 0x5A82799A, (1 << 31) - 1)


def expected(x, multiplier, shift, zero, low, high):
    return np.clip(requantize(x, multiplier, shift) + zero, low, high)


def simulate(x, multiplier, shift, zero=0, low=-128, high=127):
    """Feed one operand set per cycle; int64 [n] results in order."""
    dut = Requantizer()
    results = []

    async def bench(ctx):
        ctx.set(dut.zero, zero)
        ctx.set(dut.low, low)
        ctx.set(dut.high, high)
        operands = list(zip(x.tolist(), multiplier.tolist(), shift.tolist(), strict=True))
        for cycle in range(len(operands) + dut.LATENCY):
            if cycle >= dut.LATENCY:
                results.append(ctx.get(dut.y))
            if cycle < len(operands):
                ctx.set(dut.x, operands[cycle][0])
                ctx.set(dut.multiplier, operands[cycle][1])
                ctx.set(dut.shift, operands[cycle][2])
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return np.array(results)


def check(x, multiplier, shift, **constants):
    x, multiplier, shift = (
        np.ascontiguousarray(a).ravel() for a in np.broadcast_arrays(x, multiplier, shift)
    )
    got = simulate(x, multiplier, shift, **constants)
    want = expected(x, multiplier, shift, **({"zero": 0, "low": -128, "high": 127} | constants))
    wrong = np.flatnonzero(got != want)
    assert not len(wrong), (
        f"{len(wrong)} of {len(got)} differ, first x={x[wrong[0]]} multiplier="
        f"{multiplier[wrong[0]]} shift={shift[wrong[0]]}: {got[wrong[0]]} != {want[wrong[0]]}"
    )


def corner_values():
    near = np.arange(-1, 2)
    powers = 1 << np.array([0, 3, 8, 13, 16, 17, 24, 30, 31])
    values = np.concatenate([sign * p + near for p in powers for sign in (1, -1)])
    return np.unique(np.clip(values, *INT32))


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_corners_at_all_shifts(multiplier):
    """Powers of two and neighbours, both signs, all shifts."""
    check(corner_values()[:, None], multiplier, np.arange(32))


@pytest.mark.parametrize("constants", [
    {"zero": 0, "low": -128, "high": 127},
    {"zero": 127, "low": -128, "high": 127},
    {"zero": -128, "low": -128, "high": 127},
    {"zero": -128, "low": -128, "high": -128},
    {"zero": 127, "low": 127, "high": 127},
    {"zero": 5, "low": 5, "high": 96},
])  # fmt: skip
def test_random_results_in_range(constants):
    """Random operands whose results lie near the byte range, so that clamping is not everything."""
    rng = np.random.default_rng(constants["zero"] & 0xFF)
    shift = rng.integers(0, 32, 1500)
    multiplier = rng.integers(1 << 30, 1 << 31, 1500)
    target = rng.uniform(-600, 600, 1500)
    x = np.clip(np.round(target * 2.0**shift * 2.0**31 / multiplier), *INT32).astype(np.int64)
    check(x, multiplier, shift, **constants)


def test_random_operands():
    rng = np.random.default_rng(1)
    check(
        rng.integers(INT32[0], INT32[1] + 1, 1500),
        rng.integers(0, 1 << 31, 1500),
        rng.integers(0, 32, 1500),
    )


def test_ties_go_away_from_zero():
    """x * 2**30 rounds to x/2; with shift s, x = (2k+1) * 2**s is a tie of the second rounding."""
    k, shift = np.meshgrid(np.arange(-34, 34), np.arange(1, 23))
    check((2 * k + 1) << shift, 1 << 30, shift)
    assert expected(np.array([6, -6]), 1 << 30, 1, 0, -128, 127).tolist() == [2, -2]


def test_ties_of_the_first_rounding():
    """Odd x with multiplier 2**30: x/2 is a tie that always goes up; then every small shift."""
    x, shift = np.meshgrid(np.arange(-301, 302, 2), np.arange(4))
    check(x, 1 << 30, shift)
