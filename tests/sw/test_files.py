from pathlib import Path

import pytest
from termac.errors import TermacError
from termac.files import MARKER, atomic_folder


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
    assert (tmp_path / "out" / MARKER).read_text() == "sub/deep\nsub/file\n"


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
