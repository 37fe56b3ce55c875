"""The host's side of an accelerator: load an image, start it, wait, read tensors and counters.

Written once over a :class:`Bus`, for simulators, benches and boards. Methods are coroutines because
simulated time passes while a simulator answers; over a bus that answers at once,
:func:`asyncio.run` runs them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from termac.arch import Config
from termac.arch.memory_map import Block, MemoryMap
from termac.arch.registers import COUNTERS, ERROR_TEXT, LOG_ENTRIES, REGISTERS, ErrorCode
from termac.arch.timing import PROGRAM_OVERHEAD
from termac.errors import DeviceError
from termac.image import Image, Storage

__all__ = ["Bus", "Host"]


class Bus(Protocol):
    """A way to the two ports of an accelerator. Addresses and offsets count bytes."""

    async def read_register(self, offset: int) -> int:
        """Value of a register."""

    async def write_register(self, offset: int, value: int) -> None:
        """Write all 32 bits of a register."""

    async def read_words(self, address: int, count: int) -> NDArray[np.uint32]:
        """Consecutive words of the memory window, uint32 [count]; whole activation words."""

    async def write_words(self, address: int, words: NDArray[np.uint32]) -> None:
        """Write consecutive words, uint32 [n], into the memory window; whole entries."""


class Host:
    """Drives one accelerator.

    Parameters
    ----------
    bus : Bus
    config : Config
        That of the accelerator and of every image.
    """

    def __init__(self, bus: Bus, config: Config) -> None:
        self.bus = bus
        self.map = MemoryMap(config)

    async def read(self, name: str) -> int:
        """Value of a register."""
        return await self.bus.read_register(REGISTERS[name].offset)

    async def write(self, name: str, **fields: int) -> None:
        """Write the fields of a register; absent ones are 0."""
        register = REGISTERS[name]
        await self.bus.write_register(register.offset, register.pack(**fields))

    async def status(self) -> dict[str, int]:
        """Fields of STATUS: busy, done, error."""
        return REGISTERS["STATUS"].unpack(await self.read("STATUS"))

    async def store(self, blocks: list[Block]) -> None:
        """Write blocks of the memory map."""
        for block in blocks:
            await self.bus.write_words(block.address, block.words)

    async def load(self, image: Image) -> None:
        """Write everything but the input."""
        for blocks in image.blocks().values():
            await self.store(blocks)

    async def store_input(self, image: Image, x: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Write an input, int8 [height, width, channels]; returns its words, uint8 [words, W].

        Raises
        ------
        InputError
            If the shape or a value does not fit the input tensor.
        """
        words = image.store_input(x)
        await self.store(self.map.pack_activations(words, image.input.base))
        return words

    async def start(self) -> None:
        """Start the program."""
        await self.write("CONTROL", start=1)

    async def idle(self) -> None:
        """Return when no program runs."""
        while (await self.status())["busy"]:
            pass

    async def wait(self) -> None:
        """Wait until a started program has ended.

        Raises
        ------
        DeviceError
            If it ended in an error; names the error and the layer of the program.
        """
        await self.idle()
        code = ErrorCode(await self.read("ERROR"))
        if code != ErrorCode.NONE:
            layer = await self.read("ERROR_LAYER")
            raise DeviceError(f"{code.name} in layer {layer}: {ERROR_TEXT[code]}")

    async def read_activations(self, base: int, count: int) -> NDArray[np.uint8]:
        """Words of the activation memory, uint8 [count, W]."""
        region = self.map.activations
        words = await self.bus.read_words(region.address(base), count * region.word_stride // 4)
        return self.map.unpack_activations(words).view(np.uint8)

    async def read_tensor(self, storage: Storage) -> NDArray[np.int8]:
        """A tensor, int8 [height, width, channels], while it lives."""
        return storage.at(0).load(await self.read_activations(storage.base, storage.words))

    async def counters(self) -> dict[str, int]:
        """Cycles of the last run by what they were spent on, see :data:`COUNTERS`."""
        return {name: await self.read(name.upper()) for name in COUNTERS}

    async def layer_cycles(self, image: Image) -> NDArray[np.int64]:
        """Cycles of every layer in the last run, int64 [layers]; 0 where the log is too short."""
        ends = [PROGRAM_OVERHEAD]
        for index in range(min(image.layers[-1].last_descriptor + 1, LOG_ENTRIES)):
            await self.write("LOG_INDEX", value=index)
            ends.append(await self.read("LOG_CYCLES"))
        cycles = [
            ends[layer.last_descriptor + 1] - ends[layer.first_descriptor]
            if layer.last_descriptor < LOG_ENTRIES
            else 0
            for layer in image.layers
        ]
        return np.array(cycles, np.int64)
