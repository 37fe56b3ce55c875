"""``termac doctor``: what commands need on this machine, and whether it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from termac.cli.common import Reporter, json_option
from termac.cli.exits import EXIT_ERROR

__all__ = ["doctor"]


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, reporter: Reporter) -> None:
    """Show what Termac needs on this machine and what is missing.

    Ends in exit code 2 if something is missing that a command cannot do without.
    """
    from termac_sim.cache import cache_folder
    from termac_sim.tools import find_tools

    tools = find_tools(cache_folder())
    missing = [tool.name for tool in tools if tool.missing and tool.required]

    def tables() -> Iterator[Any]:
        from termac.report.tables import facts_table

        yield facts_table(
            "Termac on this machine",
            [
                (
                    tool.name,
                    tool.found
                    or f"{'MISSING' if tool.required else 'not installed'}, for "
                    f"{tool.needed_for}: {tool.advice}",
                )
                for tool in tools
            ],
        )
        yield f"missing: {', '.join(missing)}" if missing else "Everything needed is there."

    facts = {"tools": [{**asdict(tool), "missing": tool.missing} for tool in tools]}
    reporter.show({**facts, "complete": not missing}, tables)
    if missing:
        ctx.exit(EXIT_ERROR)
