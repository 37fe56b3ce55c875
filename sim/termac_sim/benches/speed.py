"""Bench that measures how many clock cycles a second the simulator manages."""

from __future__ import annotations

import time

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from termac_sim.exchange import parameters, report_progress
from termac_sim.host import PERIOD, Host


def _report(cycles: int, seconds: float) -> None:
    report_progress(cycles, cycles, f"{cycles / seconds:.0f}")


@cocotb.test
async def free_run(dut):
    """A design that drives itself: nothing but the clock. Parameters: ``cycles``, ``busy``."""
    cycles = parameters()["cycles"]
    dut.busy.value = parameters()["busy"]
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns", impl="gpi").start()
    await Timer(5 * PERIOD, unit="ns")
    dut.rst.value = 0
    await Timer(500 * PERIOD, unit="ns")
    before = dut.parity.value
    started = time.process_time()
    await Timer(cycles * PERIOD, unit="ns")
    _report(cycles, time.process_time() - started)
    if not parameters()["busy"]:
        assert dut.parity.value == before


@cocotb.test
async def core(dut):
    """The accelerator runs a program; the bench waits for the end.

    Parameters: ``memories`` (path -> words), ``input`` (npy), ``input_base``, ``banks``, ``runs``.
    """
    job = parameters()
    host = Host(dut)
    await host.reset()
    for path, words in job["memories"].items():
        await host.load(path, words)
    cycles, seconds = 0, 0.0
    for _ in range(job["runs"]):
        await host.write_activations(job["input_base"], np.load(job["input"]), job["banks"])
        started = time.process_time()
        await host.write("CONTROL", start=1)
        if not dut.busy.value:
            await RisingEdge(dut.busy)
        await FallingEdge(dut.busy)
        seconds += time.process_time() - started
        assert await host.read("ERROR") == 0
        cycles += await host.read("CYCLES")
    _report(cycles, seconds)
