"""The damaged inputs of the shared data, each with its right answer. Skips where they are not."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from termac.cli import main

from tests.places import SHARED

FAULTS = SHARED / "data" / "faults"
pytestmark = pytest.mark.skipif(not FAULTS.is_dir(), reason="shared data not here")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def pack(output, model="good.onnx", config="good.toml", calibration="good.npy"):
    files = [FAULTS / name if isinstance(name, str) else name for name in (model, calibration)]
    return run("pack", files[0], "--config", FAULTS / config, "--calibration", files[1],
               "-o", output)  # fmt: skip


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert any(part in result.stderr for part in parts), result.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("header_bit", "damaged .npy file"),
        ("header_giant", "damaged or truncated .npy file"),
        ("header_long_number", "damaged .npy file"),
        ("header_bool", "damaged .npy file"),
        ("nearly_infinite", "becomes infinite on the calibration data"),
    ],
)
def test_arrays(tmp_path, name, reason):
    refused(pack(tmp_path / "image", calibration=f"{name}.npy"), reason)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["deep", "long_integer"])
def test_configurations(tmp_path, name):
    refused(pack(tmp_path / "image", config=f"{name}.toml"), f"{name}.toml: not valid TOML")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("name_not_utf8", "not a valid ONNX model: NodeProto.name is not UTF-8"),
        ("weights_bool", "(MatMul): weight 'w1' is of type bool"),
        ("empty_batchnorm", "(BatchNormalization): bias has 0 values"),
        ("pads_2000", "pads 2,000 pixels"),
        ("functions", "the model has 16,777,226 nodes"),
        ("constant_8_gib", "the constant is too large"),
    ],
)
def test_models(tmp_path, name, reason):
    calibration = FAULTS / "good.npy"
    if name == "weights_bool":
        calibration = tmp_path / "x.npy"
        np.save(calibration, np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))
    refused(pack(tmp_path / "image", f"{name}.onnx", calibration=calibration), reason)
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ({"config": "name_markup.toml"}, "[/foo]"),
        ({"model": "name_markup.onnx"}, "[/foo]"),
        ({"model": "name_control.onnx"}, "\\x1b"),
    ],
)
def test_names_are_printed_as_they_are(tmp_path, files, shown):
    result = pack(tmp_path / "image", **files)
    assert result.exit_code == 0, result.output
    assert shown in result.stdout
    assert "\x1b" not in result.stdout
    assert run("estimate", tmp_path / "image").exit_code == 0


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet") / "image"
    assert pack(folder).exit_code == 0
    return folder


@pytest.mark.parametrize(
    ("how", "reasons"),
    [
        ("position", ("damaged",)),
        ("layer_name", ("damaged",)),
        ("output_name", ("damaged",)),
        ("short", ("damaged: the program ends",)),
        ("runaway", ("damaged: program", "damaged: the program")),
        ("huge", ("more than the watchdog can count",)),
        ("passes_null", ("damaged: passes is not of type int",)),
        ("member", ("is compressed", "damaged")),
        pytest.param("bomb", ("belongs to no node", "is compressed"), marks=pytest.mark.long),
        ("device", ("not a plain file",)),
        ("pipe", ("not a plain file",)),
    ],
)
def test_images(good, tmp_path, how, reasons):
    folder, output = tmp_path / "image", tmp_path / "y.npy"
    script = [sys.executable, FAULTS / "damage_image.py", good, folder, how]
    subprocess.run([str(part) for part in script], check=True)
    arguments = ["simulate", folder, "--input", FAULTS / "good.npy", "--output", output]
    for command in (["estimate", folder], arguments, [*arguments, "--check"],
                    [*arguments, "--engine", "golden"]):  # fmt: skip
        refused(run(*command), *reasons)
        assert not output.exists()
