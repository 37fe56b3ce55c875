"""Bench that measures how many clock cycles a second the simulator manages."""

from __future__ import annotations

import time

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import Timer
from termac.image import load_image

from termac_sim.exchange import parameters, report_progress
from termac_sim.host import PERIOD, SimulatedHost


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

    Parameters: ``image`` (folder), ``input`` (npy: int8 [height, width, channels]), ``runs``.
    """
    job = parameters()
    image = load_image(job["image"])
    host = SimulatedHost(dut, image.config)
    await host.reset()
    await host.load(image)
    cycles, seconds = 0, 0.0
    for _ in range(job["runs"]):
        await host.store_input(image, np.load(job["input"]))
        started = time.process_time()
        await host.start()
        await host.wait()
        seconds += time.process_time() - started
        cycles += await host.read("CYCLES")
    _report(cycles, seconds)
