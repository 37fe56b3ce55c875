"""The term-pair cell, its feeder and its row end, against integer dot products."""

import random
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from termac.arch import load_config
from termac.arch.cells import DATA_TERMS, TERMS, TERMS_AHEAD
from termac_hw.array import Array
from termac_hw.cells import cell_kind
from termac_hw.cells.term_encoder import UNUSED, TermEncoder
from termac_hw.cells.term_pair import Feeder, RowEnd, TermPairCell
from termac_hw.emit import WAIVERS, write_verilog
from termac_hw.memory.bank import ActivationBank
from termac_sim.launch import verilator_folder

from tests.hw.cells.bench import Chain, data_word, weight_words


def make_config(lanes=8, shared_rows=1, **changes):
    return replace(
        load_config("tiny"), cell="term_pair", columns=16 if lanes < 4 else 8, rows=8, segments=4,
        lanes=lanes, shared_rows=shared_rows, **changes,
    )  # fmt: skip


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("lanes", "shared_rows", "terms", "data_terms", "half"),
    [(8, 1, 8, 3, 0), (8, 2, 5, 4, 1), (4, 1, TERMS, 2, 0), (1, 1, 1, 4, 1), (16, 1, 3, 1, 1)],
)
def test_a_row_of_cells_is_a_dot_product(lanes, shared_rows, terms, data_terms, half):
    """Vectors back to back, with weights in one half of the memory and rubbish in the other."""
    config = make_config(lanes, shared_rows)
    chain, layout = Chain(config), config.weight_layout
    columns = config.columns
    rng = random.Random(lanes)
    beats = terms * data_terms
    time = beats + rng.randrange(3)
    extremes = [[-128] * lanes, [127] * lanes, [0] * lanes]
    weights = [
        [weight_words(layout, [rng.randint(-128, 127) for _ in range(lanes)], terms)
         for _ in range(shared_rows)]
        for _ in range(columns)
    ]  # fmt: skip
    vectors = [
        [data_word(rng.choice([[-255] * lanes, [255] * lanes, [0] * lanes])
                   if number < 3 else [rng.randint(-255, 255) for _ in range(lanes)], data_terms)
         for _ in range(columns)]
        for number in range(8)
    ]  # fmt: skip
    weights[0] = [weight_words(layout, extremes[row], terms) for row in range(shared_rows)]
    wanted = [
        [sum(np.dot(vector[c][1], weights[c][row][1]) for c in range(columns))
         for row in range(shared_rows)]
        for vector in vectors
    ]  # fmt: skip
    results = []

    async def bench(ctx):
        ctx.set(chain.terms, terms)
        group = chain.group
        for place in range(TERMS):
            index = place - half * TERMS_AHEAD
            for step in range(columns + 1):
                ctx.set(group.shift, step < columns)
                ctx.set(group.store, step == columns)
                ctx.set(group.place, place)
                if step < columns:
                    cells = weights[columns - 1 - step]
                    words = [
                        words[index] if 0 <= index < terms else rng.getrandbits(layout.width)
                        for words, _ in cells
                    ]
                    ctx.set(group.weights, sum(
                        word << layout.width * row for row, word in enumerate(words)
                    ))  # fmt: skip
                await ctx.tick()
        ctx.set(group.shift, 0)
        ctx.set(group.store, 0)
        arrival = columns + 3  # of the first beat at the row ends, after the load of column 0
        for cycle in range(len(vectors) * time + arrival + columns):
            for column, feeder in enumerate(chain.feeders):
                number, step = divmod(cycle - column, time)
                load = step == 0 and 0 <= number < len(vectors)
                ctx.set(feeder.load, load)
                ctx.set(feeder.token, half if load else rng.getrandbits(1))
                if load:
                    ctx.set(feeder.word.as_value(), vectors[number][column][0])
            number, step = divmod(cycle - arrival, time)
            valid = 0 <= number < len(vectors)
            for end in chain.ends:
                ctx.set(end.first, valid and step == 0)
                ctx.set(end.last, valid and step == beats - 1)
            await ctx.tick()
            if valid and step == beats - 1:
                results.append([ctx.get(end.result) for end in chain.ends])

    simulate(chain, bench)
    assert results == wanted


