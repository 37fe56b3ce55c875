"""``termac estimate``: predicted cycles of an image, without a simulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from termac.cli.common import Reporter, json_option
from termac.cli.options import labels_option, test_option
from termac.errors import ConfigError
from termac.files import check_writable_file, load_array
from termac.report.console import progress

__all__ = ["estimate"]


@click.command()
@click.argument("image_folder", metavar="IMAGE_DIR", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "config_name",
    metavar="NAME",
    help="Refuse the image unless it was packed for this configuration.",
)
@click.option(
    "--picture",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Draw the utilization of the array as well.",
)
@labels_option("the --test samples, by the golden model")
@test_option("Samples that the labels belong to.")
@json_option
def estimate(
    image_folder: Path,
    config_name: str | None,
    picture: Path | None,
    labels_path: Path | None,
    test_path: Path | None,
    reporter: Reporter,
) -> None:
    """Predict the cycles of every layer of an image.

    The prediction comes from the program alone and equals the simulated count.
    """
    from termac.arch import load_config
    from termac.flow.accuracy import Labelled, accuracy_notes, answers, measure_answers
    from termac.image import load_image
    from termac.image.summary import summary_rows

    if picture is not None:
        check_writable_file(picture, "--picture")
    if (labels_path is None) != (test_path is None):
        raise ConfigError("--labels and --test go together: an image holds no samples")
    config = load_config(config_name) if config_name else None
    image = load_image(image_folder, config)
    accuracy = None
    if labels_path is not None and test_path is not None:
        samples, labels = load_array(test_path, "test data"), load_array(labels_path, "labels")
        given = Labelled(samples, labels, "test samples")
        with progress(f"Golden model of {image.graph.name}"):
            accuracy = measure_answers({"packed": answers(image.graph, samples)}, given)
    if picture is not None:
        from termac.report.tiles import draw_utilization

        draw_utilization(image, picture)

    def tables() -> Iterator[Any]:
        from termac.report.tables import accuracy_table, layers_table

        yield layers_table(image)
        if accuracy is not None:
            yield accuracy_table(accuracy.what, {"packed": accuracy.shown("packed")})
            yield from (f"when packed: {note}" for note in accuracy_notes(image.graph))
        if picture is not None:
            yield f"Picture written to {picture}"

    facts = {
        "config": image.config.name,
        "network": image.graph.name,
        "cycles": image.cycles,
        "macs": image.macs,
        "layers": summary_rows(image),
        "accuracy": accuracy.record() if accuracy else None,
    }
    reporter.show(facts, tables)
