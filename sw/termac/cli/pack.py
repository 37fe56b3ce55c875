"""``termac pack``: from a model file to an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from termac.cli.common import Reporter, json_option, progress
from termac.cli.files import check_writable_folder, load_array

__all__ = ["pack"]


@click.command()
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "--config", "config_name", metavar="NAME", required=True, help="Preset, or path of a TOML file."
)
@click.option(
    "--calibration",
    metavar="X.npy",
    type=click.Path(path_type=Path),
    required=True,
    help="Typical inputs, batch on axis 0; 100 to 1000 are plenty.",
)
@click.option(
    "-o",
    "--output",
    metavar="IMAGE_DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write.",
)
@click.option(
    "--bits",
    type=click.IntRange(1, 8),
    default=8,
    show_default=True,
    help="Bits of the activations between layers.",
)
@json_option
def pack(
    model: Path, config_name: str, calibration: Path, output: Path, bits: int, reporter: Reporter
) -> None:
    """Quantize MODEL.onnx and compile it for a configuration.

    The image folder holds everything that the accelerator needs to run the network by itself, and
    the integer graph that it is compared with.
    """
    from termac.arch import load_config

    check_writable_folder(output, "--output")
    config = load_config(config_name)
    samples = load_array(calibration, "calibration data")

    from termac.compile import compile_graph
    from termac.compress import quantize
    from termac.frontend import load_onnx
    from termac.summary import summary_rows

    float_graph = load_onnx(model)
    with progress(f"Packing {model.name}") as advance:
        advance(0, 3, "quantize")
        graph = quantize(float_graph, samples, bits=bits)
        advance(1, 3, "compile")
        image = compile_graph(graph, config)
        advance(2, 3, "write")
        image.save(output)

    def tables() -> Iterator[Any]:
        from termac.report import layers_table, memories_table

        yield layers_table(image)
        yield memories_table(image)
        for note in graph.notes:
            yield f"note: {note}"
        yield f"Image written to {output}"

    facts = {
        "folder": output,
        "config": config.name,
        "config_digest": config.digest,
        "network": graph.name,
        "cycles": image.cycles,
        "macs": image.macs,
        "layers": summary_rows(image),
        "notes": graph.notes,
    }
    reporter.show(facts, tables)
