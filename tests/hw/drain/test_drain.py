"""The drain lane against a plain model of it: random layers, every cycle of the ports driven."""

import numpy as np
import pytest
from termac.arch import Config, load_config
from termac.arch.records import vector_layout
from termac.arch.timing import DRAIN_LATENCY
from termac_hw.drain import Drain
from termac_hw.drain.delay_line import DelayLine
from termac_hw.emit import emit_verilog

from tests.hw.drain.bench import PLAIN, Bench, layer_vectors, random_lane, residual_layer

NARROW = Config(
    name="narrow", rows=8, columns=64, lanes=2, segments=8, activation_depth=64, weight_depth=64,
    parameter_depth=32, accumulator_depth=16, program_depth=64, tap_depth=64,
)  # fmt: skip
"""Four residual slices and write units per drain, two row tiles per word."""

CONFIGS = {"tiny": load_config("tiny"), "square": load_config("square"), "narrow": NARROW}


def check(config, layers, *, seed, **options):
    """Run layers and compare the writes of every unit, in order."""
    rng = np.random.default_rng(seed)
    lane = random_lane(config, rng)
    layers = [(layer(rng) if callable(layer) else layer, make(rng)) for layer, make in layers]
    bench = Bench(config, lane, layers, rng=rng, **options)
    written = bench.run()
    expected = []
    for layer, vectors in layers:
        for vector in vectors:
            word = lane.step(layer, vector)
            if word is not None:
                expected.append((vector.destination["address"], vector.destination["phase"], word))
    size = config.unit
    for unit in range(config.segments // size):
        got = [entry[1:] for entry in written if entry[0] == unit]
        want = [(a, p, word[unit * size : (unit + 1) * size]) for a, p, word in expected]
        assert want, "the test writes nothing"
        assert got == want
    assert not any(bench.overrun)
    return expected


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("gaps", [0, 1, 5])
def test_passes(name, gaps):
    """Back to back at S cycles per vector, and slower."""
    config = CONFIGS[name]
    expected = check(config, [
        (PLAIN, lambda rng: layer_vectors(config, rng, count=1, gaps=gaps, parameters=5)),
        (PLAIN, lambda rng: layer_vectors(config, rng, gaps=gaps, parameters=13)),
        (PLAIN, lambda rng: layer_vectors(config, rng, passes=1, gaps=gaps)
         + layer_vectors(config, rng, count=config.accumulator_depth, gaps=gaps)),
    ], seed=gaps)  # fmt: skip
    assert len({byte for _, _, word in expected for byte in word}) > 50


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("ahead", [False, True])
def test_residual(name, ahead):
    """Residual slices as late as allowed and 15 vectors ahead; layers without in between."""
    config = CONFIGS[name]
    expected = check(config, [
        (residual_layer, lambda rng: layer_vectors(config, rng, count=13, passes=1)),
        (PLAIN, lambda rng: layer_vectors(config, rng, count=5)),
        (residual_layer, lambda rng: layer_vectors(config, rng, count=15, passes=2, gaps=3)
         + layer_vectors(config, rng, count=9, passes=1, gaps=1)),
    ], seed=7, ahead=ahead)  # fmt: skip
    assert len({byte for _, _, word in expected for byte in word}) > 50


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("residual", [False, True])
def test_pooling(name, residual):
    config = CONFIGS[name]
    layer = residual_layer if residual else PLAIN
    check(config, [
        (layer, lambda rng: layer_vectors(config, rng, count=7, passes=2, pools=4)),
        (layer, lambda rng: layer_vectors(config, rng, count=3, passes=1, pools=9, gaps=2)),
        (layer, lambda rng: layer_vectors(config, rng, count=1, passes=1, pools=4)),
    ], seed=11)  # fmt: skip


def test_align_and_clamps():
    """Every output width; clamps of that width; zero points at both ends."""
    config = CONFIGS["tiny"]
    layers = []
    for align in range(8):
        limit = 128 >> align
        constants = {
            "align": align, "low": -limit, "high": limit - 1,
            "out_zero": -limit if align % 2 else limit - 1,
        }  # fmt: skip
        make = lambda rng: layer_vectors(config, rng, passes=1)  # noqa: E731
        layers.append((PLAIN | constants, make))
    check(config, layers, seed=3)


def test_sums_wrap():
    """Many passes of extreme results and biases at the ends of int32 wrap as int32 does."""
    config = CONFIGS["tiny"]
    rng = np.random.default_rng(5)
    lane = random_lane(config, rng)
    for parameter in lane.parameters:
        parameter["bias"] = int(rng.choice([(1 << 31) - 1, -(1 << 31)]))
        parameter["shift"] = 23
    vectors = layer_vectors(config, rng, count=8, passes=9, big=True)
    written = Bench(config, lane, [(PLAIN, vectors)], rng=rng).run()
    expected = [lane.step(PLAIN, vector) for vector in vectors]
    assert [entry[3] for entry in written] == [word for word in expected if word is not None]


def test_overrun():
    """A request that waits for longer than a vector time sets the sticky flag; clear resets it."""
    config = CONFIGS["tiny"]
    rng = np.random.default_rng(9)
    lane = random_lane(config, rng)
    vectors = layer_vectors(config, rng, count=8, passes=1)
    for vector in vectors:
        vector.destination["enable"] = 1
    bench = Bench(config, lane, [(PLAIN, vectors), (PLAIN, vectors[:1])], rng=rng, delays=40)
    bench.run()
    assert bench.overrun[0] == 0
    flagged = np.flatnonzero(np.diff(bench.overrun) > 0)
    cleared = np.flatnonzero(np.diff(bench.overrun) < 0)
    assert len(flagged) == 1
    assert len(cleared) == 1
    assert flagged[0] < cleared[0]


def test_latency_is_the_contract():
    assert Drain.LATENCY == DRAIN_LATENCY


def test_each_block_is_emitted_once():
    config = CONFIGS["narrow"]
    drain = Drain(config)
    verilog = emit_verilog(drain)
    assert verilog.count("module termac_requantizer(") == 1
    assert verilog.count("termac_requantizer ") == 2
    assert drain.vector.shape().size == vector_layout(config).width
    assert len(drain.write_valid) == 4
    assert len(drain.write_phase) == 1


def test_delay_line_rejects_lengths():
    for cycles in (2, 18):
        with pytest.raises(ValueError, match=f"must be 3 to 17 cycles, not {cycles}"):
            DelayLine.__init__(object(), 8, cycles=cycles)
