"""Bench that runs programs, good and bad, and tells how each ended."""

import json
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import Timer, ValueChange, with_timeout
from termac.arch import Config
from termac_sim.exchange import parameters
from termac_sim.host import PERIOD, SimulatedHost

REGISTERS = ("ERROR", "ERROR_LAYER", "LAYER", "CYCLES")


@cocotb.test
async def run_programs(dut):
    """Parameters: ``config`` (its fields), ``limit`` (cycles of any program), ``result`` (JSON to
    write) and ``programs``, a list with for each: ``writes`` (address in the memory window, words),
    ``registers`` (name -> value), ``overrun`` (layer in which drain 0 is made to report one, or
    null), ``output`` (address, activation words), ``log`` (entries).
    """
    job = parameters()
    host = SimulatedHost(dut, Config(**job["config"]))
    await host.reset()
    results = []
    for program in job["programs"]:
        for address, words in program["writes"]:
            await host.bus.write_words(address, np.array(words, np.uint32))
        for name, value in program["registers"].items():
            await host.write(name, value=value)
        await host.start()
        if program["overrun"] is not None:
            await _overrun(host, program["overrun"])
        await with_timeout(host.idle(), job["limit"] * PERIOD, "ns")
        found = {name: await host.read(name) for name in REGISTERS}
        found |= {"status": await host.status(), "log": []}
        for index in range(program["log"]):
            await host.write("LOG_INDEX", value=index)
            found["log"].append(await host.read("LOG_CYCLES"))
        output = await host.read_activations(*program["output"])
        results.append(found | {"output": output.tolist()})
    Path(job["result"]).write_text(json.dumps(results))


async def _overrun(host, wanted):
    """In the middle of a layer, after the flags of the one before have been cleared."""
    layer = host.bus.handle("sequencer.layer")
    while layer.value.to_unsigned() != wanted:
        await ValueChange(layer)
    await Timer(40 * PERIOD, unit="ns")
    host.bus.handle("drain_0.assembler.overrun").value = 1
