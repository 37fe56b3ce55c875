import gc
import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from termac.arch import Config, load_config
from termac.arch.memory_map import MemoryMap
from termac_hw.axi.memory import READ_LATENCY, AxiMemory

from tests.hw.axi.master import OKAY, SLVERR, AxiMaster, Read, Write, burst_addresses

ODD = Config(
    name="odd", rows=24, columns=24, lanes=8, segments=8, activation_depth=50, weight_depth=30,
    parameter_depth=9, program_depth=70, tap_depth=20,
)  # fmt: skip
"""Counts that are no powers of two: 3 drains, 6 beats a word, holes everywhere."""

CONFIGS = [replace(load_config("tiny"), activation_depth=256), ODD]


class Memories:
    """What stands behind the ports: {region: {(group, word): bits}}."""

    def __init__(self, dut, config):
        self.dut, self.config = dut, config
        self.map = MemoryMap(config)
        self.content = {region.name: {} for region in self.map.regions}

    def attach(self, sim):
        sim.add_testbench(self.run, background=True)

    async def run(self, ctx):
        dut = self.dut
        writes = {
            "program": dut.program_write, "taps": dut.tap_write, "weights": dut.weight_write,
            "parameters": dut.parameter_write, "activations": dut.activation_write,
        }  # fmt: skip
        names = ("enable", "address", "data")
        signals = [getattr(port, name) for port in writes.values() for name in names]
        late = [None] * (READ_LATENCY - 1)
        noise = random.Random(4)
        while True:
            _, _, reading, *values = await ctx.tick().sample(dut.activation_read, *signals)
            *ports, writing = zip(values[::3], values[1::3], values[2::3], strict=True)
            assert not (reading.enable and writing[0]), "one address port"
            late.append(
                self.content["activations"].get((0, reading.address), 0) if reading.enable else None
            )
            value = late.pop(0)
            if value is None:
                value = noise.getrandbits(8 * self.config.word_bytes)
            ctx.set(dut.activation_data, value)
            for name, (enable, address, word) in zip(writes, ports, strict=False):
                for group in range(getattr(self.map, name).groups):
                    if enable >> group & 1:
                        self.content[name][group, address] = word
            enable, address, word = writing
            if enable:
                old = self.content["activations"].get((0, address), 0)
                mask = sum(255 << 8 * i for i in range(self.config.word_bytes) if enable >> i & 1)
                self.content["activations"][0, address] = (word & mask) | (old & ~mask)


def simulate(config, bench, *, stall=0.5, seed=0):
    dut = AxiMemory(config)
    master = AxiMaster(dut, "s_axi", stall=stall, seed=seed)
    memories = Memories(dut, config)

    async def run(ctx):
        await bench(ctx, dut, master, memories)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    master.attach(sim)
    memories.attach(sim)
    sim.add_testbench(run)
    sim.run()


def full(words):
    return [(int(word), 15) for word in words]


def write_block(master, block, rng):
    """One block in bursts of random lengths."""
    writes, start = [], 0
    while start < len(block.words):
        length = rng.choice([1, 2, 3, 16, 100, 256])
        part = block.words[start : start + length]
        writes.append(
            master.write(Write(block.address + 4 * start, full(part), id=rng.randrange(16)))
        )
        start += length
    return writes


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("stall", [0, 0.5])
def test_packed_arrays_arrive(config, stall):
    """What MemoryMap packs is what the memories get: whole regions, holes and padding included."""
    rng, numbers = random.Random(5), np.random.default_rng(5)
    memory_map = MemoryMap(config)
    weights = numbers.integers(0, 1 << config.weight_width, (9, config.rows), dtype=np.uint64)
    program = numbers.integers(0, 1 << 32, 60, dtype=np.uint32)
    taps = numbers.integers(0, 1 << 32, 20, dtype=np.uint32)
    shape = (7, config.drains)
    bias = numbers.integers(-(1 << 31), 1 << 31, shape)
    multiplier = numbers.integers(0, 1 << 31, shape)
    shift = numbers.integers(0, 32, shape)
    data = numbers.integers(-128, 128, (11, config.word_bytes), dtype=np.int8)

    async def bench(ctx, dut, master, memories):
        blocks = [
            *memory_map.pack_program(program, 5),
            *memory_map.pack_taps(taps),
            *memory_map.pack_weights(weights, 3),
            *memory_map.pack_parameters(
                {"bias": bias, "multiplier": multiplier, "shift": shift}, 1
            ),
            *memory_map.pack_activations(data, 2),
        ]
        writes = [write for block in blocks for write in write_block(master, block, rng)]
        await master.drained(ctx)
        await ctx.tick()
        assert {write.response for write in writes} == {OKAY}
        content = memories.content
        assert content["program"] == {(0, 5 + i): int(w) for i, w in enumerate(program)}
        assert content["taps"] == {(0, i): int(w) for i, w in enumerate(taps)}
        grouped = weights.reshape(-1, config.drains, config.segments)
        for word, group in np.ndindex(*grouped.shape[:2]):
            entry = content["weights"].pop((group, 3 + word))
            for row, weight in enumerate(grouped[word, group]):
                stored = entry >> (row * config.weight_width) & ((1 << config.weight_width) - 1)
                assert stored == weight
        assert not content["weights"]
        assert content["parameters"] == {
            (g, 1 + i): (int(bias[i, g]) & 0xFFFF_FFFF)
            | int(multiplier[i, g]) << 32
            | int(shift[i, g]) << 64
            for i, g in np.ndindex(*shape)
        }
        region = memory_map.activations
        length = len(data) << region.beat_width
        reads = [
            master.read(Read(region.address(2) + 4 * start, min(33, length - start)))
            for start in range(0, length, 33)
        ]
        await master.drained(ctx)
        assert {response for read in reads for response in read.responses} == {OKAY}
        words = np.array([word for read in reads for word in read.data], np.uint32)
        np.testing.assert_array_equal(memory_map.unpack_activations(words), data)

    simulate(config, bench, stall=stall)


