"""Pictures: which tiles a layer loads, what the pixels show, and that files are repeatable."""

import matplotlib.image
import numpy as np
import pytest
from termac.arch import load_config
from termac.compile import compile_graph
from termac.graph import Conv, FloatConv, FloatGraph, Graph, MaxPool, Tensor
from termac.report.canvas import MOST_VALUE, value_colours
from termac.report.combining import PRUNED, draw_combining, packed_matrix
from termac.report.tiles import (
    EMPTY,
    FOOT,
    HEAD,
    MOST_LAYERS,
    PAGE,
    SIDE,
    SPACE,
    TITLE,
    _grid,
    cell_colours,
    draw_utilization,
    draw_weights,
    layer_tiles,
    tile_mosaic,
)


def conv(name, source, weights, padding=(1, 1, 1, 1)):
    count = len(weights)
    return Conv(
        name=name,
        input=source,
        weights=weights,
        bias=np.zeros(count, np.int32),
        multiplier=np.full(count, 1 << 30, np.int32),
        shift=np.full(count, 8, np.int32),
        stride=(1, 1),
        padding=padding,
        low=-128,
        high=127,
    )


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(3)
    first = rng.integers(-127, 128, (12, 3, 3, 5)).astype(np.int8)
    first[rng.random(first.shape) < 0.5] = 0
    second = rng.integers(-127, 128, (20, 1, 1, 12)).astype(np.int8)
    tensors = {
        name: Tensor(name, shape, 0.1, 0)
        for name, shape in {
            "x": (6, 6, 5), "a": (6, 6, 12), "p": (3, 3, 12), "b": (3, 3, 20)
        }.items()
    }  # fmt: skip
    graph = Graph(
        name="small",
        tensors=tensors,
        nodes=[
            conv("a", "x", first),
            MaxPool(name="p", input="a", kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0)),
            conv("b", "p", second, (0, 0, 0, 0)),
        ],
        input="x",
        output="b",
        input_layout=(5, 6, 6),
        output_layout=(20, 3, 3),
    )
    return compile_graph(graph, load_config("tiny"))


def test_layer_tiles_hold_every_weight_of_the_network(image):
    by_name = {layer.name: layer for layer in image.layers}
    tiles = layer_tiles(image, by_name["b"])
    assert len(tiles) == by_name["b"].passes
    found = np.sort(image.value[tiles][image.value[tiles] != 0])
    weights = image.graph.node("b").weights
    assert np.array_equal(found, np.sort(weights[weights != 0]))


def test_every_tile_belongs_to_a_layer(image):
    used = np.concatenate([layer_tiles(image, layer) for layer in image.layers])
    assert set(used.tolist()) == set(range(len(image.value)))


def test_mosaic_places_tiles_one_cell_apart():
    tiles = np.zeros((3, 2, 4, 3))
    tiles[:] = np.array([0.1, 0.2, 0.3])[:, None, None, None]
    canvas = tile_mosaic(tiles, 2)
    assert canvas.shape == (5, 9, 3)
    assert (canvas[:2, :4] == 0.1).all()
    assert (canvas[:2, 5:] == 0.2).all()
    assert (canvas[3:, :4] == 0.3).all()
    assert (canvas[2] == 1).all()
    assert (canvas[:, 4] == 1).all()
    assert (canvas[3:, 5:] == 1).all()


def test_colours_tell_empty_slots_signs_and_lanes_apart(image):
    every = np.arange(len(image.value))
    empty = image.value == 0
    for colour in ("value", "lane"):
        cells = cell_colours(image, every, colour)
        assert (cells[empty] == EMPTY).all()
        assert not (cells[~empty] == EMPTY).all(axis=-1).any()
    red, _, blue = np.moveaxis(cell_colours(image, every, "value"), -1, 0)
    assert (red[image.value < 0] > blue[image.value < 0]).all()
    assert (blue[image.value > 0] > red[image.value > 0]).all()
    lanes = cell_colours(image, every, "lane")[~empty]
    assert len(np.unique(lanes, axis=0)) == len(np.unique(image.lane[~empty]))


@pytest.mark.parametrize("colour", ["value", "lane"])
def test_weights_picture_shows_empty_slots_and_is_repeatable(image, tmp_path, colour):
    draw_weights(image, tmp_path / "one.png", colour=colour)
    draw_weights(image, tmp_path / "two.png", colour=colour)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    pixels = matplotlib.image.imread(tmp_path / "one.png")[..., :3]
    gray = np.abs(pixels - np.array(EMPTY, np.float32)).max(axis=-1) < 0.01
    assert 0.01 < gray.mean() < 0.9


