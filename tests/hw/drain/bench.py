"""A drain lane's model, random layers for it, and a bench that drives every cycle of its ports."""

from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator
from termac.arch import PARAMETER, Config
from termac.graph.requantize import requantize
from termac_hw.drain import Drain

__all__ = ["PLAIN", "Bench", "Lane", "layer_vectors", "random_lane", "residual_layer"]

PLAIN = {
    "out_zero": 3, "low": -128, "high": 127, "residual": 0, "add_multiplier": 0x55555555,
    "add_shift": 9, "add_zero": -7, "add_low": -100, "add_high": 100, "align": 0,
}  # fmt: skip
"""Layer constants without residual; those of the addition must then have no effect."""


@dataclass
class Vector:
    """One vector of the schedule: its record, its S results and what belongs to them."""

    record: dict
    results: list[int]
    gap: int
    destination: dict = field(default_factory=dict)
    residual: list[int] = field(default_factory=list)


@dataclass
class Lane:
    """A drain lane's memories and what it computes, one vector at a time."""

    config: Config
    parameters: list[dict]
    tables: np.ndarray
    sums: dict = field(default_factory=dict)
    maxima: dict = field(default_factory=dict)

    def step(self, layer, vector):
        """Bytes (0..255) that the vector writes, or None."""
        record, written = vector.record, []
        for j, result in enumerate(vector.results):
            place = record["index"], j
            total = result + (0 if record["sum_first"] else self.sums[place])
            self.sums[place] = total
            if not record["sum_last"]:
                continue
            parameter = self.parameters[record["parameters"] + j]
            total = (total + parameter["bias"] + (1 << 31)) % (1 << 32) - (1 << 31)
            value = requantize(np.array(total), parameter["multiplier"], parameter["shift"])
            value = np.clip(value + layer["out_zero"], layer["low"], layer["high"])
            if layer["residual"]:
                total = self.tables[0][value & 255] + self.tables[1][vector.residual[j]]
                value = requantize(total, layer["add_multiplier"], layer["add_shift"])
                value = np.clip(value + layer["add_zero"], layer["add_low"], layer["add_high"])
            if not record["pool_first"]:
                value = max(int(value), self.maxima[place])
            self.maxima[place] = int(value)
            written.append(int(value) << layer["align"] & 255)
        return written if record["pool_last"] and vector.destination["enable"] and written else None


def layer_vectors(config, rng, *, count=6, passes=3, pools=1, gaps=0, parameters=0, big=False):
    """Vectors of one row tile and chunk: ``gaps`` more cycles than S at most per vector."""
    limit = 1 << (config.result_width - 1 if big else 12)
    vectors = []
    for pool in range(pools):
        for number in range(passes):
            gap = int(rng.integers(0, gaps + 1))
            for index in range(count):
                vectors.append(Vector(
                    record={
                        "index": index, "parameters": parameters,
                        "sum_first": int(number == 0), "sum_last": int(number == passes - 1),
                        "pool_first": int(pool == 0), "pool_last": int(pool == pools - 1),
                    },
                    results=rng.integers(-limit, limit, config.segments).tolist(),
                    gap=config.segments + gap,
                    destination={
                        "address": int(rng.integers(0, config.activation_depth)),
                        "phase": int(rng.integers(0, config.tiles_per_word)),
                        "enable": int(rng.random() < 0.9),
                    },
                    residual=rng.integers(0, 256, config.segments).tolist(),
                ))  # fmt: skip
    return vectors


def random_lane(config, rng):
    parameters = [
        {
            "bias": int(rng.integers(-(1 << 13), 1 << 13)),
            "multiplier": int(rng.integers(1 << 30, 1 << 31)),
            "shift": int(rng.integers(4, 8)),
        }
        for _ in range(config.parameter_depth)
    ]
    return Lane(config, parameters, rng.integers(-(1 << 29), 1 << 29, (2, 256)))


def residual_layer(rng):
    """Constants of a layer with residual; sums of table entries come to about +-200."""
    return PLAIN | {
        "residual": 1, "add_multiplier": int(rng.integers(1 << 30, 1 << 31)), "add_shift": 22,
        "low": -120, "high": 110,
    }  # fmt: skip


