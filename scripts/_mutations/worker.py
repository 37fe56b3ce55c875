"""Testing one mutation after the other in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import click

from _mutations.mutation import Mutation, mutate
from _mutations.results import ROOT, Result

__all__ = ["STATE", "Worker"]

STATE = ROOT / "build" / "mutations"
FOLDERS = ("hw", "sw", "sim", "tests")

LIMIT = 1200.0
"""Seconds of one stage of tests: much longer than any takes, for a mutation that hangs."""


class Worker:
    """A copy of the tree in which one mutation after the other is tested."""

    def __init__(self, number: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix=f"termac-mutations-{number}-"))
        ignored = shutil.ignore_patterns("__pycache__")
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, self.root / folder, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", self.root)
        self.child: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """End the tests that are running, if any."""
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)

    def run(self, mutation: Mutation | None, tests: Iterable[str]) -> Result:
        """Run stages until one fails."""
        started = time.monotonic()
        path, text = mutate(self.root, mutation) if mutation else (None, "")
        original = path.read_text() if path else ""
        try:
            if path:
                path.write_text(text)
            for stage in tests:
                outcome, by = self._stage(stage)
                if outcome != "survived":
                    return Result(outcome, by, time.monotonic() - started)
        finally:
            if path:
                path.write_text(original)
        return Result("survived", "", time.monotonic() - started)

    def _stage(self, stage: str) -> tuple[str, str]:
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=line"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(self.root / name) for name in ("hw", "sw", "sim")),
            "PYTHONDONTWRITEBYTECODE": "1",  # a stale file would hide a mutation of equal length
            "XDG_CACHE_HOME": str(STATE / "cache"),
        }
        command = [sys.executable, "-m", "pytest", *options, *_split(stage)]
        with subprocess.Popen(
            command, cwd=self.root, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as child:  # fmt: skip
            self.child = child
            try:
                output, _ = child.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                self.stop()
                return "time limit", stage
        if child.returncode == 0:
            return "survived", ""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
        if child.returncode != 1 or not failed:
            raise click.ClickException(f"pytest {stage} ended with {child.returncode}:\n{output}")
        return "killed", failed[1]

    def close(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def _split(stage: str) -> list[str]:
    """``file -k 'a and b'`` as arguments."""
    path, _, expression = stage.partition(" -k ")
    return [path, "-k", expression] if expression else [path]
