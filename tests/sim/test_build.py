"""Building, caching and running a simulator."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from termac.errors import DeviceError
from termac_hw.emit import emit_verilog
from termac_sim.build import build, control_file
from termac_sim.cache import cache_folder, make_private
from termac_sim.exchange import ProgressReader
from termac_sim.launch import verilator_folder
from termac_sim.runner import run_bench

from tests.places import ROOT
from tests.sim.counters import CounterArray

ROWS, COLUMNS = 2, 3
PUBLIC = [("counter_array", "steps"), ("counter_array", "phase"), ("counter_cell", "count")]
PARAMETERS = {"rows": ROWS, "columns": COLUMNS}


@pytest.fixture(scope="module")
def verilog():
    return emit_verilog(CounterArray(ROWS, COLUMNS))


@pytest.fixture(scope="module")
def folder(verilog, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        built = build(verilog, "counter_array", PUBLIC)
        times = {path: path.stat().st_mtime_ns for path in built.iterdir()}
        assert build(verilog, "counter_array", PUBLIC) == built
        assert {path: path.stat().st_mtime_ns for path in built.iterdir()} == times
        assert [path.name for path in built.parent.iterdir()] == [built.name]
    return built


def test_counts_and_handles(folder, tmp_path):
    seen = []
    result = run_bench(
        folder,
        "tests.sim.bench_counters",
        parameters=PARAMETERS,
        test_filter="counts|public_handles",
        results=tmp_path / "results.xml",
        progress=lambda *entry: seen.append(entry),
    )
    assert [(case.name, case.status) for case in result.cases] == [
        ("counts", "passed"),
        ("public_handles", "passed"),
    ]
    assert result.cases[0].nanoseconds > 3 * 160
    assert seen == [(1, 3, "run 0"), (2, 3, "run 1"), (3, 3, "run 2")]
    assert "<testcase" in (tmp_path / "results.xml").read_text()


def test_failure_is_reported(folder):
    arguments = {"parameters": PARAMETERS, "test_filter": "fails"}
    with pytest.raises(DeviceError, match=r"fails failed on the simulated counter_array.*seven"):
        run_bench(folder, "tests.sim.bench_counters", **arguments)
    assert len(run_bench(folder, "tests.sim.bench_counters", check=False, **arguments).failed) == 1


def test_missing_module_and_test(folder):
    with pytest.raises(DeviceError, match="no_such_bench"):
        run_bench(folder, "no_such_bench")
    with pytest.raises(DeviceError, match=r"ran no test|ended with code"):
        run_bench(folder, "tests.sim.bench_counters", test_filter="no_such_test")


def test_time_limit(folder):
    with pytest.raises(DeviceError, match=r"stopped after 0\.1 s"):
        run_bench(folder, "tests.sim.bench_counters", parameters=PARAMETERS, timeout=0.1)


def test_parallel_builds_share_one_folder(verilog, tmp_path):
    """Two processes build the same design at once; neither is activated or in a source folder."""
    (tmp_path / "design.v").write_text(verilog)
    code = (
        "import sys; from pathlib import Path; from termac_sim.build import build;"
        "print(build(Path(sys.argv[1]).read_text(), 'counter_array', coverage=True))"
    )
    env = {"PATH": os.defpath, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path / "design.v")]
    children = [
        subprocess.Popen(command, env=env, cwd="/", stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert len(printed) == 1
    built = Path(printed.pop().strip())
    assert [path.name for path in built.parent.iterdir()] == [built.name]
    result = run_bench(
        built, "tests.sim.bench_counters", parameters=PARAMETERS, test_filter="fails", check=False
    )
    assert result.coverage is not None
    assert b"counter_cell" in result.coverage or b"counter_array" in result.coverage


def test_broken_verilog(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match="does not build"):
        build("module broken(a);\n  input a;\n  assign = 1;\nendmodule\n", "broken")
    assert not list((tmp_path / "termac" / "simulators").iterdir())


def test_control_file(verilog):
    control = control_file(verilog, "counter_array", PUBLIC)
    assert 'public_flat_rw -module "counter_array" -var "done"' in control
    assert 'public_flat_rw -module "counter_cell" -var "count"' in control
    with pytest.raises(ValueError, match="no module 'counter_cel'"):
        control_file(verilog, "counter_array", [("counter_cel", "count")])
    with pytest.raises(ValueError, match="'counter_cell' has no variable 'counts'"):
        control_file(verilog, "counter_array", [("counter_cell", "counts")])
    with pytest.raises(ValueError, match="no module 'array'"):
        control_file(verilog, "array", [])


def test_waves_need_a_build_with_waves(folder):
    with pytest.raises(ValueError, match="built with waves"):
        run_bench(folder, "tests.sim.bench_counters", waves=True)


def test_progress_reader_keeps_incomplete_lines(tmp_path):
    path = tmp_path / "progress"
    reader = ProgressReader(path)
    assert reader.read() == []
    path.write_text("TERMAC_PROGRESS 1 2 first layer\nTERMAC_PRO")
    assert reader.read() == [(1, 2, "first layer")]
    with path.open("a") as stream:
        stream.write("GRESS 2 2\n")
    assert reader.read() == [(2, 2, "")]


def test_verilator_is_found_without_activation():
    assert (verilator_folder() / "verilator").is_file()


def test_many_rows_share_one_function(verilog):
    many = control_file(emit_verilog(CounterArray(8, 2)), "counter_array", [])
    assert 'no_inline -module "counter_row"' in many
    assert "counter_cell" not in many
    assert "no_inline" not in control_file(verilog, "counter_array", [])


# --- The cache -----------------------------------------------------------------------------------


def test_a_damaged_simulator_is_built_again(folder, verilog, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parents[2]))
    program = folder / "counter_array"
    whole = program.read_bytes()
    program.write_bytes(whole[: len(whole) // 2])
    assert build(verilog, "counter_array", PUBLIC) == folder
    assert len(program.read_bytes()) == len(whole)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    (folder / "build.json").write_text("{")
    monkeypatch.setattr("termac_sim.build.check_tools", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # it would be built again
        build(verilog, "counter_array", PUBLIC)
    (folder / "build.json").unlink()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parents[2]))
    build(verilog, "counter_array", PUBLIC)


def test_a_cache_that_cannot_be_written_serves_what_it_has(folder, verilog, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(30, "Read-only file system", str(arguments[0]))

    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parents[2]))
    monkeypatch.setattr("termac_sim.build.os.utime", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert build(verilog, "counter_array", PUBLIC) == folder
    with pytest.raises(DeviceError, match="cannot be written: Read-only file system; set XDG_"):
        build(verilog + "// another\n", "counter_array", PUBLIC)


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_the_cache_is_private_whatever_the_umask(tmp_path, monkeypatch, mask):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    before = os.umask(mask)
    try:
        make_private(cache_folder())
    finally:
        os.umask(before)
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_a_cache_with_spaces_in_its_path_is_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    with pytest.warns(UserWarning, match="has a name that make cannot take") as caught:
        place = cache_folder()
    assert str(place) in str(caught[0].message)
    assert " " not in str(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "termac"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_simulator_dies_with_its_parent(folder, tmp_path, number):
    """Even if the parent has no chance to end it."""
    program = f"""
import pathlib
from termac_sim.runner import run_bench
run_bench(pathlib.Path({str(folder)!r}), "tests.sim.bench_counters", test_filter="never_ends",
          folder=pathlib.Path({str(tmp_path)!r}))
"""
    log = tmp_path / "simulation.log"
    child = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        wait_until(lambda: log.exists() and b"simulating" in log.read_bytes())
        assert running_in(tmp_path)
        child.send_signal(number)
        child.wait()
        wait_until(lambda: not running_in(tmp_path))
    finally:
        child.kill()


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def running_in(folder):
    """Processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if os.readlink(entry) == str(folder):
                found.append(entry.parent.name)
        except OSError:
            pass
    return found
