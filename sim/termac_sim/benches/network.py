"""Bench that runs programs, image by image, and keeps what every layer wrote."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, First, Timer, ValueChange
from termac.arch.registers import COUNTERS
from termac.errors import DeviceError
from termac.image import load_image
from termac.image.verify import MOST_CYCLES

from termac_sim.exchange import parameters, report_progress
from termac_sim.host import SimulatedHost


@cocotb.test
async def run_networks(dut):
    """Parameters: ``programs``, a list with for each: ``image`` (folder), ``inputs`` (npy: int8
    [N, height, width, channels]), ``tensors`` (whether to keep every layer), ``result`` (npz to
    write). All images are of one configuration.

    Nothing is reset between programs: each finds the memories as the last one left them.
    """
    programs = parameters()["programs"]
    inputs = [np.load(program["inputs"]) for program in programs]
    images = [load_image(program["image"]) for program in programs]
    total, done = sum(map(len, inputs)), 0
    host = SimulatedHost(dut, images[0].config)
    await host.reset()
    for number, (program, image) in enumerate(zip(programs, images, strict=True)):
        await host.load(image)
        # A program that hangs ends in a named error.
        await host.write("WATCHDOG", value=min(2 * image.cycles, MOST_CYCLES))
        run = _Run(host, image, tensors=program["tensors"])
        for index, x in enumerate(inputs[number]):
            try:
                await run.sample(x)
            except DeviceError as error:
                raise AssertionError(f"program {number}, image {index}: {error}") from None
            done += 1
            report_progress(done, total, "images")
        np.savez(program["result"], **run.arrays())


class _Run:
    """One image and what its samples gave."""

    def __init__(self, host, image, *, tensors):
        self.host, self.image = host, image
        self.outputs, self.totals, self.counters = [], [], []
        self.kept: list[list[np.ndarray]] = [[] for _ in (image.layers if tensors else [])]

    async def sample(self, x):
        """Run one sample, int8 [height, width, channels]."""
        host, image = self.host, self.image
        await host.store_input(image, x)
        await host.start()
        if self.kept:
            await self._follow()
        await host.wait()
        self.outputs.append(await host.read_tensor(image.output))
        self.totals.append(await host.read("CYCLES"))
        self.counters.append(await host.counters())
        if len(self.outputs) == 1:  # the log does not depend on the data
            self.cycles = await host.layer_cycles(image)

    def arrays(self):
        """By name, for :func:`termac_sim.device.run_images`."""
        return {
            **{f"layer_{index}": np.stack(tensors) for index, tensors in enumerate(self.kept)},
            **{name: np.array([count[name] for count in self.counters]) for name in COUNTERS},
            "outputs": np.stack(self.outputs),
            "total_cycles": np.array(self.totals),
            "cycles": np.tile(self.cycles, (len(self.outputs), 1)),
        }

    async def _follow(self):
        """Wait for the end of the run; read each layer's output as soon as it is complete."""
        dut = self.host.dut
        layer = self.host.bus.handle("sequencer.layer")
        end = FallingEdge(dut.busy)
        done = 0
        watched = {info.last_descriptor + 1: i for i, info in enumerate(self.image.layers)}
        while True:
            trigger = await First(ValueChange(layer), end)
            await Timer(1, unit="ps")
            now = layer.value.to_unsigned()
            while done < now:
                done += 1
                if done in watched:
                    index = watched[done]
                    storage = self.image.layers[index].storage
                    self.kept[index].append(await self.host.read_tensor(storage))
            if trigger is end or not dut.busy.value:
                return
