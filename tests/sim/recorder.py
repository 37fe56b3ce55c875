"""What the benches of a test session took, and which RTL and layers they covered."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from termac_sim import device
from termac_sim.host import PERIOD
from termac_sim.runner import BenchResult, run_bench

from tests.sim.random_layers import LayerFacts, table
from tests.sim.rtl_coverage import Point, merge, read_points, totals, write_report

__all__ = ["RECORDER", "Recorder"]


@dataclass
class Recorder:
    """Collects every :func:`run_bench` that goes through it.

    Attributes
    ----------
    coverage : folder for the coverage of the RTL; None: simulators count nothing
    runs : test, cycles, seconds, seconds of the build before it, of every bench
    layers : what the random layers exercised
    """

    coverage: Path | None = None
    runs: list[tuple[str, float, float, float]] = field(default_factory=list)
    layers: list[LayerFacts] = field(default_factory=list)
    _building: float = 0.0
    _folders: dict[tuple, Path] = field(default_factory=dict)
    _names: dict[Path, str] = field(default_factory=dict)
    _points: dict[Path, list[dict[Point, int]]] = field(default_factory=lambda: defaultdict(list))

    def build_core(self, config, **options: Any) -> Path:
        """:func:`termac_sim.device.build_core`, once a session, with coverage if asked for."""
        options = {"coverage": self.coverage is not None, **options}
        key = (config.digest, *sorted(options.items()))
        if key not in self._folders:
            started = time.monotonic()
            self._folders[key] = _build_core(config, **options)
            self._building += time.monotonic() - started
            self._names[self._folders[key]] = config.name
        return self._folders[key]

    def run_bench(self, build: Path, module: str, **options: Any) -> BenchResult:
        """:func:`termac_sim.runner.run_bench`, recorded."""
        result = run_bench(build, module, **options)
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0].split("::")[-1]
        cycles = sum(case.nanoseconds for case in result.cases) / PERIOD
        seconds = sum(case.seconds for case in result.cases)
        self.runs.append((test, cycles, seconds, self._building))
        self._building = 0.0
        if self.coverage is not None and result.coverage is not None:
            self._points[build].append(read_points(result.coverage))
        return result

    def lines(self) -> list[str]:
        """The tables that the terminal shows at the end; writes the coverage report."""
        lines = []
        if self.runs:
            lines.append(
                f"{'bench':<48}{'build s':>10}{'cycles':>12}{'seconds':>10}{'cycles/s':>12}"
            )
            for test, cycles, seconds, building in self.runs:
                rate = cycles / max(seconds, 1e-9)
                lines.append(
                    f"{test:<48}{building:>10.1f}{cycles:>12,.0f}{seconds:>10.1f}{rate:>12,.0f}"
                )
        if self.layers:
            lines += ["", "random layers, all equal to the golden model:"]
            lines += [f"{count:>6}  {name}" for name, count in table(self.layers).items()]
        if self.coverage is not None and self._points:
            lines += ["", *self._coverage_lines()]
        return lines

    def _coverage_lines(self) -> list[str]:
        assert self.coverage is not None
        lines = [f"RTL coverage, in {self.coverage}:"]
        summed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for build, parts in self._points.items():
            name, counts = self._names[build], merge(parts)
            write_report(self.coverage / name, next(build.glob("*.v")), counts)
            for kind, found in totals(counts).items():
                summed[kind][0] += found.covered
                summed[kind][1] += found.points
                lines.append(
                    f"  {name:<26}{kind:<8}{found.covered:>8,} of "
                    f"{found.points:>8,}{found.percent:>8.1f} %"
                )
        for kind, (covered, points) in summed.items():
            lines.append(
                f"  {'all designs':<26}{kind:<8}{covered:>8,} of {points:>8,}"
                f"{100 * covered / points:>8.1f} %"
            )
        (self.coverage / "summary.txt").write_text("\n".join(lines) + "\n")
        return lines


_build_core = device.build_core
RECORDER = Recorder()
"""Of this session; :mod:`tests.sim.conftest` puts it between the tests and the simulator."""
