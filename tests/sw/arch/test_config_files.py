"""Configuration files that are no configuration: one line that names the file."""

import os
from importlib import resources

import pytest
from termac.arch import load_config
from termac.arch.config import LARGEST_FILE
from termac.errors import ConfigError

TINY = resources.files("termac.arch").joinpath("presets", "tiny.toml").read_text()


def refused(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path.stem) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rows = " + "[" * 1500 + "]" * 1500, "nested too deeply"),
        ("rows = " + "{a=" * 1500 + "1" + "}" * 1500, "nested too deeply"),
        (".".join(["a"] * 3000) + " = 1", "unknown key 'a'"),
        ("rows = " + "9" * 5000, "not valid TOML"),
        (TINY.replace("rows = 8", "rows = 0x" + "f" * 5000), "rows is beyond the integers of TOML"),
        (TINY.replace("rows = 8", f"rows = {1 << 63}"), "rows is beyond the integers of TOML"),
        ("x" * (LARGEST_FILE + 1), "larger than 65,536 bytes"),
        (b"name = '\xff'", "not valid TOML: not UTF-8"),
        (b"rows = 1\x00", "not valid TOML"),
        ("rows = nan", "missing key"),
        ("rows = true\n" + TINY.replace("rows = 8", ""), "rows must be of type int"),
        ("rows = 1979-05-27\n" + TINY.replace("rows = 8", ""), "rows must be of type int"),
        ("[rows]\n", "missing key"),
        ("", "missing key"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, text, reason):
    assert reason in refused(tmp_path / "mine.toml", text)


def test_a_name_is_any_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "[/foo]\\u001b[2J\\n"\n' + TINY)
    assert load_config(path).name == "[/foo]\x1b[2J\n"


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", "/dev/zero", tmp_path):
        with pytest.raises(ConfigError, match="no preset and no file"):
            load_config(path)
