"""Bench that uses the accelerator as a host does: nothing but its two AXI ports.

Everything goes through independent bus masters (cocotbext-axi), most of it with random stalls on
all channels. Parameters of every test: ``image`` (folder) and ``inputs`` (npy: int8 [N, height,
width, channels]).
"""

from __future__ import annotations

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiMaster, AxiResp
from termac.arch import DESCRIPTOR, DESCRIPTOR_WORDS, HEADER, Opcode
from termac.arch.cells import DATA_TERMS, TERMS
from termac.arch.registers import ID, REGISTERS, VERSION, Access, ErrorCode
from termac.graph import golden
from termac.image import load_image

from termac_sim.exchange import parameters
from termac_sim.host import PERIOD, SimulatedHost


class WriteMonitor:
    """Counts the write handshakes (address and data) of both ports, also apart while busy."""

    def __init__(self, dut):
        self.total = self.while_busy = 0
        pairs = [
            (getattr(dut, f"{port}_{channel}valid"), getattr(dut, f"{port}_{channel}ready"))
            for port in ("s_axi", "s_axil")
            for channel in ("aw", "w")
        ]
        cocotb.start_soon(self._watch(dut, pairs))

    async def _watch(self, dut, pairs):
        while True:
            await RisingEdge(dut.clk)
            count = sum(bool(valid.value) and bool(ready.value) for valid, ready in pairs)
            self.total += count
            if dut.busy.value:
                self.while_busy += count


