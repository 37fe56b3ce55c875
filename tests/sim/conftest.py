"""Records every bench of the session; ``--rtl-coverage DIR`` counts what it covers of the RTL."""

from pathlib import Path

import pytest
from termac_sim import device

from tests.sim.recorder import RECORDER


def pytest_addoption(parser):
    parser.addoption(
        "--rtl-coverage",
        metavar="DIR",
        type=Path,
        help="build simulators with line and toggle coverage and write a report into DIR",
    )


@pytest.fixture(scope="session", autouse=True)
def _recorded(request):
    """Everything that simulates an accelerator goes through the recorder."""
    folder = request.config.getoption("--rtl-coverage", default=None)
    RECORDER.coverage = folder and folder.resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "run_bench", RECORDER.run_bench)
        patch.setattr(device, "build_core", RECORDER.build_core)
        yield


def pytest_terminal_summary(terminalreporter):
    lines = RECORDER.lines()
    if lines:
        terminalreporter.section("benches")
        for line in lines:
            terminalreporter.write_line(line)
