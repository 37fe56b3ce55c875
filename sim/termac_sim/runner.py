"""Runs a cocotb bench on a built simulator: parameters in, results and live progress out."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from termac.errors import DeviceError
from termac.files import temporary_folder

from termac_sim.exchange import PARAMETERS_VARIABLE, PROGRESS_VARIABLE, ProgressReader
from termac_sim.launch import last_lines, launch

__all__ = ["BenchResult", "Case", "run_bench"]


@dataclass(frozen=True)
class Case:
    """One test of a bench.

    Parameters
    ----------
    name : str
        Name of the cocotb test.
    seconds : float
        Wall clock time.
    nanoseconds : float
        Simulated time.
    status : str
        ``"passed"``, ``"failed"`` or ``"skipped"``.
    message : str
        Why it failed; empty otherwise.
    """

    name: str
    seconds: float
    nanoseconds: float
    status: str
    message: str = ""


@dataclass(frozen=True)
class BenchResult:
    """All tests of one run; ``seconds`` includes the start of the simulator."""

    cases: tuple[Case, ...]
    seconds: float
    log: str
    coverage: bytes | None = None

    @property
    def failed(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.status == "failed")


def run_bench(
    build: Path,
    module: str | Sequence[str],
    *,
    parameters: Mapping[str, Any] | None = None,
    test_filter: str | None = None,
    results: Path | None = None,
    folder: Path | None = None,
    seed: int = 1,
    timeout: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    environment: Mapping[str, str] | None = None,
    waves: bool = False,
    check: bool = True,
) -> BenchResult:
    """Run the tests of a bench and return what they reported.

    Parameters
    ----------
    build : Path
        From :func:`termac_sim.build.build`.
    module : str or sequence of str
        Python module(s) with the cocotb tests, importable from this process's module path.
    parameters : mapping, optional
        JSON values for :func:`termac_sim.exchange.parameters` in the bench.
    test_filter : str, optional
        Regular expression; only tests whose full name (``module.test``) it is found in run.
    results : Path, optional
        Where to put the JUnit XML.
    folder : Path, optional
        Working folder of the simulator (log, waves); a temporary one if absent.
    seed : int
        Seed of ``random`` in the bench.
    timeout : float, optional
        Wall clock limit in seconds.
    progress : callable, optional
        Called with done, total, text for every :func:`termac_sim.exchange.report_progress`.
    environment : mapping, optional
        Additional environment variables.
    waves : bool
        Record ``dump.fst`` or ``dump.vcd``, whichever the build was made for.
    check : bool
        Raise if a test fails. Otherwise the caller looks at ``failed``.

    Raises
    ------
    DeviceError
        If the simulator crashes, takes too long or runs no test, or (``check``) a test fails.
    """
    information = json.loads((build / "build.json").read_text())
    if waves and not information["waves"]:
        raise ValueError("Waves need a simulator that was built with waves")
    with temporary_folder("termac-") if folder is None else nullcontext(folder.resolve()) as work:
        work.mkdir(parents=True, exist_ok=True)
        return _run(
            work, build, information["top"], [module] if isinstance(module, str) else [*module],
            parameters=parameters or {}, test_filter=test_filter, results=results, seed=seed,
            timeout=timeout, progress=progress, environment=environment or {}, waves=waves,
            check=check,
        )  # fmt: skip


def _run(
    work: Path,
    build: Path,
    top: str,
    modules: list[str],
    *,
    parameters: Mapping[str, Any],
    test_filter: str | None,
    results: Path | None,
    seed: int,
    timeout: float | None,
    progress: Callable[[int, int, str], None] | None,
    environment: Mapping[str, str],
    waves: bool,
    check: bool,
) -> BenchResult:
    log, xml = work / "simulation.log", work / "results.xml"
    (work / "parameters.json").write_text(json.dumps(parameters))
    progress_file = work / "progress"
    progress_file.write_text("")
    reader = ProgressReader(progress_file)

    def poll() -> None:
        for entry in reader.read():
            if progress is not None:
                progress(*entry)

    started = time.monotonic()
    code = launch(
        "test",
        {
            "test_module": modules,
            "hdl_toplevel": top,
            "hdl_toplevel_lang": "verilog",
            "build_dir": str(build),
            "test_dir": str(work),
            "results_xml": str(xml),
            "seed": seed,
            "test_filter": test_filter,
            "waves": waves,
        },
        log=log,
        environment={
            **environment,
            PARAMETERS_VARIABLE: str(work / "parameters.json"),
            PROGRESS_VARIABLE: str(progress_file),
        },
        timeout=timeout,
        poll=poll if progress is not None else None,
    )
    seconds = time.monotonic() - started
    cases = _cases(xml)
    if code or not cases:
        what = f"ended with code {code}" if code else "ran no test"
        raise DeviceError(f"the simulation of {top} {what}; end of its log:\n{last_lines(log, 25)}")
    if results is not None:
        shutil.copyfile(xml, results)
    coverage = work / "coverage.dat"
    result = BenchResult(
        cases,
        seconds,
        log.read_text(errors="replace"),
        coverage.read_bytes() if coverage.is_file() else None,
    )
    if check and result.failed:
        case = result.failed[0]
        raise DeviceError(f"{case.name} failed on the simulated {top}: {case.message}")
    return result


def _cases(xml: Path) -> tuple[Case, ...]:
    try:
        root = ElementTree.parse(xml).getroot()
    except (OSError, ElementTree.ParseError):
        return ()
    cases = []
    for element in root.iter("testcase"):
        status, message = "passed", ""
        for child in element:
            if child.tag in ("failure", "error"):
                status = "failed"
                message = child.get("message") or (child.text or "").strip() or "no message"
            elif child.tag == "skipped":
                status = "skipped"
        facts = {item.get("name"): item.get("value") for item in element.iter("property")}
        cases.append(
            Case(
                name=element.get("name", ""),
                seconds=float(element.get("time") or 0),
                nanoseconds=float(facts.get("sim_time_duration") or 0),
                status=status,
                message=message,
            )
        )
    return tuple(cases)
