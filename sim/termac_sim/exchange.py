"""What a bench inside the simulator and the process that launched it tell each other.

Parameters travel as a JSON file, progress as lines ``TERMAC_PROGRESS done total text`` appended to
a file; environment variables name both.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = [
    "PARAMETERS_VARIABLE",
    "PROGRESS_VARIABLE",
    "ProgressReader",
    "parameters",
    "report_progress",
]

PARAMETERS_VARIABLE = "TERMAC_PARAMETERS"
PROGRESS_VARIABLE = "TERMAC_PROGRESS_FILE"
_MARK = "TERMAC_PROGRESS"


def parameters() -> dict[str, Any]:
    """Parameters given to :func:`termac_sim.runner.run_bench`; called by the bench."""
    path = os.environ.get(PARAMETERS_VARIABLE)
    return json.loads(Path(path).read_text()) if path else {}


def report_progress(done: int, total: int, text: str = "") -> None:
    """Tell the launching process how far the bench is; called by the bench."""
    path = os.environ.get(PROGRESS_VARIABLE)
    if path:
        with open(path, "a") as stream:
            stream.write(f"{_MARK} {done} {total} {' '.join(text.split())}\n")


class ProgressReader:
    """Reads the lines that were added to a progress file since the last call.

    Parameters
    ----------
    path : Path
        The progress file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> list[tuple[int, int, str]]:
        """New complete entries: done, total, text."""
        try:
            with open(self._path, "rb") as stream:
                stream.seek(self._position)
                data = stream.read()
        except FileNotFoundError:
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self._position += len(complete)
        entries = []
        for line in complete.decode(errors="replace").splitlines():
            mark, done, total, *text = line.split(" ", 3)
            if mark == _MARK:
                entries.append((int(done), int(total), text[0] if text else ""))
        return entries
