"""Bench that runs a network, image by image, and keeps what every layer wrote."""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer, ValueChange
from termac.arch.registers import ERROR_TEXT, ErrorCode

from termac_sim.exchange import parameters, report_progress
from termac_sim.host import PERIOD, Host


@cocotb.test
async def run_network(dut):
    """Parameters: ``job`` (npz), ``memories`` (path -> words), ``layers`` (per layer: base, words),
    ``output`` (base, words), ``input_base``, ``banks``, ``width``, ``result`` (npz to write).
    """
    job = parameters()
    banks, width = job["banks"], job["width"]
    inputs = np.load(job["job"])["inputs"]
    host = Host(dut)
    await host.reset()
    for path, words in job["memories"].items():
        await host.load(path, words)

    layers = job["layers"]
    kept = [[] for _ in layers]
    outputs, totals, counters = [], [], []
    ends = np.zeros((len(inputs), job["descriptors"]), np.int64)
    for number, image in enumerate(inputs):
        await host.write_activations(job["input_base"], image, banks)
        await host.write("CONTROL", start=1)
        if not dut.busy.value:
            await RisingEdge(dut.busy)
        if layers:
            await _follow(dut, host, layers, kept, banks, width)
        else:
            await FallingEdge(dut.busy)
        await Timer(PERIOD, unit="ns")
        code = ErrorCode(await host.read("ERROR"))
        if code != ErrorCode.NONE:
            layer = await host.read("ERROR_LAYER")
            raise AssertionError(f"{code.name} in layer {layer}: {ERROR_TEXT[code]}")
        outputs.append(host.read_activations(*job["output"], banks, width))
        totals.append(await host.read("CYCLES"))
        counters.append(
            [await host.read(name) for name in ("ISSUE", "STALL_WEIGHTS", "SETUP", "DRAIN")]
        )
        if number == 0:  # the log does not depend on the data
            for index in range(min(job["descriptors"], 64)):
                await host.write("LOG_INDEX", value=index)
                ends[:, index] = await host.read("LOG_CYCLES")
        report_progress(number + 1, len(inputs), "images")
    Path(job["result"]).parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        job["result"],
        output=np.stack(outputs),
        totals=np.array(totals, np.int64),
        counters=np.array(counters, np.int64),
        ends=ends,
        **{f"layer_{index}": np.stack(words) for index, words in enumerate(kept)},
    )


async def _follow(dut, host, layers, kept, banks, width):
    """Wait for the end of the run; read each layer's output as soon as it is complete."""
    layer = host.handle("sequencer.layer")
    end = FallingEdge(dut.busy)
    done = 0
    watched = {entry["after"]: index for index, entry in enumerate(layers)}
    while True:
        trigger = await First(ValueChange(layer), end)
        await Timer(1, unit="ps")
        now = layer.value.to_unsigned()
        while done < now:
            done += 1
            if done in watched:
                index = watched[done]
                entry = layers[index]
                kept[index].append(
                    host.read_activations(entry["base"], entry["words"], banks, width)
                )
        if trigger is end or not dut.busy.value:
            return
