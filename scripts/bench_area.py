"""Area, and with ``--route`` clock frequency, of the accelerator and its parts on a Lattice ECP5.

LUT-eq = LUT4 + 2 CCU2C after ``synth_ecp5``. Timing is nextpnr's for an LFE5U-85F, speed grade 6,
every part between registers; the median of the seeds. Exit status 1 if a target is missed.

A seed takes a few minutes for the core of `demo`. The whole core of `ecp5-85f`:
`--preset ecp5-85f --part core --route --no-area --seeds 1`.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
from _ecp5 import Frame, route, synthesize
from amaranth.lib.wiring import Component
from rich.console import Console
from rich.table import Table
from termac.arch import Config, load_config, preset_names
from termac.errors import TermacError
from termac.report.console import Advance, progress
from termac_hw.array import Array
from termac_hw.cells import cell_kind
from termac_hw.cells.kinds import cell_names

__all__ = ["main"]


def _core(config: Config) -> Component:
    from termac_hw.core import Core  # late: the parts can be measured without it

    return Core(config)


PARTS: dict[str, Callable[[Config], Component]] = {
    "cell": lambda config: cell_kind(config.cell).Cell(config),
    "row_end": lambda config: cell_kind(config.cell).RowEnd(config),
    "array": Array,
    "core": _core,
}
ARRAY_TARGET, CORE_TARGET = 150.0, 100.0  # MHz


def areas(
    configs: list[Config], parts: list[str], advance: Advance, *, primitives: bool
) -> list[dict]:
    """One record per configuration and part. A cell of two rows counts as the two cells it is."""
    records: list[dict] = []
    for config in configs:
        for part in parts:
            advance(len(records), len(configs) * len(parts), f"{config.name} {part}")
            area = synthesize(PARTS[part](config), config, primitives=primitives)
            records.append({
                "preset": config.name, "cell": config.cell, "part": part, "primitives": primitives,
                "cells": {"cell": config.shared_rows, "row_end": 0}.get(part, config.cells),
                **area.row(),
            })  # fmt: skip
    return records


def timings(
    configs: list[Config], parts: list[str], seeds: int, advance: Advance, *, primitives: bool
) -> list[dict]:
    """Clock frequency of 8x8 arrays of 8 lanes, and of the core of each configuration."""
    jobs = []
    if "array" in parts:
        for cell in dict.fromkeys(config.cell for config in configs):
            small = replace(
                load_config("demo"), name="8x8", cell=cell, rows=8, columns=8, lanes=8, segments=8,
                shared_rows=1,
            )  # fmt: skip
            jobs.append(("array", small, Array(small), ARRAY_TARGET))
    if "core" in parts:
        jobs += [("core", config, _core(config), CORE_TARGET) for config in configs]
    records = []
    steps, step = len(jobs) * (1 + seeds), 0
    for part, config, component, target in jobs:
        name = f"{config.name} {part}"
        advance(step, steps, f"{name}: synthesis")
        with tempfile.TemporaryDirectory() as folder:
            netlist = Path(folder) / "netlist.json"
            synthesize(Frame(component), config, primitives=primitives, netlist=netlist)
            runs = []
            for seed in range(1, seeds + 1):
                advance(step + seed, steps, f"{name}: seed {seed}")
                runs.append(route(netlist, megahertz=target, seed=seed))
        step += 1 + seeds
        fmax = statistics.median(run.fmax for run in runs)
        typical = min(runs, key=lambda run: abs(run.fmax - fmax))
        records.append({
            "preset": config.name, "cell": config.cell, "part": part, "primitives": primitives,
            "target": target,
            "fmax": round(fmax, 1), "runs": [round(run.fmax, 1) for run in runs],
            "seconds": [round(run.seconds) for run in runs],
            "memory": max(run.memory for run in runs), "path": typical.path,
        })  # fmt: skip
    return records


def _show_areas(console: Console, records: list[dict]) -> None:
    table = Table(title="ECP5 area (yosys synth_ecp5)")
    for name in ("preset", "cell", "part"):
        table.add_column(name)
    figures = ["LUT-eq", "LUT4", "CCU2C", "FF", "DSP", "block RAM", "LUT RAM"]
    per_cell = ["LUT-eq / cell", "FF / cell"]
    for name in figures + per_cell:
        table.add_column(name, justify="right")
    for record in records:
        cells = record["cells"]
        shares = [f"{record[name] / cells:.1f}" if cells else "" for name in ("LUT-eq", "FF")]
        numbers = [f"{record[name]:,}" for name in figures]
        table.add_row(record["preset"], record["cell"], record["part"], *numbers, *shares)
    console.print(table)


def _show_timings(console: Console, records: list[dict]) -> None:
    table = Table(title="ECP5-85F timing (nextpnr, speed grade 6)")
    for name in ("preset", "cell", "part"):
        table.add_column(name)
    for name in ("target MHz", "Fmax MHz, median", "runs", "seconds", "MiB"):
        table.add_column(name, justify="right")
    for record in records:
        runs = " ".join(f"{run:.1f}" for run in record["runs"])
        seconds = " ".join(f"{seconds}" for seconds in record["seconds"])
        memory = f"{record['memory']:,}"
        numbers = (f"{record['target']:.0f}", f"{record['fmax']:.1f}", runs, seconds, memory)
        table.add_row(record["preset"], record["cell"], record["part"], *numbers)
    console.print(table)
    for record in records:
        if record["fmax"] < record["target"]:
            name = " ".join(record[key] for key in ("preset", "cell", "part"))
            console.print(f"{name} misses its target. Slowest path:")
            for step in record["path"]:
                console.print(f"  {step}", highlight=False, soft_wrap=True)


@click.command(help=__doc__)
@click.option(
    "--preset",
    "presets",
    multiple=True,
    type=click.Choice(preset_names()),
    help="Configuration; may be repeated.  [default: demo]",
)
@click.option("--cell", type=click.Choice(cell_names()), help="Instead of the preset's cell.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(list(PARTS)),
    help="What to measure; may be repeated.  [default: all]",
)
@click.option("--generic", is_flag=True, help="Leave the cell to yosys: no ECP5 primitives.")
@click.option("--route", "routed", is_flag=True, help="Place and route as well.")
@click.option("--no-area", is_flag=True, help="Only place and route.")
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Place-and-route runs."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(
    presets: tuple[str, ...], cell: str | None, parts: tuple[str, ...], generic: bool, routed: bool,
    no_area: bool, seeds: int, as_json: bool,
) -> None:  # fmt: skip
    measured = list(parts) or list(PARTS)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    try:
        chosen = [load_config(preset) for preset in presets or ("demo",)]
        if cell:
            chosen = [replace(config, cell=cell) for config in chosen]
        area, timing = [], []
        if not no_area:
            with progress("Synthesis") as advance:
                area = areas(chosen, measured, advance, primitives=not generic)
        if area and not as_json:
            _show_areas(console, area)
        if routed:
            with progress("Place and route") as advance:
                timing = timings(chosen, measured, seeds, advance, primitives=not generic)
    except (TermacError, ImportError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps({"area": area, "timing": timing}, indent=2))
    elif timing:
        _show_timings(console, timing)
    if any(record["fmax"] < record["target"] for record in timing):
        sys.exit(1)


if __name__ == "__main__":
    main()
