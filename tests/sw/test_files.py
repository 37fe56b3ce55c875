import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from termac.errors import InputError, TermacError
from termac.files import (
    MARKER,
    atomic_folder,
    check_writable_folder,
    load_array,
    read_plain,
    save_array,
    temporary_folder,
)


def write(path, **texts):
    with atomic_folder(path) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text)


def content(path):
    return {p.name: p.read_text() for p in path.iterdir() if p.name != MARKER}


def test_absent_empty_and_own_folders_are_taken(tmp_path):
    path = tmp_path / "a" / "b"
    write(path, one="1", two="2")
    assert content(path) == {"one": "1", "two": "2"}
    write(path, one="3")
    assert content(path) == {"one": "3"}
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", x="y")
    assert content(tmp_path / "empty") == {"x": "y"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "empty"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_nested_folders(tmp_path):
    for _ in range(2):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "sub" / "deep").mkdir(parents=True)
            (folder / "sub" / "file").write_text("x")
    written = json.loads((tmp_path / "out" / MARKER).read_text())
    assert written == {"sub/deep": "folder", "sub/file": hashlib.sha256(b"x").hexdigest()}


def test_mode_is_that_of_an_ordinary_folder(tmp_path):
    write(tmp_path / "out", a="b")
    (tmp_path / "ordinary").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_foreign_files_are_safe(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.json").write_text("{}")
    with pytest.raises(TermacError, match=r"holds 'config\.json', which Termac did not write"):
        write(tmp_path / "foreign", a="b")
    assert content(tmp_path / "foreign") == {"config.json": "{}"}
    own = tmp_path / "own"
    write(own, a="b")
    (own / "notes").mkdir()
    (own / "notes" / "mine.txt").write_text("!")
    with pytest.raises(TermacError, match=r"holds 'notes/mine.txt'"):
        write(own, a="c")
    assert (own / "a").read_text() == "b"


def test_added_while_writing(tmp_path):
    path = tmp_path / "out"

    def write_while_another_does():
        with atomic_folder(path):
            path.mkdir()
            (path / "late").write_text("!")

    with pytest.raises(TermacError, match="holds 'late'"):
        write_while_another_does()
    assert content(path) == {"late": "!"}


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_failure_leaves_everything_as_it_was(tmp_path, failure):
    path = tmp_path / "out"
    write(path, a="b")

    def fail_halfway():
        with atomic_folder(path) as folder:
            (folder / "a").write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        fail_halfway()
    assert content(path) == {"a": "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_failing_rename_restores_the_old_folder(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write(path, a="b")
    rename = Path.rename

    def failing(self, target):
        if Path(target) == path and self.name != "old":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(TermacError, match="cannot be written: No space left on device"):
        write(path, a="c")
    assert content(path) == {"a": "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(TermacError, match="exists and is not a folder"):
        write(file, a="b")
    with pytest.raises(TermacError, match="cannot be written: "):
        write(file / "below", a="b")
    monkeypatch.chdir(tmp_path)
    for path in (".", "", tmp_path.parent):
        with pytest.raises(TermacError, match="working directory"):
            write(path, a="b")


def test_foreign_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out"):
        (tmp_path / "absent").read_text()
    assert not (tmp_path / "out").exists()


def test_link_stays_a_link(tmp_path):
    write(tmp_path / "real", a="b")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", a="c")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"a": "c"}


def test_a_list_from_elsewhere_deletes_nothing(tmp_path):
    write(tmp_path / "own", report="ours", notes="ours")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report").write_text("a year of work")
    (mine / "notes").symlink_to(tmp_path / "own" / "notes")
    shutil.copy(tmp_path / "own" / MARKER, mine)
    with pytest.raises(TermacError, match="holds 'notes', which is not what Termac wrote there"):
        write(mine, a="b")
    (mine / "notes").unlink()
    for marker in (None, "report\n", "[]", '{"report": null}', "{" * 9, "[" * 100_000):
        if marker is not None:
            (mine / MARKER).write_text(marker)
        with pytest.raises(TermacError, match="holds 'report', which"):
            write(mine, a="b")
        with pytest.raises(TermacError, match="holds 'report', which"):  # and before the work
            check_writable_folder(mine, "--output")
    assert (mine / "report").read_text() == "a year of work"


def killed(tmp_path, program):
    """Run a program that makes folders, and kill it once it says so."""
    text = f"import sys, time, pathlib\nfrom termac import files\n{program}\n"
    wait = "print('ready', flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", text.replace("WAIT", wait)], stdout=subprocess.PIPE, cwd=tmp_path
    )
    assert child.stdout.readline() == b"ready\n"
    child.kill()
    child.wait()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    killed(tmp_path, "with files.atomic_folder('out') as f: (f / 'a').write_text('half'); WAIT")
    killed(tmp_path, "with files.temporary_folder('.x.npy.', pathlib.Path('.')): WAIT")
    assert len(list(tmp_path.iterdir())) == 2
    with temporary_folder(".out.", tmp_path) as running:  # that of a living process stays
        write(tmp_path / "out", a="b")
        save_array(tmp_path / "x.npy", np.zeros(3))
        assert sorted(p.name for p in tmp_path.iterdir()) == [running.name, "out", "x.npy"]
    assert content(tmp_path / "out") == {"a": "b"}


def test_a_folder_moved_aside_by_a_killed_process_comes_back(tmp_path):
    write(tmp_path / "out", a="b")
    killed(
        tmp_path,
        """
rename = pathlib.Path.rename
def stop(self, target):
    rename(self, target)
    if target.name == "old":
        WAIT
pathlib.Path.rename = stop
with files.atomic_folder('out') as f: (f / 'a').write_text('c')
""",
    )
    assert not (tmp_path / "out").exists()

    def fail():
        with atomic_folder(tmp_path / "out"):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert content(tmp_path / "out") == {"a": "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_errors_without_a_path_get_one(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="cannot be written: No space left on device") as caught:
        save_array(tmp_path / "y.npy", np.zeros(3))
    assert caught.value.filename == str(tmp_path / "y.npy")
    assert not list(tmp_path.iterdir())


# --- Files that users name -----------------------------------------------------------------------


def npy(header, data=b"", version=1):
    """Bytes of an .npy file with any header."""
    text = header.encode("latin1") + b"\n"
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def header(shape, descr="'<f4'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "|i1", "<u8", "|b1"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_arrays_are_read_as_they_were_saved(tmp_path, dtype, shape):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    save_array(tmp_path / "a.npy", values)
    read = load_array(tmp_path / "a.npy", "input")
    assert (read.dtype, read.shape) == (values.dtype, shape)
    assert np.array_equal(read, values)
    np.save(tmp_path / "b.npy", np.array(values, order="F"))
    assert np.array_equal(load_array(tmp_path / "b.npy", "input"), values)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an .npy file"),
        (b"PK\x03\x04", "not an .npy file"),
        (b"\x93NUMPY", "header cannot be read"),
        (b"\x93NUMPY\x09\x09\x02\x00{}", "header cannot be read"),
        (npy(header("(2,"), bytes(8)), "header cannot be read"),
        (npy("((((", bytes(8)), "header cannot be read"),
        (npy("(" * 9000, bytes(8)), "header cannot be read"),
        (npy("[" * 60_000, version=2), "header cannot be read"),
        (npy("{'descr': '<f4'}"), "header cannot be read"),
        (npy(header("(2,)", "'<f4x'"), bytes(8)), "header cannot be read"),
        (npy(header("('2',)"), bytes(8)), "header cannot be read"),
        (npy(header("(-2,)"), bytes(8)), "is impossible"),
        (npy(header("(True, 2)"), bytes(8)), "is impossible"),
        (npy(header(f"({10**40},)"), bytes(8)), "is impossible"),
        (npy(header(f"(0, {10**40})")), "is impossible"),
        (npy(header(f"(0, {2**62}, {2**62})")), "damaged or truncated"),
        (npy(header(f"({2**40},)"), bytes(8)), "takes 4,398,046,511,104 bytes, the file has 8"),
        (npy(header("(2,)"), bytes(9)), "takes 8 bytes, the file has 9"),
        (npy(header("(2,)", "'|O'"), bytes(8)), "holds Python objects"),
        (npy(header("(2,)", "[('a', '<f4')]"), bytes(8)), "is of type"),
        (npy(header(f"({2**60},)", "'|V0'")), "is of type"),
        (npy(header("(2,)", "'<U4'"), bytes(32)), "is of type <U4, must be"),
    ],
)
def test_a_damaged_array_is_named(tmp_path, data, reason):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_array(path, "input")
    assert str(caught.value).startswith(f"input {path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_devices_pipes_and_folders_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero", "."):
        with pytest.raises(InputError, match="not a file"):
            load_array(tmp_path / name, "input")
        with pytest.raises(OSError, match=r"not a plain file|Is a directory"):
            read_plain(tmp_path / name, 100)
    (tmp_path / "file").write_bytes(b"12345")
    assert read_plain(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_plain(tmp_path / "file", 4)
