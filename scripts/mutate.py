"""Applies single mutations to the hardware and prints those that the short tests do not notice.

Usage: ``python scripts/mutate.py [--block engine] [--jobs 2] [--json] [--list]``

Every mutation of :mod:`_mutations` is put into a copy of the tree, one at a time. The tests of its
block run there, the fastest first, until one fails: the mutation is killed. Results are kept in
``build/mutations.json`` by a hash of the tests and all they import, with the mutation, so the run
may be stopped and goes on where it was. Exit code 1: a mutation survives that is not marked as
equivalent, or one so marked is killed. Exit code 2: a mutation does not apply, or tests fail
without any.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from queue import SimpleQueue

import click
from _mutations import MUTATIONS
from _mutations.mutation import Mutation, mutate, stages
from _mutations.results import ROOT, Result, Store, key_of
from _mutations.worker import STATE, Worker
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def run_all(wanted: list[Mutation], jobs: int, console: Console) -> dict[str, Result]:
    """Results by name; those that are known are not run again."""
    STATE.mkdir(parents=True, exist_ok=True)
    store = Store(STATE.with_suffix(".json"))
    baselines = {key_of(None, [stage]): [stage] for m in wanted for stage in stages(m)}
    tasks: list[tuple[str, Mutation | None, Iterable[str]]] = [
        (key, None, tests) for key, tests in baselines.items()
    ]
    keys = {mutation.name: key_of(mutation, stages(mutation)) for mutation in wanted}
    tasks += [(keys[mutation.name], mutation, stages(mutation)) for mutation in wanted]
    tasks = [task for task in tasks if store.get(task[0]) is None]
    idle: SimpleQueue[Worker] = SimpleQueue()
    workers = [Worker(number) for number in range(min(jobs, len(tasks)))]
    for worker in workers:
        idle.put(worker)

    def run(key: str, mutation: Mutation | None, tests: Iterable[str]) -> tuple[str, Result]:
        worker = idle.get()
        try:
            result = worker.run(mutation, tests)
        finally:
            idle.put(worker)
        if mutation is None and result.outcome != "survived":
            raise click.ClickException(f"{result.by} fails without any mutation")
        store.put(key, result)
        return mutation.name if mutation else f"(no mutation) {next(iter(tests))}", result

    pool = ThreadPoolExecutor(max(1, len(workers)))
    try:
        futures = [pool.submit(run, *task) for task in tasks]
        for done, future in enumerate(as_completed(futures), 1):
            name, result = future.result()
            console.print(
                f"{done}/{len(tasks)} {result.outcome:<10} {result.seconds:5.0f} s  {name}  "
                f"{result.by}", markup=False, highlight=False,
            )  # fmt: skip
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.stop()
        pool.shutdown()
        for worker in workers:
            worker.close()
    return {name: Result(**store.known[key]) for name, key in keys.items()}


def verdict(mutation: Mutation, result: Result) -> str:
    """What a result means; ``wrong`` and ``SURVIVES`` are failures."""
    if result.outcome == "survived":
        return "equivalent" if mutation.equivalent else "SURVIVES"
    return "wrong: killed, but marked as equivalent" if mutation.equivalent else "killed"


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--block", "blocks", multiple=True, help="Only the mutations of this block.")
@click.option("--jobs", type=click.IntRange(1, 2), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--list", "listing", is_flag=True, help="Show the mutations and run nothing.")
def main(blocks: tuple[str, ...], jobs: int, as_json: bool, listing: bool) -> None:
    unknown = set(blocks) - {mutation.block for mutation in MUTATIONS}
    if unknown:
        raise click.UsageError(f"no mutation is of block {sorted(unknown)[0]!r}")
    wanted = [m for m in MUTATIONS if not blocks or m.block in blocks]
    for mutation in wanted:
        mutate(ROOT, mutation)
    if listing:
        for mutation in wanted:
            click.echo(f"{mutation.name}: {mutation.old}  ->  {mutation.new}")
        return
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    console = Console(stderr=True)
    results = run_all(wanted, jobs, console)
    verdicts = {m.name: verdict(m, results[m.name]) for m in wanted}
    if as_json:
        rows = [
            {"name": m.name, "block": m.block, "verdict": verdicts[m.name],
             "reason": m.equivalent, **asdict(results[m.name])} for m in wanted
        ]  # fmt: skip
        click.echo(json.dumps({"mutations": rows}, indent=1))
    else:
        _tables(wanted, verdicts)
    if set(verdicts.values()) - {"killed", "equivalent"}:
        sys.exit(1)


def _tables(wanted: list[Mutation], verdicts: dict[str, str]) -> None:
    console = Console()
    table = Table("block", "mutations", "killed", "equivalent", "survive")
    for block in dict.fromkeys(mutation.block for mutation in wanted):
        own = [verdicts[m.name] for m in wanted if m.block == block]
        rest = len(own) - own.count("killed") - own.count("equivalent")
        counts = len(own), own.count("killed"), own.count("equivalent"), rest
        table.add_row(block, *map(str, counts))
    total = list(verdicts.values())
    rest = len(total) - total.count("killed") - total.count("equivalent")
    counts = len(total), total.count("killed"), total.count("equivalent"), rest
    table.add_row("in all", *map(str, counts))
    console.print(table)
    for mutation in wanted:
        if verdicts[mutation.name] != "killed":
            said = f": {mutation.equivalent}" if mutation.equivalent else ""
            console.print(f"{verdicts[mutation.name]}: {escape(mutation.name)}{escape(said)}")


if __name__ == "__main__":
    main()
