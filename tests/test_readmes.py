"""Python snippets of the manuals that say they are complete: they run as they stand.

A fence ``python test`` marks one. It runs in an empty folder, in an interpreter of its own.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MANUALS = [path for path in sorted(ROOT.glob("*/README.md")) if path.parent.name != "build"]
FENCE = re.compile(r"^```python test\n(.*?)^```$", re.M | re.S)


def snippets():
    for path in [ROOT / "README.md", *MANUALS]:
        text = path.read_text()
        for found in FENCE.finditer(text):
            line = text[: found.start()].count("\n") + 1
            yield pytest.param(found[1], id=f"{path.relative_to(ROOT)}:{line}")


SNIPPETS = list(snippets())


def test_there_are_snippets_in_the_manual_of_the_software():
    manuals = [str(parameter.id).split(":")[0] for parameter in SNIPPETS]
    assert manuals.count("sw/README.md") >= 3


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippet_runs_as_it_stands(code, tmp_path):
    needs_torch = re.search(r"^(import torch|from (torch|termac\.train)\b)", code, re.M)
    if needs_torch and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error::termac.errors.InputWarning", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
