"""``termac simulate``: run an image in the simulated Verilog or in the golden model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from termac.cli.common import Reporter, import_simulated_device, json_option
from termac.cli.options import labels_option
from termac.cli.warn import strict_option, warn
from termac.files import check_writable_file, load_array, save_array
from termac.report.console import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from termac.device import Result
    from termac.image import Image

__all__ = ["simulate"]


@click.command()
@click.argument("image_folder", metavar="IMAGE_DIR", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "input_path",
    metavar="X.npy",
    type=click.Path(path_type=Path),
    required=True,
    help="Batch on axis 0, in the model's own layout and units, of any number type.",
)
@click.option(
    "--output",
    "output_path",
    metavar="Y.npy",
    type=click.Path(path_type=Path),
    required=True,
    help="Outputs in the model's own layout and units.",
)
@click.option(
    "--engine",
    type=click.Choice(["verilator", "golden"]),
    default="verilator",
    show_default=True,
    help="Simulated Verilog, or the golden model.",
)
@click.option(
    "--quantized", is_flag=True, help="The input holds stored integers, as --raw writes them."
)
@click.option("--check", is_flag=True, help="Compare every layer with the golden model.")
@click.option(
    "--waves",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record all signals (verilator only; slow). FILE.fst is FST; FILE.vcd is VCD, many times "
    "as large.",
)
@click.option(
    "--waves-images",
    metavar="N",
    type=click.IntRange(1),
    help="With --waves: record the first N samples.  [default: 1]",
)
@click.option("--raw", is_flag=True, help="Write the quantized integers of the output.")
@click.option(
    "--config",
    "config_name",
    metavar="NAME",
    help="Refuse the image unless it was packed for this configuration.",
)
@labels_option("the inputs")
@strict_option
@json_option
def simulate(
    image_folder: Path, input_path: Path, output_path: Path, engine: str, quantized: bool,
    check: bool, waves: Path | None, waves_images: int | None, raw: bool, config_name: str | None,
    labels_path: Path | None, strict: bool, reporter: Reporter,
) -> None:  # fmt: skip
    """Run an image on a batch of inputs."""
    check_writable_file(output_path, "--output")
    _check_waves(waves, waves_images, engine)
    from termac.arch import load_config

    config = load_config(config_name) if config_name else None
    samples = load_array(input_path, "input")
    labels = load_array(labels_path, "labels") if labels_path else None

    from termac.flow.accuracy import Labelled, accuracy_notes, measure_answers
    from termac.graph import golden
    from termac.graph.inputs import clip_input
    from termac.graph.samples import from_nhwc
    from termac.image import load_image

    image = load_image(image_folder, config)
    given = None if labels is None else Labelled(samples, labels, f"samples of {input_path.name}")
    x, finding = clip_input(image.graph, samples, quantized=quantized)
    warnings = [] if finding is None else [finding]
    warn(warnings, strict=strict)
    result = _run(image, x, engine, check=check, waves=waves, waves_images=waves_images or 1)
    real = golden.dequantize_output(image.graph, result.outputs)
    accuracy = None if given is None else measure_answers({"packed": real}, given)
    if raw:
        y = from_nhwc(result.outputs, image.graph.output_layout, image.graph.channels_first)
    else:
        y = real.astype(np.float32)
    save_array(output_path, y)

    simulated = result.cycles[0] if len(result.cycles) else None
    total = int(result.total_cycles[0]) if len(result.total_cycles) else 0

    def tables() -> Iterator[Any]:
        from termac.report.tables import accuracy_table, layers_table

        yield layers_table(image, simulated=simulated, simulated_total=total)
        if check:
            yield f"All {len(image.layers)} layers of {len(x)} samples equal the golden model."
        if accuracy is not None:
            yield accuracy_table(accuracy.what, {"packed": accuracy.shown("packed")})
            yield from (f"when packed: {note}" for note in accuracy_notes(image.graph))
        yield f"{len(x)} outputs of shape {y.shape[1:]}, {y.dtype}, written to {output_path}"

    facts = {
        "engine": engine,
        "config": image.config.name,
        "network": image.graph.name,
        "samples": len(x),
        "output": output_path,
        "checked": check,
        "cycles": result.total_cycles,
        "layers": [
            {
                "layer": layer.name,
                "predicted": layer.cycles,
                "cycles": result.cycles[:, number : number + 1].ravel(),
            }
            for number, layer in enumerate(image.layers)
        ],
        "counters": result.counters,
        "accuracy": accuracy.record() if accuracy else None,
        "warnings": warnings,
    }
    reporter.show(facts, tables)


def _check_waves(waves: Path | None, waves_images: int | None, engine: str) -> None:
    """Refuse options of waves that contradict each other, or a file that cannot be written."""
    if waves_images is not None and waves is None:
        raise click.UsageError("--waves-images goes with --waves")
    if waves is None:
        return
    if engine != "verilator":
        raise click.UsageError("--waves needs --engine verilator")
    check_writable_file(waves, "--waves")
    from termac_sim.waves import wave_format

    wave_format(waves)


def _run(
    image: Image, x: NDArray[np.int8], engine: str, *,
    check: bool, waves: Path | None, waves_images: int,
) -> Result:  # fmt: skip
    """Run a batch with progress, and compare every layer if asked to."""
    from termac.device import GoldenDevice, compare
    from termac.graph import golden

    if engine == "golden":
        with progress(f"Golden model of {image.graph.name}"):
            result = GoldenDevice(image).run(x, tensors=check)
    else:
        simulated_device = import_simulated_device()
        with progress(f"Building the simulator of {image.config.name}"):
            device = simulated_device(image, waves=waves, waves_images=waves_images)
        with progress(f"Simulating {image.graph.name}") as advance:
            result = device.run(x, tensors=check, progress=advance)
    if check:
        with progress("Comparing every layer"):
            compare(image, result, golden.run(image.graph, x))
    return result