class Ports:
    """A :class:`termac.device.host.Bus`: both ports, through independent bus masters.

    Every access must be answered with OKAY.
    """

    def __init__(self, dut):
        self.window = AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)

    def stall(self, share):
        """Every channel pauses in that share of the cycles."""
        for master in (self.window, self.registers):
            for channel in (
                master.write_if.aw_channel, master.write_if.w_channel, master.write_if.b_channel,
                master.read_if.ar_channel, master.read_if.r_channel,
            ):  # fmt: skip
                channel.set_pause_generator(_pauses(share) if share else None)
                channel.pause = False

    async def read_register(self, offset):
        answer = await self.registers.read(offset, 4)
        assert answer.resp == AxiResp.OKAY, hex(offset)
        return int.from_bytes(answer.data, "little")

    async def write_register(self, offset, value):
        answer = await self.registers.write(offset, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, hex(offset)

    async def read_words(self, address, count):
        answer = await self.window.read(address, 4 * count)
        assert answer.resp == AxiResp.OKAY, hex(address)
        return np.frombuffer(answer.data, "<u4")

    async def write_words(self, address, words):
        answer = await self.window.write(address, np.ascontiguousarray(words, "<u4").tobytes())
        assert answer.resp == AxiResp.OKAY, hex(address)


class Driver(SimulatedHost):
    """A host with one image and its inputs, over :class:`Ports`."""

    bus: Ports

    def __init__(self, dut):
        job = parameters()
        self.image = load_image(job["image"])
        self.inputs = np.load(job["inputs"])
        self.expected = golden.run(self.image.graph, self.inputs)[self.image.graph.output]
        dut.rst.value = 1
        dut.clk.value = 0
        super().__init__(dut, self.image.config, Ports(dut))

    async def reset(self, *, stalls=0.0):
        """Start the clock and reset; every channel pauses in that share of the cycles."""
        dut = self.dut
        Clock(dut.clk, PERIOD, unit="ns", impl="gpi").start()
        await Timer(10 * PERIOD, unit="ns")
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await Timer(5 * PERIOD, unit="ns")
        self.bus.stall(stalls)

    async def write_input(self, number):
        return await self.store_input(self.image, self.inputs[number])

    async def check_output(self, number):
        found = await self.read_tensor(self.image.output)
        np.testing.assert_array_equal(found, self.expected[number])

    async def finish(self):
        """Start, and wait until the program has ended, well or not."""
        await self.start()
        await self.idle()

    async def run(self, number):
        """A good run, from input to output."""
        await self.write_input(number)
        await self.start()
        await self.wait()
        assert await self.status() == {"busy": 0, "done": 1, "error": 0}
        await self.check_output(number)


def _pauses(share):
    while True:
        yield random.random() < share


@cocotb.test
async def host_loads_runs_and_reads(dut):
    """Image and inputs through the window, start by register, poll, read; twice, with stalls."""
    driver = Driver(dut)
    await driver.reset(stalls=0.4)
    monitor = WriteMonitor(dut)
    await driver.load(driver.image)
    for number in range(len(driver.inputs)):
        written = await driver.write_input(number)
        back = await driver.read_activations(driver.image.input.base, len(written))
        np.testing.assert_array_equal(back, written)
        before = monitor.total
        await driver.write("CONTROL", start=1)
        await RisingEdge(dut.clk)
        assert monitor.total == before + 2
        polls = 0
        while (status := await driver.status())["busy"]:
            polls += 1
        assert polls > 5
        assert status == {"busy": 0, "done": 1, "error": 0}
        assert monitor.total == before + 2, "the host wrote something during the run"
        assert await driver.read("CYCLES") == driver.image.cycles
        await driver.check_output(number)
    assert monitor.while_busy == 0
    assert monitor.total > sum(
        len(block.words) for blocks in driver.image.blocks().values() for block in blocks
    )


@cocotb.test
async def memories_are_closed_while_busy(dut):
    """Every access to the window is refused during a run, and changes nothing."""
    driver = Driver(dut)
    await driver.reset(stalls=0.2)
    await driver.load(driver.image)
    await driver.write_input(0)
    await driver.start()
    refused = 0
    while dut.busy.value:
        for region in driver.map.regions:
            size = region.word_stride * random.randint(1, 3)
            start = region.base
            writes = await driver.bus.window.write(start, random.randbytes(size))
            reads = await driver.bus.window.read(start, size)
            if dut.busy.value:
                assert writes.resp == reads.resp == AxiResp.SLVERR, region.name
                assert not any(reads.data)
                refused += 1
            else:  # the run ended in between; the next one needs what was written here
                break
        if refused == 7:  # registers are open, a second start is ignored
            await driver.write("CONTROL", start=1, clear=1)
            first = await driver.read("CYCLES")
            assert (await driver.status())["busy"]
            assert await driver.read("CYCLES") > first > 0
            refused += 1
        if refused > 15:
            break
    assert refused > 15
    await driver.idle()
    assert await driver.read("CYCLES") == driver.image.cycles
    await driver.check_output(0)
    await driver.run(len(driver.inputs) - 1)  # with what was loaded before


@cocotb.test
async def registers_tell_the_truth(dut):
    """Identity, reset values, access rights, counters and the log of layers."""
    driver = Driver(dut)
    image, config = driver.image, driver.image.config
    await driver.reset(stalls=0.3)
    for name, register in REGISTERS.items():
        assert await driver.read(name) == register.reset_value(config) or name == "LOG_CYCLES"
    assert await driver.read("ID") == ID
    assert await driver.read("VERSION") == VERSION[0] << 16 | VERSION[1]
    assert await driver.read("CONFIG_HASH") == config.hash32
    for name, register in REGISTERS.items():
        if register.access is Access.READ_ONLY:
            answer = await driver.bus.registers.write(register.offset, b"\xff" * 4)
            assert answer.resp == AxiResp.SLVERR, name
        elif register.access is Access.READ_WRITE and name != "WATCHDOG":
            value = random.randrange(1 << register.fields.width)
            await driver.write(name, value=value)
            assert await driver.read(name) == value
            await driver.write(name, value=0)
    for offset in (0x07C, 0xFFC):
        assert (await driver.bus.registers.read(offset, 4)).resp == AxiResp.SLVERR
        assert (await driver.bus.registers.write(offset, bytes(4))).resp == AxiResp.SLVERR

    driver.bus.stall(0)
    await driver.load(driver.image)
    await driver.run(0)
    counters = await driver.counters()
    assert await driver.read("CYCLES") == image.cycles == sum(counters.values())
    assert all(counters.values())
    assert await driver.read("LAYER") == image.layers[-1].last_descriptor + 1
    cycles = await driver.layer_cycles(image)
    assert cycles.tolist() == [layer.cycles for layer in image.layers]
    await driver.write("CONTROL", clear=1)
    assert await driver.status() == {"busy": 0, "done": 0, "error": 0}


@cocotb.test
async def bad_programs_end_in_named_errors(dut):
    """Each bad program ends with its code; the good one runs right after it."""
    driver = Driver(dut)
    await driver.reset()
    await driver.load(driver.image)
    await driver.run(0)
    program = [int(word) for word in driver.image.program]
    codes = set()
    for name, changes, code, layer in _faults(driver.image):
        await driver.write_input(0)
        await driver.store(_words(driver, changes))
        await driver.finish()
        found = ErrorCode(await driver.read("ERROR"))
        assert found == code, f"{name}: {found.name}, not {code.name}"
        assert await driver.read("ERROR_LAYER") == layer, name
        assert await driver.status() == {"busy": 0, "done": 0, "error": 1}, name
        await driver.store(_words(driver, {index: program[index] for index in changes}))
        await driver.run(len(driver.inputs) - 1)
        codes.add(code)
    wanted = {ErrorCode.CONFIG, ErrorCode.OPCODE, ErrorCode.GEOMETRY, ErrorCode.ADDRESS}
    assert codes == (
        wanted if driver.image.config.cell == "bit_plane" else wanted | {ErrorCode.BUDGET}
    )


@cocotb.test
async def watchdog_and_program_address(dut):
    """The watchdog stops a program in its last cycle; PROGRAM chooses where it starts."""
    driver = Driver(dut)
    image, config = driver.image, driver.image.config
    await driver.reset()
    await driver.load(driver.image)
    await driver.run(0)
    for limit in (1, 2, 50, image.cycles // 2, image.cycles - 2, image.cycles - 1):
        await driver.write("WATCHDOG", value=limit)
        await driver.finish()
        assert await driver.read("ERROR") == ErrorCode.WATCHDOG, limit
        assert await driver.read("CYCLES") == limit
        assert await driver.status() == {"busy": 0, "done": 0, "error": 1}
        await driver.write("WATCHDOG", value=0)
        await driver.run(0)
    await driver.write("WATCHDOG", value=image.cycles)
    await driver.run(0)

    # Header and descriptors elsewhere: what they point to stays.
    count = 2 + DESCRIPTOR_WORDS * (image.layers[-1].last_descriptor + 1)
    place = len(image.program) + 3
    await driver.store(driver.map.pack_program(image.program[:count], place))
    await driver.store(_words(driver, {0: 0}))
    await driver.finish()
    assert await driver.read("ERROR") == ErrorCode.CONFIG
    await driver.write("PROGRAM", value=place)
    await driver.run(0)
    await driver.write("PROGRAM", value=config.program_depth)
    await driver.finish()
    assert await driver.read("ERROR") in (ErrorCode.ADDRESS, ErrorCode.CONFIG)
    await driver.write("PROGRAM", value=place)
    await driver.run(0)


def _words(driver, changes):
    """Blocks that write single program words."""
    return [
        block
        for index, word in changes.items()
        for block in driver.map.pack_program(np.array([word], np.uint32), index)
    ]


def _faults(image):
    """Bad programs: name, changed words (address -> word), error code, layer."""
    config, program = image.config, [int(word) for word in image.program]
    count = image.layers[-1].last_descriptor + 1
    last = count - 1

    def change(layer, **values):
        start = 1 + layer * DESCRIPTOR_WORDS
        words = {}
        for index, layout in enumerate(DESCRIPTOR, start):
            own = {name: value for name, value in values.items() if _has(layout, name)}
            if own:
                words[index] = layout.pack_one(**{**layout.unpack_one(program[index]), **own})
        return words

    header = HEADER.unpack_one(program[0])
    other = HEADER.pack_one(**{**header, "config": header["config"] ^ 1})
    yield "another configuration", {0: other}, ErrorCode.CONFIG, 0
    yield "no header", {0: HEADER.pack_one(opcode=Opcode.END)}, ErrorCode.CONFIG, 0
    yield "empty memory", {0: 0}, ErrorCode.CONFIG, 0
    for opcode in (0, 9, int(Opcode.HEADER)):
        yield f"opcode {opcode}", change(0, opcode=opcode), ErrorCode.OPCODE, 0
    yield "no end", {1 + count * DESCRIPTOR_WORDS: 0}, ErrorCode.OPCODE, count
    beats = [{"beats": 0}, {"beats": 9}]
    geometry = [
        {"time": config.segments - 1},
        {"last_time": config.segments - 1}, {"row_tiles": 0}, {"passes": 0}, {"vectors": 0},
        {"out_width": 0}, {"out_blocks": 0},
    ]  # fmt: skip
    budget = []
    if config.cell == "bit_plane":
        geometry += beats
    else:
        budget += beats
    if config.kind.terms:
        each = {"data_terms": 1} if config.kind.data_terms else {}
        budget += [
            {"terms": 0},
            {"terms": 0, "beats": 0},
            {"terms": TERMS + 1, "beats": TERMS + 1, **each},
        ]
    if config.kind.data_terms:
        budget += [
            {"data_terms": 0, "beats": 0},
            {"data_terms": DATA_TERMS + 1, "terms": 1, "beats": DATA_TERMS + 1},
        ]
    for code, changes in ((ErrorCode.GEOMETRY, geometry), (ErrorCode.BUDGET, budget)):
        for values in changes:
            for layer in sorted({0, last}):
                # Long enough that the time of a vector is right.
                given = {"time": 127, "last_time": 127, **values} if code is code.BUDGET else values
                yield f"{values} in layer {layer}", change(layer, **given), code, layer
    for values in (
        {"records": config.program_depth}, {"taps": config.tap_depth},
        {"weights": config.weight_depth}, {"parameters": config.parameter_depth},
        {"out_base": config.activation_depth}, {"in_origin": (1 << 19) - 1},
        {"in_origin": -(1 << 19)},
    ):  # fmt: skip
        for layer in sorted({0, last}):
            yield f"{values} in layer {layer}", change(layer, **values), ErrorCode.ADDRESS, layer
    added = next(
        index
        for index in range(count)
        if DESCRIPTOR[0].unpack_one(program[1 + index * DESCRIPTOR_WORDS])["residual"]
    )
    for values, code in (
        ({"table": config.program_depth - 511}, ErrorCode.ADDRESS),
        ({"residual_origin": -(1 << 19)}, ErrorCode.ADDRESS),
        ({"last_time": config.segments}, ErrorCode.GEOMETRY),
    ):
        yield f"{values} in layer {added}", change(added, **values), code, added


def _has(layout, name):
    return any(field.name == name for field in layout.fields)
