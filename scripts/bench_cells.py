"""Area, clock and cost per MAC of every cell, and of plain multipliers to compare with.

Areas are those of one cell in an array of 16 columns, partial sums as wide as that needs (24 bits
of the multipliers); timing is nextpnr's for a grid of 8 x 8 such cells between registers on an
LFE5U-85F, speed grade 6; the median of the seeds. LUT-eq = LUT4 + 2 CCU2C; "all" adds 6 for each
LUT RAM cell (TRELLIS_DPR16X4), the LUTs of the slices it takes. "Verilog" is what yosys makes of
the generic Verilog, with or without wide multiplexers, whichever is smaller; "ECP5" is the version
in ECP5 primitives, where there is one. Clock and cost are of the smaller.

Cost is LUT-eq (all) x clock period x cycles per MAC of a dense layer. A cell of 8 lanes covers 8
MACs with as many cycles as its weights need: 8 bits for each of them, or of 2 that are left; K
terms; K terms times s terms of every activation. Any int8 weight alone is 4 terms. Row ends,
feeders and encoders are not counted. Multipliers are what yosys infers: one stage, no registers
inside the DSP; by hand, with more stages, both would be faster.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from _cell_variants import Grid, OwnExponentCell, OwnExponents, ParallelCell
from _ecp5 import Area, Frame, lut6, route, synthesize
from amaranth.lib.wiring import Component
from rich.console import Console
from rich.table import Table
from termac.arch import Config, load_config
from termac.errors import TermacError
from termac.report.console import Advance, progress
from termac_hw.cells import cell_kind
from termac_hw.cells.ecp5 import ecp5_primitives
from termac_hw.cells.kinds import cell_names

__all__ = ["main"]

LUT_RAM_LUTS = 6
GRID = 8
TARGET = 200.0  # MHz; what place and route tries for


@dataclass(frozen=True)
class Subject:
    """A cell to measure.

    Parameters
    ----------
    name, lanes : what the tables say
    config : of the cell
    make : builds a cell
    work : cycles for all lanes of a cell, by what the weights are
    options : for synthesis
    by_hand : has a version in ECP5 primitives
    """

    name: str
    lanes: int
    config: Config
    make: Callable[[], Component]
    work: dict[str, int]
    options: str = ""
    by_hand: bool = False


WORK: dict[tuple[str, int], dict[str, int]] = {
    ("bit_plane", 1): {"dense": 8},
    ("bit_plane", 8): {"dense": 64, "2 of 8 weights": 16},
    ("bit_serial", 1): {"dense": 8},
    ("bit_serial", 8): {"dense": 64, "2 of 8 weights": 16},
    ("term", 1): {"dense, K=4": 4},
    ("term", 8): {"K=8": 8, "K=10": 10},
    ("term_pair", 1): {"dense, K=4 s=3": 12},
    ("term_pair", 8): {"K=8 s=3": 24},
}  # fmt: skip


def subjects() -> list[Subject]:
    """The cells of the registry, then those that exist to be compared with."""
    found = []
    base = replace(load_config("tiny"), rows=8, columns=16, segments=4, shared_rows=1)
    for name in cell_names():
        for lanes in (1, 8):
            config = replace(base, cell=name, lanes=lanes)
            make = _maker(cell_kind(name).Cell, config)
            work = WORK.get((name, lanes), {})
            by_hand = bool(ecp5_primitives(config))
            found.append(Subject(name, lanes, config, make, work, by_hand=by_hand))
    for lanes in (1, 8):
        own = OwnExponents.of(replace(base, cell="term", lanes=lanes))
        make = _maker(OwnExponentCell, own)
        found.append(Subject("term, own exponents", lanes, own, make, WORK["term", lanes]))
    for name, options in (("parallel, LUTs", "-nodsp"), ("parallel, DSP", "")):
        found.append(Subject(name, 1, base, ParallelCell, {"dense": 1}, options))
    return found


def _maker(cell: Callable[[Config], Component], config: Config) -> Callable[[], Component]:
    return lambda: cell(config)


def measure(subject: Subject, seeds: int, advance: Callable[[str], None]) -> dict[str, Any]:
    """One record: areas of a cell and, with ``seeds``, timing of a grid and costs per MAC."""
    advance("synthesis")

    def area(options: str, by_hand: bool) -> tuple[Area, str, bool]:
        cell = subject.make()
        found = synthesize(cell, subject.config, primitives=by_hand, options=options)
        return found, options, by_hand

    wide, narrow = subject.options, f"{subject.options} -nowidelut"
    generic = best = min(area(wide, False), area(narrow, False), key=lambda a: a[0].lut_eq)
    hand = area(wide, True) if subject.by_hand else None
    if hand and hand[0].lut_eq < generic[0].lut_eq:
        best = hand
    smallest, options, primitives = best
    total = smallest.lut_eq + LUT_RAM_LUTS * smallest.lut_ram
    record: dict[str, Any] = {
        "cell": subject.name, "lanes": subject.lanes, "LUT-eq Verilog": generic[0].lut_eq,
        "LUT-eq ECP5": hand[0].lut_eq if hand else None, "LUT RAM": smallest.lut_ram,
        "LUT-eq all": total, "FF": smallest.ff, "DSP": smallest.dsp,
        "LUT6": lut6(subject.make(), options=subject.options),
    }  # fmt: skip
    if not seeds:
        return record
    with tempfile.TemporaryDirectory() as folder:
        netlist = Path(folder) / "netlist.json"
        frame = Frame(Grid(subject.make, GRID, GRID))
        synthesize(frame, subject.config, primitives=primitives, netlist=netlist, options=options)
        runs = []
        for seed in range(1, seeds + 1):
            advance(f"seed {seed}")
            runs.append(route(netlist, megahertz=TARGET, seed=seed).fmax)
    fmax = statistics.median(runs)
    record |= {"Fmax": round(fmax, 1), "runs": [round(run, 1) for run in runs], "work": [
        {"weights": weights, "cycles": cycles, "cycles per MAC": cycles / subject.lanes,
         "LUT-eq ns per MAC": round(total * 1000 / fmax * cycles / subject.lanes)}
        for weights, cycles in subject.work.items()
    ]}  # fmt: skip
    return record


def _show(console: Console, records: list[dict[str, Any]]) -> None:
    table = Table(title="Cells: area of one, clock of 8 x 8 (MHz)")
    figures = ["lanes", "LUT-eq Verilog", "LUT-eq ECP5", "LUT RAM", "LUT-eq all", "FF", "DSP",
               "LUT6", "Fmax", "runs"]  # fmt: skip
    table.add_column("cell")
    for name in figures:
        table.add_column(name, justify="right")
    for record in records:
        texts = [record.get(name) for name in figures]
        texts[-1] = " ".join(f"{run:.0f}" for run in record.get("runs", ()))
        table.add_row(record["cell"], *("" if text is None else str(text) for text in texts))
    console.print(table)
    costs = Table(title="Cost of a MAC")
    for name in ("cell", "lanes", "weights"):
        costs.add_column(name)
    for name in ("cycles", "cycles per MAC", "LUT-eq ns per MAC"):
        costs.add_column(name, justify="right")
    for record in records:
        for work in record.get("work", ()):
            costs.add_row(
                record["cell"], str(record["lanes"]), work["weights"], str(work["cycles"]),
                f"{work['cycles per MAC']:g}", f"{work['LUT-eq ns per MAC']:,}",
            )  # fmt: skip
    if costs.row_count:
        console.print(costs)


@click.command(help=__doc__)
@click.option("--no-route", is_flag=True, help="Areas only.")
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Place-and-route runs."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(no_route: bool, seeds: int, as_json: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    seeds = 0 if no_route else seeds
    todo = subjects()
    steps = len(todo) * (1 + seeds)
    records: list[dict[str, Any]] = []
    try:
        with progress("Cells") as advance:
            for number, subject in enumerate(todo):
                step = _stepper(advance, number * (1 + seeds), steps, subject)
                records.append(measure(subject, seeds, step))
    except TermacError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(records, indent=2))
    else:
        _show(console, records)


def _stepper(advance: Advance, done: int, total: int, subject: Subject) -> Callable[[str], None]:
    """Progress within a cell."""
    steps = iter(range(done, total))
    return lambda text: advance(next(steps), total, f"{subject.name}, {subject.lanes}: {text}")


if __name__ == "__main__":
    main()
