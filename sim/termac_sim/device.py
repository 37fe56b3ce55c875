"""The generated accelerator on Verilator, behind the same interface as any device."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from termac.arch import Config
from termac.arch.registers import COUNTERS
from termac.device import Device, Progress, Result, join_results
from termac.errors import InputError
from termac.files import temporary_folder
from termac.image import Image, save_image
from termac_hw.core import Core
from termac_hw.emit import emit_verilog

from termac_sim.build import build
from termac_sim.runner import run_bench
from termac_sim.waves import wave_format

__all__ = ["SimulatedDevice", "build_core", "core_verilog", "run_images"]

PUBLIC = (
    ("termac_sequencer", "words"),
    ("termac_sequencer", "layer"),
    ("termac_engine", "taps"),
    ("termac_bank", "words"),
    ("termac_weight_bank", "words"),
    ("termac_accumulator", "biases"),
    ("termac_accumulator", "scales"),
    ("termac_assembler", "overrun"),
)
"""Internals that benches read or write: memories, the number of the layer, a flag to be set."""


def core_verilog(config: Config) -> str:
    """Verilog of the accelerator."""
    return emit_verilog(Core(config))


def build_core(config: Config, *, waves: str = "", coverage: bool = False) -> Path:
    """Build the simulator of a configuration, or find it in the cache."""
    return build(core_verilog(config), "termac", PUBLIC, waves=waves, coverage=coverage)


class SimulatedDevice(Device):
    """Runs the Verilog of the image's configuration on Verilator.

    Parameters
    ----------
    image : Image
    waves : Path, optional
        Record all signals into this file: FST if its name ends in ``.fst``, VCD if in ``.vcd``.
    waves_images : int
        Record so many samples of a batch, the first ones; the others run at full speed.

    Raises
    ------
    ConfigError
        If the name of the wave file ends otherwise.
    DeviceError
        If the simulator does not build.
    """

    def __init__(self, image: Image, *, waves: Path | None = None, waves_images: int = 1) -> None:
        super().__init__(image)
        if waves_images < 1:
            raise ValueError(f"waves_images must be at least 1, not {waves_images!r}")
        self.waves = waves
        self.waves_images = waves_images
        self.folder = build_core(image.config, waves=wave_format(waves) if waves else "")

    def run(
        self, x: NDArray[np.int8], *, tensors: bool = False, progress: Progress | None = None
    ) -> Result:
        if self.waves is None:
            (result,) = run_images(
                self.folder, [(self.image, x)], tensors=tensors, progress=progress
            )
            return result
        recorded, rest = x[: self.waves_images], x[self.waves_images :]
        (result,) = run_images(
            self.folder, [(self.image, recorded)], tensors=tensors, waves=self.waves,
            progress=_counting(progress, 0, len(x)),
        )  # fmt: skip
        if not len(rest):
            return result
        (more,) = run_images(
            build_core(self.image.config), [(self.image, rest)], tensors=tensors,
            progress=_counting(progress, len(recorded), len(x)),
        )  # fmt: skip
        return join_results([result, more])


def _counting(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one of two simulations, as that of the whole batch."""
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
    with temporary_folder("termac-") as work:
        programs = []
        for number, (image, x) in enumerate(batches):
            if x.ndim != 4 or not len(x):
                raise InputError(
                    f"input must be a batch [N, height, width, channels], not {x.shape}"
                )
            for sample in x:  # refused here, not in the middle of a simulation
                image.store_input(sample)
            path = work / str(number)
            save_image(image, path)
            np.save(f"{path}.npy", x)
            programs.append(
                {
                    "image": str(path),
                    "inputs": f"{path}.npy",
                    "result": f"{path}.npz",
                    "tensors": tensors,
                }
            )
        run_bench(
            folder,
            "termac_sim.benches.network",
            parameters={"programs": programs},
            progress=progress,
            waves=waves is not None,
            folder=work,
        )
        if waves is not None:
            _deliver(work / f"dump.{wave_format(waves)}", waves)
        results = []
        for (image, _), program in zip(batches, programs, strict=True):
            with np.load(str(program["result"])) as data:
                results.append(_result(image, dict(data), tensors))
    return results


def _deliver(recorded: Path, target: Path) -> None:
    """Put a large file in its place in one piece, also on another disk."""
    with temporary_folder(f".{target.name}.", target.parent) as beside:
        draft = Path(beside) / target.name
        shutil.copyfile(recorded, draft)
        draft.replace(target)


def _result(image: Image, found: dict[str, NDArray], tensors: bool) -> Result:
    """What :mod:`termac_sim.benches.network` wrote."""
    return Result(
        outputs=found["outputs"],
        tensors={
            layer.name: found[f"layer_{index}"]
            for index, layer in enumerate(image.layers)
            if tensors
        },
        cycles=found["cycles"],
        total_cycles=found["total_cycles"],
        counters={name: found[name] for name in COUNTERS},
    )
