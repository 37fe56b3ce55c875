"""Accuracy with labels: counted, chosen on other samples than measured, warned about."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from termac.arch import load_config
from termac.cli import main
from termac.errors import ConfigError, InputError
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.flow.accuracy import Labelled, answers, measure_accuracy, measure_answers
from termac.flow.choose import LEVELS, Choice, pack_within
from termac.flow.labelled import pack_labelled
from termac.flow.pack import pack
from termac.frontend import load_model
from termac.graph import golden
from termac.image import load_image

MODEL = MODELS / "digits.onnx"
DEMO = load_config("demo")
TRAIN, TEST = digits().train, digits().test


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL)


@pytest.fixture(scope="module")
def packed(model):
    return pack(model, DEMO, TRAIN.images[:64], combine=1)


def test_shares_are_counted(model, packed):
    given = Labelled(TEST.images[:200], TEST.labels[:200], "test samples")
    accuracy = measure_accuracy(packed, given)
    right = (model.predict(given.samples).argmax(axis=1) == given.labels).sum()
    assert accuracy.figures["float"] == right / 200
    for form, graph in (("integer", packed.dense), ("packed", packed.graph)):
        y = golden.run(graph, golden.quantize_input(graph, given.samples))[graph.output]
        assert accuracy.figures[form] == (y.reshape(200, 10).argmax(1) == given.labels).mean()
    lost = right / 2 - 100 * accuracy.figures["packed"]
    assert accuracy.loss == pytest.approx(lost)
    assert f"{right} of 200 right" in accuracy.sentence()


def test_outputs_as_labels_give_a_squared_error(packed):
    samples = TEST.images[:50]
    right = packed.model.predict(samples)
    accuracy = measure_accuracy(packed, Labelled(samples, right, "test samples"))
    assert accuracy.figures["float"] == 0
    error = ((answers(packed.graph, samples) - right) ** 2).mean(axis=0).sum()
    assert accuracy.figures["packed"] == pytest.approx(error / right.var(axis=0).sum(), rel=1e-5)
    assert accuracy.loss is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(7, int), "labels are 7, test samples are 8"),
        (np.array(3), "labels are 1"),
        (np.full(8, 10), r"labels span 10..10, the network tells classes 0..9"),
        (np.full(8, -1), "labels span -1"),
        (np.zeros(8), "neither class numbers"),
        (np.zeros((8, 9)), "neither class numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        measure_answers({"packed": np.zeros((8, 10))},
                        Labelled(TEST.images[:8], labels, "test samples"))  # fmt: skip


def test_the_largest_bound_within_is_taken(model):
    """Bisection on real networks: the next larger bound loses more than allowed."""
    calibration, given = TRAIN.images[:64], Labelled(TEST.images, TEST.labels, "test samples")
    chosen = pack_within(model, DEMO, calibration, given, max_accuracy_loss=2.0, combine="auto")
    assert chosen.is_within
    assert chosen.loss <= 2.0
    assert measure_accuracy(chosen.packed, given).loss == pytest.approx(chosen.loss)
    larger = LEVELS[LEVELS.index(chosen.max_loss) + 1]
    above = pack(model, DEMO, calibration, combine="auto", max_loss=larger)
    assert measure_accuracy(above, given).loss > 2.0


def test_a_bound_that_nothing_keeps_is_said(model):
    images = TEST.images[:100]
    labels = model.predict(images).argmax(axis=1)  # one bit cannot answer all of them
    done = pack_labelled(model, DEMO, TRAIN.images[:64], labels=labels, test=images, bits=1,
                         max_accuracy_loss=0.0, combine="auto", max_loss=None)  # fmt: skip
    assert done.max_loss == LEVELS[0]
    assert done.warnings[0].startswith("nothing keeps the packed model within 0 points")
    assert done.warnings[1].endswith("on test samples 50 to 99, more than 0")
    given = Labelled(images, labels, "test samples")
    with pytest.raises(ConfigError, match=r"must be 0\.\.100 points"):
        pack_within(model, DEMO, images, given, max_accuracy_loss=-1, combine="auto")


def test_samples_that_choose_are_not_those_that_measure(model, monkeypatch):
    seen = []

    def remember(model, config, calibration, chosen_on, **_):
        seen.append((calibration, chosen_on))
        return Choice(pack(model, config, calibration), 0.05, 0.25, True)

    monkeypatch.setattr("termac.flow.labelled.pack_within", remember)
    images, labels = TRAIN.images[:64], TRAIN.labels[:64]
    options = {"max_accuracy_loss": 1.0, "combine": "auto", "max_loss": None}
    done = pack_labelled(model, DEMO, images, labels=labels, **options)
    np.testing.assert_array_equal(seen[0][0], images[:32])
    np.testing.assert_array_equal(seen[0][1].labels, labels[32:48])
    assert done.accuracy.what == "calibration samples 48 to 63"
    assert done.accuracy.samples == 16
    assert any("calibration samples 32 to 47" in note for note in done.packed.notes)
    done = pack_labelled(
        model, DEMO, images, labels=TEST.labels[:20], test=TEST.images[:20], **options
    )
    assert len(seen[1][0]) == 64
    np.testing.assert_array_equal(seen[1][1].samples, TEST.images[:10])
    assert done.accuracy.what == "test samples 10 to 19"


# --- The commands --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    np.save(folder / "x.npy", TRAIN.images[:64])
    np.save(folder / "test.npy", TEST.images[:100])
    np.save(folder / "y.npy", TEST.labels[:100])
    return folder


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_commands_print_the_same_accuracy_and_warn(data):
    image, labels = data / "image", ("--labels", data / "y.npy")
    options = ["pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o", image]
    options += ["--combine", "auto", "--max-loss", "0.4", *labels, "--test", data / "test.npy"]
    result = run(*options, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)["accuracy"]
    graph = load_image(image).graph
    share = (answers(graph, TEST.images[:100]).argmax(axis=1) == TEST.labels[:100]).mean()
    assert facts["packed"] == share
    assert facts["loss_points"] == pytest.approx(100 * (facts["float"] - share))
    assert facts["loss_points"] > 1
    assert "points below the float model on test samples" in result.stderr
    assert set(facts) > {"float", "integer", "packed"}
    text = run("estimate", image, *labels, "--test", data / "test.npy").stdout
    assert f"{share:.2%}" in text
    assert f"when packed: accuracy on test samples: float {facts['float']:.2%}" in text
    result = run("simulate", image, "--input", data / "test.npy", "--output", data / "out.npy",
                 "--engine", "golden", *labels, "--json")  # fmt: skip
    assert json.loads(result.stdout)["accuracy"]["packed"] == share


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--test", "test.npy"], "--test goes with --labels"),
        (["--max-accuracy-loss", "1"], "--max-accuracy-loss goes with --labels"),
        (["--max-accuracy-loss", "1", "--labels", "y.npy"], "goes with --combine auto"),
        (["--max-accuracy-loss", "1", "--labels", "y.npy", "--combine", "auto", "--max-loss",
          "0.1"], "does not go with --max-loss"),
        (["--labels", "y.npy"], "labels are 100, calibration samples are 64"),
        (["--labels", "none.npy"], "no such file"),
    ],
)  # fmt: skip
def test_bad_options(data, tmp_path, options, message):
    given = [str(data / o) if o.endswith(".npy") else o for o in options]
    result = run("pack", MODEL, "--config", "demo", "--calibration", data / "x.npy", "-o",
                 tmp_path / "out", *given)  # fmt: skip
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert run("estimate", tmp_path, "--labels", data / "y.npy").exit_code == 2
