"""Groupings travel with a model file, and a damaged or foreign one is refused or left out."""

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from termac.arch import load_config
from termac.cli import main
from termac.compile.grouping import PROPERTY, Grouping
from termac.compress.combine.prune import combine_network
from termac.errors import ModelError
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.frontend import load_onnx
from termac.image import load_image

MODEL = MODELS / "digits.onnx"
SHAPES = {"x": (8, 8, 1), "a": (8, 8, 4)}
PLAIN = Grouping(8, 16, 8, {"x": (1, 2), "a": (2, 2)}, {"a": [2, 0, 3, 1]})


def test_what_is_written_is_read():
    text = PLAIN.to_json()
    assert Grouping.read({PROPERTY: text, "other": "x"}, SHAPES) == PLAIN
    assert Grouping.read({"other": "x"}, SHAPES) is None
    shuffled = Grouping(8, 16, 8, {"a": (2, 2), "x": (1, 2)}, {"a": [2, 0, 3, 1]})
    assert shuffled.to_json() == text


def test_only_words_divided_alike_fit():
    demo = load_config("demo")
    assert Grouping(demo.lanes, demo.columns, demo.segments, {}, {}).fits(demo)
    for index in range(3):
        other = [demo.lanes, demo.columns, demo.segments]
        other[index] *= 2
        assert not Grouping(*other, {}, {}).fits(demo)


def changed(**values):
    return json.dumps({**json.loads(PLAIN.to_json()), **values})


def without(key):
    return json.dumps({k: v for k, v in json.loads(PLAIN.to_json()).items() if k != key})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "7", '"text"', "[" * 100_000,
        *(without(key) for key in ("lanes", "columns", "segments", "factors", "orders")),
        changed(lanes="x"), changed(lanes=None), changed(columns=[]), changed(segments=1e400),
        changed(factors=[]), changed(factors={"a": 1}), changed(factors={"a": [1]}),
        changed(factors={"a": [1e400, 1]}), changed(factors={"a": [None, 1]}),
        changed(orders=5), changed(orders={"a": 5}), changed(orders={"a": ["x"]}),
    ],
)  # fmt: skip
def test_damaged_metadata_is_refused(text):
    with pytest.raises(ModelError, match=r"metadata 'termac.grouping' of the model is damaged"):
        Grouping.read({PROPERTY: text}, SHAPES)


@pytest.mark.parametrize("values", [{"factors": {"b": [1, 1]}}, {"orders": {"b": [0]}}])
def test_unknown_tensors_are_refused(values):
    with pytest.raises(ModelError, match=r"names tensor 'b', which it does\s+not have"):
        Grouping.read({PROPERTY: changed(**values)}, SHAPES)


# --- With the model file -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grouping")
    np.save(folder / "x.npy", digits().train.images[:64])
    return folder


def model_with(path, text):
    model = onnx.load(MODEL)
    onnx.helper.set_model_props(model, {PROPERTY: text})
    onnx.save(model, path)
    return path


def pack(model, data, output, *options):
    arguments = ["pack", model, "--config", "demo", "--calibration", data / "x.npy", "-o", output]
    return CliRunner().invoke(main, [str(argument) for argument in (*arguments, *options)])


def test_pack_keeps_to_the_grouping_of_the_model(data, tmp_path):
    samples = digits().train.images[:64]
    found = combine_network(load_onnx(MODEL), samples, load_config("demo"), selects=1).grouping
    model = model_with(tmp_path / "model.onnx", found.to_json())
    result = pack(model, data, tmp_path / "image", "--json")
    assert result.exit_code == 0, result.output
    assert not any("grouping" in note for note in json.loads(result.stdout)["notes"])
    image = load_image(tmp_path / "image")
    moved = 0
    for name, order in found.orders.items():
        storage = image.storage(name)
        places = storage.positions.reshape(-1, len(order))[:, order]
        plain = np.sort(storage.positions.ravel())
        assert sorted(places.ravel().tolist()) == plain.tolist()
        assert storage.factor == found.factors[name]
        moved += order != sorted(order)
        if storage.factor == (1, 1):
            words, lanes = places // image.config.word_bytes, image.config.lanes
            assert (np.diff(words[0]) >= 0).all()  # place after place fills word after word
            banks = places[0] // lanes % image.config.banks
            assert sorted(banks[: image.config.banks]) == list(range(image.config.banks))
    assert moved


def test_grouping_of_another_config_is_left_out_with_a_note(data, tmp_path):
    other = Grouping(4, 8, 4, {"first": (1, 1)}, {"first": list(range(16))[::-1]})
    model = model_with(tmp_path / "model.onnx", other.to_json())
    for output, name in (("one", model), ("two", MODEL)):
        result = pack(name, data, tmp_path / output, "--json")
        assert result.exit_code == 0, result.output
        notes = [note for note in json.loads(result.stdout)["notes"] if "grouping" in note]
        assert len(notes) == (name == model)
        if notes:
            assert "4 lanes of 8 columns" in notes[0]
            assert "'demo' has 8 of 16" in notes[0]
    for file in ("program.bin", "taps.bin", "weights_0.bin"):
        one, two = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged; remove it or train again"),
        (Grouping(8, 16, 8, {"none": (1, 1)}, {}).to_json(), "names tensor 'none'"),
        (Grouping(8, 16, 8, {}, {"first": [0] * 16}).to_json(), "is not a permutation"),
        (Grouping(8, 16, 8, {}, {"first": [1.5] * 16}).to_json(), "is not a permutation"),
    ],
)
def test_pack_refuses_a_bad_grouping_with_one_line(data, tmp_path, text, message):
    result = pack(model_with(tmp_path / "model.onnx", text), data, tmp_path / "image")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "image").exists()


def test_impossible_factors_are_only_a_start(data, tmp_path):
    text = Grouping(8, 16, 8, {"first": (5, 7), "stem": (0, -1)}, {}).to_json()
    result = pack(model_with(tmp_path / "model.onnx", text), data, tmp_path / "image")
    assert result.exit_code == 0, result.output
