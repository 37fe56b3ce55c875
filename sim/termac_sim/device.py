"""The generated accelerator on Verilator, behind the same interface as any device."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from termac.arch import Config
from termac.arch.memory_map import weight_entries
from termac.arch.records import SCALE
from termac.arch.registers import COUNTERS, LOG_ENTRIES
from termac.arch.timing import PROGRAM_OVERHEAD
from termac.device import Device, Result, join_results
from termac.errors import InputError
from termac.image import Image
from termac_hw.core import Core
from termac_hw.emit import emit_verilog

from termac_sim.build import build
from termac_sim.runner import run_bench
from termac_sim.waves import wave_format

__all__ = ["SimulatedDevice", "build_core", "core_verilog", "image_memories", "run_images"]

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


def build_core(config: Config, *, waves: str = "", coverage: bool = False) -> Path:
    """Build the simulator of a configuration, or find it in the cache."""
    return build(core_verilog(config), "termac", PUBLIC, waves=waves, coverage=coverage)


def image_memories(image: Image) -> dict[str, list[int]]:
    """Contents of every memory but the activations, by path below the top module."""
    config, parameters = image.config, image.parameters
    memories = {
        "sequencer.words": image.program.tolist(),
        "engine.taps": image.taps.tolist(),
    }
    weights = weight_entries(config, image.weights)
    biases = parameters["bias"] & 0xFFFFFFFF
    scales = SCALE.pack(parameters)
    for group in range(config.drains):
        memories[f"weights_{group}.words"] = _integers(weights[:, group])
        memories[f"drain_{group}.accumulator.biases"] = biases[:, group].tolist()
        memories[f"drain_{group}.accumulator.scales"] = _integers(scales[:, group])
    return memories


def _integers(entries: NDArray[np.uint32]) -> list[int]:
    """Entries [n, parts] as one integer each."""
    return [int.from_bytes(entry.tobytes(), "little") for entry in entries]


class SimulatedDevice(Device):
    """Runs the Verilog of the image's configuration on Verilator.

    Parameters
    ----------
    image : Image
    waves : Path, optional
        Record all signals into this file: FST if its name ends in ``.fst``, VCD if in ``.vcd``.
    waves_images : int
        Record so many samples of a batch, the first ones; the others run at full speed.
    progress : callable, optional
        Called with done, total, text.

    Raises
    ------
    ConfigError
        If the name of the wave file ends otherwise.
    DeviceError
        If the simulator does not build.
    """

    def __init__(
        self,
        image: Image,
        *,
        waves: Path | None = None,
        waves_images: int = 1,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(image)
        if waves_images < 1:
            raise ValueError(f"waves_images must be at least 1, not {waves_images!r}")
        self.waves = waves
        self.waves_images = waves_images
        self.progress = progress
        self.folder = build_core(image.config, waves=wave_format(waves) if waves else "")

    def run(self, x: NDArray[np.int8], *, tensors: bool = False) -> Result:
        if self.waves is None:
            (result,) = run_images(
                self.folder, [(self.image, x)], tensors=tensors, progress=self.progress
            )
            return result
        recorded, rest = x[: self.waves_images], x[self.waves_images :]
        (result,) = run_images(
            self.folder, [(self.image, recorded)], tensors=tensors, waves=self.waves,
            progress=self._counting(0, len(x)),
        )  # fmt: skip
        if not len(rest):
            return result
        (more,) = run_images(
            build_core(self.image.config), [(self.image, rest)], tensors=tensors,
            progress=self._counting(len(recorded), len(x)),
        )  # fmt: skip
        return join_results([result, more])

    def _counting(self, before: int, total: int) -> Progress | None:
        """Progress of one of two simulations, as that of the whole batch."""
        progress = self.progress
        if progress is None:
            return None
        return lambda done, _, text: progress(before + done, total, text)


def run_images(
    folder: Path,
    batches: Sequence[tuple[Image, NDArray[np.int8]]],
    *,
    tensors: bool = False,
    waves: Path | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Run several images, each on its own batch, in one simulation.

    Parameters
    ----------
    folder : from :func:`build_core`, for the configuration of all images
    batches : image and its inputs, int8 [N, height, width, channels]
    tensors : also keep the output of every layer
    waves : record the whole run into this file; the simulator must have been built for its format
    progress : called with done, total, text

    Returns
    -------
    list of Result
        One per batch. ``cycles`` is 0 for layers whose end is beyond the hardware's log.

    Raises
    ------
    InputError
        If an input does not fit its image.
    DeviceError
        If the accelerator stops with an error, or the simulator fails.
    """
    with tempfile.TemporaryDirectory(prefix="termac-") as temporary:
        work = Path(temporary)
        programs = []
        for number, (image, x) in enumerate(batches):
            if x.ndim != 4 or not len(x):
                raise InputError(
                    f"input must be a batch [N, height, width, channels], not {x.shape}"
                )
            np.save(work / f"{number}.npy", np.stack([image.store_input(sample) for sample in x]))
            programs.append(_program(image, work / str(number), tensors))
        config = batches[0][0].config
        run_bench(
            folder,
            "termac_sim.benches.network",
            parameters={"programs": programs, "banks": config.banks, "width": config.lanes},
            progress=progress,
            waves=waves is not None,
            folder=work,
        )
        if waves is not None:
            _deliver(work / f"dump.{wave_format(waves)}", waves)
        results = []
        for (image, _), program in zip(batches, programs, strict=True):
            with np.load(program["result"]) as data:
                results.append(_result(image, dict(data), tensors))
    return results


def _deliver(recorded: Path, target: Path) -> None:
    """Put a large file in its place in one piece, also on another disk."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
        draft = Path(beside) / target.name
        shutil.copyfile(recorded, draft)
        draft.replace(target)


def _program(image: Image, path: Path, tensors: bool) -> dict[str, Any]:
    """What :mod:`termac_sim.benches.network` needs to know of an image; files beside ``path``."""
    kept = image.layers if tensors else []
    return {
        "inputs": f"{path}.npy",
        "result": f"{path}.npz",
        "memories": image_memories(image),
        "input_base": image.input.base,
        "output": [image.output.base, image.output.words],
        "layers": [
            {
                "after": layer.last_descriptor + 1,
                "base": layer.storage.base,
                "words": layer.storage.words,
            }
            for layer in kept
        ],
        "descriptors": image.layers[-1].last_descriptor + 1,
        "watchdog": 2 * image.cycles,  # a program that hangs ends in a named error
    }


def _result(image: Image, found: dict[str, NDArray], tensors: bool) -> Result:
    """What the bench wrote, in terms of the image."""
    kept = {
        layer.name: np.stack([layer.storage.at(0).load(w) for w in found[f"layer_{index}"]])
        for index, layer in enumerate(image.layers)
        if tensors
    }
    ends = np.pad(found["ends"], ((0, 0), (1, 0)), constant_values=PROGRAM_OVERHEAD)
    cycles = np.stack(
        [
            ends[:, layer.last_descriptor + 1] - ends[:, layer.first_descriptor]
            if layer.last_descriptor < LOG_ENTRIES
            else np.zeros(len(ends), np.int64)
            for layer in image.layers
        ],
        axis=1,
    )
    return Result(
        outputs=np.stack([image.output.at(0).load(words) for words in found["output"]]),
        tensors=kept,
        cycles=cycles,
        total_cycles=found["totals"],
        counters={name: found["counters"][:, index] for index, name in enumerate(COUNTERS)},
    )
