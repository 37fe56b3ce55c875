"""Bench that runs programs, image by image, and keeps what every layer wrote."""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer, ValueChange
from termac.arch.registers import COUNTERS, ERROR_TEXT, LOG_ENTRIES, ErrorCode

from termac_sim.exchange import parameters, report_progress
from termac_sim.host import PERIOD, Host


@cocotb.test
async def run_networks(dut):
    """Parameters: ``banks``, ``width`` (bytes of a bank) and ``programs``, a list with for each:
    ``inputs`` (npy: uint8 [N, words, W]), ``input_base``, ``memories`` (path -> words),
    ``layers`` to keep (each: after which descriptor, base, words), ``output`` (base, words),
    ``descriptors``, ``watchdog`` (cycles), ``result`` (npz to write).

    Nothing is reset between programs: each finds the memories as the last one left them.
    """
    job = parameters()
    programs = job["programs"]
    inputs = [np.load(program["inputs"]) for program in programs]
    total, done = sum(map(len, inputs)), 0
    host = Host(dut)
    await host.reset()
    for number, (program, images) in enumerate(zip(programs, inputs, strict=True)):
        for path, words in program["memories"].items():
            await host.load(path, words)
        await host.write("WATCHDOG", value=program["watchdog"])
        run = _Run(host, program, job["banks"], job["width"])
        for image in images:
            where = f"program {number}, image {len(run.outputs)}"
            await run.image(image, where)
            done += 1
            report_progress(done, total, "images")
        run.save()


class _Run:
    """One program and what its images gave."""

    def __init__(self, host, program, banks, width):
        self.host, self.program = host, program
        self.banks, self.width = banks, width
        self.outputs, self.totals, self.counters = [], [], []
        self.kept: list[list[np.ndarray]] = [[] for _ in program["layers"]]
        self.ends = np.zeros(program["descriptors"], np.int64)

    async def image(self, image, where):
        """Run one image, uint8 [words, W]."""
        host, program, dut = self.host, self.program, self.host.dut
        await host.write_activations(program["input_base"], image, self.banks)
        await host.write("CONTROL", start=1)
        if not dut.busy.value:
            await RisingEdge(dut.busy)
        if program["layers"]:
            await self._follow()
        else:
            await FallingEdge(dut.busy)
        await Timer(PERIOD, unit="ns")
        code = ErrorCode(await host.read("ERROR"))
        if code != ErrorCode.NONE:
            layer = await host.read("ERROR_LAYER")
            raise AssertionError(f"{where}: {code.name} in layer {layer}: {ERROR_TEXT[code]}")
        self.outputs.append(self._read(*program["output"]))
        self.totals.append(await host.read("CYCLES"))
        self.counters.append([await host.read(name.upper()) for name in COUNTERS])
        if len(self.outputs) == 1:  # the log does not depend on the data
            for index in range(min(len(self.ends), LOG_ENTRIES)):
                await host.write("LOG_INDEX", value=index)
                self.ends[index] = await host.read("LOG_CYCLES")

    def save(self):
        path = Path(self.program["result"])
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"layer_{index}": np.stack(words) for index, words in enumerate(self.kept)}
        arrays |= {
            "output": np.stack(self.outputs),
            "totals": np.array(self.totals, np.int64),
            "counters": np.array(self.counters, np.int64),
            "ends": np.tile(self.ends, (len(self.outputs), 1)),
        }
        np.savez(path, **arrays)  # type: ignore[arg-type]

    def _read(self, base, words):
        return self.host.read_activations(base, words, self.banks, self.width)

    async def _follow(self):
        """Wait for the end of the run; read each layer's output as soon as it is complete."""
        layers, dut = self.program["layers"], self.host.dut
        layer = self.host.handle("sequencer.layer")
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
                    self.kept[index].append(self._read(entry["base"], entry["words"]))
            if trigger is end or not dut.busy.value:
                return
