"""``termac estimate``: predicted cycles of an image, without a simulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from termac.cli.common import Reporter, json_option
from termac.files import check_writable_file

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
@json_option
def estimate(
    image_folder: Path, config_name: str | None, picture: Path | None, reporter: Reporter
) -> None:
    """Predict the cycles of every layer of an image.

    The prediction comes from the program alone and equals the simulated count.
    """
    from termac.arch import load_config
    from termac.image import load_image
    from termac.image.summary import summary_rows

    if picture is not None:
        check_writable_file(picture, "--picture")
    config = load_config(config_name) if config_name else None
    image = load_image(image_folder, config)
    if picture is not None:
        from termac.report.tiles import draw_utilization

        draw_utilization(image, picture)

    def tables() -> Iterator[Any]:
        from termac.report.tables import layers_table

        yield layers_table(image)
        if picture is not None:
            yield f"Picture written to {picture}"

    facts = {
        "config": image.config.name,
        "network": image.graph.name,
        "cycles": image.cycles,
        "macs": image.macs,
        "layers": summary_rows(image),
    }
    reporter.show(facts, tables)
