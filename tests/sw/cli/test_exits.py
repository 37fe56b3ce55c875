"""Exit codes: whatever happens ends in one line, and code 1 is kept for a disagreement."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from termac.cli import main
from termac.cli.exits import LONGEST
from termac.errors import DeviceError, InputError, MismatchError, printable
from termac.report.console import plain_console


def run_raising(monkeypatch, error, *options, before=lambda: None):
    """``termac config show tiny`` in which reading the preset raises."""

    def load_config(name):
        before()
        raise error

    monkeypatch.setattr("termac.arch.load_config", load_config)
    return CliRunner().invoke(main, [*options, "config", "show", "tiny"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (MismatchError("layer 'a' differs"), 1, "layer 'a' differs"),
        (InputError("no"), 2, "no"),
        (DeviceError("stopped:\n  log"), 2, "stopped:\n  log"),
        (InputError("two\nlines\x1b[2J"), 2, r"two\nlines\x1b[2J"),
        (FileNotFoundError(2, "No such file", "a/b"), 2, "a/b: No such file"),
        (OSError(18, "Cross-device link", "a", None, "b"), 2, "a -> b: Cross-device link"),
        (MemoryError(), 2, "not enough memory"),
        (np.exceptions.AxisError(3), 3, "AxisError"),
        (ValueError("surprise"), 3, "ValueError: surprise; this is a fault of Termac"),
        (RecursionError("too deep"), 3, "RecursionError: too deep"),
        (KeyError("x"), 3, "KeyError: 'x'"),
        (AssertionError(), 3, "AssertionError; this is"),
        (EOFError(), 3, "EOFError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_exception_has_its_exit_code_and_line(monkeypatch, error, code, line):
    result = run_raising(monkeypatch, error)
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1 + line.count("\n")
    if code == 3:
        assert "internal error at cli/config.py:" in result.stderr


def test_the_traceback_is_shown_on_request(monkeypatch):
    result = run_raising(monkeypatch, ValueError("surprise"), "--traceback")
    assert result.exit_code == 3
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("error: internal error")
    monkeypatch.setenv("TERMAC_TRACEBACK", "1")
    assert "Traceback" in run_raising(monkeypatch, ValueError("surprise")).stderr
    assert "Traceback" not in run_raising(monkeypatch, InputError("no")).stderr


def test_a_long_message_loses_its_middle(monkeypatch):
    line = run_raising(monkeypatch, InputError("a" + "x" * 100_000 + "z")).stderr
    assert len(line) < LONGEST + 100
    assert line.startswith("error: axx")
    assert line.endswith("xxz\n")


def test_warnings_of_libraries_do_not_precede_an_error(monkeypatch):
    def overflow():
        np.float32(3e38) * np.ones(2, np.float32) * np.float32(10)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run_raising(monkeypatch, InputError("no"), before=overflow)
    assert result.stderr == "error: no\n"


def test_warnings_follow_a_command_that_succeeds(monkeypatch):
    from termac.arch import load_config

    def warn_and_load(name):
        for _ in range(3):
            warnings.warn("odd\nnumbers", RuntimeWarning, stacklevel=1)
        return load_config(name)

    monkeypatch.setattr("termac.arch.load_config", warn_and_load)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = CliRunner().invoke(main, ["config", "show", "tiny"])
    assert result.exit_code == 0
    assert result.stderr == "warning: RuntimeWarning: odd\\nnumbers\n"


def test_names_are_printed_as_they_are(capsys):
    from rich.table import Table

    table = Table(title="[/title]")
    table.add_column("[bold]head")
    table.add_row("[/foo] :smile: \x1b[31m\n")
    console = plain_console(width=120)
    console.print(table)
    console.print("[/bar] \r\x9b")
    shown = capsys.readouterr().out
    for text in ("[/title]", "[bold]head", "[/foo] :smile: \\x1b[31m\\n", "[/bar] \\r\\x9b"):
        assert text in shown
    assert "\x1b" not in shown


def test_printable_leaves_ordinary_text_alone():
    assert printable("größe ü [x] 100 %") == "größe ü [x] 100 %"
    assert printable("a\nb\t", lines=True) == "a\nb\\t"
    assert printable("\u202e\udcff") == "\\u202e\\udcff"


def termac(*arguments):
    return [sys.executable, "-c", "from termac.cli import main; main()", *arguments]


def test_a_reader_that_has_seen_enough_is_no_mismatch():
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (("config", "list"), ("--help",), ("config", "--help")):
        done = subprocess.run(termac(*arguments), stdout=writing, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (141, b""), arguments
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_named():
    with open("/dev/full", "w") as full:
        done = subprocess.run(termac("config", "list"), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == b"error: standard output: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_command_cleans_up(tmp_path, number):
    program = f"""
import time, pathlib
from termac.cli import main
import termac.arch
folder = pathlib.Path({str(tmp_path)!r})
def wait(name):
    (folder / "working").mkdir()
    try:
        time.sleep(60)
    finally:
        (folder / "working").rmdir()
termac.arch.load_config = wait
main(["config", "show", "tiny"])
"""
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    while not (tmp_path / "working").exists():
        assert child.poll() is None
    child.send_signal(number)
    assert child.wait(20) == 143
    assert child.stderr.read() == b"error: terminated\n"
    assert not list(tmp_path.iterdir())
