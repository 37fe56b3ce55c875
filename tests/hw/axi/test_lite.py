import random

import pytest
from amaranth.sim import Simulator
from termac.arch import Field, Layout, load_config
from termac.arch.registers import (
    COUNTERS,
    ID,
    LOG_ENTRIES,
    REGISTERS,
    VERSION,
    Access,
    ErrorCode,
    Register,
)
from termac_hw.axi.lite import AxiLiteRegisters

from tests.hw.axi.master import OKAY, SLVERR, AxiMaster, Read, Write

CONFIG = load_config("tiny")
MAPPED = {register.offset: register for register in REGISTERS.values()}
INPUTS = ("busy", "done", "error_layer", "layer", "cycles", *COUNTERS, "log_cycles")


def simulate(bench, *, stall):
    dut = AxiLiteRegisters(CONFIG)
    master = AxiMaster(dut, "s_axil", lite=True, stall=stall, seed=1)
    pulses = []

    async def watch(ctx):
        while True:
            _, _, start, clear = await ctx.tick().sample(dut.start, dut.clear)
            if start or clear:
                pulses.append((start, clear))

    async def run(ctx):
        await bench(ctx, dut, master, pulses)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    master.attach(sim)
    sim.add_testbench(watch, background=True)
    sim.add_testbench(run)
    sim.run()


async def read(ctx, master, offset):
    transaction = master.read(Read(offset, 1))
    await master.drained(ctx)
    return transaction.responses[0], transaction.data[0]


async def write(ctx, master, offset, value, strobe=15):
    transaction = master.write(Write(offset, [(value, strobe)]))
    await master.drained(ctx)
    return transaction.response


@pytest.mark.parametrize("stall", [0, 0.6])
def test_reset_values(stall):
    async def bench(ctx, dut, master, pulses):
        for register in REGISTERS.values():
            expected = register.reset_value(CONFIG)
            assert await read(ctx, master, register.offset) == (OKAY, expected), register.name
        assert REGISTERS["ID"].reset == ID == int.from_bytes(b"TRMC", "big")
        assert REGISTERS["VERSION"].unpack(REGISTERS["VERSION"].reset) == {
            "major": VERSION[0],
            "minor": VERSION[1],
        }
        assert REGISTERS["CONFIG_HASH"].reset_value(CONFIG) == CONFIG.hash32
        assert not pulses

    simulate(bench, stall=stall)


@pytest.mark.parametrize("stall", [0, 0.6])
def test_inputs_are_readable(stall):
    rng = random.Random(2)

    async def bench(ctx, dut, master, pulses):
        for code in ErrorCode:
            values = {}
            for name in INPUTS:
                port = getattr(dut, name)
                values[name] = rng.getrandbits(len(port))
                ctx.set(port, values[name])
            ctx.set(dut.error, code.value)
            for name in INPUTS[2:]:
                reply = await read(ctx, master, REGISTERS[name.upper()].offset)
                assert reply == (OKAY, values[name]), name
            _, status = await read(ctx, master, REGISTERS["STATUS"].offset)
            assert REGISTERS["STATUS"].unpack(status) == {
                "busy": values["busy"],
                "done": values["done"],
                "error": code != ErrorCode.NONE,
            }
            _, error = await read(ctx, master, REGISTERS["ERROR"].offset)
            assert error == code

    simulate(bench, stall=stall)


@pytest.mark.parametrize("stall", [0, 0.6])
def test_random_accesses(stall):
    """Every offset, mapped or not, against a model; strobes included."""
    rng = random.Random(3)

    async def bench(ctx, dut, master, pulses):
        model = {r.offset: r.reset_value(CONFIG) for r in REGISTERS.values()}
        offsets = [*MAPPED, 0x028, 0x03C, 0x070, 0x200, 0xFFC]
        for _ in range(300):
            offset, value, strobe = rng.choice(offsets), rng.getrandbits(32), rng.getrandbits(4)
            register = MAPPED.get(offset)
            unaligned = offset + rng.randrange(4)
            if rng.random() < 0.5:
                status, data = await read(ctx, master, unaligned)
                assert status == (SLVERR if register is None else OKAY)
                assert data == model.get(offset, 0)
                continue
            count = len(pulses)
            status = await write(ctx, master, unaligned, value, strobe)
            await ctx.tick()
            if register is None or register.access is Access.READ_ONLY:
                assert status == SLVERR
                assert len(pulses) == count
                continue
            assert status == OKAY
            mask = sum(255 << 8 * byte for byte in range(4) if strobe >> byte & 1)
            if register.access is Access.PULSE:
                actions = value & mask & 3
                assert pulses[count:] == ([(actions & 1, actions >> 1)] if actions else [])
            else:
                kept = (1 << register.fields.width) - 1
                model[offset] = ((value & mask) | (model[offset] & ~mask)) & kept
        assert ctx.get(dut.program) == model[REGISTERS["PROGRAM"].offset]
        assert ctx.get(dut.watchdog) == model[REGISTERS["WATCHDOG"].offset]
        assert ctx.get(dut.log_index) == model[REGISTERS["LOG_INDEX"].offset]
        assert pulses, "the test never pulsed"

    simulate(bench, stall=stall)


def test_a_register_added_to_the_table_is_served(monkeypatch):
    rows = (
        Register("NEXT", 0x080, Access.READ_WRITE, Layout("next", (Field("value", 9),)), "", 5),
        Register("LOAD", 0x084, Access.READ_ONLY, Layout("load", (Field("value", 20),)), ""),
        Register("ACT", 0x088, Access.PULSE, Layout("act", (Field("go", 1), Field("end", 1))), ""),
    )
    for register in rows:
        monkeypatch.setitem(REGISTERS, register.name, register)

    async def bench(ctx, dut, master, pulses):
        ctx.set(dut.load, 0xABCDE)
        assert await read(ctx, master, 0x080) == (OKAY, 5)
        assert await write(ctx, master, 0x080, 0xFFF) == OKAY
        assert await read(ctx, master, 0x080) == (OKAY, 0x1FF)
        assert ctx.get(dut.next) == 0x1FF
        assert await read(ctx, master, 0x084) == (OKAY, 0xABCDE)
        assert await write(ctx, master, 0x084, 1) == SLVERR
        assert (len(dut.go), len(dut.end)) == (1, 1)
        assert await write(ctx, master, 0x088, 2) == OKAY
        assert not pulses, "another register's pulses"

    simulate(bench, stall=0)


def test_many_writes_in_flight():
    """Addresses and data that run ahead of each other stay paired."""

    async def bench(ctx, dut, master, pulses):
        for index in range(100):
            name = ("PROGRAM", "WATCHDOG", "LOG_INDEX")[index % 3]
            master.write(Write(REGISTERS[name].offset, [(index % LOG_ENTRIES, 15)]))
            master.read(Read(REGISTERS["ID"].offset, 1))
        await master.drained(ctx)
        assert ctx.get(dut.program) == 99 % LOG_ENTRIES
        assert ctx.get(dut.watchdog) == 97 % LOG_ENTRIES
        assert ctx.get(dut.log_index) == 98 % LOG_ENTRIES

    simulate(bench, stall=0.7)


def test_start_pulses_once_however_long_the_response_waits():
    async def bench(ctx, dut, master, pulses):
        master.stall = 0.95
        for _ in range(5):
            assert await write(ctx, master, REGISTERS["CONTROL"].offset, 1) == OKAY
        await ctx.tick()
        assert pulses == [(1, 0)] * 5

    simulate(bench, stall=0.95)