def test_cell_adds_every_product_of_terms_to_any_sum():
    config = make_config(lanes=2)
    cell, layout = TermPairCell(config), config.weight_layout
    width = cell_kind("term_pair").lane_bundle_width(config)
    limit = 1 << (config.sum_width - 1)
    room = 1 << 15
    rng = random.Random(1)
    weights = [
        (lane, negative, exponent, used)
        for lane in (0, 1) for negative in (0, 1) for exponent in range(8) for used in (1, 0)
    ]  # fmt: skip
    # One data term in the lane looked at, the other lane contradicts it.
    cases = [
        (weight, exponent, negative)
        for weight in weights for exponent in [*range(9), UNUSED] for negative in (0, 1)
    ]  # fmt: skip
    rng.shuffle(cases)
    seen, wanted = [], []

    async def bench(ctx):
        stored = None
        for (lane, weight_negative, weight_exponent, used), exponent, negative in cases:
            word = layout.pack_one(
                lane=lane, negative=weight_negative, exponent=weight_exponent, used=used
            )
            if word != stored:
                stored = word
                ctx.set(cell.weight_in, [word])
                ctx.set(cell.shift, 1)
                await ctx.tick()
                ctx.set(cell.shift, 0)
                ctx.set(cell.store, 1)
                ctx.set(cell.place, 11)
                await ctx.tick()
                ctx.set(cell.store, 0)
            term = exponent | negative << 4
            bundle = term << 5 * lane | (term ^ 21) << 5 * (1 - lane) | 11 << 10
            before = rng.choice([room - limit, limit - 1 - room, rng.randrange(-room, room)])
            ctx.set(cell.lanes_in, bundle)
            await ctx.tick()
            assert ctx.get(cell.lanes_out) == bundle & (1 << width) - 1
            await ctx.tick()
            ctx.set(cell.sum_in, [before])
            await ctx.tick()
            seen.append(ctx.get(cell.sum_out[0]))
            product = 0 if exponent == UNUSED or not used else 1 << exponent + weight_exponent
            wanted.append(before + (-product if weight_negative ^ negative else product))

    simulate(cell, bench)
    assert seen == wanted


def test_sums_never_overflow():
    """Every beat, and every vector of most beats, at the largest product of terms."""
    for columns in (8, 16, 64, 128):
        config = replace(make_config(), columns=columns)
        assert (1 << 15) * columns < 1 << (config.sum_width - 1)
        worst = (1 << 15) * columns * TERMS * DATA_TERMS
        assert worst < 1 << (config.result_width - 1)


@pytest.mark.parametrize("centred", [0, 1])
def test_bank_encodes_relative_to_the_padding_value(centred):
    """The padding value is the zero point: centred, padding has no terms. Two cycles later."""
    config = make_config(lanes=4)
    bank = ActivationBank(config)
    rng = random.Random(3)
    values = [rng.randint(-128, 127) for _ in range(4)]
    zero = -17
    base = {"address": 5, "segment": 2, "token": 1, "residual": 0, "word": 0, "phase": 0}
    width = cell_kind("term_pair").lane_bundle_width(config)

    async def bench(ctx):
        ctx.set(bank.pad, zero)
        ctx.set(bank.terms, 3)
        ctx.set(bank.centred, centred)
        ctx.set(bank.host_write.enable, 15)
        ctx.set(bank.host_write.address, 5)
        ctx.set(bank.host_write.data, int.from_bytes(np.int8(values).tobytes(), "little"))
        await ctx.tick()
        ctx.set(bank.host_write.enable, 0)
        for pad in (0, 1):
            ctx.set(bank.request, base | {"load": 1, "pad": pad})
            await ctx.tick()
            ctx.set(bank.request, base | {"load": 0, "pad": 0})
            await ctx.tick().repeat(bank.LATENCY - 1 + config.kind.feed_delay)
            offset = zero if centred else 0
            stored = [zero if pad else value for value in values]
            word, _ = data_word([value - offset for value in stored], DATA_TERMS)
            for beat in range(12):
                lanes = ctx.get(bank.lanes) >> 2 * width & (1 << width) - 1
                terms = [word >> 5 * (DATA_TERMS * lane + beat // 3) & 31 for lane in range(4)]
                wanted = sum(term << 5 * lane for lane, term in enumerate(terms))
                # The sign of no term is of no importance.
                mask = sum((15 if term & 15 == UNUSED else 31) << 5 * lane
                           for lane, term in enumerate(terms))  # fmt: skip
                assert lanes & mask == wanted & mask, (pad, beat)
                assert lanes >> 20 == TERMS_AHEAD + beat % 3
                await ctx.tick()

    simulate(bank, bench)


@pytest.mark.parametrize("part", [TermEncoder, Feeder, RowEnd, Array, ActivationBank])
def test_verilog_has_no_lint_warnings(tmp_path, part):
    component = part(make_config(shared_rows=2))
    write_verilog(component, tmp_path / "part.v")
    run = subprocess.run(
        [verilator_folder() / "verilator", "--lint-only", "-Wall", "--top-module",
         component.module_name, WAIVERS.name, "part.v"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
