"""``termac generate``: the Verilog of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from termac.cli.common import Reporter, json_option
from termac.files import check_writable_folder
from termac.report.console import progress

__all__ = ["generate"]


@click.command()
@click.option(
    "--config", "config_name", metavar="NAME", required=True, help="Preset, or path of a TOML file."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write."
)
@json_option
def generate(config_name: str, output: Path, reporter: Reporter) -> None:
    """Write the Verilog of a configuration.

    Beside the Verilog: registers and memory map, to read and as JSON, and a C header.
    """
    from termac.arch import load_config
    from termac.generate import generate as generate_files

    check_writable_folder(output, "--output")
    config = load_config(config_name)
    with progress(f"Generating Verilog for {config.name}"):
        written = generate_files(config, output)
    files = {path.name: path.stat().st_size for path in written}

    def tables() -> Iterator[Any]:
        from termac.report.tables import facts_table

        sizes = [(name, f"{size:,} bytes") for name, size in files.items()]
        yield facts_table(f"Written to {output}", sizes)

    reporter.show({"config": config.name, "folder": output, "files": files}, tables)
