"""Runs inside the simulator: drives the counter array and its memory."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from termac_sim.exchange import parameters, report_progress


async def start(dut):
    dut.start.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await Timer(35, unit="ns")
    dut.rst.value = 0


@cocotb.test
async def counts(dut):
    """The sums are what the steps in the memory add up to, in every row."""
    rows, columns = parameters()["rows"], parameters()["columns"]
    await start(dut)
    expected = 0
    for run in range(3):
        steps = [random.randrange(16) for _ in range(16)]
        for address, step in enumerate(steps):
            dut.steps[address].value = step
        dut.start.value = 1
        await Timer(10, unit="ns")
        dut.start.value = 0
        await RisingEdge(dut.done)
        await Timer(10 * (columns + 4), unit="ns")
        expected += sum(steps)
        word = dut.sums.value.to_unsigned()
        assert [word >> 8 * row & 255 for row in range(rows)] == [expected * columns % 256] * rows
        report_progress(run + 1, 3, f"run {run}")


@cocotb.test
async def public_handles(dut):
    """What was listed is there, and nothing else is."""
    for name in ("clk", "rst", "start", "done", "sums", "steps", "phase"):
        assert hasattr(dut, name), name
    assert not hasattr(dut, "busy")
    assert dut.row_1.cell_2.count.value.to_unsigned() >= 0
    assert not hasattr(dut.row_1.cell_2, "step")


@cocotb.test
async def fails(dut):
    """For the tests of error reports."""
    raise AssertionError("seven is not eight")


@cocotb.test
async def never_ends(dut):
    """For the tests of what happens to a simulator whose parent is killed."""
    print("simulating", flush=True)
    while True:
        await Timer(1, unit="us")
