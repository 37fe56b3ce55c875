"""An AXI master for Amaranth's simulator: every channel runs on its own, with random stalls."""

import random
from dataclasses import dataclass, field

__all__ = ["OKAY", "SLVERR", "AxiMaster", "Read", "Write", "burst_addresses"]

OKAY, SLVERR = 0, 2
FIXED, INCR, WRAP = 0, 1, 2


@dataclass
class Write:
    """A write burst: beats are (data, strobe). ``response`` is filled in."""

    address: int
    beats: list
    size: int = 2
    kind: int = INCR
    id: int = 0
    response: int | None = None


@dataclass
class Read:
    """A read burst. ``data`` and ``responses`` are filled in, one per beat."""

    address: int
    length: int
    size: int = 2
    kind: int = INCR
    id: int = 0
    data: list = field(default_factory=list)
    responses: list = field(default_factory=list)


def burst_addresses(address, length, size, kind):
    """Beat addresses by the formulas of the AXI specification, section "Burst address"."""
    step = 1 << size
    aligned = address // step * step
    if kind == FIXED:
        return [address] * length
    addresses = [address] + [aligned + n * step for n in range(1, length)]
    if kind == WRAP:
        low = address // (step * length) * (step * length)
        high = low + step * length
        addresses = [a if a < high else a - step * length for a in addresses]
    return addresses


class AxiMaster:
    """Drives the interface ``prefix`` of ``dut``. With ``lite``, bursts are single beats, no IDs.

    ``stall`` is the probability that a channel pauses in a cycle.
    """

    def __init__(self, dut, prefix, *, lite=False, stall=0.5, seed=0):
        self.dut, self.prefix, self.lite, self.stall = dut, prefix, lite, stall
        self.random = random.Random(seed)
        self.writes, self.reads = [], []
        self.addresses, self.data, self.requests = [], [], []

    def port(self, name):
        return getattr(getattr(self.dut, self.prefix), name)

    def write(self, write):
        self.writes.append(write)
        self.addresses.append(write)
        last = len(write.beats) - 1
        self.data += [(data, strobe, i == last) for i, (data, strobe) in enumerate(write.beats)]
        return write

    def read(self, read):
        self.reads.append(read)
        self.requests.append(read)
        return read

    @property
    def pending(self):
        return len(self.writes) + len(self.reads)

    async def drained(self, ctx, limit=100_000):
        """Wait until everything has been answered."""
        for _ in range(limit):
            if not self.pending:
                return
            await ctx.tick()
        raise AssertionError(f"{self.pending} transactions were not answered in {limit} cycles")

    def attach(self, sim):
        for process in (self._aw, self._w, self._b, self._ar, self._r):
            sim.add_testbench(process, background=True)

    def _pause(self):
        return self.random.random() < self.stall

    async def _send(self, ctx, channel, queue, present):
        while True:
            if not queue or self._pause():
                await ctx.tick()
                continue
            for name, value in present(queue[0]).items():
                ctx.set(self.port(channel + name), value)
            ctx.set(self.port(channel + "valid"), 1)
            await ctx.tick().until(self.port(channel + "ready"))
            ctx.set(self.port(channel + "valid"), 0)
            queue.pop(0)

    def _address(self, item):
        if self.lite:
            return {"addr": item.address}
        length = item.length if isinstance(item, Read) else len(item.beats)
        return {
            "addr": item.address, "len": length - 1, "size": item.size, "burst": item.kind,
            "id": item.id,
        }  # fmt: skip

    async def _aw(self, ctx):
        await self._send(ctx, "aw", self.addresses, self._address)

    async def _ar(self, ctx):
        await self._send(ctx, "ar", self.requests, self._address)

    async def _w(self, ctx):
        def present(beat):
            values = {"data": beat[0], "strb": beat[1]}
            return values if self.lite else values | {"last": beat[2]}

        await self._send(ctx, "w", self.data, present)

    async def _receive(self, ctx, channel, names, accept):
        """Take replies at random times; a reply that is not taken must stay as it is."""
        held = None
        ports = [self.port(channel + name) for name in names]
        while True:
            ready = not self._pause()
            ctx.set(self.port(channel + "ready"), ready)
            _, _, valid, *values = await ctx.tick().sample(self.port(channel + "valid"), *ports)
            if held is not None:
                assert valid, f"{channel}valid fell without ready"
                assert values == held, f"{channel} changed without ready"
            held = values if valid and not ready else None
            if valid and ready:
                accept(dict(zip(names, values, strict=True)))

    async def _b(self, ctx):
        def accept(reply):
            write = self.writes.pop(0)
            write.response = reply["resp"]
            if not self.lite:
                assert reply["id"] == write.id

        await self._receive(ctx, "b", ["resp"] if self.lite else ["resp", "id"], accept)

    async def _r(self, ctx):
        def accept(reply):
            read = self.reads[0]
            read.data.append(reply["data"])
            read.responses.append(reply["resp"])
            if not self.lite:
                assert reply["id"] == read.id
                assert reply["last"] == (len(read.data) == read.length)
            if len(read.data) == read.length:
                self.reads.pop(0)

        names = ["data", "resp"] if self.lite else ["data", "resp", "id", "last"]
        await self._receive(ctx, "r", names, accept)
