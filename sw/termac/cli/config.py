"""``termac config``: the configurations that can be generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from termac.cli.common import Reporter, json_option

__all__ = ["config"]


@click.group()
def config() -> None:
    """Show presets and configuration files.

    Wherever a command takes --config NAME, the path of a TOML file works as well.
    """


@config.command("list")
@json_option
def list_presets(reporter: Reporter) -> None:
    """List the presets that come with the package."""
    from termac.arch import load_config, preset_names
    from termac.report.tables import configs_table

    configs = [load_config(name) for name in preset_names()]
    facts = [_facts(item) for item in configs]

    def tables() -> Iterator[Any]:
        yield configs_table(configs)

    reporter.show({"presets": facts}, tables)


@config.command()
@click.argument("name")
@json_option
def show(name: str, reporter: Reporter) -> None:
    """Show every parameter of preset or TOML file NAME and what follows from it."""
    from termac.arch import load_config
    from termac.report.tables import config_table

    loaded = load_config(name)

    def tables() -> Iterator[Any]:
        yield config_table(loaded)

    reporter.show(_facts(loaded), tables)


def _facts(loaded: Any) -> dict[str, Any]:
    return {
        **asdict(loaded),
        "cells": loaded.cells,
        "word_bytes": loaded.word_bytes,
        "digest": loaded.digest,
    }
