"""Measures the simulation: seconds to build, clock cycles a second.

Usage: ``python scripts/bench_simulation.py [--config square] [--cycles 400000] [--fresh] [--json]``

(a) The bare array, driven by a generator in hardware, so that no Python runs between cycles: idle,
and busy with random activations in every cycle and new weights every 256 cycles.
(b) The complete core, running six dense convolutions while the bench waits for ``busy`` to fall.
Cycles are counted per second of processor time, so that other load does not count.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch import Config, load_config
from termac.compile import compile_graph
from termac.graph import Conv, Graph, Node, Tensor
from termac.image import save_image
from termac_hw.array import Array
from termac_hw.emit import emit_verilog, place
from termac_sim.build import build
from termac_sim.device import build_core
from termac_sim.runner import run_bench

__all__ = ["SelfDrivenArray", "dense_network", "measure_array", "measure_core"]

TARGETS = {"array": 150_000, "core": 60_000}
"""Cycles a second."""

LAYERS = 6


class SelfDrivenArray(wiring.Component):
    """The array with a random generator at its inputs; ``parity`` keeps its outputs alive."""

    module_name = "termac_self_driven_array"

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__({"busy": In(1), "parity": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        array = Array(config)
        m.submodules.array = place(array, platform, "array")
        state = Signal(64, init=0x9E3779B97F4A7C15)
        first = state ^ (state << 13)[:64]
        second = first ^ (first >> 7)
        phase = Signal(8)
        with m.If(self.busy):
            m.d.sync += [state.eq(second ^ (second << 17)[:64]), phase.eq(phase + 1)]
        bundle = config.lanes + 1
        swap = Signal()
        m.d.comb += swap.eq(self.busy & (phase == config.columns + 1))
        lanes = [Signal(bundle, name=f"lanes_{column}") for column in range(config.columns)]
        for column, signal in enumerate(lanes):
            source = Cat(state[(5 * column + bit) % 64] for bit in range(config.lanes))
            m.d.sync += signal.eq(Cat(source, swap))
        shift = self.busy & (phase < config.columns)
        weights = Cat(
            state[(7 * row + bit) % 64]
            for row in range(config.rows)
            for bit in range(config.weight_width)
        )
        m.d.comb += [
            array.lanes.eq(Cat(lanes)),
            array.shift.eq(shift.replicate(config.drains)),
            array.weights.eq(weights),
        ]
        m.d.sync += self.parity.eq(Cat(array.sums).xor())
        return m


def measure_array(config: Config, cycles: int) -> dict[str, float]:
    """Build seconds; cycles a second, idle and busy."""
    verilog = emit_verilog(SelfDrivenArray(config))
    folder, result = _timed(lambda: build(verilog, "termac_self_driven_array"))
    for name, busy in (("idle", 0), ("busy", 1)):
        result[name] = _speed(folder, "free_run", {"cycles": cycles, "busy": busy})
    return result


def dense_network(config: Config, *, channels: int = 32, size: int = 16) -> Graph:
    """Six 3 x 3 convolutions without a zero among their weights."""
    random = np.random.default_rng(1)
    tensors = {"input": Tensor("input", (size, size, channels), 1.0, 0)}
    nodes: list[Node] = []
    before = "input"
    for index in range(LAYERS):
        name = f"conv_{index}"
        weights = random.integers(1, 128, (channels, 3, 3, channels)).astype(np.int8)
        nodes.append(
            Conv(
                name=name,
                input=before,
                weights=weights * random.choice([-1, 1], weights.shape).astype(np.int8),
                bias=np.zeros(channels, np.int32),
                multiplier=np.full(channels, 1 << 30, np.int32),
                shift=np.full(channels, 10, np.int32),
                stride=(1, 1),
                padding=(1, 1, 1, 1),
                low=-128,
                high=127,
            )
        )
        tensors[name] = Tensor(name, (size, size, channels), 1.0, 0)
        before = name
    layout = (channels, size, size)
    return Graph("dense", tensors, nodes, "input", before, layout, layout)


def measure_core(config: Config, *, runs: int = 3) -> dict[str, float]:
    """Build seconds; cycles a second of the core running :func:`dense_network`."""
    graph = dense_network(config)
    image = compile_graph(graph, config)
    folder, result = _timed(lambda: build_core(config))
    shape = graph.tensors[graph.input].shape
    values = np.random.default_rng(2).integers(-128, 128, shape).astype(np.int8)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary)
        save_image(image, path / "image")
        np.save(path / "input.npy", values)
        job = {"image": str(path / "image"), "input": str(path / "input.npy"), "runs": runs}
        return {**result, "busy": _speed(folder, "core", job)}


def _timed(make: Callable[[], Path]) -> tuple[Path, dict[str, float]]:
    """A build, its seconds, and its processor seconds, which other load stretches less."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    folder = make()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return folder, {
        "build_seconds": time.perf_counter() - started,
        "build_cpu_seconds": after.ru_utime - before.ru_utime,
    }


def _speed(folder: Path, test: str, parameters: dict[str, Any]) -> float:
    speeds: list[float] = []
    run_bench(
        folder,
        "termac_sim.benches.speed",
        parameters=parameters,
        test_filter=rf"\.{test}$",
        progress=lambda done, total, text: speeds.append(float(text)),
    )
    return speeds[-1]


@click.command()
@click.option("--config", "name", default="square", show_default=True, help="Preset or TOML file.")
@click.option("--cycles", default=400_000, show_default=True, help="Cycles of the array runs.")
@click.option("--part", type=click.Choice(["array", "core", "both"]), default="both")
@click.option("--fresh", is_flag=True, help="Build anew instead of using the cache.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(name: str, cycles: int, part: str, fresh: bool, as_json: bool) -> None:
    """Measure build time and simulation speed of a configuration."""
    config = load_config(name)
    with tempfile.TemporaryDirectory() if fresh else nullcontext() as cache:
        if cache is not None:
            os.environ["XDG_CACHE_HOME"] = cache
        results: dict[str, Any] = {"config": config.name, "cells": config.cells}
        if part != "core":
            results["array"] = measure_array(config, cycles)
        if part != "array":
            results["core"] = measure_core(config)
    if as_json:
        click.echo(json.dumps(results, indent=2))
        return
    click.echo(f"{config.name}: {config.cells} cells")
    for what in ("array", "core"):
        for key, value in results.get(what, {}).items():
            unit = "s" if key.startswith("build") else "cycles/s"
            target = {"build_seconds": "(target < 30)", "build_cpu_seconds": ""}.get(
                key, f"(target >= {TARGETS[what]:,})"
            )
            click.echo(f"  {what:5} {key:18} {value:10,.1f} {unit:9} {target}")


if __name__ == "__main__":
    main()