def random_burst(rng, low, high):
    """Address, length, size and type of a burst within [low, high)."""
    while True:
        size, kind = rng.choice([0, 1, 2, 2, 2]), rng.choice([0, 1, 1, 1, 2])
        length = rng.choice([2, 4, 8, 16] if kind == 2 else [1, 2, 3, 5, 16, 40])
        address = rng.randrange(low, high)
        if kind == 2:
            address &= ~((1 << size) - 1)
        addresses = burst_addresses(address, length, size, kind)
        if min(addresses) >= low and max(addresses) < high:
            return address, length, size, kind


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("stall", [0, 0.3, 0.8])
def test_activation_bytes_under_random_bursts(config, stall):
    """Random burst types, sizes, strobes and IDs against a byte array; reads at the same time."""
    rng = random.Random(6)
    memory_map = MemoryMap(config)
    region = memory_map.activations
    half, end = region.address(24), region.address(47) + region.word_stride
    depth = end - region.base

    def is_padding(address):
        return address % region.word_stride >= 4 * region.beats

    async def bench(ctx, dut, master, memories):
        model = bytearray(depth)
        for word in range(24):
            value = rng.getrandbits(region.width)
            memories.content["activations"][0, word] = value
            start = word * region.word_stride
            model[start : start + 4 * region.beats] = value.to_bytes(4 * region.beats, "little")
        checks = []
        for _ in range(60):
            address, length, size, kind = random_burst(rng, half, end)
            beats = []
            for beat in burst_addresses(address, length, size, kind):
                data, strobe = rng.getrandbits(32), 0
                for byte in range(beat, (beat >> size << size) + (1 << size)):
                    if rng.random() < 0.8:
                        strobe |= 1 << byte % 4
                        if not is_padding(byte):
                            model[byte - region.base] = data >> 8 * (byte % 4) & 255
                beats.append((data, strobe))
            checks.append(master.write(Write(address, beats, size, kind, rng.randrange(16))))
            address, length, size, kind = random_burst(rng, region.base, half)
            master.read(read := Read(address, length, size, kind, rng.randrange(16)))
            checks.append(read)
        await master.drained(ctx)
        words = [
            master.read(Read(region.base + start, 1 << region.beat_width))
            for start in range(0, depth, region.word_stride)
        ]
        await master.drained(ctx)
        for check in checks:
            if isinstance(check, Write):
                assert check.response == OKAY
                continue
            assert set(check.responses) == {OKAY}
            addresses = burst_addresses(check.address, check.length, check.size, check.kind)
            for address, data in zip(addresses, check.data, strict=True):
                start = address // 4 * 4 - region.base
                assert data == int.from_bytes(model[start : start + 4], "little")
        got = b"".join(data.to_bytes(4, "little") for read in words for data in read.data)
        assert got == bytes(model)

    simulate(config, bench, stall=stall)


@pytest.mark.parametrize("stall", [0, 0.5])
def test_holes_and_write_only_regions(stall):
    memory_map = MemoryMap(ODD)
    weights, parameters = memory_map.weights, memory_map.parameters
    assert weights.groups == 3
    holes = [
        memory_map.program.base + 4 * ODD.program_depth,
        memory_map.taps.base + 4 * ODD.tap_depth,
        weights.base + 3 * weights.group_stride,  # group 3 of 3
        weights.base + ODD.weight_depth * weights.word_stride,
        parameters.base + ODD.parameter_depth * parameters.word_stride,
        memory_map.activations.base + ODD.activation_depth * memory_map.activations.word_stride,
        5 * memory_map.region_size,
        (1 << memory_map.address_width) - 4,
    ]

    async def bench(ctx, dut, master, memories):
        assert all(memory_map.decode(address) is None for address in holes)
        writes = [master.write(Write(address, [(1, 15)])) for address in holes]
        reads = [master.read(Read(address, 3)) for address in holes]
        reads += [
            master.read(Read(region.base, 3))
            for region in memory_map.regions
            if region is not memory_map.activations
        ]
        await master.drained(ctx)
        assert all(write.response == SLVERR for write in writes)
        assert all(read.responses == [SLVERR] * 3 and read.data == [0] * 3 for read in reads)
        # A burst that runs out of its memory: what lies inside is served.
        last = memory_map.activations.address(ODD.activation_depth - 1)
        write = master.write(Write(last, full(range(1, 13))))
        await master.drained(ctx)
        read = master.read(Read(last, 12))
        await master.drained(ctx)
        assert write.response == SLVERR
        assert read.data == [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0]
        assert read.responses == [OKAY] * 8 + [SLVERR] * 4
        del memories.content["activations"]
        assert not any(memories.content.values())

    simulate(ODD, bench, stall=stall)


