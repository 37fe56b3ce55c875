"""Damaged files of every kind: accepted, or refused by an error for the user; nothing else.

Every case has a seed of its own, which a failure names. ``--long`` runs ten times as many.
"""

import io
import json
import random
import shutil
import time
import warnings
from contextlib import suppress

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from termac.arch import load_config
from termac.cli import main
from termac.compile import compile_graph
from termac.errors import TermacError
from termac.files import load_array
from termac.frontend import load_onnx
from termac.graph import golden
from termac.image import load_image, save_image
from termac.image.summary import summary_rows

from tests.fuzz.mutate import damaged_bytes, damaged_json, damaged_message
from tests.sw.image.test_seal import resealed
from tests.sw.onnx_files import node, write_model
from tests.sw.random_graphs import CONFIGS, random_graph

SECONDS = 20
"""Of one case, on a loaded machine."""


@pytest.fixture(scope="session")
def times(request):
    return 10 if request.config.getoption("--long") else 1


def survive(name, seeds, case):
    """Run a case for every seed; returns how many were refused. Nothing but TermacError passes."""
    refused = 0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for seed in seeds:
            started = time.monotonic()
            try:
                case(random.Random(f"{name} {seed}"))
            except TermacError:
                refused += 1
            except BaseException as error:
                raise AssertionError(f"{name}, seed {seed}: {error!r}") from error
            assert time.monotonic() - started < SECONDS, (name, seed)
    return refused


def npy_bytes(rng):
    shape = rng.choice(((2, 3), (4, 1, 8, 8), (7,), ()))
    buffer = io.BytesIO()
    np.save(buffer, np.ones(shape, rng.choice(("<f4", "i1", ">f8", "<u2"))))
    return buffer.getvalue()


def test_arrays(tmp_path, times):
    path = tmp_path / "x.npy"

    def case(rng):
        data = npy_bytes(rng)
        head, body = (data[:128], data[128:]) if rng.random() < 0.8 else (data, b"")
        path.write_bytes(damaged_bytes(head, rng) + body)
        load_array(path, "input")

    assert survive("npy", range(800 * times), case) > 200


def test_configurations(tmp_path, times):
    path = tmp_path / "c.toml"
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in vars(CONFIGS[0]).items())
    values = ("[" * 2000, "{a=" * 500, "0x" + "f" * 9999, "9" * 5000, "nan", "1e999", "'''", "[]",
              "true", "-1", "7", "1979-05-27", '"\\u001b"', "[[a]]", "a.b.c=1")  # fmt: skip

    def case(rng):
        if rng.random() < 0.5:
            path.write_bytes(damaged_bytes(text.encode(), rng))
        else:
            lines = text.split("\n")
            key = rng.randrange(len(lines))
            lines[key] = f"{lines[key].partition('=')[0]} = {rng.choice(values)}"
            path.write_text("\n".join(lines))
        load_config(path)

    assert survive("toml", range(500 * times), case) > 200


def models(folder):
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype("f"), "b": np.ones(4, "f"),
        "one": np.ones(4, "f"),
        "m": rng.normal(size=(64, 5)).astype("f"), "s": np.array([0, -1]), "low": np.float32(0),
        "high": np.float32(6),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c one one one one", "n"),
        node("Clip", "n low high", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", "p p", "a"), node("Reshape", "a s", "f"), node("MatMul", "f m", "g"),
        node("Softmax", "g", "y"),
    ]  # fmt: skip
    path = write_model(folder / "m.onnx", nodes, constants)
    load_onnx(path)
    return onnx.load(str(path))


def test_models(tmp_path, times):
    whole = models(tmp_path)
    data = whole.SerializeToString()
    path = tmp_path / "x.onnx"

    def case(rng):
        if rng.random() < 0.4:
            path.write_bytes(damaged_bytes(data, rng))
        else:
            model = onnx.ModelProto()
            model.CopyFrom(whole)
            damaged_message(model, rng)
            path.write_bytes(model.SerializeToString())
        load_onnx(path)

    assert survive("onnx", range(500 * times), case) > 100


