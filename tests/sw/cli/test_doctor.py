"""What the machine must have is said before any work, and in full by ``termac doctor``."""

import json

import pytest
from click.testing import CliRunner
from termac.cli import main
from termac.errors import DeviceError
from termac_sim import tools


def doctor(*arguments):
    return CliRunner().invoke(main, ["doctor", *arguments])


@pytest.fixture
def without(monkeypatch):
    """Hides a program or a package."""
    which, find_spec = tools.shutil.which, tools.importlib.util.find_spec

    def hide(name):
        monkeypatch.setattr(
            tools.shutil, "which", lambda program: None if program == name else which(program)
        )
        monkeypatch.setattr(
            tools.importlib.util,
            "find_spec",
            lambda module: None if module == name else find_spec(module),
        )

    return hide


def test_a_complete_machine():
    result = doctor("--json")
    facts = json.loads(result.stdout)
    assert result.exit_code == 0
    assert facts["complete"]
    found = {tool["name"]: tool["found"] for tool in facts["tools"]}
    for name in ("Python", "Verilator", "C++ compiler", "make", "perl", "cocotb", "yosys", "cache"):
        assert found[name], name
    assert "Everything needed is there." in doctor().stdout


@pytest.mark.parametrize(
    ("hidden", "name", "required"),
    [
        *(("g++", "C++ compiler", True), ("make", "make", True), ("perl", "perl", True)),
        *(("cocotb", "cocotb", True), ("torch", "PyTorch", False)),
    ],
)
def test_what_is_missing_is_shown(without, hidden, name, required):
    without(hidden)
    result = doctor("--json")
    facts = json.loads(result.stdout)
    assert [tool["name"] for tool in facts["tools"] if tool["missing"]][:1] == [name]
    assert result.exit_code == (2 if required else 0)
    shown = doctor().stdout
    assert ("MISSING" in shown) == required
    assert (f"missing: {name}" in shown) == required


@pytest.mark.parametrize("hidden", ["g++", "make", "perl"])
def test_a_simulator_is_not_even_begun_without_its_tools(without, hidden):
    tools.check_tools()
    without(hidden)
    with pytest.raises(
        DeviceError, match=rf"not installed: .*{hidden.replace('+', '.')}"
    ) as caught:
        tools.check_tools()
    assert hidden in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_missing(monkeypatch, tmp_path):
    access = tools.os.access
    monkeypatch.setattr(
        tools.os, "access", lambda path, mode: path != tmp_path and access(path, mode)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    facts = json.loads(doctor("--json").stdout)
    assert [tool["name"] for tool in facts["tools"] if tool["missing"]][:1] == ["cache"]
