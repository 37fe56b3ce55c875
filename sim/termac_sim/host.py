"""The host's side of a simulated accelerator, for benches: reset, registers, backdoor memories.

Registers go through the real AXI4-Lite port. Memories are read and written by backdoor, which
costs no simulated time; that the AXI4 window does the same is what the AXI bench shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadWrite, RisingEdge, Timer
from numpy.typing import NDArray
from termac.arch import PARAMETER, Config
from termac.arch.memory_map import MemoryMap
from termac.arch.records import SCALE
from termac.device.host import Bus, Host

__all__ = ["PERIOD", "Backdoor", "SimulatedHost", "memory_contents"]

PERIOD = 10
"""Clock period in nanoseconds of simulated time."""


def memory_contents(config: Config, name: str, entries: NDArray[np.uint32]) -> dict[str, list[int]]:
    """What a region's entries are in the memories of the core, by path below the top module.

    Parameters
    ----------
    name : of the region
    entries : uint32 [words, groups, parts]
    """
    if name == "program":
        return {"sequencer.words": _integers(entries[:, 0])}
    if name == "taps":
        return {"engine.taps": _integers(entries[:, 0])}
    if name == "activations":
        data = np.ascontiguousarray(entries[:, 0], "<u4").view(np.uint8)
        banked = data[:, : config.word_bytes].reshape(-1, config.banks, config.lanes)
        return {f"bank_{b}.words": _integers(banked[:, b]) for b in range(config.banks)}
    groups = range(config.drains)
    if name == "weights":
        return {f"weights_{g}.words": _integers(entries[:, g]) for g in groups}
    values = PARAMETER.unpack(entries)
    scales = SCALE.pack({field.name: values[field.name] for field in SCALE.fields})
    biases = values["bias"] & 0xFFFFFFFF
    return {
        **{f"drain_{g}.accumulator.biases": biases[:, g].tolist() for g in groups},
        **{f"drain_{g}.accumulator.scales": _integers(scales[:, g]) for g in groups},
    }


def _integers(entries: NDArray[np.unsignedinteger]) -> list[int]:
    """Entries [n, parts] as one integer each."""
    return [int.from_bytes(entry.tobytes(), "little") for entry in entries]


class Backdoor:
    """A :class:`termac.device.host.Bus`: registers by AXI4-Lite, memories by backdoor.

    Parameters
    ----------
    dut : cocotb handle of the top module
    config : Config
    """

    def __init__(self, dut: Any, config: Config) -> None:
        self.dut = dut
        self.config = config
        self.map = MemoryMap(config)

    def _pin(self, name: str) -> Any:
        return getattr(self.dut, f"s_axil_{name}")

    async def write_register(self, offset: int, value: int) -> None:
        """Write a register through AXI4-Lite."""
        self._pin("awaddr").value = offset
        self._pin("wdata").value = value
        self._pin("wstrb").value = 15
        self._pin("bready").value = 1
        waiting = {"aw", "w"}
        for channel in waiting:
            self._pin(f"{channel}valid").value = 1
        answered = False
        while waiting or not answered:
            await RisingEdge(self.dut.clk)
            for channel in list(waiting):
                if self._pin(f"{channel}ready").value:
                    waiting.discard(channel)
                    self._pin(f"{channel}valid").value = 0
            if self._pin("bvalid").value:
                answered = True
                if int(self._pin("bresp").value):
                    raise AssertionError(f"writing register {offset:#x} was answered with an error")
        await Timer(1, unit="ns")
        self._pin("bready").value = 0

    async def read_register(self, offset: int) -> int:
        """Read a register through AXI4-Lite."""
        self._pin("araddr").value = offset
        self._pin("arvalid").value = 1
        self._pin("rready").value = 1
        while True:
            await RisingEdge(self.dut.clk)
            if self._pin("arready").value:
                self._pin("arvalid").value = 0
            if self._pin("rvalid").value:
                if int(self._pin("rresp").value):
                    raise AssertionError(f"reading register {offset:#x} was answered with an error")
                value = int(self._pin("rdata").value)
                break
        await Timer(1, unit="ns")
        self._pin("rready").value = 0
        return value

    async def write_words(self, address: int, words: NDArray[np.uint32]) -> None:
        """Write whole entries of a region."""
        region, first = self.map.entry(address)
        contents = memory_contents(self.config, region.name, region.entries(words))
        for path, values in contents.items():
            await self.fill(path, values, first)

    async def read_words(self, address: int, count: int) -> NDArray[np.uint32]:
        """Read whole words of the activation memory."""
        region, first = self.map.entry(address)
        assert region.name == "activations"
        width = self.config.lanes
        data = np.empty((4 * count // region.word_stride, self.config.word_bytes), np.uint8)
        for bank in range(self.config.banks):
            memory = self.handle(f"bank_{bank}.words")
            read = b"".join(
                memory[first + index].value.to_unsigned().to_bytes(width, "little")
                for index in range(len(data))
            )
            data[:, bank * width : (bank + 1) * width] = np.frombuffer(read, np.uint8).reshape(
                -1, width
            )
        return self.map.pack_activations(data, first)[0].words

    async def fill(self, path: str, words: Iterable[int], base: int = 0) -> None:
        """Write a memory; ``path`` as in ``bank_0.words``."""
        memory = self.handle(path)
        for index, word in enumerate(words):
            memory[base + index].value = word
            if index % 1024 == 1023:
                await ReadWrite()
                await Timer(1, unit="ps")
        await Timer(1, unit="ps")

    def handle(self, path: str) -> Any:
        """Handle of an internal by its path below the top module."""
        found = self.dut
        for name in path.split("."):
            found = getattr(found, name)
        return found


class SimulatedHost(Host):
    """A host that waits for the pin ``busy`` instead of polling.

    Parameters
    ----------
    dut : cocotb handle of the top module
    config : Config
    bus : default: :class:`Backdoor`
    """

    def __init__(self, dut: Any, config: Config, bus: Bus | None = None) -> None:
        super().__init__(bus or Backdoor(dut, config), config)
        self.dut = dut

    async def reset(self) -> None:
        """Drive every input, start the clock, and release the reset after some cycles."""
        for name in dir(self.dut):
            if name.startswith(("s_axil_", "s_axi_")) and _is_input(name):
                getattr(self.dut, name).value = 0
        self.dut.rst.value = 1
        self.dut.clk.value = 0
        Clock(self.dut.clk, PERIOD, unit="ns", impl="gpi").start()
        await Timer(5 * PERIOD + 1, unit="ns")
        self.dut.rst.value = 0
        await Timer(2 * PERIOD, unit="ns")

    async def start(self) -> None:
        """Start the program; returns when it runs."""
        await super().start()
        if not self.dut.busy.value:
            await RisingEdge(self.dut.busy)

    async def idle(self) -> None:
        """Return a cycle after the program has ended."""
        if self.dut.busy.value:
            await FallingEdge(self.dut.busy)
        await Timer(PERIOD, unit="ns")


def _is_input(name: str) -> bool:
    channel = name.split("_")[-1]
    if channel.startswith(("aw", "ar", "w")):
        return not channel.endswith("ready")
    return channel in ("bready", "rready")