def test_utilization_picture_is_repeatable(image, tmp_path):
    draw_utilization(image, tmp_path / "one.png")
    draw_utilization(image, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    pixels = matplotlib.image.imread(tmp_path / "one.png")
    assert pixels.shape[1] == 1080


def test_unknown_colour_is_refused(image, tmp_path):
    with pytest.raises(ValueError, match="colour must be 'value' or 'lane', not 'sign'"):
        draw_weights(image, tmp_path / "x.png", colour="sign")
    assert not (tmp_path / "x.png").exists()


# --- Column combining ----------------------------------------------------------------------------


def trained(image):
    """The network before pruning: weights that are zero in the image were small."""
    rng = np.random.default_rng(4)
    nodes = []
    for node in image.graph.nodes:
        if isinstance(node, Conv):
            small = rng.uniform(0.1, 0.5, node.weights.shape)
            weights = np.where(node.weights == 0, small, node.weights).astype(np.float32)
            weights[0, 0, 0, 0] = 0  # was zero before
            node.weights[0, 0, 0, 0] = 0
            nodes.append(
                FloatConv(
                    name=node.name, input=node.input, weights=weights,
                    bias=np.zeros(len(weights), np.float32), stride=node.stride,
                    padding=node.padding,
                )
            )  # fmt: skip
    shapes = {name: tensor.shape for name, tensor in image.graph.tensors.items()}
    layouts = image.graph.input_layout, image.graph.output_layout
    return FloatGraph("small", shapes, nodes, "x", "b", *layouts)


def test_packed_matrix_holds_every_tile_of_a_layer_once(image):
    for layer in image.layers:
        if not any(isinstance(image.graph.node(name), Conv) for name in layer.nodes):
            continue
        matrix = packed_matrix(image, layer)
        tiles = layer_tiles(image, layer)
        assert sorted(matrix[matrix >= 0].tolist()) == sorted(tiles.tolist())
        assert len(tiles) == layer.passes
        strips = -(-layer.storage.blocks * image.config.word_bytes // image.config.rows)
        assert len(matrix) == strips
        for strip in matrix:  # gaps come last
            assert (np.diff((strip >= 0).astype(int)) <= 0).all()
        assert (matrix[0] == tiles[: matrix.shape[1]]).all()


@pytest.fixture(scope="module")
def drawn(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("combining")
    original = trained(image)
    for name in ("one.png", "two.png"):
        draw_combining(original, image, folder / name)
    return original, folder


def test_combining_picture_is_repeatable(drawn):
    _, folder = drawn
    assert (folder / "one.png").read_bytes() == (folder / "two.png").read_bytes()
    assert matplotlib.image.imread(folder / "one.png").shape[1] == 1080


def test_combining_picture_shows_what_was_pruned_and_what_stays(image, drawn, monkeypatch):
    original, folder = drawn
    shown = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.imshow", lambda self, matrix, **options: shown.append(matrix)
    )
    draw_combining(original, image, folder / "three.png")
    assert len(shown) == 2 * len(original.nodes) == 4
    for node, left, right in zip(original.nodes, shown[::2], shown[1::2], strict=True):
        weights = node.weights.reshape(len(node.weights), -1)
        kept = image.graph.node(node.name).weights.reshape(weights.shape) != 0
        assert left.shape == (*weights.shape, 3)
        assert (left[weights == 0] == EMPTY).all()
        assert (left[(weights != 0) & ~kept] == PRUNED).all()
        assert ((weights != 0) & ~kept).any()
        scaled = MOST_VALUE * weights / np.abs(weights).max(axis=1, keepdims=True)
        np.testing.assert_allclose(left[kept], value_colours(scaled)[kept], atol=1e-6)
        layer = next(layer for layer in image.layers if node.name in layer.nodes)
        matrix = packed_matrix(image, layer)
        config = image.config
        assert right.shape == (
            len(matrix) * config.rows, matrix.shape[1] * config.columns, 3
        )  # fmt: skip
        for y, x in np.ndindex(matrix.shape):
            cells = right[
                y * config.rows : (y + 1) * config.rows,
                x * config.columns : (x + 1) * config.columns,
            ]
            if matrix[y, x] < 0:
                assert (cells == 1).all()
                continue
            empty = image.value[matrix[y, x]] == 0
            assert (cells[empty] == EMPTY).all()
            assert not (cells[~empty] == EMPTY).all(axis=-1).any()


def test_combining_picture_has_pruned_and_empty_pixels(drawn):
    _, folder = drawn
    pixels = matplotlib.image.imread(folder / "one.png")[..., :3]
    for colour in (PRUNED, EMPTY):
        near = np.abs(pixels - np.array(colour, np.float32)).max(axis=-1) < 0.01
        assert near.mean() > 0.003


@pytest.mark.parametrize("count", [1, 7, 22, 60, 200])
@pytest.mark.parametrize("preset", ["demo", "square", "term", "tiny"])
def test_any_number_of_layers_fits_one_page(preset, count):
    config, layers = load_config(preset), min(count, MOST_LAYERS)
    grid = _grid(layers, config)
    rows = -(-layers // grid.across)
    height = (grid.lines * (config.rows + 1) - 1) * grid.cell
    width = (grid.per_line * (config.columns + 1) - 1) * grid.cell
    assert grid.cell > 0.005
    assert HEAD + FOOT + rows * (height + TITLE + SPACE) <= PAGE[1] + 1e-6
    assert grid.across * grid.width + 2 * SIDE <= PAGE[0] + 1e-6
    assert width <= grid.width


def test_signs_differ_in_more_than_red_and_green():
    """Blue against orange: apart in the blue channel, which red-green blindness leaves."""
    below, above = value_colours(np.array([-100.0, 100.0]))
    assert above[2] - below[2] > 0.3
