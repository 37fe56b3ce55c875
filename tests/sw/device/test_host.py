"""The host over a bus that is nothing but NumPy: memories, registers, and the interpreter."""

import asyncio

import numpy as np
import pytest
from termac.arch import load_config
from termac.arch.memory_map import MemoryMap
from termac.arch.registers import COUNTERS, LOG_ENTRIES, REGISTERS, ErrorCode
from termac.arch.timing import END_OVERHEAD, PROGRAM_OVERHEAD
from termac.compile import compile_graph
from termac.device.host import Host
from termac.errors import DeviceError, InputError
from termac.graph import golden

from tests.sw.interpreter import Interpreter
from tests.sw.random_graphs import random_graph, random_input

OFFSETS = {register.offset: name for name, register in REGISTERS.items()}


class FakeBus:
    """An accelerator that computes with the interpreter and takes as long as predicted.

    Members
    -------
    window : uint32, all words of the memory window
    values : by register name
    polls : STATUS reads that find a started program busy
    """

    def __init__(self, image, code=ErrorCode.NONE):
        self.image, self.code = image, code
        self.map = MemoryMap(image.config)
        self.window = np.zeros(1 << self.map.address_width - 2, np.uint32)
        self.values = dict.fromkeys(REGISTERS, 0)
        self.polls = 0

    async def read_register(self, offset):
        name = OFFSETS[offset]
        if name == "STATUS" and self.polls:
            self.polls -= 1
            return REGISTERS[name].pack(busy=1)
        if name == "LOG_CYCLES":
            return self.ends[self.values["LOG_INDEX"]]
        return self.values[name]

    async def write_register(self, offset, value):
        self.values[OFFSETS[offset]] = value
        if OFFSETS[offset] == "CONTROL" and value & 1:
            self._run()

    async def read_words(self, address, count):
        assert address % 4 == 0
        return self.window[address // 4 : address // 4 + count].copy()

    async def write_words(self, address, words):
        assert address % 4 == 0
        self.window[address // 4 : address // 4 + len(words)] = words

    def _run(self):
        """Run what lies in the window, and say it took as long as the layers are predicted to."""
        for blocks in self.image.blocks().values():
            for block in blocks:
                found = self.window[block.address // 4 :][: len(block.words)]
                np.testing.assert_array_equal(found, block.words)
        machine = Interpreter(self.image)
        region = self.map.activations
        words = self.window[region.base // 4 :][: region.words << region.beat_width]
        machine.activations[:] = self.map.unpack_activations(words).view(np.uint8)
        for _ in machine.run():
            pass
        (block,) = self.map.pack_activations(machine.activations)
        self.window[block.address // 4 :][: len(block.words)] = block.words
        self.polls = 3
        self.values["ERROR"], self.values["ERROR_LAYER"] = int(self.code), 2
        self.values["CYCLES"] = self.image.cycles
        for number, name in enumerate(COUNTERS):
            self.values[name.upper()] = 100 + number
        self.ends = []
        end = PROGRAM_OVERHEAD
        for layer in self.image.layers:
            # Only the sum of a layer's descriptors is known: the first takes one cycle each.
            cycles = [1] * (layer.descriptors - 1)
            for part in [*cycles, layer.cycles - sum(cycles)]:
                end += part
                self.ends.append(end)
        assert end + END_OVERHEAD == self.image.cycles


@pytest.fixture(scope="module", params=["square", "term-pair"])
def image(request):
    return compile_graph(random_graph(2), load_config(request.param))


def test_a_run_from_loading_to_the_output(image):
    bus = FakeBus(image)
    host = Host(bus, image.config)
    x = random_input(image.graph, 1)

    async def run():
        await host.load(image)
        stored = await host.store_input(image, x)
        np.testing.assert_array_equal(
            await host.read_activations(image.input.base, image.input.words), stored
        )
        await host.start()
        assert (await host.status())["busy"]
        await host.wait()
        assert bus.polls == 0
        return await host.read_tensor(image.output)

    expected = golden.run(image.graph, x[None])[image.graph.output][0]
    np.testing.assert_array_equal(asyncio.run(run()), expected)
    assert asyncio.run(host.layer_cycles(image)).tolist() == [n.cycles for n in image.layers]
    assert asyncio.run(host.counters()) == {name: 100 + i for i, name in enumerate(COUNTERS)}
    assert asyncio.run(host.read("CYCLES")) == image.cycles


def test_an_error_names_its_code_and_layer(image):
    host = Host(FakeBus(image, ErrorCode.ADDRESS), image.config)

    async def run():
        await host.load(image)
        await host.start()
        await host.wait()

    with pytest.raises(DeviceError, match=r"ADDRESS in layer 2: a program, weight, parameter, tap"):
        asyncio.run(run())


def test_registers_are_written_field_by_field(image):
    bus = FakeBus(image)
    host = Host(bus, image.config)
    asyncio.run(host.write("WATCHDOG", value=77))
    asyncio.run(host.write("CONTROL", clear=1))
    assert (bus.values["WATCHDOG"], bus.values["CONTROL"]) == (77, 2)
    with pytest.raises(ValueError, match=r"log_index.value is 64"):
        asyncio.run(host.write("LOG_INDEX", value=LOG_ENTRIES))


def test_an_input_of_another_shape_is_refused(image):
    host = Host(FakeBus(image), image.config)
    with pytest.raises(InputError, match="shape must be"):
        asyncio.run(host.store_input(image, np.zeros((1, 1, 1), np.int8)))


def test_layers_beyond_the_log_have_no_cycles(image, monkeypatch):
    bus = FakeBus(image)
    monkeypatch.setattr("termac.device.host.LOG_ENTRIES", 1)
    host = Host(bus, image.config)
    asyncio.run(host.load(image))
    asyncio.run(host.start())
    found = asyncio.run(host.layer_cycles(image)).tolist()
    wanted = [layer.cycles if layer.last_descriptor < 1 else 0 for layer in image.layers]
    assert found == wanted
    assert 0 in found