class Bench:
    """Drives the ports of one drain cycle by cycle. What is not valid is random."""

    def __init__(self, config, lane, layers, *, rng, delays=True, ahead=False):
        self.config, self.lane, self.layers, self.rng = config, lane, layers, rng
        self.delays, self.ahead = delays, ahead
        self.drain = Drain(config)
        self.written = []
        self.overrun = []

    def run(self):
        """List of (unit, address, phase, bytes of the unit) per write, in order."""
        sim = Simulator(self.drain)
        sim.add_clock(1e-8)
        sim.add_testbench(self._bench)
        sim.run()
        return self.written

    async def _bench(self, ctx):
        drain = self.drain
        for address, parameter in enumerate(self.lane.parameters):
            word = PARAMETER.pack_one(**parameter)
            await self._write(ctx, drain.parameter_write, address, word)
        for address, entry in enumerate(self.lane.tables.ravel().tolist()):
            await self._write(ctx, drain.table_write, address, entry)
        for layer, vectors in self.layers:
            ctx.set(drain.clear, 1)
            ctx.set(drain.layer, layer)
            await ctx.tick()
            ctx.set(drain.clear, 0)
            await self._layer(ctx, layer, vectors)

    async def _write(self, ctx, port, address, word):
        ctx.set(port.enable, 1)
        ctx.set(port.address, address)
        ctx.set(port.data, word)
        await ctx.tick()
        ctx.set(port.enable, 0)

    def _pushes(self, layer, vectors, starts):
        """Cycle -> list of (slice, bytes): as late as allowed, or 15 vectors ahead."""
        config, pushes = self.config, {}
        users = [n for n, v in enumerate(vectors) if v.record["sum_last"] and layer["residual"]]
        for slice_ in range(config.segments // config.unit):
            lead = 1 + int(self.rng.integers(0, 6))
            for order, number in enumerate(users):
                cycle = starts[number] + Drain.RESIDUAL_LATENCY - lead
                if self.ahead:
                    before = starts[users[order - 15]] if order >= 15 else -100
                    cycle = max(order, before + Drain.RESIDUAL_LATENCY + config.segments)
                part = slice(slice_ * config.unit, (slice_ + 1) * config.unit)
                word = int.from_bytes(bytes(vectors[number].residual[part]), "little")
                pushes.setdefault(cycle, []).append((slice_, word))
        return pushes

    async def _layer(self, ctx, layer, vectors):
        config, drain, rng = self.config, self.drain, self.rng
        segments, units = config.segments, config.segments // config.unit
        starts = (20 + np.cumsum([0] + [v.gap for v in vectors[:-1]])).tolist()
        pushes = self._pushes(layer, vectors, starts)
        current, bound = -1, 1 << (config.result_width - 1)
        wait = [0] * units
        for cycle in range(starts[-1] + Drain.LATENCY + 3 * segments):
            if current + 1 < len(starts) and starts[current + 1] == cycle:
                current += 1
                ctx.set(drain.vector, vectors[current].record)
                ctx.set(drain.start, 1)
            else:
                ctx.set(drain.start, 0)
            results = rng.integers(-bound, bound, segments).tolist()
            if current >= 0 and cycle - starts[current] < segments:
                row = cycle - starts[current]
                results[row] = vectors[current].results[row]
            ctx.set(drain.results, results)
            arrived = np.searchsorted(starts, cycle - Drain.LATENCY, side="right") - 1
            if arrived >= 0 and cycle - Drain.LATENCY - starts[arrived] < segments:
                ctx.set(drain.destination, vectors[arrived].destination)
            else:
                ctx.set(drain.destination, {"address": 1, "phase": 0, "enable": 1})
            ctx.set(drain.residual_push, 0)
            for slice_, word in pushes.get(cycle, ()):
                ctx.set(drain.residual_push, ctx.get(drain.residual_push) | 1 << slice_)
                ctx.set(drain.residual_data[slice_], word)
            self._grant(ctx, wait, units)
            self.overrun.append(ctx.get(drain.overrun))
            await ctx.tick()

    def _grant(self, ctx, wait, units):
        """Grant each request 0 .. S-1 cycles late (``delays``: random); note what it writes."""
        drain, ready = self.drain, 0
        valid = ctx.get(drain.write_valid)
        for unit in range(units):
            if not valid >> unit & 1:
                limit = self.config.segments if self.delays is True else self.delays + 1
                wait[unit] = int(self.rng.integers(0, limit)) if self.delays else 0
            elif wait[unit]:
                wait[unit] -= 1
            else:
                ready |= 1 << unit
                size = self.config.unit
                word = ctx.get(drain.write_data).to_bytes(self.config.segments, "little")
                self.written.append((
                    unit, ctx.get(drain.write_address), ctx.get(drain.write_phase),
                    list(word[unit * size : (unit + 1) * size]),
                ))  # fmt: skip
                wait[unit] = int(self.rng.integers(0, self.config.segments)) if self.delays else 0
        ctx.set(drain.write_ready, ready)