def test_image_folders(tmp_path, times):
    """Checksums made again, so that only what they protect is tried."""
    source, folder = tmp_path / "source", tmp_path / "image"
    image = compile_graph(random_graph(5), CONFIGS[0])
    save_image(image, source)
    x = np.zeros((1, *image.graph.tensors[image.graph.input].shape), np.int8)

    def case(rng):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        kind = rng.randrange(4)
        if kind == 0:
            manifest = json.loads((folder / "manifest.json").read_text())
            keep = manifest["format"], manifest["sha256"]
            manifest = damaged_json(manifest, rng)
            if rng.random() < 0.9 and isinstance(manifest, dict):
                manifest["format"], manifest["sha256"] = keep
            (folder / "manifest.json").write_text(json.dumps(manifest))
        elif kind == 1:
            document = damaged_json(json.loads((folder / "graph.json").read_text()), rng)
            (folder / "graph.json").write_text(json.dumps(document))
        else:
            name = rng.choice(("program.bin", "graph.npz", "taps.bin", "weights_0.bin"))
            (folder / name).write_bytes(damaged_bytes((folder / name).read_bytes(), rng))
        with suppress(KeyError, TypeError, AttributeError, ValueError):  # no manifest to seal
            resealed(folder)
        found = load_image(folder)
        summary_rows(found)
        golden.run(found.graph, x)

    assert survive("image", range(500 * times), case) > 200


def test_metadata(tmp_path, times):
    whole = models(tmp_path)
    grouping = {"lanes": 8, "columns": 8, "segments": 8, "factors": {"c": [1, 1]},
                "orders": {"c": [0, 1, 2, 3]}}  # fmt: skip
    terms = {"c": {"group": 8, "peaks": [1, 2, 3, 4], "terms":
             {"weights": 8, "exponents": [0, 1], "data": 0, "encoding": "naf"}}}  # fmt: skip

    from termac.compile import Grouping
    from termac.terms.budget import read_budgets

    graph = load_onnx(tmp_path / "m.onnx")
    assert whole.graph.node

    def case(rng):
        if rng.random() < 0.5:
            text = json.dumps(damaged_json(grouping, rng))
            text = text if rng.random() < 0.7 else text[: rng.randrange(len(text) + 1)]
            Grouping.read({"termac.grouping": text}, graph.shapes)
        else:
            text = json.dumps(damaged_json(terms, rng))
            text = text if rng.random() < 0.7 else "[" * rng.randrange(5000)
            read_budgets({"termac.terms": text}, {"c": 4})

    assert survive("metadata", range(300 * times), case) > 100


def test_commands(tmp_path, times):
    """The whole command: exit code 0 or 2, one line, nothing written unless it succeeds."""
    models(tmp_path)
    x, data = tmp_path / "x.npy", (tmp_path / "m.onnx").read_bytes()
    out = tmp_path / "out"
    for seed in range(30 * times):
        rng = random.Random(f"command {seed}")
        buffer = io.BytesIO()
        np.save(buffer, np.random.default_rng(seed).normal(size=(4, 3, 8, 8)).astype("f"))
        saved = buffer.getvalue()
        x.write_bytes(damaged_bytes(saved[:128], rng) + saved[128:] if seed % 2 else saved)
        (tmp_path / "y.onnx").write_bytes(data if seed % 2 else damaged_bytes(data, rng))
        arguments = ["pack", tmp_path / "y.onnx", "--config", "tiny", "--calibration", x, "-o", out]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code in (0, 2), (seed, result.stderr)
        if result.exit_code:
            assert result.stderr.startswith("error: "), seed
            assert result.stderr.count("\n") == 1, seed
            assert result.stdout == ""
            assert not out.exists()
        shutil.rmtree(out, ignore_errors=True)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "x.npy", "y.onnx"]
