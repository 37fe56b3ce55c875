"""Numbers that people quote: one total, one name for a layer, no share above 100 %."""

import numpy as np
import pytest
from rich.console import Console
from termac.arch import load_config
from termac.compile import compile_graph
from termac.compress import quantize
from termac.compress.terms.allowance import Allowance
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.flow.pack import pack
from termac.frontend import load_onnx
from termac.report.tables import combining_table, layers_table, terms_table
from termac.terms.digits import count

from tests.sw.random_graphs import Builder

NONE = (0, 0, 0, 0)
DEMO = load_config("demo")


def lines(table):
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


@pytest.fixture(scope="module")
def samples():
    return digits().train.images[:64]


@pytest.fixture(scope="module")
def model():
    return load_onnx(MODELS / "digits.onnx")


@pytest.fixture(scope="module")
def combined(model, samples):
    return pack(model, DEMO, samples, combine=1)


def test_the_total_of_the_layers_is_that_of_a_run(combined):
    image = combined.image
    *_, start_and_end, total, _ = lines(layers_table(image))
    of_layers = sum(layer.cycles for layer in image.layers)
    assert start_and_end.split()[:4] == ["start", "and", "end", f"{image.cycles - of_layers:,}"]
    assert f"{image.cycles:,}" in total.split()
    assert f"{of_layers:,}" not in "".join(lines(layers_table(image)))


def test_simulated_cycles_add_up_like_predicted_ones(combined):
    image = combined.image
    cycles = np.array([layer.cycles for layer in image.layers])
    table = layers_table(image, simulated=cycles, simulated_total=image.cycles)
    *_, start_and_end, total, _ = lines(table)
    assert start_and_end.split()[3] == start_and_end.split()[4]
    assert total.split().count(f"{image.cycles:,}") == 2
    unmeasured = lines(layers_table(image, simulated=0 * cycles, simulated_total=0))
    assert unmeasured[-2].split().count("-") == 1


def test_dense_cycles_are_those_of_a_dense_pack(model, samples, combined):
    """Not those of zeros filled in after pruning, in a layout that was chosen for few weights."""
    dense = compile_graph(quantize(model, samples), DEMO)
    by_node = {node: layer.cycles for layer in dense.layers for node in layer.nodes}
    for row in combined.combining_rows:
        assert row["dense_cycles"] == by_node[row["node"]]
    table = combining_table(
        combined.combining_rows, dense_cycles=combined.dense_image.cycles,
        cycles=combined.image.cycles,
    )  # fmt: skip
    total = next(line for line in lines(table) if "a whole run" in line)
    assert total.split()[-2:] == [f"{dense.cycles:,}", f"{combined.image.cycles:,}"]


def test_a_layer_has_one_name_in_all_tables(combined):
    names = {layer.name for layer in combined.image.layers}
    assert {row["layer"] for row in combined.combining_rows} <= names
    table = combining_table(combined.combining_rows, dense_cycles=1, cycles=1)
    for line in lines(table)[3:8]:
        assert line.split()[0] in names


def test_combined_columns_count_a_pooling_window_once():
    """A convolution has as many columns with pooling joined as without."""
    columns = []
    for pool in (False, True):
        build = Builder(np.random.default_rng(0), (8, 8, 16))
        node = build.conv(16, kernel=(3, 3), padding=NONE)
        if pool:
            build.max_pool(kernel=(2, 2), stride=(2, 2), padding=NONE)
        image = compile_graph(build.graph(), DEMO, group_pixels=False)
        layer = next(layer for layer in image.layers if node in layer.nodes)
        assert (len(layer.nodes) == 2) == pool
        columns.append(layer.columns)
    assert columns[0] == columns[1] > 0


def test_terms_of_a_weight_are_means_and_no_share(model, samples):
    packed = pack(model, load_config("term"), samples, terms=Allowance(16))
    for row in packed.terms_rows:
        weights = packed.graph.node(row["node"]).weights
        before = packed.dense.node(row["node"]).weights
        assert row["terms_after"] == pytest.approx(count(weights).mean())
        assert row["terms_before"] == pytest.approx(count(before).mean())
        shown = f"{row['terms_before']:.2f} -> {row['terms_after']:.2f}"
        assert any(shown in line for line in lines(terms_table(packed.terms_rows)))
