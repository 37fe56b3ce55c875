"""Pictures: which tiles a layer loads, what the pixels show, and that files are repeatable."""

import matplotlib.image
import numpy as np
import pytest
from termac.arch import load_config
from termac.compile import compile_graph
from termac.graph import Conv, Graph, MaxPool, Tensor
from termac.picture import (
    EMPTY,
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
