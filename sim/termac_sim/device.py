"""The generated accelerator on Verilator, behind the same interface as any device."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from termac_hw.core import Core
from termac_hw.emit import emit_verilog

from termac.arch import Config, concatenate
from termac.arch.records import SCALE
from termac.arch.timing import PROGRAM_OVERHEAD
from termac.device import Device, Result
from termac.errors import InputError
from termac.image import Image
from termac_sim.build import build
from termac_sim.runner import run_bench

__all__ = ["SimulatedDevice", "build_core", "core_verilog", "image_memories"]

Progress = Callable[[int, int, str], None]

PUBLIC = (
    ("termac_sequencer", "words"),
    ("termac_sequencer", "layer"),
    ("termac_engine", "taps"),
    ("termac_bank", "words"),
    ("termac_weight_bank", "words"),
    ("termac_accumulator", "biases"),
    ("termac_accumulator", "scales"),
)
"""Internals that benches read or write: the memories and the number of the layer."""


def core_verilog(config: Config) -> str:
    """Verilog of the accelerator."""
    return emit_verilog(Core(config))


def build_core(config: Config, *, waves: bool = False, coverage: bool = False) -> Path:
    """Build the simulator of a configuration, or find it in the cache."""
    return build(core_verilog(config), "termac", PUBLIC, waves=waves, coverage=coverage)


def image_memories(image: Image) -> dict[str, list[int]]:
    """Contents of every memory but the activations, by path below the top module."""
    config, parameters = image.config, image.parameters
    memories = {
        "sequencer.words": image.program.tolist(),
        "engine.taps": image.taps.tolist(),
    }
    scales = SCALE.pack({name: parameters[name] for name in ("multiplier", "shift")})
    biases = parameters["bias"] & 0xFFFFFFFF
    rows = image.weights.reshape(-1, config.drains, config.segments)
    for group in range(config.drains):
        words = concatenate(rows[:, group], config.weight_width)
        memories[f"weights_{group}.words"] = [
            int.from_bytes(word.tobytes(), "little") for word in words
        ]
        memories[f"drain_{group}.accumulator.biases"] = biases[:, group].tolist()
        memories[f"drain_{group}.accumulator.scales"] = scales[:, group].tolist()
    return memories


class SimulatedDevice(Device):
    """Runs the Verilog of the image's configuration on Verilator.

    Parameters
    ----------
    image : Image
    waves : Path, optional
        Write a VCD of the whole run to this file.
    progress : callable, optional
        Called with done, total, text.
    """

    def __init__(
        self, image: Image, *, waves: Path | None = None, progress: Progress | None = None
    ) -> None:
        super().__init__(image)
        self.waves = waves
        self.progress = progress
        self.folder = build_core(image.config, waves=waves is not None)

    def run(self, x: NDArray[np.int8], *, tensors: bool = False) -> Result:
        image, config = self.image, self.image.config
        if x.ndim != 4 or not len(x):
            raise InputError(f"input must be a batch [N, height, width, channels], not {x.shape}")
        inputs = np.stack([image.store_input(sample) for sample in x])
        stored = [(layer.last_descriptor + 1, layer.storage) for layer in image.layers]
        with tempfile.TemporaryDirectory(prefix="termac-") as temporary:
            work = Path(temporary)
            np.savez(work / "job.npz", inputs=inputs)
            job = {
                "job": str(work / "job.npz"),
                "result": str(work / "result.npz"),
                "memories": image_memories(image),
                "input_base": image.input.base,
                "output": [image.output.base, image.output.words],
                "layers": [
                    {"after": after, "base": storage.base, "words": storage.words}
                    for after, storage in stored
                    if tensors
                ],
                "descriptors": max(after for after, _ in stored),
                "banks": config.banks,
                "width": config.lanes,
            }
            run_bench(
                self.folder,
                "termac_sim.bench_network",
                parameters=job,
                progress=self.progress,
                waves=self.waves is not None,
                folder=work,
            )
            if self.waves is not None:
                self.waves.write_bytes((work / "dump.vcd").read_bytes())
            with np.load(work / "result.npz") as data:
                found = {name: data[name] for name in data.files}

        outputs = np.stack([image.output.at(0).load(words) for words in found["output"]])
        kept = {
            layer.name: np.stack([layer.storage.at(0).load(w) for w in found[f"layer_{index}"]])
            for index, layer in enumerate(image.layers)
            if tensors
        }
        start = np.full((len(x), 1), PROGRAM_OVERHEAD, np.int64)
        ends = np.concatenate([start, found["ends"]], axis=1)
        cycles = np.stack(
            [
                ends[:, layer.last_descriptor + 1] - ends[:, layer.first_descriptor]
                for layer in image.layers
            ],
            axis=1,
        )
        names = ("issue", "stall_weights", "setup", "drain")
        return Result(
            outputs=outputs,
            tensors=kept,
            cycles=cycles,
            total_cycles=found["totals"],
            counters={name: found["counters"][:, index] for index, name in enumerate(names)},
        )
