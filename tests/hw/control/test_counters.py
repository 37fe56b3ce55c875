"""Counters of a program and the log, against a model."""

import random

from amaranth.sim import Simulator
from termac.arch import load_config
from termac.arch.registers import COUNTERS, LOG_ENTRIES
from termac_hw.control.counters import Counters


def test_counters_count_while_active_and_layers_are_logged():
    counters, rng = Counters(load_config("tiny")), random.Random(0)
    model = dict.fromkeys(("cycles", *COUNTERS), 0)
    log = {}

    async def process(ctx):
        layer = 0
        for _ in range(1500):
            active, clear, ends = rng.random() < 0.9, rng.random() < 0.005, rng.random() < 0.1
            events = {name: rng.randrange(2) for name in COUNTERS}
            ctx.set(counters.active, active)
            ctx.set(counters.clear, clear)
            ctx.set(counters.layer, layer)
            ctx.set(counters.layer_ends, ends)
            for name, event in events.items():
                ctx.set(getattr(counters, f"count_{name}"), event)
            if ends:
                if layer < LOG_ENTRIES:
                    log[layer] = model["cycles"] + 1
                layer += 1
            await ctx.tick()
            for name in model:
                if clear:
                    model[name] = 0
                elif active:
                    model[name] += events.get(name, 1)
                assert ctx.get(getattr(counters, name)) == model[name]
        assert layer > LOG_ENTRIES, "the log must be full"
        ctx.set(counters.layer_ends, 0)
        for index in range(LOG_ENTRIES):
            ctx.set(counters.log_index, index)
            await ctx.tick().repeat(2)
            assert ctx.get(counters.log_cycles) == log[index]

    simulator = Simulator(counters)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
