"""The host's side of a simulated accelerator, for benches: reset, registers, backdoor memories.

Registers go through the real AXI4-Lite port. Memories are read and written by backdoor, which
costs no simulated time; that the AXI4 window does the same is what the AXI bench shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ReadWrite, RisingEdge, Timer
from numpy.typing import NDArray
from termac.arch.registers import REGISTERS

__all__ = ["PERIOD", "Host"]

PERIOD = 10
"""Clock period in nanoseconds of simulated time."""


class Host:
    """Talks to one accelerator.

    Parameters
    ----------
    dut : cocotb handle of the top module
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    def _pin(self, name: str) -> Any:
        return getattr(self.dut, f"s_axil_{name}")

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

    async def write(self, name: str, **fields: int) -> None:
        """Write a register through AXI4-Lite."""
        register = REGISTERS[name]
        self._pin("awaddr").value = register.offset
        self._pin("wdata").value = register.pack(**fields)
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
                    raise AssertionError(f"writing {name} was answered with an error")
        await Timer(1, unit="ns")
        self._pin("bready").value = 0

    async def read(self, name: str) -> int:
        """Read a register through AXI4-Lite."""
        self._pin("araddr").value = REGISTERS[name].offset
        self._pin("arvalid").value = 1
        self._pin("rready").value = 1
        while True:
            await RisingEdge(self.dut.clk)
            if self._pin("arready").value:
                self._pin("arvalid").value = 0
            if self._pin("rvalid").value:
                if int(self._pin("rresp").value):
                    raise AssertionError(f"reading {name} was answered with an error")
                value = int(self._pin("rdata").value)
                break
        await Timer(1, unit="ns")
        self._pin("rready").value = 0
        return value

    async def load(self, path: str, words: Iterable[int], base: int = 0) -> None:
        """Write a memory by backdoor; ``path`` as in ``bank_0.words``."""
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

    async def write_activations(self, base: int, words: NDArray[np.uint8], banks: int) -> None:
        """Write activation words, uint8 [count, word_bytes], into all banks."""
        width = words.shape[1] // banks
        for bank in range(banks):
            part = words[:, bank * width : (bank + 1) * width]
            await self.load(
                f"bank_{bank}.words",
                (int.from_bytes(word.tobytes(), "little") for word in part),
                base,
            )

    def read_activations(self, base: int, count: int, banks: int, width: int) -> NDArray[np.uint8]:
        """Read activation words: uint8 [count, banks * width]; ``width`` bytes of a bank."""
        result = np.empty((count, banks * width), np.uint8)
        for bank in range(banks):
            memory = self.handle(f"bank_{bank}.words")
            data = b"".join(
                memory[base + index].value.to_unsigned().to_bytes(width, "little")
                for index in range(count)
            )
            result[:, bank * width : (bank + 1) * width] = np.frombuffer(data, np.uint8).reshape(
                count, width
            )
        return result


def _is_input(name: str) -> bool:
    channel = name.split("_")[-1]
    if channel.startswith(("aw", "ar", "w")):
        return not channel.endswith("ready")
    return channel in ("bready", "rready")
