"""``termac pack --terms``: options, one clear line for bad ones, facts and table."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from termac.arch import load_config
from termac.cli import main
from termac.cli.options import TermChoice, TermOption
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.flow.pack import pack
from termac.frontend import load_onnx
from termac.graph import Conv
from termac.image import load_image
from termac.report.tables import terms_table
from termac.terms.slots import rounds

MODEL = MODELS / "digits.onnx"
SAMPLES = digits().train.images[:48]


def config(cell):
    return dataclasses.replace(load_config("demo"), cell=cell, name=cell)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with x.npy (calibration), term.toml and term_pair.toml."""
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "x.npy", SAMPLES)
    for cell in ("term", "term_pair"):
        values = {k: v for k, v in dataclasses.asdict(config(cell)).items() if k != "name"}
        lines = [f"{k} = {json.dumps(v)}" for k, v in values.items()]
        (folder / f"{cell}.toml").write_text("\n".join(lines))
    return folder


def run(data, output, name, *options):
    where = name if name == "demo" else data / f"{name}.toml"
    arguments = ["pack", MODEL, "--config", where, "--calibration", data / "x.npy", "-o", output]
    return CliRunner().invoke(main, [str(argument) for argument in (*arguments, *options)])


# --- Up to the graph -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("8/8", TermChoice(8, 8)),
        ("12/8,2", TermChoice(12, 8, 2)),
        ("auto", TermChoice()),
        ("0/8", TermChoice(0, 8)),  # refused when the cell is known
    ],
)
def test_what_is_read(text, choice):
    assert TermOption().convert(text, None, None) == choice


@pytest.mark.parametrize(
    ("cell", "text"), [("term", "6/8"), ("term_pair", "6/8,2"), ("term", "auto")]
)
def test_graph_rows_and_table(cell, text):
    choice = TermOption().convert(text, None, None)
    packed = pack(load_onnx(MODEL), config(cell), SAMPLES, terms=choice.allowance)
    rows = json.loads(json.dumps(packed.terms_rows))
    nodes = [node for node in packed.graph.nodes if isinstance(node, Conv)]
    assert [row["node"] for row in rows] == [node.name for node in nodes]
    console = Console(width=160)
    with console.capture() as captured:
        console.print(terms_table(rows))
    lines = captured.get()
    for node, row in zip(nodes, rows, strict=True):
        assert row["terms"]["weights"] == node.terms.weights
        assert row["group"] == 8
        assert f"{node.terms.weights}/8" in lines
        assert f"{row['output_error']:.4f}" in lines
        if cell == "term":
            groups = np.pad(node.weights, ((0, 0),) * 3 + ((0, -node.weights.shape[3] % 8),))
            assert len(rounds(groups.reshape(-1, 8), node.terms.exponents)) == 1
            assert " ".join(map(str, node.terms.exponents)) in lines
        elif node is nodes[0]:
            assert (node.terms.weights, node.terms.data) == (4, 4)
        else:
            assert (node.terms.weights, node.terms.data) == (6, 2)


# --- The whole command ---------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "text"), [("term", "6/8"), ("term_pair", "6/8,2")])
def test_pack_in_terms(data, tmp_path, cell, text):
    output = tmp_path / "image"
    result = run(data, output, cell, "--terms", text, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    image = load_image(output)
    assert len(facts["terms"]) == 5
    for row in facts["terms"]:
        node = image.graph.node(row["node"])
        layer = next(layer for layer in image.layers if row["node"] in layer.nodes)
        assert row["terms"]["weights"] == node.terms.weights
        assert row["cycles"] == layer.cycles


def test_pack_prints_a_table_of_terms(data, tmp_path):
    result = run(data, tmp_path / "image", "term", "--terms", "auto", "--max-loss", "0.05")
    assert result.exit_code == 0, result.output
    assert "output error" in result.stdout


def test_pack_draws_the_planes_of_terms(data, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "terms.png"
    result = run(data, tmp_path / "image", "term", "--terms", "8/8", "--picture", picture)
    assert result.exit_code == 0, result.output
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("term", ["--terms", "0/8"], "weight terms of a group must be 1..16"),
        ("term", ["--terms", "17/8"], "must be 1..16, which cells store, not 17"),
        ("term", ["--terms", "-1/8"], "must be 1..16"),
        ("term", ["--terms", "8/4"], "the group must be 8"),
        ("term", ["--terms", "8/8,2"], "leave the terms of an activation out"),
        ("term_pair", ["--terms", "8/8"], "say how many, as in 8/8,2"),
        ("term_pair", ["--terms", "8/8,5"], "terms of an activation must be 1..4"),
        ("term_pair", ["--terms", "8/8,0"], "an activation must keep a term at least"),
        ("term", ["--terms", "8"], "'8' is neither 'auto' nor k/g or k/g,s"),
        ("term", ["--terms", "8/8,"], "is neither 'auto' nor"),
        ("demo", ["--terms", "8/8"], "'bit_plane' cells, which keep no terms"),
        ("demo", ["--terms", "auto"], "'bit_plane' cells, which keep no terms"),
        ("term", ["--terms", "8/8", "--combine", "2"], "--terms does not go with --combine"),
        ("term", ["--terms", "8/8", "--max-loss", "0.1"], "goes with --combine auto or --terms"),
        ("term", ["--terms", "auto", "--max-loss", "2"], "must be at least 0 and below 1"),
        ("term", ["--terms", "8/8", "--encoding", "hese"], "--encoding means nothing to it"),
        ("term_pair", ["--terms", "8/8,2", "--encoding", "booth"], "is not one of"),
        ("demo", ["--encoding", "naf"], "--encoding goes with --terms"),
    ],
)
def test_bad_options(data, tmp_path, name, options, message):
    result = run(data, tmp_path / "out", name, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    if not result.stderr.startswith("Usage: "):
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cell", ["term", "term_pair"])
def test_columns_do_not_combine_where_cells_keep_terms(data, tmp_path, cell):
    result = run(data, tmp_path / "out", cell, "--combine", "2")
    assert result.exit_code == 2
    assert "no columns combine there" in result.output
    assert not (tmp_path / "out").exists()
