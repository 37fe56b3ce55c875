"""The array, with row ends behind it, against Python dot products, on the exact cycle."""

import random
from dataclasses import replace

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from termac.arch import load_config
from termac_hw.array import Array
from termac_hw.cells import cell_kind
from termac_hw.emit import emit_verilog


def array_config(lanes, columns=8, segments=4, rows=8, shared_rows=1):
    return replace(
        load_config("tiny"), rows=rows, columns=columns, segments=segments, lanes=lanes,
        shared_rows=shared_rows,
    )  # fmt: skip


class Bench:
    """Streams tiles back to back through array and row ends and checks every vector.

    Vector v of a tile enters column 0 at ``start + v * time``; shadow weights are reloaded while
    the tile before streams, in the earliest (``late=False``) or the latest cycles allowed.
    """

    def __init__(self, config, *, planes, seed, late, tiles=3):
        self.config, self.planes, self.late = config, planes, late
        rng = random.Random(seed)
        rows, columns, lanes = config.rows, config.columns, config.lanes
        hop = config.segments // config.shared_rows
        self.time = max(planes, config.segments)
        self.vectors = -(-(2 * columns + hop) // self.time)  # fewest that hide the reload
        self.period = self.vectors * self.time
        low, high = -(1 << (planes - 1)), (1 << (planes - 1)) - 1
        self.weights = [
            [[(rng.randint(-128, 127), rng.randrange(lanes)) for _ in range(columns)]
             for _ in range(rows)]
            for _ in range(tiles)
        ]  # fmt: skip
        self.weights[-1][0] = [(-128, lanes - 1)] * columns
        self.weights[-1][1] = [(127, 0)] * columns
        self.inputs = [
            [[[rng.randint(low, high) for _ in range(lanes)] for _ in range(columns)]
             for _ in range(self.vectors)]
            for _ in range(tiles)
        ]  # fmt: skip
        self.inputs[-1][0] = [[low] * lanes] * columns
        self.inputs[-1][1] = [[high] * lanes] * columns

        self.array = Array(config)
        self.ends = [cell_kind(config.cell).RowEnd(config) for _ in range(rows)]
        self.top = Module()
        self.top.submodules.array = self.array
        for row, end in enumerate(self.ends):
            self.top.submodules[f"end_{row}"] = end
            self.top.d.comb += end.sum.eq(self.array.sums[row])

    def plane(self, n, column):
        """Bundle of a column ``n`` cycles after the first plane entered it."""
        tile, phase = divmod(n, self.period)
        vector, step = divmod(phase, self.time)
        if not 0 <= tile < len(self.inputs) or step >= self.planes:
            return 0
        values = self.inputs[tile][vector][column]
        bits = sum((x >> (self.planes - 1 - step) & 1) << i for i, x in enumerate(values))
        return bits | (phase == 0) << self.config.lanes

    def shift(self, t, start, drain):
        """(tile, word) that drain group shifts in at cycle t, or None."""
        config = self.config
        groups = config.segments // config.shared_rows
        for tile in range(len(self.weights)):
            swap = start + tile * self.period
            latest = swap + drain * groups - config.columns
            earliest = swap - self.period + config.columns + (drain + 1) * groups - 1
            assert earliest <= latest
            first = latest if self.late or tile == 0 else earliest
            if first <= t < first + config.columns:
                return tile, t - first
        return None

    async def run(self, ctx):
        config, layout = self.config, self.config.weight_layout
        start = config.columns
        array, compared = self.array, 0
        total = self.period * len(self.inputs)
        bundle_width = config.lanes + 1
        for t in range(start + total + config.columns + config.rows + 4):
            lanes = shift = weights = 0
            for column in range(config.columns):
                n = t - start - column
                if n >= 0:
                    lanes |= self.plane(n, column) << (column * bundle_width)
            for drain in range(config.drains):
                job = self.shift(t, start, drain)
                if job is None:
                    continue
                tile, step = job
                shift |= 1 << drain
                for row in range(drain * config.segments, (drain + 1) * config.segments):
                    value, lane = self.weights[tile][row][config.columns - 1 - step]
                    word = layout.pack_one(value=value, lane=lane)
                    weights |= word << (row * config.weight_width)
            ctx.set(array.lanes, lanes)
            ctx.set(array.shift, shift)
            ctx.set(array.weights, weights)
            for row, end in enumerate(self.ends):
                n = t - start - config.columns - 2 - row // config.shared_rows
                step = n % self.time if 0 <= n < total else self.time
                ctx.set(end.first, step == 0)
                ctx.set(end.last, step == self.planes - 1)
                n -= self.planes  # result: one cycle after the last plane's sum
                if 0 <= n < total and n % self.time == 0:
                    tile, vector = n // self.period, n % self.period // self.time
                    wanted = sum(
                        value * self.inputs[tile][vector][column][lane]
                        for column, (value, lane) in enumerate(self.weights[tile][row])
                    )
                    assert ctx.get(end.result) == wanted, (tile, vector, row)
                    compared += 1
            await ctx.tick()
        assert compared == config.rows * self.vectors * len(self.inputs)


def run(config, **options):
    bench = Bench(config, **options)
    simulator = Simulator(bench.top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    return bench


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("planes", range(1, 9))
def test_every_activation_width(planes, late):
    run(array_config(4), planes=planes, seed=planes, late=late)


@pytest.mark.parametrize("shared_rows", [1, 2])
@pytest.mark.parametrize(
    ("lanes", "columns", "segments"), [(1, 16, 4), (4, 8, 4), (8, 8, 8), (16, 8, 8)]
)
def test_every_shape(lanes, columns, segments, shared_rows):
    config = array_config(lanes, columns, segments, shared_rows=shared_rows)
    run(config, planes=8, seed=lanes, late=shared_rows == 2)


def test_reload_fits_into_the_stated_period():
    """Tiles of 2 C + S/shared_rows - 1 cycles at least: here exactly, with one-plane vectors."""
    config = array_config(4, columns=8, segments=4, rows=16, shared_rows=2)
    bench = Bench(config, planes=1, seed=5, late=False)
    bench.time, bench.vectors = 1, 2 * config.columns + 1
    bench.period = bench.vectors
    rng = random.Random(6)
    bench.inputs = [
        [[[rng.randint(-1, 0) for _ in range(4)] for _ in range(8)] for _ in range(bench.vectors)]
        for _ in bench.weights
    ]
    simulator = Simulator(bench.top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()


@pytest.mark.parametrize("shared_rows", [1, 2])
def test_verilog_has_each_module_once(shared_rows):
    config = array_config(8, rows=16, columns=16, segments=8, shared_rows=shared_rows)
    verilog = emit_verilog(Array(config))
    for module in ("termac_cell", "termac_row", "termac_array"):
        assert verilog.count(f"module {module}(") == 1
    assert verilog.count("  termac_cell ") == config.columns
    assert verilog.count("  termac_row ") == config.rows // shared_rows
    assert verilog.count("endmodule") == 3
    assert len(verilog) < 25_000