def test_entries_are_written_whole_or_not_at_all():
    memory_map = MemoryMap(ODD)
    region = memory_map.weights
    assert region.beats == 3

    async def bench(ctx, dut, master, memories):
        async def store(*writes):
            for address, beats in writes:
                master.write(Write(address, beats))
            done = list(master.writes)
            await master.drained(ctx)
            await ctx.tick()
            return [write.response for write in done]

        first, second, third = (region.address(4, 2, beat) for beat in range(3))
        content = memories.content["weights"]
        # Partial strobes, a last beat alone, beats in the wrong order.
        assert await store((first, [(1, 7)])) == [SLVERR]
        assert await store((third, [(1, 15)])) == [SLVERR]
        assert await store((second, full([1, 2]))) == [SLVERR]
        assert await store((first, full([1])), (third, full([2]))) == [OKAY, SLVERR]
        # Another memory in between.
        tap = memory_map.taps.address(0)
        assert await store(
            (first, full([1, 2])), (tap, full([5])), (third, full([3]))
        ) == [OKAY, OKAY, SLVERR]  # fmt: skip
        act = memory_map.activations.address(0)
        assert await store(
            (first, full([1, 2])), (act, full([5])), (third, full([3]))
        ) == [OKAY, OKAY, SLVERR]  # fmt: skip
        # A beat without strobes counts as not written.
        assert await store((first, [(1, 15), (2, 0), (3, 15)])) == [SLVERR]
        assert content == {}
        # Beats without strobes are no error; padding is ignored; bursts may end anywhere.
        assert await store((first, [(1, 0)] * 3)) == [OKAY]
        assert await store((first, full([1, 2])), (third, full([3, 9]))) == [OKAY, OKAY]
        assert content == {(2, 4): 1 | 2 << 32 | (3 << 64)}

    simulate(ODD, bench)


def test_everything_is_refused_while_busy():
    config = CONFIGS[0]
    memory_map = MemoryMap(config)

    async def bench(ctx, dut, master, memories):
        ctx.set(dut.busy, 1)
        writes = [master.write(Write(r.base, full([1, 2, 3, 4]))) for r in memory_map.regions]
        reads = [master.read(Read(r.base, 4)) for r in memory_map.regions]
        await master.drained(ctx)
        assert all(write.response == SLVERR for write in writes)
        assert all(read.responses == [SLVERR] * 4 and read.data == [0] * 4 for read in reads)
        ctx.set(dut.busy, 0)
        await ctx.tick().repeat(4)
        assert not any(memories.content.values())
        write = master.write(Write(memory_map.program.base, full([7])))
        await master.drained(ctx)
        await ctx.tick()
        assert write.response == OKAY
        assert memories.content["program"] == {(0, 0): 7}

    simulate(config, bench)


@pytest.mark.parametrize(
    ("size", "kind", "length"), [(3, 1, 2), (7, 1, 1), (2, 3, 2), (2, 2, 3), (2, 2, 32)]
)
def test_illegal_bursts_are_refused(size, kind, length):
    config = CONFIGS[0]
    base = MemoryMap(config).activations.base

    async def bench(ctx, dut, master, memories):
        write = master.write(Write(base, [(1, 15)] * length, size, kind))
        read = master.read(Read(base, length, size, kind))
        await master.drained(ctx)
        assert write.response == SLVERR
        assert read.responses == [SLVERR] * length
        assert not memories.content["activations"]

    simulate(config, bench)


def test_one_beat_per_cycle():
    config = CONFIGS[0]
    region = MemoryMap(config).activations

    async def bench(ctx, dut, master, memories):
        async def cycles():
            count = 0
            while master.pending:
                await ctx.tick()
                count += 1
            return count

        for i in range(2):
            master.write(Write(region.base + 1024 * i, full(range(256 * i, 256 * i + 256))))
        assert await cycles() <= 2 * 257 + 4
        reads = [master.read(Read(region.base + 1024 * i, 256)) for i in range(2)]
        assert await cycles() <= 2 * 257 + 6
        assert [data for read in reads for data in read.data] == list(range(512))

    simulate(config, bench, stall=0)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_id_width_is_checked():
    with pytest.raises(ValueError, match="ID width must be 1 to 32 bits, not 0"):
        AxiMemory(CONFIGS[0], id_width=0)
    gc.collect()  # the half-made component complains that it is unused: here, where it is expected
